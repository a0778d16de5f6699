#include "admin/api/explain_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "admin/api/convert.h"
#include "admin/api/elsewhere.h"
#include "base/counted.h"
#include "broker/shard/explain.h"
#include "mqtt/topic.h"
#include "mqttd/admin/v1/explain.pb.h"
#include "storage/leader/explain.h"
#include "storage/leader/host.h"
#include "storage/leader/session_view.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Explain";
constexpr uint64_t kPayloadBytesMax = uint64_t{256} << 20;
constexpr uint32_t kUsualCount = 100;
constexpr uint32_t kCountMax = 1000;

// ---- Owner

std::string OwnerInWords(const pb::ExplainOwnerResponse& owner, const std::string& client_id) {
  const std::string place =
      absl::StrCat("partition ", owner.partition(), " of node ", owner.node());
  if (owner.changing())
    return absl::StrCat("\"", client_id, "\" is being opened or closed just now, in ", place);
  if (!owner.known())
    return absl::StrCat("there is no session of \"", client_id, "\"; it would be in ", place);
  const std::string whose = owner.user_name().empty() ? std::string("nobody's in particular")
                                                      : absl::StrCat("of ", owner.user_name());
  const std::string client =
      owner.connected() ? absl::StrCat("its client is connected to shard ", owner.shard(),
                                       owner.client_node() == owner.node()
                                           ? std::string()
                                           : absl::StrCat(" of node ", owner.client_node()))
                        : std::string("its client is not connected");
  return absl::StrCat(owner.durable() ? "a durable session " : "a transient session ", whose,
                      ", in ", place, "; ", client);
}

// By the number that the cluster gave it.
std::string NodeByNumber(const Fleet& fleet, uint32_t number) {
  const auto view = fleet.View();
  if (view.has_value()) {
    for (const base::ClusterView::Member& member : view->members) {
      if (member.node == number) return member.uuid;
    }
  }
  return absl::StrCat(number);
}

void Owner(const BrokerAccess& broker, const Fleet& fleet, const std::string& client_id,
           const Reply<pb::ExplainOwnerResponse>& reply) {
  if (client_id.empty()) return reply(absl::InvalidArgumentError("client_id: whose?"));
  const bool open = broker.OnHost([&broker, &fleet, client_id, reply](storage::Host& host) {
    const storage::IdentifierView view = storage::LookAtIdentifier(host.node(), client_id);
    if (!view.led) return reply(NotLedHere());
    pb::ExplainOwnerResponse owner;
    const auto& connection = view.elsewhere.has_value() ? view.elsewhere : view.connection;
    owner.set_known(connection.has_value() || view.stored.has_value());
    owner.set_node(broker.sources().node_id());
    owner.set_partition(host.node().PartitionOf(client_id));
    owner.set_durable(view.stored.has_value());
    owner.set_connected(connection.has_value());
    owner.set_changing(view.changing);
    if (connection.has_value()) {
      owner.set_shard(connection->shard);
      owner.set_client_node(view.elsewhere.has_value()
                                ? NodeByNumber(fleet, view.elsewhere->node.value())
                                : owner.node());
    }
    if (view.stored.has_value()) {
      owner.set_user_name(view.stored->user_name);
      if (view.stored->ends_at_unix_ms != 0)
        *owner.mutable_ends() = ToTimestamp(absl::FromUnixMillis(view.stored->ends_at_unix_ms));
    }
    owner.set_words(OwnerInWords(owner, client_id));
    reply(std::move(owner));
  });
  if (!open) reply(broker.CheckOpen());
}

// ---- Delivery

using Outcome = pb::Verdict;

// The message as both sides are asked about it.
struct Supposed {
  broker::SupposedMessage on_shard;
  storage::SupposedMessage stored;
  absl::Time expires = absl::InfiniteFuture();
};

