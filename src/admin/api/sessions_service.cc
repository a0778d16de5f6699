#include "admin/api/sessions_service.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "admin/api/client_pages.h"
#include "admin/api/convert.h"
#include "admin/api/elsewhere.h"
#include "admin/api/message_proto.h"
#include "mqttd/admin/v1/sessions.pb.h"
#include "storage/core/session_queue.h"
#include "storage/leader/host.h"
#include "storage/leader/session_view.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Sessions";
constexpr uint64_t kPayloadBytesMax = 1 << 20;

absl::Status NoSession(const std::string& client_id) {
  return absl::NotFoundError(absl::StrCat("there is no session of \"", client_id, "\""));
}

void SetExpiry(uint32_t expiry_s, pb::Session& session) {
  session.set_never_expires(expiry_s == storage::kExpiryNever);
  if (!session.never_expires())
    *session.mutable_session_expiry() = ToDuration(absl::Seconds(expiry_s));
}

pb::Session ToProto(const storage::SessionView& view, const std::string& node) {
  pb::Session session;
  session.set_client_id(view.client_id);
  session.set_user_name(view.user_name);
  session.set_node(node);
  session.set_durable(true);
  session.set_partition(view.partition);
  session.set_connected(view.connected);
  session.set_protocol(static_cast<pb::ProtocolVersion>(view.version));
  session.set_listener(view.listener);
  const auto set_time = [](int64_t unix_ms, auto mutable_time) {
    if (unix_ms != 0) *mutable_time() = ToTimestamp(absl::FromUnixMillis(unix_ms));
  };
  set_time(view.created_at_unix_ms, [&] { return session.mutable_created(); });
  set_time(view.disconnected_at_unix_ms, [&] { return session.mutable_disconnected(); });
  set_time(view.ends_at_unix_ms, [&] { return session.mutable_ends(); });
  SetExpiry(view.expiry_s, session);
  session.set_subscriptions(static_cast<uint32_t>(view.subscriptions));
  session.set_queued_messages(view.queued_messages);
  session.set_queued_bytes(view.queued_bytes);
  session.set_dropped_messages(view.dropped);
  session.set_inflight_in(static_cast<uint32_t>(view.inbound_qos2.size()));
  if (view.will) {
    pb::Will& will = *session.mutable_will();
    will.set_topic(std::string(view.will->topic()));
    will.set_qos(static_cast<uint32_t>(view.will->qos()));
    will.set_retain(view.will->retain());
    will.set_payload_bytes(view.will->payload().size());
    *will.mutable_delay() = ToDuration(absl::Seconds(view.will_delay_s));
    set_time(view.will_due_at_unix_ms, [&] { return will.mutable_due(); });
  }
  return session;
}

// A transient one is as old as its connection.
pb::Session ToProto(const broker::ClientView& view, const std::string& node, absl::Time now) {
  pb::Session session;
  session.set_client_id(view.client_id);
  session.set_user_name(view.user_name);
  session.set_node(node);
  session.set_connected(true);
  session.set_protocol(static_cast<pb::ProtocolVersion>(view.version));
  session.set_listener(view.listener);
  *session.mutable_created() = ToTimestamp(now - view.connected);
  SetExpiry(0, session);
  session.set_subscriptions(static_cast<uint32_t>(view.subscriptions));
  session.set_queued_messages(view.queued_messages + view.inflight_out);
  session.set_queued_bytes(view.queued_bytes);
  session.set_inflight_in(static_cast<uint32_t>(view.inflight_in));
  return session;
}

// ---- List ---------------------------------------------------------------------------------------

// The durable ones, partition after partition on the host's thread, then the transient ones of the
// shards.
class ListWalk : public std::enable_shared_from_this<ListWalk> {
 public:
  ListWalk(const BrokerAccess& broker, const pb::ListSessionsRequest& request,
           Reply<pb::ListSessionsResponse> reply)
      : broker_(broker),
        filter_(request.filter()),
        sessions_max_(PageSizeOf(request.page())),
        node_(broker.sources().node_id()),
        reply_(std::move(reply)) {}

