// What other threads tell a shard: values in its mailbox.
#ifndef BROKER_SHARD_TASK_H_
#define BROKER_SHARD_TASK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "auth/core/login.h"
#include "broker/core/forward_credit.h"
#include "broker/core/router.h"
#include "broker/core/share_group.h"
#include "broker/core/stream.h"
#include "broker/shard/hook_answer.h"
#include "mqtt/message.h"
#include "storage/core/chosen_member.h"
#include "storage/core/partition_api.h"

namespace broker {

// A message that another shard received: match it and deliver it to the sessions here. `$share`
// groups and partitions are the sender's business.
struct ForwardedPublish {
  mqtt::MessagePtr message;
  storage::ShardId from = 0;
};

// The sender chose this connection of a `$share` group.
struct SharedAssignment {
  mqtt::MessagePtr message;
  storage::ChosenMember member;
  storage::ShardId from = 0;
};

// The queue of a transient member of `$share` groups has no room, or has room again: see
// storage::ShareMemberRoom.
struct MemberRoomChange {
  std::string client_id;
  bool has_room = false;
};

// Messages of these two kinds that the sender has taken in since it said so last.
struct ForwardsTaken {
  storage::ShardId by = 0;
  ForwardCredit::Amount amount;
};

// The sender wants another part of a filter's messages: its sessions have their first subscription
// to it, the first that needs more, or the last one went. Answer: RoutesConfirmed.
struct ShardRouteChange {
  storage::ShardId from = 0;
  uint64_t number = 0;
  Wanted before = Wanted::kNothing;
  Wanted after = Wanted::kNothing;
  std::string filter;
};

// A transient session of the sender joined or left a `$share` group. Answer: RoutesConfirmed.
struct ShardMemberChange {
  storage::ShardId from = 0;
  uint64_t number = 0;
  bool add = true;
  std::string filter;
  ShareMember member;
};

// A durable session of the sender subscribes: until the sender lets go, messages to these filters
// are for its partition, whatever that says itself meanwhile. The partition host has heard of it
// before, so it stores what follows behind the subscription.
struct PartitionRoutesHeld {
  bool hold = true;  // False: let go.
  storage::PartitionId partition = 0;
  std::shared_ptr<const std::vector<std::string>> filters;  // Plain ones.
};

// Likewise, of its place in a `$share` group. See Router::HoldMember.
struct ShareMemberHeld {
  bool hold = true;
  std::string filter;
  std::string client_id;
  std::unique_ptr<ShareMember> member;  // Null: it has none. Apart: it would make every task large.
};

struct RoutesConfirmed {
  storage::ShardId from = 0;
  uint64_t number = 0;
};

// What another node of the cluster wants, or does not want any more.
struct NodeRoute {
  FilterOfNode filter;
  Wanted wanted = Wanted::kAll;  // Or kQos0.
  bool add = true;
};

// A transient member of a `$share` group that another node has, or has no more.
struct NodeMember {
  std::string filter;
  ShareMember member;  // `of_node` and `connection` say which node's it is.
  bool add = true;
};

// Changes of what a node wants, in order: to every shard, which all read the same ones. Answer:
// Forwarder::RoutesTaken.
struct NodeRoutes {
  uint32_t node = 0;    // Its place in a NodeMask.
  bool forget = false;  // What it wanted until now, first.
  bool stale = false;   // It may want more than is known: until it is told otherwise, everything.
  // It was there before this node, and has not told everything as yet: it may have acknowledged
  // subscriptions that nobody here has heard of.
  bool unheard = false;
  uint64_t number = 0;
  std::shared_ptr<const std::vector<NodeRoute>> changes;   // Null: none.
  std::shared_ptr<const std::vector<NodeMember>> members;  // Likewise.
  storage::NodeId id;                                      // Who it is, and in which life.
  storage::Incarnation life;
  bool gone = false;  // Now it is nobody.
};

// Every node has this shard's announcements up to this one. Without most nodes: every node that can
// be reached; when there are most again, that is taken back as far as the others have not heard.
struct NodesConfirmed {
  uint64_t number = 0;
  uint32_t taken_back = 0;  // How often it was: what was said before that counts no more.
};

// A message from another node, for the transient sessions of all shards here, and for the durable
// ones that are connected if it has QoS 0. Those of one publisher come to one shard, in order.
struct NodePublish {
  uint32_t node = 0;
  mqtt::MessagePtr message;
  // Not null: it is for this member of a `$share` group, and nobody else.
  std::unique_ptr<storage::ChosenMember> member;
  // A record of an outbox. All of one partition come to the shard that is told of them when their
  // leader is here: it knows which the sessions here have had.
  storage::OutboxRef outbox;
};

// A node has what this shard has forwarded to it, up to that receipt: whatever becomes of this
// process, it is on its way to the sessions there.
struct NodeHas {
  uint32_t node = 0;
  uint64_t receipt = 0;
};

// Of the partition host of another node.
struct NodeEvent {
  storage::NodeId from;
  std::unique_ptr<storage::Event> event;  // Much larger than what comes between shards.
};

// What this shard has sent to a member of a `$share` group on a node that has gone, and that it may
// not have had: for another member.
struct HandedBack {
  mqtt::MessagePtr message;
  std::unique_ptr<storage::ChosenMember> member;
};

// A node that was behind with what it is sent has caught up.
struct NodeCaughtUp {
  uint32_t node = 0;
};

// A connection that another shard's acceptor took in.
struct AdoptConnection {
  std::unique_ptr<Stream> stream;
  size_t listener = 0;
};

struct PasswordVerified {
  uint64_t connection = 0;
  std::unique_ptr<auth::Outcome> outcome;  // Apart: it would make every task large.
};

// What a hook has decided about a packet of the connection.
struct HookAnswered {
  uint64_t connection = 0;
  std::unique_ptr<HookAnswer> answer;  // Apart: it would make every task large.
};

// New values of $SYS topics, and which of them changed.
struct SysTopics {
  std::shared_ptr<const std::vector<std::pair<std::string, std::string>>> values;
};

// All shards together hold too much of packets that are half sent: each gives up its part.
struct InputRelief {};

// Start, reload, shut down: rare, so a function will do. It runs on the shard's thread.
struct Control {
  std::function<void()> run;
};

using ShardTask =
    std::variant<ForwardedPublish, storage::Event, SharedAssignment, ForwardsTaken,
                 ShardRouteChange, ShardMemberChange, PartitionRoutesHeld, ShareMemberHeld,
                 MemberRoomChange, RoutesConfirmed, NodeRoutes, NodesConfirmed, NodePublish,
                 NodeHas, HandedBack, NodeEvent, NodeCaughtUp, AdoptConnection, PasswordVerified,
                 HookAnswered, SysTopics, InputRelief, Control>;

}  // namespace broker
#endif  // BROKER_SHARD_TASK_H_
