// What a loop of Raft groups is told, and tells. For groups that are partitions,
// cluster/partition_log makes of it what storage/core/command_log.h has.
#ifndef CLUSTER_RAFT_COMMAND_LOG_H_
#define CLUSTER_RAFT_COMMAND_LOG_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "cluster/raft/types.h"

namespace cluster {

// `number` is the leader's own, never 0.
struct Proposal {
  GroupId group = 0;
  uint64_t number = 0;
  std::string entry;  // Not empty. Comes back in CommittedEntry.
  // Where no other member has to have it: false, and nobody waits for it to be on the disk.
  bool sync = true;
  // Taken in this term only. 0: in any.
  uint64_t term = 0;
};

struct CommittedEntry {
  Place place;
  std::string entry;      // Empty: nothing to apply, but an index that is used up.
  uint64_t proposal = 0;  // 0: not proposed here, or under an earlier leadership.
};

// Consecutive entries of one group.
struct Committed {
  GroupId group = 0;
  std::vector<CommittedEntry> entries;
};

enum class Fate {
  kSurely,   // It is in no log that could ever be committed.
  kUnknown,  // This node led no more before it was known; it may still come, as nobody's.
};

struct NotCommitted {
  GroupId group = 0;
  uint64_t proposal = 0;
  Fate fate = Fate::kSurely;
};

// Comes behind all that this role was the cause of.
struct RoleChange {
  GroupId group = 0;
  Role role = Role::kFollower;
  uint64_t term = 0;
  ReplicaId leader = 0;  // 0: unknown.
  // Of a leader: what earlier terms may have committed ends here, so it acts once this is applied.
  uint64_t applied_before_leading = 0;
};

// Whoever has applied `index` reads what all that was acknowledged before the barrier was asked
// for.
struct Readable {
  GroupId group = 0;
  uint64_t ticket = 0;
  uint64_t index = 0;
};

// This node leads no more, or has no replica: ask again, elsewhere.
struct NotReadable {
  GroupId group = 0;
  uint64_t ticket = 0;
};

// From entry `index` on the members are these: to be kept with the state. Comes before that entry.
struct MembersChanged {
  GroupId group = 0;
  uint64_t index = 0;
  ConfState members;
};

// The state as of `place` is to be had by what `data` says. Until Installed is said nothing else
// comes of the group.
struct InstallSnapshot {
  GroupId group = 0;
  Place place;
  std::string data;
  ConfState conf_state;  // The members there: to be kept with the state, and given back at a start.
};

// A follower needs what the log has no more: say OfferSnapshot.
struct SnapshotWanted {
  GroupId group = 0;
  ReplicaId to = 0;     // Each that does, once in a leadership.
  uint64_t has = 0;     // Through this entry.
  uint64_t begins = 0;  // The log has what is behind this one.
};

// kNotFound: this node is no member any more. Else it has to be made anew, from the disk.
struct GroupStopped {
  GroupId group = 0;
  absl::Status status;
};

// The log of all groups cannot be written, or, with OK, can again. Nothing is refused by that: what
// was taken is written when it can be.
struct LogHealth {
  absl::Status status;
};

using LogEvent =
    std::variant<Committed, NotCommitted, RoleChange, Readable, NotReadable, MembersChanged,
                 InstallSnapshot, SnapshotWanted, GroupStopped, LogHealth>;

}  // namespace cluster

#endif  // CLUSTER_RAFT_COMMAND_LOG_H_
