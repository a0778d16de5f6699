// The thread that writes the log: one group at a time, while the host collects the next.
#ifndef STORAGE_LOG_WRITER_H_
#define STORAGE_LOG_WRITER_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "storage/log.h"
#include "storage/log_end.h"

namespace storage {

// Driven by the host's thread, which hands over one Write or Repair at a time and waits for its
// result before the next. Cuts may be handed over at any time. Owns the Log while it runs.
class LogWriter {
 public:
  enum class Job { kWrite, kRepair, kSync };
  struct Result {
    Job job = Job::kWrite;
    absl::Status status;
  };

  // `report` is called on the writer's thread for every Write and Repair, and for a sync of its
  // own (durability interval) that failed.
  // `end` may be null: then no account is kept of how far the log reaches.
  LogWriter(std::unique_ptr<Log> log, std::unique_ptr<LogEnd> end, const StorageOptions& options,
            const base::Clock& clock, HostMetrics& metrics, std::function<void(Result)> report);
  ~LogWriter();  // Stops.
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  void Start();
  // Durable when reported, as far as `sync` and the durability asked for say.
  void Write(std::vector<LogEntry> entries, Log::Sync sync);
  // Writes without a sync on the caller's thread, if the writer's is at rest: nobody waits for the
  // disk, so two changes of threads would cost more than the write. None: hand it over with Write.
  std::optional<absl::Status> WriteHere(std::vector<LogEntry>& entries);
  // Tries to get the log to work again. Then hand over the Write that failed once more.
  void Repair();
  void Cut(PartitionId partition, uint64_t index);
  // Log::Checkpoint, on the writer's thread, behind what was handed over; one at a time.
  void Checkpoint(std::string directory, std::function<void(absl::Status)> done);
  // Log::ReadAfter, on the caller's thread. Waits for a write that is under way, not for a repair:
  // that may wait for the caller. Entries of a write that failed may be among what is visited.
  absl::Status ReadAfter(PartitionId partition, uint64_t after,
                         const std::function<absl::Status(const LogEntry&)>& visit);
  // Finishes what was handed over, syncs and closes the log, ends the thread.
  absl::Status Stop();

 private:
  struct Task {
    Job job = Job::kWrite;
    std::vector<LogEntry> entries;
    Log::Sync sync = Log::Sync::kNo;
  };

  void HandOver(Task task) ABSL_LOCKS_EXCLUDED(mutex_);
  void Run();
  void Rest();
  // What is handed over beside tasks.
  struct Copy {
    std::string directory;
    std::function<void(absl::Status)> done;
  };
  struct Work {
    std::optional<Task> task;
    std::map<PartitionId, uint64_t> cuts;
    std::optional<Copy> copy;
  };
  bool WaitForWork(Work& work);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return task_.has_value() || !cuts_.empty() || copy_.has_value();
  }
  bool WaitForNews() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Execute(Task& task);
  absl::Status ExecuteWrite(Task& task);
  void SyncIfDue();
  void CutAll(const std::map<PartitionId, uint64_t>& cuts);

  const std::unique_ptr<Log> log_;
  const std::unique_ptr<LogEnd> end_;
  absl::Duration claimed_at_ = -absl::InfiniteDuration();  // Monotonic.
  const Durability durability_;
  const absl::Duration interval_;
  const base::Clock& clock_;
  HostMetrics& metrics_;
  const std::function<void(Result)> report_;
  std::thread thread_;

  base::Mutex mutex_;
  base::CondVar wake_;
  base::CondVar rest_;  // `working_` is false again.
  std::optional<Task> task_ ABSL_GUARDED_BY(mutex_);
  std::map<PartitionId, uint64_t> cuts_ ABSL_GUARDED_BY(mutex_);
  std::optional<Copy> copy_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool working_ ABSL_GUARDED_BY(mutex_) = false;  // One of both threads uses the log.

  // Of whoever set `working_`.
  bool broken_ = false;
  bool unsynced_ = false;
  absl::Duration unsynced_since_;  // Monotonic.
};

}  // namespace storage

#endif  // STORAGE_LOG_WRITER_H_
