// Who is where: nodes, shards, connections, partitions, and entries of their logs.
#ifndef STORAGE_CORE_ADDRESSES_H_
#define STORAGE_CORE_ADDRESSES_H_

#include <cstdint>
#include <utility>

#include "base/ids.h"

namespace storage {

// Of a member of a cluster, given once and to nobody else after it. 0: a node alone has none.
using NodeId = base::StrongId<struct NodeIdTag, uint16_t>;

// Which life of a node it is: one more at each start, kept in its data directory. What an earlier
// one had connected is gone.
using Incarnation = base::StrongId<struct IncarnationTag, uint32_t>;

using ShardId = uint16_t;

// Index of a partition, 0 … partitions − 1. A mask has bit `1 << id`; hence at most 64 partitions
// on a node.
using PartitionId = uint16_t;
using PartitionMask = uint64_t;
inline constexpr PartitionId kPartitionsMax = 64;
constexpr PartitionMask BitOf(PartitionId id) { return PartitionMask{1} << id; }

struct ShardAddress {
  NodeId node;
  ShardId shard = 0;
  Incarnation incarnation;
  friend bool operator==(const ShardAddress&, const ShardAddress&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const ShardAddress& shard) {
    return H::combine(std::move(state), shard.node, shard.shard, shard.incarnation);
  }
};

// A node in the life that it has now.
struct LiveNode {
  NodeId node;
  Incarnation incarnation;
  ShardId shards = 0;                          // How many it has.
  PartitionMask replicas = ~PartitionMask{0};  // Of which partitions it has one.
  friend bool operator==(const LiveNode&, const LiveNode&) = default;
};

// A Network Connection: the shard that owns it and a number that is never used again while the
// process lives. With the process's incarnation it is never used again at all.
struct ConnectionRef {
  NodeId node;
  ShardId shard = 0;
  Incarnation incarnation;
  uint64_t connection = 0;

  ShardAddress address() const { return {node, shard, incarnation}; }
  friend bool operator==(const ConnectionRef&, const ConnectionRef&) = default;
};
// There is one in each connection, and in each claim.
static_assert(sizeof(ConnectionRef) == 16);

// An entry of a partition's log. Of two with one index, whichever has the later term stands.
struct EntryId {
  PartitionId partition = 0;
  uint64_t index = 0;
  uint64_t term = 0;
  friend bool operator==(const EntryId&, const EntryId&) = default;
};

}  // namespace storage

#endif  // STORAGE_CORE_ADDRESSES_H_
