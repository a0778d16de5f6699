// From a client's PUBLISH to everyone it is for, and the acknowledgement back.
#ifndef BROKER_PUBLISH_FLOW_H_
#define BROKER_PUBLISH_FLOW_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "broker/core/forward_credit.h"
#include "broker/core/node_receipts.h"
#include "broker/core/ports.h"
#include "broker/core/publish_right.h"
#include "broker/core/throttle.h"
#include "broker/shard/acknowledger.h"
#include "broker/shard/deliverer.h"
#include "broker/shard/shard_context.h"
#include "mqtt/packets.h"
#include "storage/core/outbox_ledger.h"

namespace broker {

// Where a message of a `$share` group has been.
struct Tried {
  uint32_t hops = 0;  // From node to node.
  std::vector<storage::ConnectionRef> without_right;
};

// Part of one shard, used on its thread.
//
// When may PUBACK leave? At once if nothing durable is concerned and nobody at another node; else
// when each partition that has a part of the message has answered, and each node that wants it has
// it: should this node die then, it is delivered all the same. That is `Route` here, `OnPublished`
// and `OnNodesHave`.
//
// PUBREC of a durable session leaves when the message is in the outbox of the session's partition
// (`Accept`): from there it is passed on, by whichever shard is told to (`OnRouteMessage`).
//
// And when do transient sessions get what is to be stored as well? A QoS 1 message at once: if it
// is refused after all, its publisher hears so and may send it again, and a repeat is what QoS 1
// allows. A QoS 2 message once it is committed: before that it may be a repeat, or be refused. And
// not before an earlier QoS 2 message of the same client [MQTT5-4.6.0-6]: partitions answer in any
// order.
class PublishFlow {
 public:
  PublishFlow(ShardContext& context, Deliverer& deliverer, Acknowledger& acknowledger)
      : context_(context),
        deliverer_(deliverer),
        acknowledger_(acknowledger),
        credit_(context.shards),
        paused_for_shard_(context.shards) {}

  void OnPublish(Connection& connection, uint8_t flags, mqtt::Bytes body);
  // What a hook has decided about the client's packet: `packet` has its QoS, RETAIN and identifier.
  void RouteDecided(Connection& connection, const mqtt::Publish& packet, mqtt::MessagePtr message,
                    PublishRight right);
  // 5.0 is told; 3.1.1 can only be acknowledged or cut off, and is acknowledged
  // [MQTT311-3.3.5-2].
  void Refuse(Session& session, const mqtt::Publish& packet, mqtt::ReasonCode reason);
  void OnPubRel(Connection& connection, const mqtt::Ack& packet);
  void OnClosed(const Connection& connection) { throttle_.Forget(connection.ref.connection); }

  // The partition host's answers.
  void OnPublished(storage::Published event);
  void OnCommitted();  // What is kept for partitions may be less.
  void OnInboundReleased(const storage::InboundReleased& event);
  // The connection whose PUBRELs wait for that answer. 0: none.
  uint64_t ReleasedBy(storage::Token token) const {
    const auto found = releasing_.find(token);
    return found == releasing_.end() ? 0 : found->second.connection;
  }
  // Whether the partition has answered it. Of requests without an answer: no.
  bool IsAnswered(const storage::Request& asked, storage::PartitionId partition) const;

  // What another shard or the host asks to be handed out here.
  void OnForwarded(ForwardedPublish forwarded);
  void OnForwardedAssignment(SharedAssignment assignment);
  // This shard has taken in what was in its mailbox: senders may go on.
  void TellSenders();
  void OnForwardsTaken(const ForwardsTaken& taken);
  void OnRouteMessage(storage::RouteMessage event);
  // A shared message whose member went before it had it, or may not read it: another member gets
  // it [MQTT5-4.8.2-5 and §4.8.2], but none of those of which it is known that they may not.
  void HandOn(mqtt::MessagePtr message, std::string_view shared_filter, Tried tried);
  // A member of `$share` groups has no room, or has room again.
  void OnMemberRoom(const std::string& client_id, bool has_room);
  // Another node's message, to the sessions of all shards here. A record of an outbox: unless they
  // have had it.
  void RouteOnThisNode(mqtt::MessagePtr message, const storage::OutboxRef& record);
  // Likewise, to a member of a `$share` group that it has chosen.
  void RouteToMember(mqtt::MessagePtr message, storage::ChosenMember member);
  // Its node went before it had it.
  void OnHandedBack(mqtt::MessagePtr message, storage::ChosenMember member);
  // What `receipts` said that nobody waits for any more.
  void OnNodesHave(const std::vector<storage::Token>& tokens);
  bool AnyShardIsBehind() const { return credit_.AnyIsBehind(); }
  // The server's own message, to the sessions of this shard only ($SYS).
  void RouteHere(mqtt::MessagePtr message);