  void Start(uint64_t a, uint64_t b) {
    if ((a & kTransient) != 0)
      return ListTransient({.shard = static_cast<uint32_t>(a), .number = b});
    query_.one_partition = (a & kOnePartition) != 0;
    query_.client_id = filter_.client_id();
    query_.user_name = filter_.user_name();
    query_.queued_messages_min = filter_.queued_messages_min();
    query_.away_ms_min = absl::ToInt64Milliseconds(FromDuration(filter_.away_min()));
    if (filter_.connected() != pb::SessionFilter::CONNECTED_ANY)
      query_.connected = filter_.connected() == pb::SessionFilter::CONNECTED_YES;
    ListDurable(
        {.partition = static_cast<storage::PartitionId>(a), .slot = static_cast<uint32_t>(b)});
  }

 private:
  size_t room() const { return sessions_max_ - stored_.size(); }

  void ListDurable(storage::SessionPlace place) {
    if (room() == 0) {
      const uint64_t one = query_.one_partition ? kOnePartition : 0;
      return End(PageToken(one | place.partition, place.slot));
    }
    const bool open = broker_.OnHost([self = shared_from_this(), place](storage::Host& host) {
      const auto& leaders = host.node().leaders;
      if (self->query_.one_partition &&
          (place.partition >= leaders.size() || !leaders[place.partition]->serving()))
        return self->reply_(NotLedHere());
      storage::SessionPage page =
          storage::LookAtSessions(host.node(), self->query_, place, self->room());
      std::move(page.sessions.begin(), page.sessions.end(), std::back_inserter(self->stored_));
      if (page.next.has_value()) return self->ListDurable(*page.next);
      self->query_.one_partition ? self->End("") : self->ListTransient({});
    });
    if (!open) reply_(BrokerAccess::Closed());
  }

  void ListTransient(ClientPlace place) {
    const bool none = filter_.durable() || filter_.has_away_min() ||
                      filter_.connected() == pb::SessionFilter::CONNECTED_NO ||
                      filter_.queued_messages_min() != 0;
    if (none) return End("");
    if (room() == 0) return End(PageToken(kTransient | place.shard, place.number));
    broker::ClientQuery query;
    query.client_id = filter_.client_id();
    query.user_name = filter_.user_name();
    query.transient_only = true;
    FindClients(broker_, std::move(query), place, room(),
                [self = shared_from_this()](absl::StatusOr<ClientsFound> found) {
                  if (!found.ok()) return self->reply_(found.status());
                  self->transient_ = std::move(found->clients);
                  self->End(found->end
                                ? ""
                                : PageToken(kTransient | found->next.shard, found->next.number));
                });
  }

  void End(const std::string& next) {
    broker_.Aside([self = shared_from_this(), next] {
      const absl::Time now = self->broker_.sources().clock->Now();
      pb::ListSessionsResponse response;
      for (const storage::SessionView& view : self->stored_)
        *response.add_sessions() = ToProto(view, self->node_);
      for (const broker::ClientView& view : self->transient_)
        *response.add_sessions() = ToProto(view, self->node_, now);
      response.mutable_page()->set_next(next);
      self->reply_(std::move(response));
    });
  }

  const BrokerAccess& broker_;
  const pb::SessionFilter filter_;
  const size_t sessions_max_;
  const std::string node_;
  const Reply<pb::ListSessionsResponse> reply_;
  storage::SessionQuery query_;
  std::vector<storage::SessionView> stored_;
  std::vector<broker::ClientView> transient_;
};

void List(const BrokerAccess& broker, const Caller&, const pb::ListSessionsRequest& request,
          Reply<pb::ListSessionsResponse> reply) {
  uint64_t a = 0;
  uint64_t b = 0;
  absl::Status status = ParsePageToken(request.page().token(), a, b);
  if (status.ok()) status = broker.CheckOpen();
  if (!status.ok()) return reply(status);
  std::make_shared<ListWalk>(broker, request, std::move(reply))->Start(a, b);
}

