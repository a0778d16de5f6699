// SUBSCRIBE and UNSUBSCRIBE: the index, the routes, the acknowledgement, and the retained messages
// after it.
#ifndef BROKER_SUBSCRIBE_FLOW_H_
#define BROKER_SUBSCRIBE_FLOW_H_

#include <cstdint>
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
  struct Pending {  // A SUBSCRIBE that is not acknowledged yet.
    uint64_t connection = 0;
    mqtt::PacketId id;
    absl::InlinedVector<mqtt::ReasonCode, 8> reasons;
    std::vector<storage::SubscriptionRecord>
        replay;  // Of a transient session: retained messages to send after SUBACK.
    std::vector<storage::SubscriptionRecord> sys;  // $SYS values likewise, of any session.
    std::vector<std::string> added;                // To be taken back if the commit fails.
    uint64_t route = 0;                            // Announcement that every shard must have.
    storage::Token commit = 0;                     // 0: none is waited for.
  };
  struct PendingUnsubscribe {
    uint64_t connection = 0;
    mqtt::PacketId id;
    size_t filters = 0;
  };

  std::optional<mqtt::Violation> CheckAvailable(const Session& session,
                                                const mqtt::Subscribe& packet) const;
  mqtt::ReasonCode Judge(const Session& session, const mqtt::Subscription& subscription) const;
  void Add(Session& session, const storage::SubscriptionRecord& record);
  void Remove(Session& session, const std::string& filter);
  bool AcknowledgeIfReady(std::map<uint64_t, Pending>::iterator it);
  void Acknowledge(Connection& connection, Pending& pending);
  void WriteUnsubAck(Connection& connection, mqtt::PacketId id,
                     absl::Span<const mqtt::ReasonCode> reasons);
  static bool HasRoomForRetained(const Session& session);
  void SendPage(Session& session);
  // An unsubscribed filter gets none.
  static void ForgetReplays(Session::Replays& replays, const std::string& filter);
  void SendSysTopics(Session& session, const storage::SubscriptionRecord& record);

  ShardContext& context_;
  Deliverer& deliverer_;
  RouteAnnouncer announcer_;
  std::map<uint64_t, Pending> pending_;  // By order of arrival.
  uint64_t next_pending_ = 0;
  absl::flat_hash_map<storage::Token, uint64_t> commits_;  // → pending_
  absl::flat_hash_map<storage::Token, PendingUnsubscribe> unsubscribing_;
  absl::flat_hash_map<storage::Token, uint64_t> pages_;  // → connection
  std::map<std::string, mqtt::MessagePtr> sys_topics_;
};

}  // namespace broker
#endif  // BROKER_SUBSCRIBE_FLOW_H_