 private:
  // A PUBLISH that waits for the commit, or for other nodes to have it.
  struct Waiting {
    uint64_t connection = 0;  // 0: the server's own, or a record of an outbox.
    mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
    Acknowledger::Ticket ticket = 0;  // Of its acknowledgement, above QoS 0.
    uint64_t bytes = 0;
    int64_t since_ns = 0;
    mqtt::MessagePtr route_after;  // QoS 2: transient sessions get it after the commit.
    // Likewise: transient members of `$share` groups, chosen already; the message is `route_after`.
    std::vector<SharedAssignment> assigned_after;
    storage::OutboxRef outbox;  // What it is a record of, if it is.
    bool groups_only = false;   // For the members of `$share` groups chosen.
    bool ending = false;        // These get it when nobody else can any more.
    uint32_t members_told = 0;  // As OutboxDone says it.

    storage::PartitionMask awaited = 0;  // Whose answers are to come.
    absl::Status status;                 // What those that did say: the first error.
    bool duplicate = false;
    bool commits = false;     // A partition was asked.
    uint32_t owed = 0;        // Receipts that are to come; `receipts` knows of whom.
    bool handed_out = false;  // A record: transient sessions have it, or it is on its way to them.
    uint64_t in_order = 0;    // QoS 2: whose messages are to stay in order. 0: nobody's.
    bool answered = false;    // All have; it waits for those before it.
    bool done = false;        // And does not need to: nothing follows any more.
    storage::Token next = 0;  // The next that is to stay in order with it; 0: none.
  };
  // The QoS 2 messages of one client that wait, in the order in which it sent them; or those that
  // its partition has accepted, in the order in which they are passed on.
  struct InOrder {
    storage::Token first = 0;
    storage::Token last = 0;
  };
  struct WaitingRelease {
    uint64_t connection = 0;
    Acknowledger::Ticket ticket = 0;
  };

  // Of what clears a retained message and is for nobody, whoever subscribes to its topic.
  static const Match& Nobody();
  std::optional<mqtt::Violation> CheckLimits(const Session& session, const mqtt::Publish& packet,
                                             std::string_view topic);
  // False: it publishes too fast, and is closed.
  bool KeepsToRate(Connection& connection, uint64_t bytes);
  void Accept(Connection& connection, const mqtt::Publish& packet, Outgoing& outgoing,
              const Match& match);
  void RouteDurable(Connection& connection, const mqtt::Publish& packet, Outgoing& outgoing,
                    const Match& match);
  void AcknowledgeRouted(Session& session, const mqtt::Publish& packet, bool unmatched);
  void Route(Connection& connection, const mqtt::Publish& packet, std::string_view topic,
             PublishRight right);
  void RouteOut(Connection& connection, const mqtt::Publish& packet, Outgoing& outgoing,
                PublishRight right);
  void Acknowledge(Session& session, const mqtt::Publish& packet, mqtt::ReasonCode reason);
  // A record goes to the sessions here once, however often a leader tells of it.
  void RouteTransient(Outgoing& outgoing, const Match& match,
                      const storage::OutboxRef& record = {});
  void ForwardToShards(Outgoing& outgoing, ShardMask shards);
  void ForwardToNodes(Outgoing& outgoing, const Match& match, const storage::OutboxRef& record);
  // One that can have it: who has room, and takes a packet of its size, goes first.
  ShareGroup::Choice ChooseMember(ShareGroup& group, const Outgoing& outgoing,
                                  const Tried& tried = {});
  bool CanReach(const ShareMember& member, ShareGroup::Asked asked, uint32_t hops) const;
  // A durable member goes into `publish`. A transient one gets the message now or, if `waiting` is
  // given, once that is committed. False: there is no member.
  bool AssignTo(const ShareGroup::Choice& choice, const ShareGroup& group, Outgoing& outgoing,
                storage::Publish& publish, Waiting* waiting, Tried tried = {});
  // False: its node is not there any more.
  bool ForwardToMember(const mqtt::MessageParts& message, storage::ChosenMember& member);
  void CountWithoutMember(uint64_t groups);
  // Members of groups for a record of an outbox. False: it is not to be passed on now.
  bool AssignGroups(const storage::RouteMessage& event, absl::Span<ShareGroup* const> groups,
                    Outgoing& outgoing, storage::Publish& publish, Waiting& waiting);
  void FinishRecord(Waiting waiting);
  void EndRecord(const Waiting& waiting, storage::OutboxDone::Fate fate, storage::Token token = 0);
  void RouteAssigned(Waiting& waiting);
  void RouteCommitted(Waiting& waiting);
  void AssignHere(SharedAssignment assignment);  // To whichever shard of this node.
  void OnSharedAssignment(SharedAssignment assignment);
  void HandOn(SharedAssignment assignment);
  void SendAssignment(storage::ShardId shard, SharedAssignment assignment);
  void NoteForwarded(storage::ShardId shard, const mqtt::Message& message);
  // What is routed from here on is another message.
  void BeginMessage() {
    behind_.reset();
    nodes_behind_ = 0;
    owed_.Begin();
  }
  void PauseIfBehind(Connection& connection) {
    if (behind_.has_value() || nodes_behind_ != 0) PauseForThoseBehind(connection);
  }
  void PauseForThoseBehind(Connection& connection);
  void Submit(storage::Publish publish, Waiting waiting);
  // It waits for the nodes too to which this message was forwarded.
  Waiting& Await(storage::Token token, Waiting waiting);
  using WaitingByToken = absl::flat_hash_map<storage::Token, std::unique_ptr<Waiting>>;
  void FinishIfAnswered(WaitingByToken::iterator place);
  void FinishInOrder(uint64_t in_order);
  void Finish(std::unique_ptr<Waiting> waiting);
  void PauseIfCommitsPileUp(Connection& connection);
  void ResumeIfCommitsCaughtUp();

