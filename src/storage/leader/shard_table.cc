#include "storage/leader/shard_table.h"

#include <algorithm>

#include "base/check.h"

namespace storage {

ShardTable::ShardTable(ShardId own) : self_{.shards = own}, addresses_(own, kNobody) {
  SetSelf({}, {});
}

void ShardTable::SetSelf(NodeId node, Incarnation incarnation) {
  self_.node = node;
  self_.incarnation = incarnation;
  for (ShardId shard = 0; shard < self_.shards; ++shard) {
    addresses_[shard] = {.node = node, .shard = shard, .incarnation = incarnation};
  }
}

ShardSlot ShardTable::Add(const LiveNode& other) {
  CHECK(other.node != self_.node) << "a node is not another one";
  size_t first = self_.shards;
  for (size_t slot = first; slot < first + other.shards && slot < slots(); ++slot) {
    if (!IsFree(static_cast<ShardSlot>(slot))) first = slot + 1;
  }
  addresses_.resize(std::max(slots(), first + other.shards), kNobody);
  CHECK(slots() < kNoShardSlot) << "no broker has so many shards";
  for (ShardId shard = 0; shard < other.shards; ++shard) {
    addresses_[first + shard] = {
        .node = other.node, .shard = shard, .incarnation = other.incarnation};
  }
  others_.push_back({.life = other, .first = static_cast<ShardSlot>(first)});
  return others_.back().first;
}

void ShardTable::Remove(const LiveNode& other) {
  const auto found = std::find_if(others_.begin(), others_.end(),
                                  [&](const Other& one) { return one.life == other; });
  CHECK(found != others_.end()) << "a node goes once";
  std::fill_n(addresses_.begin() + found->first, other.shards, kNobody);
  others_.erase(found);
}

ShardSlot ShardTable::Search(const ShardAddress& shard) const {
  for (const Other& other : others_) {
    if (other.life.node != shard.node || other.life.incarnation != shard.incarnation) continue;
    if (shard.shard >= other.life.shards) continue;
    return static_cast<ShardSlot>(other.first + shard.shard);
  }
  return kNoShardSlot;
}

}  // namespace storage
