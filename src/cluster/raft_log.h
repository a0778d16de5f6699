// The thread that steps the Raft groups of a node and writes their logs.
#ifndef CLUSTER_RAFT_LOG_H_
#define CLUSTER_RAFT_LOG_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/mutex.h"
#include "cluster/log_store.h"
#include "cluster/raft/command_log.h"
#include "cluster/raft/raft_loop.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "storage/log_end.h"

namespace cluster {

struct RaftLogOptions {
  RaftLoopOptions loop;
  absl::Duration tick = absl::Milliseconds(100);  // A heartbeat of leaders.
  storage::Durability durability = storage::Durability::kSync;
  // How many groups, from 0 on, are partitions of this node's storage: their entries are claimed in
  // the LogEnd.
  uint32_t partitions = 0;
  absl::Duration durability_interval = absl::Milliseconds(100);
  // Its threads give way as all of the storage does. With other members they have the process's own
  // priority: a heartbeat that comes late costs an election.
  bool gives_way = true;
};

// Owned by whoever makes the node. Where no group has another member its thread waits for the disk
// itself, and what is proposed costs two changes of threads; or none, if nobody waits for the disk
// (SubmitHere). Else a second one waits, and heartbeats go on meanwhile.
//
// A log that cannot be written is repaired and written again for as long as it takes; what was
// taken waits, and LogHealth says so. Terms, votes and members are synced in every durability.
class RaftLog {
 public:
  // Both are called on the loop's thread and do not block. Messages may be lost, events are in
  // order. `post` gets what one round has brought about.
  using Send = std::function<void(std::vector<RaftLoop::Message>)>;
  using Post = std::function<void(std::vector<LogEvent>)>;

  // `end` may be null: then no account is kept of how far the log reaches. `clock` and `metrics`
  // outlive it; of the metrics it writes those of the log.
  RaftLog(RaftLogOptions options, std::unique_ptr<LogStore> store,
          std::unique_ptr<storage::LogEnd> end, const base::Clock& clock,
          storage::HostMetrics& metrics, Send send, Post post);
  ~RaftLog();  // Stops.
  RaftLog(const RaftLog&) = delete;
  RaftLog& operator=(const RaftLog&) = delete;

  // Adds the groups, has those without other members elect this node, and starts the threads.
  absl::Status Start(const std::vector<GroupStart>& groups);

  // Any thread. Neither blocks.
  void Submit(std::vector<Proposal> proposals);
  // The same on the caller's thread, with all that follows at once, if the loop is at rest and no
  // group has another member: for what need not be synced. What has become of it; absent:
  // `proposals` is as it was, and to be submitted.
  std::optional<std::vector<LogEvent>> SubmitHere(std::vector<Proposal>& proposals);
  // What other nodes' Send was given for this one. Those that are no messages are dropped.
  void Receive(std::vector<RaftLoop::Message> messages);
  // For all that is less frequent. Runs on the loop's thread, in the order of the calls; never, if
  // it has stopped.
  void Run(std::function<void(RaftLoop&)> task);

  // Calls `visit` for the entries of the group above `after`, in order, up to the last, committed
  // or not; those that are no commands have no data. Stops at its first error. kDataLoss: one is
  // missing between, or the log begins behind `after`. Any thread; before Start too. Waits for a
  // repair that is being tried, not for one that succeeds.
  absl::Status ReadAfter(GroupId group, uint64_t after,
                         absl::FunctionRef<absl::Status(const EntryView&)> visit);
  // Where the group's log ends, and until where it is known to be committed. Before Start.
  struct Extent {
    uint64_t last = 0;
    uint64_t committed = 0;
    bool alone = false;       // Replica 1 was the only member.
    bool of_cluster = false;  // There were others, or it had another number.
  };
  absl::StatusOr<Extent> ExtentOf(GroupId group, ReplicaId self) const;

  // Since when a write has been under way, monotonic; infinitely late: none is. Any thread.
  absl::Duration writes_since() const {
    const int64_t began_ns = write_began_ns_.load(std::memory_order_relaxed);
    return began_ns == 0 ? absl::InfiniteDuration() : absl::Nanoseconds(began_ns);
  }

  // The files of all that is committed, in a directory that does not exist: see
  // storage::CheckpointOf. On the caller's thread, any; a repair and ReadAfter wait for its end.
  absl::Status Checkpoint(const std::string& directory);

  // Writes what was taken, syncs and closes the log, ends the threads. Proposals without a fate by
  // then have none.
  absl::Status Stop();

 private:
  struct Task {
    std::function<void(RaftLoop&)> run;
  };
  struct Written {
    absl::Status status;
    absl::Duration took;
  };
  struct StopRequested {};
  using Input = std::variant<std::vector<Proposal>, std::vector<RaftLoop::Message>, Task, Written,
                             StopRequested>;

  void Serve();
  void Ring();
  void BeginTurn() ABSL_LOCKS_EXCLUDED(mutex_);
  void EndTurn() ABSL_LOCKS_EXCLUDED(mutex_);
  bool TickIsWanted() const { return !loop_.alone(); }
  void Emit(std::vector<LogEvent> events);
  void NoteEnd();
  void DisclaimReplaced();
  void TakeInputs();
  void On(std::vector<Proposal>& proposals);
  void On(std::vector<RaftLoop::Message>& messages);
  void On(Task& task);
  void On(Written& written);
  void On(StopRequested& stop);
  void Round();
  void HandOut();
  bool BeginWrite();
  void EndWrite(const Written& written);
  Written WriteNow();
  bool WantsSync() const;
  void RepairIfDue();
  void SyncIfDue();
  void SetHealth(const absl::Status& status);
  absl::Duration NextWake() const;
  void Sleep(absl::Duration until);
  void WriteOnItsThread();
  absl::Status ShutDown();

  const RaftLogOptions options_;
  const std::unique_ptr<LogStore> store_;
  const std::unique_ptr<storage::LogEnd> end_;
  const base::Clock& clock_;
  storage::HostMetrics& metrics_;
  const Send send_;
  const Post post_;
  base::Mailbox<Input> mailbox_;
  base::Mutex mutex_;
  base::CondVar wake_;
  bool rung_ ABSL_GUARDED_BY(mutex_) = false;
  base::CondVar turn_over_;
  bool turning_ ABSL_GUARDED_BY(mutex_) = false;  // A thread has what follows.
  base::Mutex store_mutex_;                       // Nobody reads while the store is opened anew.

  // The loop's thread, or who submits here in its place.
  std::vector<LogEvent>* here_ = nullptr;  // Takes events instead of `post_`.
  RaftLoop loop_;
  std::optional<RaftLoop::Write> writing_;  // Both threads may read it while it is being written.
  std::atomic<int64_t> write_began_ns_{0};  // 0: none is under way.
  bool disclaims_ = false;                  // It replaces what was claimed to be there.
  bool failed_ = false;                     // `writing_` has to be written again, after a repair.
  bool repaired_ = true;
  bool unsynced_ = false;
  absl::Duration unsynced_since_;  // Monotonic, as the others.
  absl::Duration next_tick_;
  absl::Duration next_repair_;
  absl::Status told_health_;
  absl::Duration claimed_at_ = -absl::InfiniteDuration();
  bool stopping_ = false;
  std::thread thread_;
  absl::Status stop_status_;

  // The writer's thread waits here for `writing_`.
  base::CondVar write_wake_;
  bool write_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool writer_ends_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread writer_;
};

}  // namespace cluster

#endif  // CLUSTER_RAFT_LOG_H_