absl::StatusOr<Supposed> ToSupposed(const pb::ExplainDeliveryRequest& request, absl::Time now) {
  const pb::Message& message = request.message();
  if (!mqtt::IsValidTopicName(message.topic()))
    return absl::InvalidArgumentError("message.topic: not a Topic Name");
  if (message.qos() > 2) return absl::InvalidArgumentError("message.qos: 0, 1 or 2");
  const uint64_t bytes = std::max<uint64_t>(message.payload().size(), request.payload_bytes());
  if (bytes > kPayloadBytesMax) return absl::InvalidArgumentError("payload_bytes: at most 256 MiB");
  Supposed supposed;
  supposed.on_shard.topic = message.topic();
  supposed.on_shard.payload_bytes = bytes;
  supposed.on_shard.qos = static_cast<mqtt::QoS>(message.qos());
  supposed.on_shard.retain = message.retain();
  supposed.on_shard.expires = message.has_expiry();
  supposed.on_shard.publisher = request.publisher();
  supposed.stored = {message.topic(), supposed.on_shard.qos, message.topic().size() + bytes,
                     request.publisher()};
  if (message.has_expiry()) {
    const absl::Time published = message.has_published() ? FromTimestamp(message.published()) : now;
    supposed.expires = published + FromDuration(message.expiry());
  }
  return supposed;
}

pb::Verdict Says(pb::Verdict verdict, Outcome::Outcome outcome, std::string words) {
  verdict.set_outcome(outcome);
  verdict.set_words(std::move(words));
  return verdict;
}

// What both kinds of answer have in common, in the order in which the broker finds it out. Nothing:
// it is subscribed, and may be sent.
template <typename Answer>
std::optional<pb::Verdict> Common(const pb::Verdict& verdict, const Answer& answer,
                                  const Supposed& supposed, bool may_read, absl::Time now) {
  if (answer.filters.empty())
    return Says(verdict, Outcome::OUTCOME_NOT_SUBSCRIBED, "none of its subscriptions matches");
  if (answer.no_local && !answer.shared) {
    return Says(verdict, Outcome::OUTCOME_NO_LOCAL,
                "it publishes the message itself, and its subscriptions have No Local");
  }
  if (now >= supposed.expires) {
    return Says(verdict, Outcome::OUTCOME_EXPIRED,
                absl::StrCat("it expired ", absl::FormatDuration(now - supposed.expires), " ago"));
  }
  if (!may_read) {
    return Says(verdict, Outcome::OUTCOME_NOT_AUTHORIZED,
                "the access rules do not let it read the topic");
  }
  return std::nullopt;
}

template <typename Answer>
pb::Verdict Begin(const Answer& answer) {
  pb::Verdict verdict;
  verdict.set_client_id(answer.client_id);
  for (const std::string& filter : answer.filters) verdict.add_filters(filter);
  verdict.set_qos(static_cast<uint32_t>(answer.qos));
  return verdict;
}

pb::Verdict QueueFull(pb::Verdict verdict, const storage::StoredAnswer& stored) {
  return Says(std::move(verdict), Outcome::OUTCOME_QUEUE_FULL,
              absl::StrCat("its queue is full: ", base::Counted(stored.queued_messages, "message"),
                           " of ", base::Counted(stored.queued_bytes, "byte")));
}

std::string SharedWords() {
  return "one member of the shared subscription gets it, whoever's turn it is and has room";
}

// Of a client that is connected. `stored`: what its partition says, of a durable one.
pb::Verdict OfConnected(const broker::ConnectedAnswer& answer,
                        const std::optional<storage::StoredAnswer>& stored,
                        const Supposed& supposed, absl::Time now) {
  pb::Verdict verdict = Begin(answer);
  verdict.set_connected(true);
  verdict.set_durable(answer.durable);
  if (auto common = Common(verdict, answer, supposed, answer.may_read, now)) return *common;
  if (answer.packet_bytes > answer.packet_bytes_max) {
    return Says(
        verdict, Outcome::OUTCOME_PACKET_TOO_LARGE,
        absl::StrCat("the packet has ", answer.packet_bytes, " bytes, and the client takes ",
                     answer.packet_bytes_max, " (Maximum Packet Size)"));
  }
  const bool at_most_once = answer.qos == mqtt::QoS::kAtMostOnce;
  if (stored.has_value() && supposed.on_shard.qos != mqtt::QoS::kAtMostOnce && !at_most_once &&
      !stored->has_room)
    return QueueFull(verdict, *stored);
  if (!answer.durable && !at_most_once && answer.queue_full) {
    return Says(
        verdict, Outcome::OUTCOME_QUEUE_FULL,
        absl::StrCat("its queue is full: ", base::Counted(answer.queued_messages, "message")));
  }
  if (at_most_once && answer.output_full) {
    return Says(verdict, Outcome::OUTCOME_OUTPUT_FULL,
                absl::StrCat("its connection does not take what was sent: ", answer.output_bytes,
                             " bytes wait, and QoS 0 is not kept"));
  }
  if (!answer.plain) return Says(verdict, Outcome::OUTCOME_SHARED, SharedWords());
  if (!at_most_once && (answer.waits || answer.output_full))
    return Says(verdict, Outcome::OUTCOME_QUEUED, "it waits behind others that are in flight");
  return Says(verdict, Outcome::OUTCOME_DELIVERED, "it is sent at once");
}

