#include "storage/leader/admission.h"

#include <algorithm>

namespace storage {

PartitionMask Admission::ClosedMask() const {
  PartitionMask mask = 0;
  for (const auto& [id, closed] : closed_) mask |= BitOf(id);
  return mask;
}

bool Admission::Consider(ShardSlot from, Addressed& asked) {
  PartitionMask blocked = blocked_[from] | ClosedMask();
  PartitionMask wanted = ~PartitionMask{0};  // Scans and confirmations come behind everything.
  if (asked.sequence != 0) {
    if (IsElsewhere(asked.partition)) return false;
    const auto closed = closed_.find(asked.partition);
    if (closed != closed_.end() && !closed->second.told[from].has_value()) return false;
    wanted = BitOf(asked.partition);
  }
  if ((wanted & blocked) == 0) return true;
  blocked_[from] |= wanted;
  kept_.emplace_back(from, std::move(asked));
  return false;
}

void Admission::Close(PartitionId id, uint64_t life) {
  elsewhere_ &= ~BitOf(id);
  closed_[id] = {.life = life, .told = std::vector<std::optional<Claims>>(shards_.slots())};
  ForgetKept(id);
}

void Admission::SetElsewhere(PartitionId id) {
  elsewhere_ |= BitOf(id);
  closed_.erase(id);
  ForgetKept(id);
  news_ = true;
}

// It comes again.
void Admission::ForgetKept(PartitionId id) {
  std::erase_if(kept_, [id](const auto& kept) {
    return kept.second.sequence != 0 && kept.second.partition == id;
  });
}

void Admission::Hear(ShardSlot from, Claims claims) {
  const auto closed = closed_.find(claims.partition);
  if (closed == closed_.end() || closed->second.life != claims.life) return;
  closed->second.told[from] = std::move(claims);
}

bool Admission::HasHeardAll(PartitionId id) const {
  const auto closed = closed_.find(id);
  if (closed == closed_.end()) return false;
  const auto& told = closed->second.told;
  for (ShardSlot shard = 0; shard < told.size(); ++shard) {
    if (!told[shard].has_value() && !shards_.IsFree(shard)) return false;
  }
  return true;
}

std::vector<std::optional<Claims>> Admission::Open(PartitionId id) {
  std::vector<std::optional<Claims>> told = std::move(closed_.at(id).told);
  closed_.erase(id);
  news_ = true;
  return told;
}

void Admission::Forget(ShardSlot shard) {
  blocked_.resize(shards_.slots(), 0);
  blocked_[shard] = 0;
  for (auto& [id, closed] : closed_) {
    closed.told.resize(shards_.slots());
    closed.told[shard].reset();
  }
  std::erase_if(kept_, [shard](const auto& kept) { return kept.first == shard; });
}

std::vector<std::pair<ShardSlot, Addressed>> Admission::TakeKept() {
  std::vector<std::pair<ShardSlot, Addressed>> kept = std::move(kept_);
  kept_.clear();
  std::fill(blocked_.begin(), blocked_.end(), 0);
  std::stable_sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second.place) < std::pair(b.first, b.second.place);
  });
  return kept;
}

}  // namespace storage
