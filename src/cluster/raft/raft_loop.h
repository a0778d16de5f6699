// All Raft groups of a node, as one thing that is stepped: what the log's thread does, without it.
#ifndef CLUSTER_RAFT_RAFT_LOOP_H_
#define CLUSTER_RAFT_RAFT_LOOP_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cluster/raft/command_log.h"
#include "cluster/raft/entry_store.h"
#include "cluster/raft/raft_group.h"
#include "cluster/raft/types.h"

namespace cluster {

struct RaftLoopOptions {
  RaftGroupOptions group;  // `replica` and `seed` are each group's own.
  uint64_t seed = 0;
  // A log keeps so much of what is flushed, for members that lag; those that lag further need a
  // snapshot (SnapshotWanted).
  uint64_t lagging_bytes_max = 64 << 20;
  // It is cut in steps of that size.
  uint64_t cut_bytes_min = 1 << 20;
  // A leader applies nothing that is not on its own disk, though most members have it. If a write
  // lasts for so many ticks, what this node leads goes to members that have all of it. So often,
  // too, what it is not fit to lead is offered to another (SetFit); ever more seldom if it comes
  // back, up to 16 times as long.
  uint32_t unfit_ticks = 16;
  // While so much waits for the write that is under way, no more is taken of other members: they
  // send it again.
  uint64_t unwritten_bytes_max = 64 << 20;
};

// How a replica comes to its group, after a start or when it is made. `applied` is as the state has
// it. Of a new group, of all its first members alike: kGroupBegin, and who they are. Of a member
// that is added later: nothing, and nobody; it is told. Whoever has lost its state or its log comes
// back as such a member, under another number.
struct GroupStart {
  GroupId group = 0;
  ReplicaId replica = 0;
  Place applied;
  // From entry `members_at` on: what MembersChanged or InstallSnapshot said last, kept with the
  // state and written with it. The log may not have it yet when the state has; or know who came
  // later.
  ConfState conf_state;
  uint64_t members_at = 0;
};

// A round: what came is said to it (OnMessage, Submit, Tick …), then Run, then what it wants done
// is taken: messages to send, events for replicas and leaders, and what to write. What depends on a
// write comes out after OnWritten and another Run. So whatever the caller does in between, nothing
// is sent or told before it may be.
//
// One write at a time, of all groups together; what the next one needs gathers meanwhile. A write
// that fails is tried again as it is: nobody hears of it until it succeeds.
//
// No thread, clock or I/O but reads of `store`: a simulator runs it as it is. Belongs to one
// thread.
class RaftLoop {
 public:
  struct Message {
    GroupId group = 0;
    ReplicaId to = 0;
    uint8_t kind = 0;  // eraftpb.MessageType
    std::string data;
    // Of a leader's heartbeat: all members have the log up to this entry. 0: nothing is said.
    uint64_t all_have = 0;
  };
  // Entries of a group that a write has. They replace what there was from the first on.
  struct Appended {
    GroupId group = 0;
    uint64_t first = 0;
    uint64_t last = 0;
  };
  struct Write {
    EntryBatch* batch = nullptr;
    // kNo: nobody waits for it to be on the disk.
    EntryStore::Sync sync = EntryStore::Sync::kNo;
    // A term, a vote or members are in it: synced whatever durability entries are to have, or a
    // group could have two leaders.
    bool votes = false;
    uint64_t entries = 0;
    uint64_t bytes = 0;  // Of their data.
    absl::Span<const Appended> appended;
  };

  // `store` outlives the loop.
  RaftLoop(RaftLoopOptions options, EntryStore& store);
  ~RaftLoop();
  RaftLoop(const RaftLoop&) = delete;
  RaftLoop& operator=(const RaftLoop&) = delete;

  // Where the log lacks what the state has applied (a crash between a snapshot's installation and
  // the log's restart), the log begins anew there. kDataLoss: the log begins behind the state.
  absl::Status AddGroup(const GroupStart& start);
  // This node is no member any more: forgets the group and its log. GroupStopped follows.
  void RemoveGroup(GroupId group);

