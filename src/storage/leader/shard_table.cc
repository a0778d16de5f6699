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
  has_had_others_ = true;
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

ShardSlot ShardTable::Remove(const LiveNode& other) {
  const auto found = std::find_if(others_.begin(), others_.end(),
                                  [&](const Other& one) { return one.life == other; });
  CHECK(found != others_.end()) << "a node goes once";
  const ShardSlot first = found->first;
  std::fill_n(addresses_.begin() + first, other.shards, kNobody);
  others_.erase(found);
  Incarnation& last = over_[other.node];
  last = std::max(last, other.incarnation);
  return first;
}

ShardTable::Fate ShardTable::FateOf(NodeId node, Incarnation incarnation) const {
  if (node == self_.node) return incarnation == self_.incarnation ? Fate::kLives : Fate::kOver;
  if (node.value() == 0) return Fate::kOver;  // A node alone, before there was a cluster.
  for (const Other& other : others_) {
    if (other.life.node != node) continue;
    if (other.life.incarnation == incarnation) return Fate::kLives;
    return incarnation < other.life.incarnation ? Fate::kOver : Fate::kUnknown;
  }
  const auto last = over_.find(node);
  return last != over_.end() && incarnation <= last->second ? Fate::kOver : Fate::kUnknown;
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