// Of one whose client is away.
pb::Verdict OfAway(const storage::StoredAnswer& answer, const Supposed& supposed, bool may_read,
                   absl::Time now) {
  pb::Verdict verdict = Begin(answer);
  verdict.set_durable(true);
  if (auto common = Common(verdict, answer, supposed, may_read, now)) return *common;
  if (answer.qos == mqtt::QoS::kAtMostOnce) {
    return Says(verdict, Outcome::OUTCOME_OFFLINE_QOS0,
                "it would be sent at QoS 0, which is not kept, and the client is not connected");
  }
  if (!answer.has_room) return QueueFull(verdict, answer);
  if (!answer.plain) return Says(verdict, Outcome::OUTCOME_SHARED, SharedWords());
  return Says(verdict, Outcome::OUTCOME_QUEUED, "it is kept until the client comes");
}

// One request, from thread to thread; this lives in the tasks.
class Explaining : public std::enable_shared_from_this<Explaining> {
 public:
  Explaining(const BrokerAccess& broker, const Fleet& fleet, const Caller& caller,
             const pb::ExplainDeliveryRequest& request, Supposed supposed,
             Reply<pb::ExplainDeliveryResponse> reply)
      : broker_(broker),
        fleet_(fleet),
        caller_(caller),
        request_(request),
        client_id_(request.client_id()),
        count_(ExplainedMax(request)),
        supposed_(std::move(supposed)),
        now_(broker.sources().clock->Now()),
        reply_(std::move(reply)) {}

  void Start() {
    // A node that passes the call on has asked about the publisher.
    const std::string& publisher = supposed_.on_shard.publisher;
    if (publisher.empty() || caller_.passed_on) return AskWhom();
    OnHost([this, publisher](const storage::Node& node) {
      const storage::IdentifierView view = storage::LookAtIdentifier(node, publisher);
      if (view.connection.has_value()) return AskPublisher(*view.connection);
      if (view.stored.has_value() &&
          !MayPublish({publisher, view.stored->user_name, view.stored->listener}))
        return RefusePublisher();
      AskWhom();
    });
  }

 private:
  // What runs there keeps this alive.
  void OnHost(std::function<void(const storage::Node&)> task) {
    const bool open = broker_.OnHost([self = shared_from_this(), task = std::move(task)](
                                         storage::Host& host) { task(host.node()); });
    if (!open) reply_(BrokerAccess::Closed());
  }
  void OnShard(storage::ShardId shard, std::function<void(broker::ShardCore&)> task) {
    const bool open = broker_.OnShard(shard, [self = shared_from_this(), task = std::move(task)](
                                                 broker::ShardCore& core) { task(core); });
    if (!open) reply_(BrokerAccess::Closed());
  }

  bool MayPublish(const storage::SessionUser& user) {
    bool may = true;
    (void)broker_.WithServer([&](broker::Server& server) {
      may = server.MayPublish(user, supposed_.on_shard.topic);
      return absl::OkStatus();
    });
    return may;
  }
  bool MayRead(const storage::StoredAnswer& answer) {
    bool may = true;
    (void)broker_.WithServer([&](broker::Server& server) {
      may = server.MayRead({answer.client_id, answer.user_name, answer.listener},
                           supposed_.on_shard.topic);
      return absl::OkStatus();
    });
    return may;
  }

  void AskPublisher(const storage::ConnectionRef& ref) {
    OnShard(ref.shard, [this, number = ref.connection](const broker::ShardCore& shard) {
      broker::MayPublishHere(shard, number, supposed_.on_shard) ? AskWhom() : RefusePublisher();
    });
  }
  void RefusePublisher() {
    response_.set_publisher_refused(kPublisherRefused);
    Finish();
  }