  ShardContext& context_;
  Deliverer& deliverer_;
  Acknowledger& acknowledger_;
  mqtt::Publish packet_;  // The one being handled: its views end with it. Kept for its memory.
  std::string scratch_;
  WaitingByToken waiting_;
  std::vector<std::unique_ptr<Waiting>> spare_;      // Empty ones: no message allocates its own.
  absl::flat_hash_map<uint64_t, InOrder> in_order_;  // Of `waiting_`.
  uint64_t waiting_bytes_ = 0;
  absl::flat_hash_map<storage::Token, WaitingRelease> releasing_;
  std::vector<uint64_t> paused_;  // Connections that stand still until commits catch up.
  Throttle throttle_;
  ForwardCredit credit_;
  storage::OutboxLedger outbox_;
  std::optional<storage::ShardId> behind_;  // One that the present PUBLISH found behind.
  NodeMask nodes_behind_ = 0;               // Likewise.
  OwedReceipts owed_;                       // Of the present message.
  // Connections that stand still until that shard catches up.
  std::vector<std::vector<uint64_t>> paused_for_shard_;

 public:
  // Of what is on its way to other nodes. Records of outboxes are patient.
  NodeReceipts receipts;
  NodeMask unheard_nodes = 0;  // See NodeRoutes.
  // Set in a cluster. Says which of the nodes are behind.
  std::function<NodeMask(NodeMask nodes, const mqtt::MessageParts& message, const Forwarding& how)>
      forward;
  // The connection publishes to them: until they have caught up it is not read from.
  std::function<void(Connection&, NodeMask behind)> pause_for_nodes;
  // Where a connection is: each node tells of those of its members.
  struct Where {
    enum class Kind : uint8_t { kHere, kAtNode, kGone };
    Kind kind = Kind::kHere;
    uint32_t node = 0;  // Its place in a NodeMask.
    bool cut_off = false;
  };
  std::function<Where(const storage::ConnectionRef&)> where_is;
  std::function<NodeMask(uint32_t node, const mqtt::MessageParts&, const storage::ChosenMember&,
                         const Forwarding& how)>
      forward_to_member;
  // Set if there is a hook: it is asked before a PUBLISH is routed.
  std::function<void(Connection&, const mqtt::Publish&, std::string_view topic, PublishRight)>
      ask_hook;
};

}  // namespace broker
#endif  // BROKER_PUBLISH_FLOW_H_