// ---- One session --------------------------------------------------------------------------------

// What the host knows of the identifier. NOT_FOUND: neither a session nor a client.
using Look = std::function<void(absl::StatusOr<storage::IdentifierView>)>;
void LookAt(const BrokerAccess& broker, const Caller& caller, const std::string& client_id,
            Look look) {
  if (caller.connection.has_value()) {  // Of a session that is at its client's node alone.
    storage::IdentifierView view;
    view.connection = caller.connection;
    return look(std::move(view));
  }
  const bool open = broker.OnHost([client_id, look](storage::Host& host) {
    storage::IdentifierView view = storage::LookAtIdentifier(host.node(), client_id);
    if (!view.led) return look(NotLedHere());
    if (!view.stored.has_value() && !view.connection.has_value()) {
      return look(view.elsewhere.has_value() ? ConnectedElsewhere(client_id, *view.elsewhere)
                                             : NoSession(client_id));
    }
    look(std::move(view));
  });
  if (!open) look(broker.CheckOpen());
}

void Get(const BrokerAccess& broker, const Caller& caller, const pb::GetSessionRequest& request,
         Reply<pb::GetSessionResponse> reply) {
  const std::string client_id = request.client_id();
  LookAt(broker, caller, client_id,
         [&broker, client_id, reply](const absl::StatusOr<storage::IdentifierView>& view) {
           if (!view.ok()) return reply(view.status());
           if (view->stored.has_value()) {
             pb::GetSessionResponse response;
             *response.mutable_session() = ToProto(*view->stored, broker.sources().node_id());
             return reply(std::move(response));
           }
           const bool open = broker.OnShard(
               view->connection->shard,
               [&broker, client_id, reply,
                number = view->connection->connection](broker::ShardCore& shard) {
                 const auto client = broker::LookAtClient(shard, number);
                 if (!client.has_value()) return reply(NoSession(client_id));
                 pb::GetSessionResponse response;
                 *response.mutable_session() =
                     ToProto(*client, broker.sources().node_id(), broker.sources().clock->Now());
                 reply(std::move(response));
               });
           if (!open) reply(BrokerAccess::Closed());
         });
}

// What its shard holds of a connected session.
void LookOnShard(const BrokerAccess& broker, const storage::ConnectionRef& ref,
                 const std::string& client_id,
                 std::function<void(absl::StatusOr<broker::SessionView>)> done) {
  const bool open = broker.OnShard(
      ref.shard, [client_id, done, number = ref.connection](broker::ShardCore& shard) {
        auto view = broker::LookAtSession(shard, number);
        if (!view.has_value()) return done(NoSession(client_id));
        done(*std::move(view));
      });
  if (!open) done(BrokerAccess::Closed());
}

pb::Subscription ToProto(const storage::SubscriptionRecord& record) {
  pb::Subscription subscription;
  subscription.set_filter(record.filter);
  subscription.set_qos(static_cast<uint32_t>(record.options.qos));
  subscription.set_no_local(record.options.no_local);
  subscription.set_retain_as_published(record.options.retain_as_published);
  subscription.set_retain_handling(static_cast<uint32_t>(record.options.retain_handling));
  subscription.set_subscription_id(record.subscription_id);
  return subscription;
}

pb::ListSessionSubscriptionsResponse PageOf(const std::vector<storage::SubscriptionRecord>& all,
                                            const std::string& after, size_t count_max) {
  pb::ListSessionSubscriptionsResponse response;
  for (const storage::SubscriptionRecord& record : all) {
    if (!after.empty() && record.filter <= after) continue;
    if (static_cast<size_t>(response.subscriptions_size()) == count_max) {
      response.mutable_page()->set_next(
          response.subscriptions(response.subscriptions_size() - 1).filter());
      break;
    }
    *response.add_subscriptions() = ToProto(record);
  }
  return response;
}