  void AskWhom() {
    if (client_id_.empty()) return AskAllStored({});
    if (caller_.connection.has_value()) return AskConnected(*caller_.connection, std::nullopt);
    OnHost([this](const storage::Node& node) {
      const auto stored = storage::ExplainStored(node, client_id_, supposed_.stored);
      const storage::IdentifierView view = storage::LookAtIdentifier(node, client_id_);
      if (!view.led) return reply_(NotLedHere());
      if (view.elsewhere.has_value()) {
        return AskThere(*view.elsewhere, client_id_, stored, [this] { Finish(); });
      }
      if (view.connection.has_value()) return AskConnected(*view.connection, stored);
      if (stored.has_value()) {
        *response_.add_verdicts() = OfAway(*stored, supposed_, MayRead(*stored), now_);
      } else {
        AddNoSession();
      }
      Finish();
    });
  }
  void AddNoSession() {
    pb::Verdict nobody;
    nobody.set_client_id(client_id_);
    *response_.add_verdicts() =
        Says(std::move(nobody), Outcome::OUTCOME_NO_SESSION, "there is no session of it");
  }
  void AskConnected(const storage::ConnectionRef& ref,
                    const std::optional<storage::StoredAnswer>& stored) {
    OnShard(ref.shard, [this, number = ref.connection, stored](broker::ShardCore& shard) {
      const auto answer = broker::ExplainConnected(shard, number, supposed_.on_shard);
      if (answer.has_value()) {
        *response_.add_verdicts() = OfConnected(*answer, stored, supposed_, now_);
      } else if (stored.has_value()) {
        *response_.add_verdicts() = OfAway(*stored, supposed_, MayRead(*stored), now_);
      } else {
        AddNoSession();
      }
      Finish();
    });
  }

  // Of a client that is connected at another node: that one says what it would do, and its queue is
  // here.
  void AskThere(const storage::ConnectionRef& ref, const std::string& client_id,
                const std::optional<storage::StoredAnswer>& stored, std::function<void()> then) {
    pb::ExplainDeliveryRequest request = request_;
    request.set_client_id(client_id);
    fleet_.Ask<pb::ExplainDeliveryResponse>(ref.node.value(),
                                            {.caller = caller_,
                                             .method = "/mqttd.admin.v1.Explain/Delivery",
                                             .connection = ToNodeConnection(ref)},
                                            request,
                                            [self = shared_from_this(), node = ref.node.value(),
                                             stored, then = std::move(then)](const auto& said) {
                                              self->Take(node, stored, said);
                                              then();
                                            });
  }
  void Take(uint32_t node, const std::optional<storage::StoredAnswer>& stored,
            const absl::StatusOr<Fleet::Said<pb::ExplainDeliveryResponse>>& said) {
    const absl::Status status = said.ok() ? said->status : said.status();
    if (!status.ok()) {
      const auto view = fleet_.View();
      if (view.has_value()) *response_.add_missing() = Fleet::Missing(*view, node, status);
      return;
    }
    for (const pb::Verdict& verdict : said->response.verdicts()) {
      const bool kept = verdict.outcome() == Outcome::OUTCOME_DELIVERED ||
                        verdict.outcome() == Outcome::OUTCOME_QUEUED ||
                        verdict.outcome() == Outcome::OUTCOME_SHARED;
      *response_.add_verdicts() =
          kept && verdict.qos() != 0 && stored.has_value() && !stored->has_room
              ? QueueFull(verdict, *stored)
              : verdict;
    }
  }

  // ---- Everybody: stored sessions first; of those whose clients are connected their shards are
  // asked, too.
  size_t Room() const { return count_ - std::min<size_t>(count_, found()); }
  size_t found() const {
    return static_cast<size_t>(response_.verdicts_size()) + connected_.size();
  }

