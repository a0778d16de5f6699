// SUBSCRIBE and UNSUBSCRIBE: the index, the routes, the acknowledgement, and the retained messages
// after it.
#ifndef BROKER_SUBSCRIBE_FLOW_H_
#define BROKER_SUBSCRIBE_FLOW_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "broker/core/subscription_changes.h"
#include "broker/shard/acknowledger.h"
#include "broker/shard/deliverer.h"
#include "broker/shard/route_announcer.h"
#include "broker/shard/shard_context.h"
#include "mqtt/packets.h"

namespace broker {

// Part of one shard, used on its thread.
//
// A subscription acts from when its SUBSCRIBE is read, and an unsubscription likewise; only the
// acknowledgement waits. Those of a durable session are its partition's: there a request stands in
// the log before whatever is published after it, so messages may be sent to the partition at once,
// by this shard and the others. What the partition refuses is taken back.
class SubscribeFlow {
 public:
  SubscribeFlow(ShardContext& context, Deliverer& deliverer, Acknowledger& acknowledger)
      : context_(context),
        deliverer_(deliverer),
        acknowledger_(acknowledger),
        announcer_(context) {}

  void OnSubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body);
  void OnUnsubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body);
  // A packet that is right in itself. `decided`, if not empty, is what a hook says to each filter:
  // an error refuses it, another code is the QoS granted at most.
  void Subscribe(Connection& connection, const mqtt::Subscribe& packet,
                 absl::Span<const mqtt::ReasonCode> decided);
  void Unsubscribe(Connection& connection, const mqtt::Unsubscribe& packet);
  // It is the turn of the connection's oldest SUBACK or UNSUBACK.
  void WriteAnswer(Connection& connection);

  // The partition host's answers.
  void OnSubscribeDone(const storage::SubscribeDone& event);
  void OnUnsubscribeDone(storage::UnsubscribeDone event);
  void OnRetainedPage(storage::RetainedPage event);
  void OnRouteChange(const storage::RouteChange& event);
  void OnRouteBlock(const storage::RouteBlock& event);
  // What a partition pushed while a SUBACK of the session waits although it is committed: retained
  // messages are not to come before it. Takes what has to wait out of `entries`: as much as the
  // session's window holds, and a page of retained messages.
  void HoldBack(const Connection& connection, std::vector<storage::Delivery>& entries);
  void ForgetHeldBack(const Connection& connection);  // It comes again.
  void OnShareMemberChange(storage::ShareMemberChange event);

  // What other shards announce, and their answers to our announcements.
  void OnShardRoute(const ShardRouteChange& change);
  void OnShardMember(ShardMemberChange change);
  void OnPartitionRoutes(const PartitionRoutesHeld& routes);
  void OnShareMemberHeld(ShareMemberHeld held);
  void OnConfirmed(const RoutesConfirmed& confirmed);
  void OnNodesConfirmed(const NodesConfirmed& confirmed);

  // A resumed session's subscription: into the index, nothing else.
  void AddStored(Session& session, const storage::SubscriptionRecord& record);
  // The session ends with its connection: out of the index. What its partition still has to answer
  // nobody waits for.
  void End(Session& session);

  // There is room again: goes on with the session's retained messages.
  void ContinueReplays(Session& session) {
    if (session.replay_came || session.replays != nullptr) ContinueThoseOf(session);
  }

  // Values of $SYS topics, for those who subscribe later.
  void OnSysTopics(const SysTopics& topics);

 private:
  // A SUBSCRIBE or UNSUBSCRIBE that is not acknowledged yet.
  struct Request {
    uint64_t connection = 0;
    mqtt::PacketId id;
    mqtt::PacketType answer = mqtt::PacketType::kSubAck;
    absl::InlinedVector<mqtt::ReasonCode, 8> reasons;
    bool replays = false;                           // It is counted in the session's `replays`.
    std::vector<Session::Replays::Waiting> replay;  // Of a transient session: after SUBACK.
    std::vector<storage::SubscriptionRecord> sys;   // $SYS values likewise, of any session.

    int waits = 0;       // For the commit, for the other shards.
    uint64_t route = 0;  // Announcement that every shard must have.
    Acknowledger::Ticket ticket = 0;
    bool committed = false;

    // Of a durable session.
    uint64_t commit_bytes = 0;
    std::string client_id;
    storage::PartitionId partition = 0;
    std::vector<SubscriptionChange> changes;
    std::shared_ptr<const std::vector<std::string>> held_routes;  // Null: none.
  };
  using RequestPtr = std::shared_ptr<Request>;
  // Of a connection, while it has any.
  struct Unanswered {
    std::deque<RequestPtr> requests;  // In the order in which they came.
    SubscriptionChanges changes;
    size_t committed = 0;                    // Of the requests.
    std::vector<storage::Delivery> entries;  // Held back while there are any of these.
  };

  std::optional<mqtt::Violation> CheckAvailable(const Session& session,
                                                const mqtt::Subscribe& packet) const;
  mqtt::ReasonCode Judge(const Session& session, const mqtt::Subscription& subscription,
                         mqtt::ReasonCode decided);
  // Which bound one more subscription would go beyond; none: it is known already, or there is room.
  std::optional<SubscribeRefusal> BoundReached(const Session& session, std::string_view filter);
  bool NeedsRoute(const Session& session, std::string_view filter) const;
  bool IsBeingChanged(const Session& session, std::string_view filter) const;
  void Subscribe(Session& session, storage::SubscriptionRecord record, Request& request);
  void Unsubscribe(Session& session, std::string_view filter, Request& request);
  void Commit(Connection& connection, RequestPtr request, storage::Token token,
              storage::Request commit, std::vector<std::string> routes);
  // Returns what the session had before.
  std::optional<SubscriptionTerms> Add(Session& session, const storage::SubscriptionRecord& record);
  std::optional<SubscriptionTerms> Remove(Session& session, std::string_view filter);
  std::optional<SubscriptionTerms> AddShared(Session& session,
                                             const storage::SubscriptionRecord& record);
  std::optional<SubscriptionTerms> RemoveShared(Session& session, std::string_view filter);
  void Attach(Session& session, std::string_view filter);
  void Restore(Session& session, const SubscriptionChange& change);
  void HoldMember(std::string_view filter, std::string_view client_id,
                  std::optional<ShareMember> member);
  void LetGoOfMember(Session* session, std::string_view filter, std::string_view client_id);
  void HoldRoutes(const Request& request, bool hold);
  // To be acknowledged when it is its turn and it waits for nothing.
  void Await(Connection& connection, RequestPtr request);
  void WaitedFor(Request& request);
  void GoOnWithAnnounced();
  // The partition has answered: null, if not to a request that is known.
  RequestPtr Settle(storage::Token token, const absl::Status& status);
  void Answer(Connection& connection, Request& request);
  void WriteSubAck(Connection& connection, Request& request);
  void WriteUnsubAck(Connection& connection, const Request& request);
  bool HasRoomForRetained(const Session& session) const;
  void ContinueThoseOf(Session& session);
  void SendPage(Session& session);
  void AskForPage(const Session& session);
  static void FinishReplay(Session::Replays& replays);
  // An unsubscribed filter gets none.
  static void ForgetReplays(Session::Replays& replays, std::string_view filter);
  void SendSysTopics(Session& session, const storage::SubscriptionRecord& record);

  ShardContext& context_;
  Deliverer& deliverer_;
  Acknowledger& acknowledger_;
  RouteAnnouncer announcer_;
  absl::flat_hash_map<uint64_t, Unanswered> unanswered_;  // By connection.
  absl::flat_hash_map<storage::Token, RequestPtr> committing_;
  std::deque<RequestPtr> announcing_;  // In the order of their announcements.
  uint64_t committing_bytes_ = 0;      // Of all connections: what the answers are waited for with.
  uint64_t room_ = 0;         // For subscriptions of all sessions, while a SUBSCRIBE is judged.
  SubscribeRefusal bound_{};  // Of the last filter that was answered with 0x97.
  absl::flat_hash_map<storage::Token, uint64_t> pages_;  // → connection
  std::map<std::string, mqtt::MessagePtr> sys_topics_;

 public:
  // Set if there are such hooks: they are asked before the packet acts.
  std::function<void(Connection&, uint8_t flags, mqtt::Bytes body, const mqtt::Subscribe&)>
      ask_subscribe_hook;
  std::function<void(Connection&, uint8_t flags, mqtt::Bytes body, const mqtt::Unsubscribe&)>
      ask_unsubscribe_hook;
};

}  // namespace broker
#endif  // BROKER_SUBSCRIBE_FLOW_H_
