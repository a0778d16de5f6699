// SUBSCRIBE and UNSUBSCRIBE: the index, the routes, the acknowledgement, and the retained messages
// after it.
#ifndef BROKER_SUBSCRIBE_FLOW_H_
#define BROKER_SUBSCRIBE_FLOW_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "broker/deliverer.h"
#include "broker/route_announcer.h"
#include "broker/shard_context.h"
#include "mqtt/packets.h"

namespace broker {

// Part of one shard, used on its thread.
//
// The subscriptions of a transient session are here, and change when the client asks. Those of a
// durable one are its partition's: what this shard has of them changes when the partition has said
// that it has, so there is nothing to be taken back when it cannot.
class SubscribeFlow {
 public:
  SubscribeFlow(ShardContext& context, Deliverer& deliverer)
      : context_(context), deliverer_(deliverer), announcer_(context) {}

  void OnSubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body);
  void OnUnsubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body);

  // The partition host's answers.
  void OnSubscribeDone(const storage::SubscribeDone& event);
  void OnUnsubscribeDone(storage::UnsubscribeDone event);
  void OnRetainedPage(storage::RetainedPage event);
  void OnRouteChange(const storage::RouteChange& event);
  void OnRouteBlock(const storage::RouteBlock& event);
  // What a partition pushed while a SUBACK of the session waits for the other shards: retained
  // messages are not to come before it. Takes what has to wait out of `entries`: as much as the
  // session's window holds, and a page of retained messages.
  void HoldBack(const Connection& connection, std::vector<storage::Delivery>& entries);
  void OnShareMemberChange(storage::ShareMemberChange event);

  // What other shards announce, and their answers to our announcements.
  void OnShardRoute(const ShardRouteChange& change);
  void OnShardMember(ShardMemberChange change);
  void OnConfirmed(const RoutesConfirmed& confirmed);

  // A resumed session's subscription: into the index, nothing else.
  void AddStored(Session& session, const storage::SubscriptionRecord& record);
  // The session ends: out of the index.
  void RemoveAll(Session& session);

  // There is room again: goes on with the session's retained messages.
  void ContinueReplays(Session& session);

  // Values of $SYS topics, for those who subscribe later.
  void OnSysTopics(const SysTopics& topics);

 private:
  struct Committing {  // Subscriptions that a session did not have before.
    size_t count = 0;
    size_t shared = 0;
    uint64_t bytes = 0;
  };
  struct Pending {  // A SUBSCRIBE that is not acknowledged yet.
    uint64_t connection = 0;
    mqtt::PacketId id;
    absl::InlinedVector<mqtt::ReasonCode, 8> reasons;
    std::vector<storage::SubscriptionRecord> commit;  // Of a durable session: being committed.
    Committing commit_new;                            // Of these, what it did not have before.
    uint64_t commit_bytes = 0;
    std::vector<Session::Replays::Waiting> replay;  // Of a transient session: after SUBACK.
    std::vector<storage::SubscriptionRecord> sys;   // $SYS values likewise, of any session.
    uint64_t route = 0;                             // Announcement that every shard must have.
  };
  struct PendingUnsubscribe {
    uint64_t connection = 0;
    mqtt::PacketId id;
    std::vector<std::string> filters;
  };
  struct Held {
    size_t subacks = 0;
    std::vector<storage::Delivery> entries;
  };

  std::optional<mqtt::Violation> CheckAvailable(const Session& session,
                                                const mqtt::Subscribe& packet) const;
  mqtt::ReasonCode Judge(const Session& session, const mqtt::Subscription& subscription);
  // Which bound one more subscription would go beyond; none: it is known already, or there is room.
  std::optional<SubscribeRefusal> BoundReached(const Session& session, std::string_view filter);
  void Take(Session& session, storage::SubscriptionRecord record, Pending& pending);
  void Add(Session& session, const storage::SubscriptionRecord& record);
  void Remove(Session& session, const std::string& filter);
  void AwaitRoutes(Pending pending);
  void Finish(Pending& pending);
  void ReleaseHeld(uint64_t number);
  void CommitUnsubscribe(Connection& connection, const mqtt::Unsubscribe& packet);
  void Acknowledge(Connection& connection, Pending& pending);
  void WriteUnsubAck(Connection& connection, mqtt::PacketId id,
                     absl::Span<const mqtt::ReasonCode> reasons);
  bool HasRoomForRetained(const Session& session) const;
  void SendPage(Session& session);
  void AskForPage(const Session& session);
  static void FinishReplay(Session::Replays& replays);
  // An unsubscribed filter gets none.
  static void ForgetReplays(Session::Replays& replays, const std::string& filter);
  void SendSysTopics(Session& session, const storage::SubscriptionRecord& record);

  ShardContext& context_;
  Deliverer& deliverer_;
  RouteAnnouncer announcer_;
  absl::flat_hash_map<storage::Token, Pending> committing_;
  // By connection: new subscriptions that are being committed, for the session's bounds.
  absl::flat_hash_map<uint64_t, Committing> committing_new_;
  uint64_t committing_bytes_ = 0;  // Of all connections: what the answers are waited for with.
  uint64_t room_ = 0;         // For subscriptions of all sessions, while a SUBSCRIBE is judged.
  SubscribeRefusal bound_{};  // Of the last filter that was answered with 0x97.
  std::deque<Pending> announcing_;            // In the order of their announcements.
  absl::flat_hash_map<uint64_t, Held> held_;  // By connection: while there are any of these.
  absl::flat_hash_map<storage::Token, PendingUnsubscribe> unsubscribing_;
  absl::flat_hash_map<storage::Token, uint64_t> pages_;  // → connection
  std::map<std::string, mqtt::MessagePtr> sys_topics_;
};

}  // namespace broker
#endif  // BROKER_SUBSCRIBE_FLOW_H_