void ListSubscriptions(const BrokerAccess& broker, const Caller& caller,
                       const pb::ListSessionSubscriptionsRequest& request,
                       Reply<pb::ListSessionSubscriptionsResponse> reply) {
  const std::string client_id = request.client_id();
  const std::string after = request.page().token();
  const size_t count_max = PageSizeOf(request.page());
  const auto of_shard = [=, &broker](const storage::ConnectionRef& ref) {
    LookOnShard(broker, ref, client_id, [=](const absl::StatusOr<broker::SessionView>& session) {
      if (!session.ok()) return reply(session.status());
      reply(PageOf(session->subscriptions, after, count_max));
    });
  };
  if (caller.connection.has_value()) return of_shard(*caller.connection);
  const bool open = broker.OnHost([=](storage::Host& host) {
    const storage::IdentifierView view = storage::LookAtIdentifier(host.node(), client_id);
    if (!view.led) return reply(NotLedHere());
    if (view.stored.has_value()) {
      return reply(
          PageOf(storage::LookAtSubscriptions(host.node(), client_id, after, count_max + 1), after,
                 count_max));
    }
    if (view.elsewhere.has_value()) return reply(ConnectedElsewhere(client_id, *view.elsewhere));
    if (!view.connection.has_value()) return reply(NoSession(client_id));
    of_shard(*view.connection);
  });
  if (!open) reply(broker.CheckOpen());
}

pb::ListQueueResponse ToProto(const storage::QueueView& view, uint64_t payload_bytes_max) {
  pb::ListQueueResponse response;
  response.set_queued_messages(view.queued_messages);
  response.set_queued_bytes(view.queued_bytes);
  for (const storage::QueuedView& entry : view.messages) {
    pb::QueuedMessage& message = *response.add_messages();
    message.set_sequence(entry.sequence);
    message.set_packet_id(storage::PacketIdOf(entry.sequence).value);
    message.set_expired(entry.expired);
    message.set_state(entry.released ? pb::QueuedMessage::STATE_RECEIVED
                      : entry.sent   ? pb::QueuedMessage::STATE_SENT
                                     : pb::QueuedMessage::STATE_QUEUED);
    if (!entry.message) continue;
    *message.mutable_message() = admin::ToProto(*entry.message, view.now_unix_ms,
                                                std::min(payload_bytes_max, kPayloadBytesMax));
    message.mutable_message()->set_qos(static_cast<uint32_t>(entry.qos));
  }
  if (!view.end) response.mutable_page()->set_next(absl::StrCat(view.next));
  return response;
}

void ListQueue(const BrokerAccess& broker, const Caller&, const pb::ListQueueRequest& request,
               Reply<pb::ListQueueResponse> reply) {
  uint64_t from = 0;
  if (!request.page().token().empty() && !absl::SimpleAtoi(request.page().token(), &from))
    return reply(absl::InvalidArgumentError("page.token: not one that a page before gave"));
  const bool open =
      broker.OnHost([client_id = request.client_id(), from, count_max = PageSizeOf(request.page()),
                     bytes_max = request.payload_bytes_max(), reply](storage::Host& host) {
        const storage::IdentifierView view = storage::LookAtIdentifier(host.node(), client_id);
        if (!view.led) return reply(NotLedHere());
        if (!view.stored.has_value() &&
            (view.connection.has_value() || view.elsewhere.has_value())) {
          return reply(absl::FailedPreconditionError(absl::StrCat(
              "the session of \"", client_id, "\" is transient: its queue has no places")));
        }
        if (!view.stored.has_value()) return reply(NoSession(client_id));
        const auto queue = storage::LookAtQueue(host.node(), client_id, from, count_max);
        if (!queue.ok()) return reply(queue.status());
        reply(ToProto(*queue, bytes_max));
      });
  if (!open) reply(broker.CheckOpen());
}

pb::InFlightOut::Waiting ToProto(broker::InFlightTable::State state) {
  using State = broker::InFlightTable::State;
  switch (state) {
    case State::kAwaitingPubAck:
      return pb::InFlightOut::WAITING_PUBACK;
    case State::kAwaitingPubRec:
      return pb::InFlightOut::WAITING_PUBREC;
    default:
      return pb::InFlightOut::WAITING_PUBCOMP;
  }
}

