// The time of messages and sessions (base::Timeline) as all nodes of a cluster have it.
//
// Each node begins with what its own clocks say, and the wall clock of one may be a day off, or may
// have been set while its machine was off. What counts is what the others have: before it serves, a
// node takes the time of whoever leads the meta group, which comes with its first lease. A leader
// that has none yet takes that of the first node that asks it for a lease and has one; if none
// has, as when all of them start, they agree: the median of what more than half of the group's
// members have, or the lower of the two in the middle. In doubt an interval ends late, not early.
//
// From then on it is only ever put ahead, by as much as clocks drift: the leader follows whoever is
// ahead of it, and the others follow the leader. What they are told is as old as it was under way,
// so that nobody gets ahead of the fastest.
#ifndef CLUSTER_CORE_COMMON_TIME_H_
#define CLUSTER_CORE_COMMON_TIME_H_

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "cluster/core/node_life.h"

namespace cluster {

// What a node has.
struct TimeSaid {
  int64_t unix_ms = 0;  // Of its timeline. 0: it does not say; it is of an earlier release.
  bool agreed = false;  // It is the cluster's, and not what that node's own clocks say.
};

// Plain values in and out; used on one thread.
class CommonTime {
 public:
  // So much a node puts its time ahead to follow another: a part of the time that passes, and at
  // once no more than that. One whose clock is wrong pulls nobody faster.
  static constexpr double kFollowed = 0.01;
  static constexpr absl::Duration kFollowedAtOnce = absl::Seconds(1);
  // Who is ahead by more is not ahead by its drift, and is not followed.
  static constexpr absl::Duration kApartMax = absl::Minutes(1);
  // So often that is told, as long as it lasts.
  static constexpr absl::Duration kToldEvery = absl::Minutes(1);
  // So long a leader waits to hear of enough of the others. It hears of them, or does not lead.
  static constexpr absl::Duration kAgreesWithin = absl::Seconds(10);

  // What this node's timeline shows when its monotonic clock shows that. Before what follows, each
  // time.
  void SetNow(int64_t unix_ms, absl::Duration now);
  // For others. What is agreed stays so for as long as the process runs.
  TimeSaid Said() const { return {unix_ms_, agreed_}; }
  bool agreed() const { return agreed_; }

  // Whoever leads the group has said so, with a lease.
  void OnLeader(TimeSaid leader);

  // ---- Where the group is led.
  void Lead(absl::Duration now);
  // That node asks for a lease; it is one of `members` of the group, or none of them.
  void OnAsked(NodeId node, TimeSaid said, bool is_member, size_t members);
  // Nobody has been heard of for long enough: what is known has to do.
  void AgreeIfLate(absl::Duration now);

  // By so much the timeline is to be put ahead; back only before it is agreed.
  int64_t TakeShift() { return std::exchange(shift_ms_, 0); }

  // Somebody is more than kApartMax ahead or behind.
  struct Apart {
    NodeId node;           // None: who leads the group.
    int64_t ahead_ms = 0;  // Of this node.
  };
  // What is to be told of that.
  std::optional<Apart> TakeApart() { return std::exchange(apart_, std::nullopt); }
  uint64_t times_apart() const { return times_apart_; }

 private:
  void Shift(int64_t by_ms);
  void Follow(NodeId node, TimeSaid other);
  void Agree();

  int64_t unix_ms_ = 0;
  absl::Duration now_ = -absl::InfiniteDuration();
  bool agreed_ = false;
  int64_t shift_ms_ = 0;
  absl::Duration may_follow_;  // By so much now.
  absl::Duration led_since_;
  std::optional<Apart> apart_;
  absl::Duration next_apart_ = -absl::InfiniteDuration();
  uint64_t times_apart_ = 0;
  // How far those that have not agreed are ahead of this node; those that do not say are, too.
  std::map<NodeId, std::optional<int64_t>> heard_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_COMMON_TIME_H_
