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
    blocked |= elsewhere_;
  }
  if ((wanted & blocked) == 0) return true;
  blocked_[from] |= wanted;
  kept_.emplace_back(from, std::move(asked));
  return false;
}

void Admission::Close(PartitionId id, uint64_t life) {
  elsewhere_ &= ~BitOf(id);
  closed_[id] = {.life = life, .told = std::vector<std::optional<Claims>>(shards_)};
  ForgetKept(id);
}

void Admission::SetElsewhere(PartitionId id) {
  elsewhere_ |= BitOf(id);
  closed_.erase(id);
  ForgetKept(id);
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
  return closed != closed_.end() &&
         std::all_of(closed->second.told.begin(), closed->second.told.end(),
                     [](const auto& claims) { return claims.has_value(); });
}

std::vector<Claims> Admission::Open(PartitionId id) {
  std::vector<Claims> told;
  for (std::optional<Claims>& claims : closed_.at(id).told) told.push_back(*std::move(claims));
  closed_.erase(id);
  return told;
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