void ListInFlight(const BrokerAccess& broker, const Caller& caller,
                  const pb::ListInFlightRequest& request, Reply<pb::ListInFlightResponse> reply) {
  const std::string client_id = request.client_id();
  LookAt(broker, caller, client_id,
         [&broker, client_id, reply](const absl::StatusOr<storage::IdentifierView>& view) {
           if (!view.ok()) return reply(view.status());
           if (view->elsewhere.has_value())
             return reply(ConnectedElsewhere(client_id, *view->elsewhere));
           if (!view->connection.has_value()) {  // Its client is away: what it still owes us.
             pb::ListInFlightResponse response;
             response.set_out_max(view->stored->window_messages);
             for (const uint16_t id : view->stored->inbound_qos2) response.add_in(id);
             return reply(std::move(response));
           }
           LookOnShard(broker, *view->connection, client_id,
                       [reply](const absl::StatusOr<broker::SessionView>& session) {
                         if (!session.ok()) return reply(session.status());
                         pb::ListInFlightResponse response;
                         response.set_out_max(session->window);
                         for (const broker::InFlightView& each : session->out) {
                           pb::InFlightOut& out = *response.add_out();
                           out.set_packet_id(each.packet_id);
                           out.set_waiting(ToProto(each.state));
                         }
                         for (const uint16_t id : session->in) response.add_in(id);
                         reply(std::move(response));
                       });
         });
}

// ---- Delete -------------------------------------------------------------------------------------

// Who is connected is sent away, and its session ends with that; a session whose client is away is
// ended by the host. Either is over when the host says that the identifier is free and nothing is
// stored: until then it is asked again, each time behind what it had to do.
class Deletion : public std::enable_shared_from_this<Deletion> {
 public:
  Deletion(const BrokerAccess& broker, const Fleet& fleet, Caller caller, std::string client_id,
           Reply<pb::DeleteSessionResponse> reply)
      : broker_(broker),
        fleet_(fleet),
        caller_(std::move(caller)),
        client_id_(std::move(client_id)),
        reply_(std::move(reply)),
        begun_(broker.sources().clock->Monotonic()) {}

  void Look() {
    const bool open =
        broker_.OnHost([self = shared_from_this()](storage::Host& host) { self->Decide(host); });
    if (!open) reply_(broker_.CheckOpen());
  }

 private:
  void Decide(storage::Host& host) {
    const storage::IdentifierView view = storage::LookAtIdentifier(host.node(), client_id_);
    if (!view.led) return found_ ? AskNewLeader() : reply_(NotLedHere());
    if (view.stored.has_value() && !found_) {
      response_.set_subscriptions(static_cast<uint32_t>(view.stored->subscriptions));
      response_.set_queued_messages(view.stored->queued_messages);
    }
    const bool gone =
        !view.stored.has_value() && !view.connection.has_value() && !view.elsewhere.has_value();
    if (gone && !found_ && !view.changing) return reply_(NoSession(client_id_));
    if (gone && !view.changing) return reply_(std::move(response_));
    if (asked_)
      return reply_(absl::UnavailableError("the end of the session cannot be stored now"));
    found_ = true;
    if (view.connection.has_value()) return SendAway(*view.connection);
    if (view.elsewhere.has_value()) return SendAwayThere(*view.elsewhere);
    const bool ending =
        storage::EndStoredSession(host.node(), client_id_, [self = shared_from_this()] {
          self->asked_ = true;
          self->Look();
        });
    if (!ending) Again();
  }

  // Whether the end of the session was stored, who leads now knows; if not, that one ends it.
  void AskNewLeader() {
    pb::DeleteSessionRequest request;
    request.set_client_id(client_id_);
    fleet_.AskAbout<pb::DeleteSessionResponse>(
        client_id_, {.caller = caller_, .method = "/mqttd.admin.v1.Sessions/Delete"}, request,
        [self = shared_from_this()](const absl::StatusOr<pb::DeleteSessionResponse>& said) {
          if (!said.ok() && !absl::IsNotFound(said.status())) return self->reply_(said.status());
          self->reply_(std::move(self->response_));
        });
  }

