// What the broker wants from outside. A node alone implements it with its own partition host; a
// cluster with peers.
#ifndef BROKER_CORE_PORTS_H_
#define BROKER_CORE_PORTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "broker/core/router.h"
#include "broker/core/share_group.h"
#include "mqtt/message.h"
#include "storage/core/chosen_member.h"
#include "storage/core/partition_api.h"

namespace broker {

// Who is not served while most nodes of the cluster cannot be reached.
enum class Fenced : uint8_t {
  kNobody,
  kSessions,  // Who has a session or a will that would be kept.
  kEverybody,
};

// Takes durable changes to whoever leads the partition. Answers come back as storage::Event in the
// shard's mailbox.
class PartitionClient {
 public:
  virtual ~PartitionClient() = default;

  // Called on a shard's thread, once per turn at most; never blocks. First in, first out per shard.
  virtual void Submit(storage::ShardId shard, std::vector<storage::Addressed> requests) = 0;
};

// What a shard's sessions want of a filter's messages, and wanted before.
struct RouteAnnouncement {
  uint64_t number = 0;  // Ascending; NodesConfirmed names it.
  Wanted before = Wanted::kNothing;
  Wanted after = Wanted::kNothing;
  std::string filter;
};

// A transient session joined a `$share` group, has other options there, or left it.
struct MemberAnnouncement {
  uint64_t number = 0;  // As of routes.
  bool add = true;
  std::string filter;
  ShareMember member;  // Of one that leaves: who it is, and its connection.
};

// What is to be known of a message on its way to other nodes, beside itself.
struct Forwarding {
  // Not 0: when one of the nodes has the message comes NodeHas with this number or a greater one.
  // Ascends with each message of the shard for which there is one.
  uint64_t receipt = 0;
  // What it is a record of, if it is: told again by another leader, it is known there.
  storage::OutboxRef outbox;
};

// The way to the sessions of other nodes, and from theirs to this one's. Called on the shards'
// threads; never blocks. First in, first out per shard. What comes back is in the shard's mailbox:
// NodeRoutes, NodesConfirmed, NodePublish, NodeHas, NodeCaughtUp.
class Forwarder {
 public:
  virtual ~Forwarder() = default;

  // A message that sessions on these nodes want; what is viewed is copied. Returns those of them
  // that are behind with what they are sent: who publishes there waits for NodeCaughtUp, which
  // comes to every shard for each node that this has named.
  virtual NodeMask Forward(storage::ShardId shard, NodeMask nodes,
                           const mqtt::MessageParts& message, const Forwarding& how) = 0;
  // One that a member of a `$share` group on this node is to have, and nobody else. Returns the
  // node if it is behind.
  virtual NodeMask ForwardToMember(storage::ShardId shard, uint32_t node,
                                   const mqtt::MessageParts& message,
                                   const storage::ChosenMember& member, const Forwarding& how) = 0;
  // To which nothing goes just now: there is no link.
  virtual NodeMask CutOff() const = 0;
  // To all nodes; when they have it comes NodesConfirmed.
  virtual void Announce(storage::ShardId shard, RouteAnnouncement announcement) = 0;
  virtual void AnnounceMember(storage::ShardId shard, MemberAnnouncement announcement) = 0;
  // What the shard has forwarded and announced leaves, at the end of its turn.
  virtual void Flush(storage::ShardId shard) = 0;

  // The shard has the routes that NodeRoutes brought, up to `number`.
  virtual void RoutesTaken(storage::ShardId shard, uint32_t node, uint64_t number) = 0;

  // So much of what NodePublish brought from the node is on its way to those who want it.
  virtual void Taken(storage::ShardId shard, uint32_t node, uint64_t messages, uint64_t bytes) = 0;
};

}  // namespace broker
#endif  // BROKER_CORE_PORTS_H_
