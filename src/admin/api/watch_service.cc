#include "admin/api/watch_service.h"

#include <bit>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "admin/api/cluster_service.h"
#include "admin/api/convert.h"
#include "admin/api/message_proto.h"
#include "admin/api/observing.h"
#include "base/glob.h"
#include "broker/shard/connect_flow.h"
#include "broker/shard/shard_core.h"
#include "mqtt/packets.h"
#include "mqtt/topic.h"
#include "storage/core/metrics.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Watch";

// "": nobody yet.
std::string_view ClientIdOf(const broker::Connection& connection) {
  if (connection.session != nullptr) return connection.session->client_id.view();
  if (connection.connecting != nullptr) return connection.connecting->credentials.client_id;
  return {};
}

bool IsMeant(const std::string& pattern, std::string_view client_id) {
  return pattern.empty() || base::GlobMatches(pattern, client_id);
}

}  // namespace

// ---- Events

class EventStream final : public StreamObserver {
 public:
  EventStream(const BrokerAccess& broker, const pb::WatchEventsRequest& request,
              std::shared_ptr<Outlet> outlet)
      : broker_(broker),
        client_id_(request.client_id()),
        all_(!request.clients() && !request.drops() && !request.state()),
        clients_(all_ || request.clients()),
        drops_(all_ || request.drops()),
        state_(all_ || request.state()),
        outlet_(std::move(outlet), [this](uint64_t lost) {
          pb::WatchEventsResponse response = Begin();
          response.mutable_lost()->set_entries(lost);
          return response;
        }) {}

  void Start() {
    pb::WatchEventsResponse response = Begin();
    response.mutable_started();
    outlet_.Send(response);
  }
  void Tell(const pb::DropsEvent& drops) {
    if (!drops_) return;
    pb::WatchEventsResponse response = Begin();
    *response.mutable_drops() = drops;
    outlet_.Send(response);
  }
  void Tell(const pb::StateEvent& state) {
    if (!state_) return;
    pb::WatchEventsResponse response = Begin();
    *response.mutable_state() = state;
    outlet_.Send(response);
  }

  bool watches_clients() const { return clients_; }

  void OnConnected(const broker::Connection& connection, bool session_present) override {
    if (!Concerns(connection)) return;
    pb::WatchEventsResponse response = Begin();
    pb::ClientEvent& event = Describe(connection, response);
    event.set_connected(true);
    event.set_session_present(session_present);
    outlet_.Send(response);
  }
  void OnClosed(const broker::Connection& connection, broker::CloseCause cause) override {
    if (connection.session == nullptr || !Concerns(connection)) return;
    pb::WatchEventsResponse response = Begin();
    Describe(connection, response).set_cause(std::string(broker::Name(cause)));
    outlet_.Send(response);
  }

 private:
  bool Concerns(const broker::Connection& connection) const {
    return !connection.listener.inside && IsMeant(client_id_, ClientIdOf(connection));
  }
  pb::WatchEventsResponse Begin() const {
    pb::WatchEventsResponse response;
    *response.mutable_at() = ToTimestamp(broker_.sources().clock->Now());
    response.set_node(broker_.sources().node_id());
    return response;
  }
  static pb::ClientEvent& Describe(const broker::Connection& connection,
                                   pb::WatchEventsResponse& response) {
    pb::ClientEvent& event = *response.mutable_client();
    event.set_client_id(std::string(ClientIdOf(connection)));
    event.set_user_name(std::string(connection.session->user_name()));
    event.set_address(connection.stream->peer().address);
    event.set_listener(connection.listener.name);
    return event;
  }

  const BrokerAccess& broker_;
  const std::string client_id_;
  const bool all_;
  const bool clients_;
  const bool drops_;
  const bool state_;
  LossyOutlet<pb::WatchEventsResponse> outlet_;
};

namespace {

// ---- Trace

class TraceStream final : public StreamObserver {
 public:
  TraceStream(const BrokerAccess& broker, const pb::TraceRequest& request,
              std::shared_ptr<Outlet> outlet)
      : broker_(broker),
        client_id_(request.client_id()),
        filter_(request.filter()),
        outlet_(std::move(outlet), [this](uint64_t lost) {
          pb::TraceResponse entry = Begin(pb::TraceResponse::KIND_LOST, {});
          entry.set_entries(lost);
          return entry;
        }) {}

  void Start() { outlet_.Send(Begin(pb::TraceResponse::KIND_STARTED, {})); }

