// Which shards of which nodes a host serves.
#ifndef STORAGE_LEADER_SHARD_TABLE_H_
#define STORAGE_LEADER_SHARD_TABLE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "storage/core/addresses.h"

namespace storage {

// Where a shard stands in what the host keeps for each. This node's own have the first ones, by
// their numbers. One that is free is given to somebody else: what may outlive a node holds the
// shard's address.
using ShardSlot = uint16_t;
inline constexpr ShardSlot kNoShardSlot = 0xFFFF;

// Part of the host, used on its thread.
class ShardTable {
 public:
  explicit ShardTable(ShardId own);

  // Before anybody is served.
  void SetSelf(NodeId node, Incarnation incarnation);
  const LiveNode& self() const { return self_; }
  ShardSlot own() const { return self_.shards; }
  bool IsOwn(ShardSlot slot) const { return slot < self_.shards; }

  // The first slot of its shards, which follow each other. It is not there yet.
  ShardSlot Add(const LiveNode& other);
  // One that was added. Its slots, of which this is the first, are free.
  ShardSlot Remove(const LiveNode& other);
  struct Other {
    LiveNode life;
    ShardSlot first = 0;
  };
  const std::vector<Other>& others() const { return others_; }
  bool IsOther(NodeId node) const {
    return std::any_of(others_.begin(), others_.end(),
                       [node](const Other& other) { return other.life.node == node; });
  }
  // Sessions and routes may be of other nodes: it is one of several, or was.
  bool in_cluster() const { return self_.node.value() != 0 || has_had_others_; }

  // What is known of a life of a node.
  enum class Fate : uint8_t {
    kLives,
    kOver,     // It never comes back.
    kUnknown,  // Others may have heard of it before this node does.
  };
  Fate FateOf(NodeId node, Incarnation incarnation) const;

  // Free ones included.
  size_t slots() const { return addresses_.size(); }
  bool IsFree(ShardSlot slot) const { return addresses_[slot] == kNobody; }
  const ShardAddress& AddressOf(size_t slot) const { return addresses_[slot]; }
  // kNoShardSlot: nobody knows it.
  ShardSlot SlotOf(const ShardAddress& shard) const {
    if (shard.node != self_.node || shard.incarnation != self_.incarnation) return Search(shard);
    return shard.shard < self_.shards ? shard.shard : kNoShardSlot;
  }

 private:
  static constexpr ShardAddress kNobody = {.node = NodeId(0xFFFF), .shard = 0xFFFF};
  ShardSlot Search(const ShardAddress& shard) const;

  LiveNode self_;
  std::vector<Other> others_;
  std::vector<ShardAddress> addresses_;  // By slot.
  bool has_had_others_ = false;
  absl::flat_hash_map<NodeId, Incarnation> over_;  // The last life of each that has gone.
};

}  // namespace storage

#endif  // STORAGE_LEADER_SHARD_TABLE_H_