  void SendAway(const storage::ConnectionRef& ref) {
    if (response_.was_connected() && ref == kicked_) return Again();
    response_.set_was_connected(true);
    kicked_ = ref;
    const bool open =
        broker_.OnShard(ref.shard, [self = shared_from_this(), ref](broker::ShardCore& shard) {
          broker::Kick(shard, ref.connection, {.end_session = true});
          self->LookBehind(ref.shard);
        });
    if (!open) reply_(BrokerAccess::Closed());
  }

  // Its client's node sends it away, and tells of it by another way than that of its answer: until
  // that has come here it is asked again, and each time it takes a round trip.
  void SendAwayThere(const storage::ConnectionRef& ref) {
    if (broker_.sources().clock->Monotonic() - begun_ > kNodePatience) return reply_(Busy());
    response_.set_was_connected(true);
    pb::KickClientsRequest kick;
    kick.set_client_id(client_id_);
    kick.set_end_session(true);
    fleet_.Ask<pb::KickClientsResponse>(
        ref.node.value(),
        {.caller = caller_,
         .method = "/mqttd.admin.v1.Clients/Kick",
         .connection = ToNodeConnection(ref)},
        kick, [self = shared_from_this(), node = ref.node](const auto& said) {
          if (said.ok()) return self->Look();  // Whether it was still there or not.
          self->reply_(absl::UnavailableError(absl::StrCat(
              "its client is connected at node ", node.value(), ": ", said.status().message())));
        });
  }

  static absl::Status Busy() {
    return absl::UnavailableError("the session is just being opened or closed: try again");
  }

  // What the shard has to tell the host goes at the end of its turn, and this after it.
  void LookBehind(storage::ShardId shard) {
    const bool open =
        broker_.OnShard(shard, [self = shared_from_this()](broker::ShardCore&) { self->Look(); });
    if (!open) reply_(BrokerAccess::Closed());
  }

  // The identifier is being opened or closed. Behind all that the log is busy with.
  void Again() {
    if (++tries_ > kTriesMax) return reply_(Busy());
    const bool open = broker_.OnHost([self = shared_from_this()](storage::Host& host) {
      storage::AfterPending(host.node(), self->client_id_,
                            [self] { self->LookBehind(self->kicked_.shard); });
    });
    if (!open) reply_(BrokerAccess::Closed());
  }

  static constexpr int kTriesMax = 1000;

  const BrokerAccess& broker_;
  const Fleet& fleet_;
  const Caller caller_;
  const std::string client_id_;
  const Reply<pb::DeleteSessionResponse> reply_;
  const absl::Duration begun_;
  pb::DeleteSessionResponse response_;
  storage::ConnectionRef kicked_;
  bool found_ = false;
  bool asked_ = false;
  int tries_ = 0;
};

}  // namespace

void AddSessionsService(const BrokerAccess& broker, const Fleet& fleet, Methods& methods) {
  const auto add = [&]<typename Request, typename Response>(
                       const char* name, void (*handle)(const BrokerAccess&, const Caller&,
                                                        const Request&, Reply<Response>)) {
    methods.Add<Request, Response>(
        kService, name,
        [&broker, handle](const Caller& caller, const Request& request, auto reply) {
          handle(broker, caller, request, std::move(reply));
        });
  };
  add("List", &List);
  add("Get", &Get);
  add("ListSubscriptions", &ListSubscriptions);
  add("ListQueue", &ListQueue);
  add("ListInFlight", &ListInFlight);
  methods.Add<pb::DeleteSessionRequest, pb::DeleteSessionResponse>(
      kService, "Delete",
      [&broker, &fleet](const Caller& caller, const pb::DeleteSessionRequest& request, auto reply) {
        std::make_shared<Deletion>(broker, fleet, caller, request.client_id(), std::move(reply))
            ->Look();
      });
}

}  // namespace admin