  void OnConnected(const broker::Connection& connection, bool session_present) override {
    if (!filter_.empty() || !Concerns(connection)) return;
    pb::TraceResponse entry = Begin(pb::TraceResponse::KIND_CONNECTED, ClientIdOf(connection));
    entry.set_words(session_present ? "its session was there" : "with a new session");
    outlet_.Send(entry);
  }
  void OnClosed(const broker::Connection& connection, broker::CloseCause cause) override {
    if (!filter_.empty() || !Concerns(connection)) return;
    pb::TraceResponse entry = Begin(pb::TraceResponse::KIND_CLOSED, ClientIdOf(connection));
    entry.set_words(std::string(broker::Name(cause)));
    outlet_.Send(entry);
  }
  void OnReceived(const broker::Connection& connection, const mqtt::FrameHeader& header,
                  mqtt::Bytes) override {
    if (!filter_.empty() || !Concerns(connection)) return;
    pb::TraceResponse entry = Begin(pb::TraceResponse::KIND_RECEIVED, ClientIdOf(connection));
    entry.set_packet(std::string(mqtt::PacketTypeName(header.type)));
    entry.set_bytes(header.frame_size());
    outlet_.Send(entry);
  }
  void OnSent(const broker::Connection& connection, mqtt::PacketType type, size_t bytes) override {
    if (!filter_.empty() || !Concerns(connection)) return;
    pb::TraceResponse entry = Begin(pb::TraceResponse::KIND_SENT, ClientIdOf(connection));
    entry.set_packet(std::string(mqtt::PacketTypeName(type)));
    entry.set_bytes(bytes);
    outlet_.Send(entry);
  }
  void OnRouted(const broker::Connection& connection, const mqtt::MessageParts& parts,
                const broker::Match& match) override {
    if (!Concerns(connection) || !IsTopicMeant(parts.topic)) return;
    pb::TraceResponse entry =
        About(pb::TraceResponse::KIND_ROUTED, ClientIdOf(connection), parts, parts.qos);
    entry.set_words(match.empty() ? std::string("to nobody: no subscription matches")
                                  : WhereTo(match));
    outlet_.Send(entry);
  }
  void OnPublishRefused(const broker::Connection& connection, std::string_view topic,
                        mqtt::ReasonCode reason) override {
    if (!Concerns(connection) || !IsTopicMeant(topic)) return;
    pb::TraceResponse entry = Begin(pb::TraceResponse::KIND_REFUSED, ClientIdOf(connection));
    entry.set_packet("PUBLISH");
    entry.set_topic(std::string(topic));
    entry.set_words(std::string(mqtt::ReasonCodeName(reason)));
    outlet_.Send(entry);
  }
  void OnDelivered(const broker::Session& session, const mqtt::MessageParts& parts, mqtt::QoS qos,
                   size_t bytes) override {
    if (!Concerns(session.connection) || !IsTopicMeant(parts.topic)) return;
    pb::TraceResponse entry =
        About(pb::TraceResponse::KIND_DELIVERED, session.client_id.view(), parts, qos);
    entry.set_bytes(bytes);
    outlet_.Send(entry);
  }
  void OnDropped(const broker::Session& session, std::string_view topic,
                 broker::DropCause cause) override {
    if (!Concerns(session.connection) || !IsTopicMeant(topic)) return;
    pb::TraceResponse entry = Begin(pb::TraceResponse::KIND_DROPPED, session.client_id.view());
    entry.set_packet("PUBLISH");
    entry.set_topic(std::string(topic));
    entry.set_words(std::string(broker::Name(cause)));
    outlet_.Send(entry);
  }

 private:
  bool Concerns(const broker::Connection& connection) const {
    return !connection.listener.inside && IsMeant(client_id_, ClientIdOf(connection));
  }
  bool IsTopicMeant(std::string_view topic) const {
    return filter_.empty() || mqtt::Matches(filter_, topic);
  }
  pb::TraceResponse Begin(pb::TraceResponse::Kind kind, std::string_view client_id) const {
    pb::TraceResponse entry;
    *entry.mutable_at() = ToTimestamp(broker_.sources().clock->Now());
    entry.set_node(broker_.sources().node_id());
    entry.set_kind(kind);
    entry.set_client_id(std::string(client_id));
    return entry;
  }
  pb::TraceResponse About(pb::TraceResponse::Kind kind, std::string_view client_id,
                          const mqtt::MessageParts& parts, mqtt::QoS qos) const {
    pb::TraceResponse entry = Begin(kind, client_id);
    entry.set_packet("PUBLISH");
    entry.set_topic(std::string(parts.topic));
    entry.set_qos(static_cast<uint32_t>(qos));
    entry.set_retain(parts.retain);
    return entry;
  }
  static std::string WhereTo(const broker::Match& match) {
    const auto bits = [](uint64_t mask) { return std::popcount(mask); };
    return absl::StrCat("subscriptions here: ", match.subscribers.size(),
                        "; other shards: ", bits(match.shards | match.shards_qos0),
                        "; partitions: ", bits(match.partitions),
                        "; shared groups: ", match.groups.size());
  }

