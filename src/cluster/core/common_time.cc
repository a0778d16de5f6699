#include "cluster/core/common_time.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace cluster {

void CommonTime::SetNow(int64_t unix_ms, absl::Duration now) {
  unix_ms_ = unix_ms;
  if (now > now_ && now_ != -absl::InfiniteDuration())
    may_follow_ = std::min(may_follow_ + (now - now_) * kFollowed, kFollowedAtOnce);
  now_ = now;
}

void CommonTime::OnLeader(TimeSaid leader) {
  if (agreed_) return Follow(NodeId(), leader);
  agreed_ = true;  // With one of an earlier release, too, which does not say: it grants leases.
  if (leader.unix_ms != 0) Shift(leader.unix_ms - unix_ms_);
}

void CommonTime::Lead(absl::Duration now) {
  heard_.clear();
  led_since_ = now;
}

void CommonTime::OnAsked(NodeId node, TimeSaid said, bool is_member, size_t members) {
  if (agreed_) {
    if (said.agreed) Follow(node, said);
    return;
  }
  if (said.agreed && said.unix_ms != 0) {
    agreed_ = true;
    return Shift(said.unix_ms - unix_ms_);
  }
  if (!is_member) return;
  heard_[node] = said.unix_ms != 0 ? std::optional<int64_t>(said.unix_ms - unix_ms_) : std::nullopt;
  if (heard_.size() * 2 > members) Agree();
}

void CommonTime::AgreeIfLate(absl::Duration now) {
  if (!agreed_ && now - led_since_ >= kAgreesWithin) Agree();
}

void CommonTime::Agree() {
  agreed_ = true;
  std::vector<int64_t> ahead;
  for (const auto& [node, by_ms] : heard_) {
    if (by_ms.has_value()) ahead.push_back(*by_ms);
  }
  if (ahead.empty()) return;
  std::sort(ahead.begin(), ahead.end());
  Shift(ahead[(ahead.size() - 1) / 2]);
}

void CommonTime::Follow(NodeId node, TimeSaid other) {
  if (other.unix_ms == 0) return;
  const int64_t behind_ms = other.unix_ms - unix_ms_;
  if (std::abs(behind_ms) > absl::ToInt64Milliseconds(kApartMax)) {
    ++times_apart_;
    if (now_ < next_apart_) return;
    next_apart_ = now_ + kToldEvery;
    apart_ = Apart{.node = node, .ahead_ms = behind_ms};
    return;
  }
  if (behind_ms <= 0) return;
  const int64_t by_ms = std::min(behind_ms, absl::ToInt64Milliseconds(may_follow_));
  may_follow_ -= absl::Milliseconds(by_ms);
  Shift(by_ms);
}

void CommonTime::Shift(int64_t by_ms) {
  shift_ms_ += by_ms;
  unix_ms_ += by_ms;
}

}  // namespace cluster
