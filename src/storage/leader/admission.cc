#include "storage/leader/admission.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace storage {

PartitionMask Admission::ClosedMask() const {
  PartitionMask mask = 0;
  for (const auto& [id, closed] : closed_) {
    if (!closed.serves) mask |= BitOf(id);
  }
  return mask;
}

bool Admission::Consider(ShardSlot from, Addressed& asked) {
  PartitionMask blocked = blocked_[from] | ClosedMask();
  PartitionMask wanted = ~PartitionMask{0};  // Scans and confirmations come behind everything.
  if (asked.sequence != 0) {
    if (IsElsewhere(asked.partition)) return false;
    const auto closed = closed_.find(asked.partition);
    if (closed != closed_.end() && !closed->second.heard[from]) return false;
    wanted = BitOf(asked.partition);
  }
  if ((wanted & blocked) == 0) return true;
  blocked_[from] |= wanted;
  kept_.emplace_back(from, std::move(asked));
  return false;
}

void Admission::Close(PartitionId id, uint64_t life) {
  elsewhere_ &= ~BitOf(id);
  closed_[id] = {.life = life,
                 .serves = false,
                 .heard = std::vector<bool>(shards_.slots(), false),
                 .told = std::vector<std::optional<Claims>>(shards_.slots())};
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

std::optional<Claims> Admission::Hear(ShardSlot from, Claims claims) {
  const auto found = closed_.find(claims.partition);
  if (found == closed_.end() || found->second.life != claims.life) return std::nullopt;
  Closed& closed = found->second;
  if (closed.serves) {
    if (closed.heard[from]) return std::nullopt;
    closed.heard[from] = true;
    return claims;
  }
  closed.heard[from] = true;
  closed.told[from] = std::move(claims);
  return std::nullopt;
}

bool Admission::HearFurther(ShardSlot from, Claims& claims) {
  const auto found = closed_.find(claims.partition);
  if (found == closed_.end()) return true;
  Closed& closed = found->second;
  if (closed.serves) return closed.heard[from];
  if (std::optional<Claims>& told = closed.told[from]; told.has_value())
    std::move(claims.held.begin(), claims.held.end(), std::back_inserter(told->held));
  return false;
}

bool Admission::HasHeardAll(PartitionId id) const {
  const auto closed = closed_.find(id);
  if (closed == closed_.end()) return false;
  const std::vector<bool>& heard = closed->second.heard;
  for (ShardSlot shard = 0; shard < heard.size(); ++shard) {
    if (!heard[shard] && !shards_.IsFree(shard)) return false;
  }
  return true;
}

std::vector<std::optional<Claims>> Admission::Open(PartitionId id) {
  std::vector<std::optional<Claims>> told = std::move(closed_.at(id).told);
  closed_.erase(id);
  news_ = true;
  return told;
}

std::vector<std::optional<Claims>> Admission::OpenInPart(PartitionId id) {
  Closed& closed = closed_.at(id);
  closed.serves = true;
  news_ = true;
  return std::exchange(closed.told, {});
}

void Admission::Forget(ShardSlot shard) {
  blocked_.resize(shards_.slots(), 0);
  blocked_[shard] = 0;
  for (auto& [id, closed] : closed_) {
    closed.heard.resize(shards_.slots(), false);
    closed.heard[shard] = false;
    if (closed.serves) continue;
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