  const BrokerAccess& broker_;
  const std::string client_id_;
  const std::string filter_;
  LossyOutlet<pb::TraceResponse> outlet_;
};

}  // namespace

void Watches::Events(const pb::WatchEventsRequest& request, const std::shared_ptr<Outlet>& outlet) {
  absl::Status status = broker_.CheckOpen();
  const auto stream = std::make_shared<EventStream>(broker_, request, outlet);
  if (status.ok() && stream->watches_clients()) status = CheckObservable(broker_);
  if (!status.ok()) return outlet->End(status);
  {
    base::MutexLock lock(mutex_);
    // Nobody has counted meanwhile.
    if (streams_.empty()) {
      dropped_ = Dropped();
      condition_ = ConditionOf(broker_, broker_.sources().metrics());
    }
    streams_.push_back(stream);
  }
  if (!stream->watches_clients()) {
    stream->Start();
  } else if (!BeginObserving(broker_, stream, [stream] { stream->Start(); })) {
    outlet->End(BrokerAccess::Closed());
  }
  outlet->OnGone([this, stream] {
    EndObserving(broker_, stream);
    base::MutexLock lock(mutex_);
    std::erase(streams_, stream);
  });
}

void Watches::Trace(const pb::TraceRequest& request, const std::shared_ptr<Outlet>& outlet) {
  absl::Status status = broker_.CheckOpen();
  if (status.ok() && request.client_id().empty() && request.filter().empty())
    status = absl::InvalidArgumentError("what? client_id or filter; client_id \"*\" is everybody");
  if (status.ok() && !request.filter().empty()) status = CheckFilter(request.filter());
  if (status.ok()) status = CheckObservable(broker_);
  if (!status.ok()) return outlet->End(status);
  const auto stream = std::make_shared<TraceStream>(broker_, request, outlet);
  if (!BeginObserving(broker_, stream, [stream] { stream->Start(); }))
    outlet->End(BrokerAccess::Closed());
  outlet->OnGone([this, stream] { EndObserving(broker_, stream); });
}

std::map<std::string, uint64_t> Watches::Dropped() const {
  const broker::MetricsSnapshot snapshot = broker_.sources().metrics();
  std::map<std::string, uint64_t> dropped;
  for (const broker::ShardMetrics* const shard : snapshot.shards) {
    for (size_t i = 0; i < static_cast<size_t>(broker::DropCause::kCount_); ++i) {
      const auto cause = static_cast<broker::DropCause>(i);
      dropped[std::string(broker::Name(cause))] += shard->dropped[cause].value();
    }
  }
  if (snapshot.storage != nullptr) {
    dropped["queue_full"] += snapshot.storage->dropped_queue_full.value();
    dropped["expired"] += snapshot.storage->dropped_expired.value();
    dropped["no_share_member"] += snapshot.storage->dropped_no_member.value();
    dropped["retained_full"] += snapshot.storage->dropped_retained_full.value();
    dropped["shared_full"] += snapshot.storage->dropped_outbox.value();
  }
  return dropped;
}

void Watches::Tick() {
  {
    base::MutexLock lock(mutex_);
    if (streams_.empty()) return;
  }
  std::map<std::string, uint64_t> now = Dropped();
  const Condition condition = ConditionOf(broker_, broker_.sources().metrics());
  pb::DropsEvent drops;
  base::MutexLock lock(mutex_);
  for (const auto& [cause, messages] : now) {
    if (messages == dropped_[cause]) continue;
    pb::DropCount& count = *drops.add_drops();
    count.set_cause(cause);
    count.set_messages(messages - dropped_[cause]);
  }
  dropped_ = std::move(now);
  pb::StateEvent state;
  const bool changed = condition != condition_;
  condition_ = condition;
  state.set_state(condition.first);
  state.set_problem(condition.second);
  for (const auto& stream : streams_) {
    if (!drops.drops().empty()) stream->Tell(drops);
    if (changed) stream->Tell(state);
  }
}

void Watches::AddTo(Methods& methods) {
  methods.AddStream<pb::WatchEventsRequest, pb::WatchEventsResponse>(
      kService, "Events",
      [this](const Caller&, const pb::WatchEventsRequest& request,
             const std::shared_ptr<Outlet>& outlet) { Events(request, outlet); });
  methods.AddStream<pb::TraceRequest, pb::TraceResponse>(
      kService, "Trace",
      [this](const Caller&, const pb::TraceRequest& request,
             const std::shared_ptr<Outlet>& outlet) { Trace(request, outlet); });
}

}  // namespace admin
