// The state machine of the meta group: which nodes belong to the cluster, in which of their lives,
// and where replicas are to be.
#ifndef CLUSTER_CORE_MEMBERS_H_
#define CLUSTER_CORE_MEMBERS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cluster/core/node_life.h"
#include "cluster/core/placement.h"
#include "storage/core/apply_rules.h"

namespace mqttd::cluster::v1 {
class AdmitNode;
class Formation;
class GroupPlace;
class MembersCommand;
class MembersSnapshot;
class PlacePartitions;
}  // namespace mqttd::cluster::v1

namespace cluster {

// As many nodes at a time as one mask has bits.
inline constexpr size_t kNodesMax = 64;
inline constexpr size_t kReplicasMax = 7;
// The greatest apply level that this release knows.
inline constexpr uint32_t kLevelKnown = storage::GreatestLevel(storage::kApplyRules);

// As the meta group knows it.
struct Node {
  NodeId id;
  std::string uuid;  // Of its data directory.
  uint64_t start = 0;
  Incarnation incarnation;   // The last that was admitted. 0: it was never started.
  Incarnation gone_through;  // Lives up to this one have ended.
  std::string cluster_address;
  std::vector<std::string> client_addresses;
  std::string release;
  std::string zone;
  uint32_t level_max = 0;
  uint32_t shards = 0;  // Of the life that was admitted last.

  bool is_live() const { return incarnation > gone_through; }
  NodeLife life() const { return {id, incarnation}; }
  friend bool operator==(const Node&, const Node&) = default;
};

// The replicas of one group.
struct GroupReplicas {
  struct Replica {
    NodeId node;
    uint64_t number = 0;  // The group's ReplicaId: never another replica's of this cluster.
    friend bool operator==(const Replica&, const Replica&) = default;
  };
  std::vector<Replica> replicas;  // By node.
  NodeId leader;                  // Who should lead it; 0: any.

  GroupNodes nodes() const;
  friend bool operator==(const GroupReplicas&, const GroupReplicas&) = default;
};

// What became of a command. The same on every replica.
struct MembersOutcome {
  enum class Kind {
    kDone,
    kRepeated,  // It was applied before, and did nothing now.
    kStale,     // What it was made from has changed; of AdmitNode, the node has begun a later life.
    kRefused,   // `why` says in words.
  };
  Kind kind = Kind::kDone;
  std::string why;
  NodeLife admitted;           // Of AdmitNode that was done or repeated.
  Incarnation known;           // Of AdmitNode that is stale: the last that was admitted.
  std::vector<NodeLife> gone;  // Lives that ended by it.
};

// Plain state: commands in, outcomes out. It has no clock and decides nothing that is not in the
// command, so every replica of the meta group has the same. Numbers of nodes and replicas are never
// given twice.
class Members {
 public:
  Members() = default;  // Of no cluster.
  // As every founder has it before the first command: founders have the numbers from 1 on, in the
  // order of their UUIDs, and no incarnation.
  // `level_known`: the greatest apply level whose commands are understood.
  static Members Founded(const ::mqttd::cluster::v1::Formation& formation,
                         uint32_t level_known = kLevelKnown);

  // An entry of the log. kUnimplemented, kInvalidArgument: this release does not understand it, and
  // nothing behind it may be applied (docs/decisions/0014).
  absl::StatusOr<MembersOutcome> Apply(std::string_view entry);

  // Equal states have equal bytes.
  std::string Encode() const;
  static absl::StatusOr<Members> Decode(std::string_view snapshot);

  const std::string& cluster_id() const { return cluster_id_; }
  uint32_t level() const { return level_; }
  uint32_t replicas() const { return replicas_; }
  const std::map<NodeId, Node>& nodes() const { return nodes_; }
  const Node* Find(NodeId id) const;
  // Numbers up to this one have been given: who has one of them, and is no member, was forgotten.
  NodeId last_node() const { return last_node_; }
  const Node* FindByUuid(std::string_view uuid) const;
  bool IsLive(NodeLife life) const;
  // Of some group.
  bool HasReplicas(NodeId id) const;
  // Of which partitions.
  storage::PartitionMask PartitionsOn(NodeId id) const;
  // The node that was last where this one is, and has replicas, while this one has none: what it
  // had is lost, as far as is known, for it cannot come back there. 0: none.
  NodeId FormerAt(NodeId id) const;

  uint64_t placement_version() const { return placement_version_; }
  const std::vector<GroupReplicas>& partitions() const { return partitions_; }
  const GroupReplicas& meta() const { return meta_; }

  // What PlacePartitions should say so that replicas are where PlaceGroups wants them, on these
  // nodes; nothing if they are there.
  std::optional<::mqttd::cluster::v1::PlacePartitions> WantedPlacement(
      const std::vector<NodeId>& may_have) const;

  friend bool operator==(const Members&, const Members&) = default;

 private:
  MembersOutcome Admit(const ::mqttd::cluster::v1::AdmitNode& command);
  MembersOutcome MarkGone(NodeLife life);
  MembersOutcome Forget(NodeId id);
  MembersOutcome Place(const ::mqttd::cluster::v1::PlacePartitions& command);
  MembersOutcome Raise(uint32_t level);
  std::string WhyNotPlaced(const ::mqttd::cluster::v1::GroupPlace& place) const;
  void Take(const ::mqttd::cluster::v1::GroupPlace& place, GroupReplicas& group);
  absl::Status Read(const ::mqttd::cluster::v1::MembersSnapshot& snapshot);

  uint32_t level_known_ = kLevelKnown;
  std::string cluster_id_;
  uint32_t level_ = 0;
  uint32_t replicas_ = 0;
  NodeId last_node_;
  uint64_t last_replica_ = 0;
  std::map<NodeId, Node> nodes_;
  uint64_t placement_version_ = 0;
  std::vector<GroupReplicas> partitions_;
  GroupReplicas meta_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_MEMBERS_H_