  void AskAllStored(storage::SessionPlace from) {
    OnHost([this, from](const storage::Node& node) {
      storage::StoredAnswers page = storage::ExplainAllStored(node, from, supposed_.stored, Room());
      for (storage::StoredAnswer& answer : page.answers) {
        const storage::IdentifierView view = storage::LookAtIdentifier(node, answer.client_id);
        if (view.connection.has_value() || view.elsewhere.has_value()) {
          connected_.emplace_back(view.elsewhere.has_value() ? *view.elsewhere : *view.connection,
                                  std::move(answer));
          if (view.elsewhere.has_value()) elsewhere_.insert(connected_.back().first.node);
        } else {
          *response_.add_verdicts() = OfAway(answer, supposed_, MayRead(answer), now_);
        }
      }
      if (page.next.has_value() && Room() != 0) return AskAllStored(*page.next);
      if (page.next.has_value()) response_.set_more(true);
      AskNextConnected();
    });
  }
  void AskNextConnected() {
    if (connected_.empty()) return Room() == 0 ? Finish() : AskAllOfShard(0, 0);
    const auto [ref, stored] = std::move(connected_.back());
    connected_.pop_back();
    if (elsewhere_.contains(ref.node)) {
      return AskThere(ref, stored.client_id, stored,
                      [self = shared_from_this()] { self->AskNextConnected(); });
    }
    OnShard(ref.shard, [this, number = ref.connection, stored = stored](broker::ShardCore& shard) {
      const auto answer = broker::ExplainConnected(shard, number, supposed_.on_shard);
      *response_.add_verdicts() = answer.has_value()
                                      ? OfConnected(*answer, stored, supposed_, now_)
                                      : OfAway(stored, supposed_, MayRead(stored), now_);
      AskNextConnected();
    });
  }
  void AskAllOfShard(uint32_t shard, uint64_t after) {
    if (shard >= broker_.shards()) return Finish();
    OnShard(static_cast<storage::ShardId>(shard), [this, shard, after](broker::ShardCore& core) {
      const auto page = broker::ExplainAllConnected(core, after, supposed_.on_shard, Room());
      for (const broker::ConnectedAnswer& answer : page.answers)
        *response_.add_verdicts() = OfConnected(answer, std::nullopt, supposed_, now_);
      if (Room() == 0) {
        response_.set_more(!page.end || shard + 1 < broker_.shards());
        return Finish();
      }
      page.end ? AskAllOfShard(shard + 1, 0) : AskAllOfShard(shard, page.next);
    });
  }

  void Finish() { reply_(std::move(response_)); }

  const BrokerAccess& broker_;
  const Fleet& fleet_;
  const Caller caller_;
  const pb::ExplainDeliveryRequest request_;
  const std::string client_id_;
  const size_t count_;
  const Supposed supposed_;
  const absl::Time now_;
  const Reply<pb::ExplainDeliveryResponse> reply_;
  // One task at a time uses these.
  pb::ExplainDeliveryResponse response_;
  std::vector<std::pair<storage::ConnectionRef, storage::StoredAnswer>> connected_;
  std::set<storage::NodeId> elsewhere_;  // Other nodes, of those.
};

void Delivery(const BrokerAccess& broker, const Fleet& fleet, const Caller& caller,
              const pb::ExplainDeliveryRequest& request, Reply<pb::ExplainDeliveryResponse> reply) {
  auto supposed = ToSupposed(request, broker.sources().clock->Now());
  absl::Status status = supposed.status();
  if (status.ok()) status = broker.CheckOpen();
  if (!status.ok()) return reply(status);
  std::make_shared<Explaining>(broker, fleet, caller, request, *std::move(supposed),
                               std::move(reply))
      ->Start();
}

}  // namespace

uint32_t ExplainedMax(const pb::ExplainDeliveryRequest& request) {
  return request.count() == 0 ? kUsualCount : std::min(request.count(), kCountMax);
}

void AddExplainService(const BrokerAccess& broker, const Fleet& fleet, Methods& methods) {
  methods.Add<pb::ExplainOwnerRequest, pb::ExplainOwnerResponse>(
      kService, "Owner",
      [&broker, &fleet](const Caller&, const pb::ExplainOwnerRequest& request, auto reply) {
        Owner(broker, fleet, request.client_id(), reply);
      });
  methods.Add<pb::ExplainDeliveryRequest, pb::ExplainDeliveryResponse>(
      kService, "Delivery",
      [&broker, &fleet](const Caller& caller, const pb::ExplainDeliveryRequest& request,
                        auto reply) {
        Delivery(broker, fleet, caller, request, std::move(reply));
      });
}

}  // namespace admin
