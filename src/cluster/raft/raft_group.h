// One Raft group on this node: raft-rs as a C++ class.
#ifndef CLUSTER_RAFT_RAFT_GROUP_H_
#define CLUSTER_RAFT_RAFT_GROUP_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cluster/raft/types.h"

namespace cluster {

// Where a group finds entries that it does not keep in memory.
class EntryReader {
 public:
  virtual ~EntryReader() = default;
  // The entries [low, high) in order: at least one, then as many as fit into `bytes_max`.
  virtual absl::Status Read(uint64_t low, uint64_t high, uint64_t bytes_max,
                            absl::FunctionRef<void(const EntryView&)> take) = 0;
};

struct RaftGroupOptions {
  ReplicaId replica = 0;
  // Of the election timeouts. The same at all members: in no term two of them have the same.
  uint64_t seed = 0;
  uint32_t election_ticks = 10;
  uint32_t heartbeat_ticks = 1;
  uint64_t message_bytes_max = 256 << 10;  // Or one entry.
  // To one member. What a link has no room for is dropped and read from the disk again: a member
  // that lags far must not be sent more at once than passes. Of one group: whoever has many
  // divides.
  uint32_t messages_in_flight_max = 16;
  uint64_t uncommitted_bytes_max = 64 << 20;  // Proposals above wait.
  uint64_t committed_bytes_per_ready_max = 4 << 20;
  uint64_t entry_bytes_max = 64 << 20;
  uint64_t recent_bytes_max = 4 << 20;  // Entries in memory: what followers and replicas take next.
  // Whoever owns the group installs the snapshots that come. Else they are refused: a group that
  // waits for that answers nothing, and does not vote.
  bool installs_snapshots = true;
};

// What a group is made from after a start.
struct RaftGroupStart {
  HardState hard_state;
  ConfState conf_state;  // As of `applied`.
  Place begin;           // The log begins behind this.
  uint64_t last = 0;
  uint64_t applied = 0;
};

// Stepped by its owner: no thread, clock or I/O but for the reads of `reader`. Belongs to one
// thread. Views given out are valid until the next call but GetStatus. Errors: kUnavailable and
// kResourceExhausted pass; kFailedPrecondition is not for this member now; kInvalidArgument makes
// no sense; kUnimplemented is a snapshot, and nobody installs it; kNotFound: this node is no member
// any more. kInternal: raft-rs met what it takes for impossible, and the group answers nothing
// else; make it anew from the disk.
//
// Everything that raft.h lists holds here: no caller can get it wrong.
class RaftGroup {
 public:
  struct Message {
    ReplicaId to = 0;
    uint8_t kind = 0;  // eraftpb.MessageType
    bool after_persist = false;
    std::string_view data;
  };
  static constexpr uint8_t kAppend = 3;
  static constexpr uint8_t kSnapshot = 7;
  static constexpr uint8_t kHeartbeat = 8;
  static constexpr uint8_t kHeartbeatResponse = 9;

  struct ReadState {
    uint64_t context = 0;
    uint64_t index = 0;
  };
  // What is to be done: write `hard_state` and `entries`; send `messages`, some of them only then;
  // apply `committed`; and say Persisted. See raft.h.
  struct Ready {
    uint64_t number = 0;
    Role role = Role::kFollower;
    uint64_t term = 0;
    ReplicaId leader = 0;
    bool must_sync = false;
    const HardState* hard_state = nullptr;  // Null: as it was.
    std::vector<EntryView> entries;
    std::vector<EntryView> committed;
    std::vector<ConfStateAt> conf_states;
    std::vector<Message> messages;
    std::vector<ReadState> read_states;
    bool has_snapshot = false;
    Place snapshot;
    ConfState snapshot_conf_state;
    std::string_view snapshot_data;
    bool removed = false;
  };
  struct Progress {
    enum class State : uint8_t { kProbe = 0, kReplicate = 1, kSnapshot = 2 };
    ReplicaId replica = 0;
    uint64_t matched = 0;
    uint64_t next = 0;
    State state = State::kProbe;
    bool recently_active = false;
  };
  struct Status {
    Role role = Role::kFollower;
    uint64_t term = 0;
    ReplicaId leader = 0;
    uint64_t commit = 0;
    uint64_t last = 0;
    bool leads_current_term = false;  // It leads, and has committed an entry of its own term.
    std::vector<Progress> progress;   // Of a leader: all members.

    // Whether it could lead at once, if it were to: it is there, and has all that is committed.
    bool MayTakeOver(const Progress& member) const {
      return member.recently_active && member.state == Progress::State::kReplicate &&
             member.matched >= commit;
    }
  };

  // `reader` outlives the group.
  static absl::StatusOr<std::unique_ptr<RaftGroup>> Create(const RaftGroupOptions& options,
                                                           const RaftGroupStart& start,
                                                           EntryReader& reader);
  ~RaftGroup();
  RaftGroup(const RaftGroup&) = delete;
  RaftGroup& operator=(const RaftGroup&) = delete;

  // `heartbeats`: one tick in heartbeat_ticks, the same for all groups of a node. What leaders say
  // then goes together.
  absl::Status Tick(bool heartbeats);
  // `takes_entries`: false refuses a leader's entries with kResourceExhausted. It is not heard less
  // for that: heartbeats pass.
  absl::Status Step(std::string_view message, bool takes_entries = true);
  // The place of the first; the others follow it.
  absl::StatusOr<Place> Propose(absl::Span<const std::string_view> entries);
  // One change alone, or several at once by way of a joint configuration that is left by itself.
  // Not of the leader itself: transfer first.
  absl::StatusOr<Place> ProposeMembers(absl::Span<const MemberChange> changes);
  // A ReadState with this context comes once a majority has confirmed that this node still leads.
  absl::Status ReadIndex(uint64_t context);

  bool HasReady() const;
  absl::StatusOr<const Ready*> TakeReady();
  // All Readies up to that number are on the disk. Of a snapshot: installed, too.
  absl::Status Persisted(uint64_t number);
  // What is applied may be forgotten up to `index`. Where the log begins then.
  absl::StatusOr<Place> Compact(uint64_t index);

  // The follower that was last found to lack what is cut already: offer a snapshot. 0: none was
  // since this was called last.
  ReplicaId TakeSnapshotWanted();
  // The state as of `index`, and what to tell the follower of it.
  absl::Status OfferSnapshot(uint64_t index, std::string_view data);
  absl::Status ReportSnapshot(ReplicaId to, bool arrived);
  absl::Status ReportUnreachable(ReplicaId to);
  // Of a leader: its followers hear now how far entries are committed, and not with the next entry
  // or heartbeat.
  absl::Status TellCommitted();
  absl::Status TransferTo(ReplicaId to);
  // Stands for election now.
  absl::Status Campaign();
  absl::StatusOr<Status> GetStatus();

 private:
  struct Raw;
  RaftGroup();
  absl::Status ToStatus(int code) const;

  std::unique_ptr<Raw> raw_;
  Ready ready_;
};

}  // namespace cluster

#endif  // CLUSTER_RAFT_RAFT_GROUP_H_
