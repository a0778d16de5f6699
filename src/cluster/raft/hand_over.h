// Hands groups to the members that are to lead them.
#ifndef CLUSTER_RAFT_HAND_OVER_H_
#define CLUSTER_RAFT_HAND_OVER_H_

#include <cstdint>
#include <map>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cluster/raft/raft_loop.h"

namespace cluster {

// Belongs to the loop's thread. Nobody here knows whether a member is fit to lead what it is given
// (RaftLoop::SetFit): one that is not hands it on at once, and each time nobody is served for as
// long as two elections take. So what comes back is given again ever later, in the same life of the
// member's node. What has just come to be led here is not given on at once: it may come of that
// very member, which is about to stop, and would stop as its leader.
class HandOver {
 public:
  static constexpr absl::Duration kRestMin = absl::Seconds(1);
  static constexpr absl::Duration kRestMax = absl::Minutes(1);
  // For so long a group is led here before it is given away.
  static constexpr absl::Duration kLedMin = absl::Seconds(1);

  struct Wanted {
    GroupId group = 0;
    ReplicaId leader = 0;
    uint64_t life = 0;  // Of its node.
  };
  // Of those that `loop` leads each goes to the member that is to lead it, if that has all of its
  // log. Now and then; `now` is of a monotonic clock.
  void Run(RaftLoop& loop, absl::Span<const Wanted> wanted, absl::Duration now);

 private:
  struct Given {
    uint64_t life = 0;
    absl::Duration at = -absl::InfiniteDuration();
    absl::Duration rest;  // Before it is given again.
    absl::Duration led_since = absl::InfiniteDuration();
  };
  std::map<GroupId, Given> given_;
};

}  // namespace cluster

#endif  // CLUSTER_RAFT_HAND_OVER_H_