  void Tick();
  // From another member, as its Message had it. kInvalidArgument: that was no message for us;
  // kUnimplemented: see RaftGroup.
  absl::Status OnMessage(GroupId group, std::string_view message, uint64_t all_have = 0);
  // Waits for room in the log; refused if this node does not lead.
  void Submit(Proposal proposal);
  // Readable or NotReadable follows, of a follower when the leader has answered it. All that are
  // asked for in one round take one confirmation.
  void ReadBarrier(GroupId group, uint64_t ticket);
  // The state up to `index` survives: the log may be cut there.
  void Flushed(GroupId group, uint64_t index);
  void OfferSnapshot(GroupId group, uint64_t index, std::string_view data);
  void Installed(GroupId group, Place place);
  void ReportSnapshot(GroupId group, ReplicaId to, bool arrived);
  void ReportUnreachable(GroupId group, ReplicaId to);
  // If this node leads it, its followers hear now how far entries are committed.
  void TellCommitted(GroupId group);
  absl::Status TransferLeadership(GroupId group, ReplicaId to);
  // Not fit: whoever leads here could not serve. If another member can lead the group, it shall.
  void SetFit(GroupId group, bool fit);
  // Of each group that this node leads the leadership goes to a member that has all of its log, if
  // there is one now. Returns how many are led here still, of those that have other members.
  size_t YieldLeaderships();
  absl::Status ChangeMembers(GroupId group, absl::Span<const MemberChange> changes);
  absl::Status Campaign(GroupId group);
  absl::StatusOr<RaftGroup::Status> GetStatus(GroupId group);

  void Run();
  std::vector<Message> TakeMessages() { return std::exchange(messages_, {}); }
  std::vector<LogEvent> TakeEvents() { return std::exchange(events_, {}); }
  // None: one is under way, or nothing has to be written. The batch stays the loop's.
  std::optional<Write> BeginWrite();
  void OnWritten();
  // No group has another member: nobody waits for anything but the disk.
  bool alone() const { return shared_groups_ == 0; }

 private:
  struct Group;
  // What a write gathers beside the batch.
  struct Round {
    std::unique_ptr<EntryBatch> batch;
    bool any = false;
    bool prompt = false;  // Somebody waits for it.
    bool sync = false;    // To be on the disk.
    bool votes = false;
    uint64_t entries = 0;
    uint64_t bytes = 0;
    std::vector<Appended> appended;
    std::vector<GroupId> groups;  // That hear of it.
  };

  // `bytes`: of the log that there is, as estimated.
  absl::Status Prepare(const GroupStart& start, RaftGroupStart& raft, Group& group,
                       uint64_t& bytes);
  Group* Find(GroupId id);
  void Touch(Group& group);
  void Propose(Group& group);
  void AskReads(Group& group);
  static void AskReadsAgain(Group& group);
  void TakeReadies(Group& group);
  void OnReady(Group& group, const RaftGroup::Ready& ready);
  void KeepSnapshot(Group& group, const RaftGroup::Ready& ready);
  void WriteState(Group& group, const HardState& state);
  void WriteEntries(Group& group, absl::Span<const EntryView> entries);
  void OnCommitted(Group& group, const RaftGroup::Ready& ready);
  void OnRole(Group& group, const RaftGroup::Ready& ready);
  void Send(Group& group, const RaftGroup::Ready& ready, std::vector<Message>& held);
  void Join(Group& group, uint64_t number, bool sync);
  void SetMembers(Group& group, ConfState state);
  void LoseLeadership(Group& group);
  // True: the status was OK, or says nothing about the group's health.
  bool Healthy(Group& group, const absl::Status& status);
  void Remove(Group& group);
  void Stop(Group& group, const absl::Status& status);
  bool Offer(Group& group);
  void OfferIfUnfit(Group& group, bool stuck);
  void CutIfDue(Group& group);
  uint64_t CutLimit(Group& group);
  static uint64_t AllHave(Group& group);

  const RaftLoopOptions options_;
  const uint64_t mark_bytes_;
  EntryStore& store_;
  std::map<GroupId, std::unique_ptr<Group>> groups_;  // Ordered: a run must not depend on a hash.
  std::vector<GroupId> touched_;                      // Who may have something to do.
  Round gathering_;
  Round writing_;
  uint64_t ticks_ = 0;
  uint32_t write_ticks_ = 0;  // For so long the write lasts.
  size_t shared_groups_ = 0;
  bool write_late_ = false;  // What was left for the next write goes without one.
  uint64_t last_read_ = 0;
  std::vector<Message> messages_;
  std::vector<LogEvent> events_;
};

}  // namespace cluster

#endif  // CLUSTER_RAFT_RAFT_LOOP_H_
