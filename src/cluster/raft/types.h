// Plain values of Raft groups: what is stored of them, and what they are made of.
#ifndef CLUSTER_RAFT_TYPES_H_
#define CLUSTER_RAFT_TYPES_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace cluster {

// A partition's number, or the one of a group that is no partition.
using GroupId = uint16_t;

// A member of a group; never 0. A node that lost its log comes back under another.
using ReplicaId = uint64_t;

// Where an entry is. No two entries of a group ever have the same.
struct Place {
  uint64_t index = 0;
  uint64_t term = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

// Where the log of a new group begins: as if this entry had been there and applied. Not at 0, so
// that a member that comes later, with an empty log, gets a snapshot, and with it the members: they
// are not in the log.
inline constexpr Place kGroupBegin{.index = 5, .term = 5};

enum class EntryKind : uint8_t { kCommand = 0, kMemberChange = 1, kMemberChangeV2 = 2 };

struct EntryView {
  Place place;
  EntryKind kind = EntryKind::kCommand;
  std::string_view data;  // Empty: the first entry of a leader, which says nothing else.
};

struct HardState {
  uint64_t term = 0;
  ReplicaId vote = 0;
  uint64_t commit = 0;
  friend bool operator==(const HardState&, const HardState&) = default;
};

// Who the members are. While one set replaces another, both must agree.
struct ConfState {
  std::vector<ReplicaId> voters;
  std::vector<ReplicaId> learners;
  std::vector<ReplicaId> voters_outgoing;
  std::vector<ReplicaId> learners_next;
  bool auto_leave = false;
  friend bool operator==(const ConfState&, const ConfState&) = default;
};

struct ConfStateAt {
  uint64_t index = 0;
  ConfState state;
  friend bool operator==(const ConfStateAt&, const ConfStateAt&) = default;
};

struct MemberChange {
  enum class Kind : uint8_t { kAddVoter = 0, kRemove = 1, kAddLearner = 2 };
  Kind kind = Kind::kAddVoter;
  ReplicaId replica = 0;
};

enum class Role : uint8_t { kFollower = 0, kCandidate = 1, kLeader = 2 };

}  // namespace cluster

#endif  // CLUSTER_RAFT_TYPES_H_
