// The log of a node alone: its thread writes one group at a time, while the host collects the next.
#ifndef STORAGE_LOG_WRITER_H_
#define STORAGE_LOG_WRITER_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "storage/core/command_log.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "storage/log.h"
#include "storage/log_end.h"

namespace storage {

// Leads all partitions from the start on, for ever, so what is written is committed. Cuts may be
// handed over at any time.
class LogWriter final : public CommandLog {
 public:
  // `end` may be null: then no account is kept of how far the log reaches. `clock` and `metrics`
  // outlive it.
  LogWriter(std::unique_ptr<Log> log, std::unique_ptr<LogEnd> end, const StorageOptions& options,
            const base::Clock& clock, HostMetrics& metrics);
  ~LogWriter() override;
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  absl::Status ReadAfter(PartitionId partition, uint64_t after, const Visit& visit) override;
  absl::Status Start(absl::Span<const LogStart> partitions, Post post) override;
  std::vector<LogEvent> Submit(Submission submission) override;
  void Flushed(PartitionId partition, uint64_t index) override;
  void Checkpoint(std::string directory, std::function<void(absl::Status)> done) override;
  absl::Status Stop() override;

 private:
  struct Group {
    std::vector<Committed> entries;
    bool sync = false;
  };
  // What is handed over beside groups.
  struct Copy {
    std::string directory;
    std::function<void(absl::Status)> done;
  };
  struct Work {
    std::optional<Group> group;
    std::map<PartitionId, uint64_t> cuts;
    std::optional<Copy> copy;
  };

  absl::Status CheckEnd();
  Group Number(Submission& submission);
  bool TakeLog() ABSL_LOCKS_EXCLUDED(mutex_);
  void Run();
  void Rest();
  bool WaitForWork(Work& work);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return group_.has_value() || !cuts_.empty() || copy_.has_value();
  }
  bool WaitForNews() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Write(Group group, std::vector<LogEvent>& events);
  absl::Status Append(const Group& group);
  void RepairIfDue(std::vector<LogEvent>& events);
  void SyncIfDue(std::vector<LogEvent>& events);
  void Break(const absl::Status& status, std::vector<LogEvent>& events);
  void CutAll(const std::map<PartitionId, uint64_t>& cuts);

  const std::unique_ptr<Log> log_;
  const std::unique_ptr<LogEnd> end_;
  const StorageOptions options_;
  const base::Clock& clock_;
  HostMetrics& metrics_;
  Post post_;
  std::vector<uint64_t> last_;  // The host's thread: what is numbered, by partition.
  std::thread thread_;

  base::Mutex mutex_;
  base::CondVar wake_;
  base::CondVar rest_;  // `working_` is false again.
  std::optional<Group> group_ ABSL_GUARDED_BY(mutex_);
  std::map<PartitionId, uint64_t> cuts_ ABSL_GUARDED_BY(mutex_);
  std::optional<Copy> copy_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool working_ ABSL_GUARDED_BY(mutex_) = false;  // One of both threads uses the log.

  // Of whoever set `working_`.
  bool broken_ = false;
  std::optional<Group> failed_;  // To be written again, as it is, once the log is repaired.
  absl::Duration repair_at_;     // Monotonic, as the others.
  bool unsynced_ = false;
  absl::Duration unsynced_since_;
  absl::Duration claimed_at_ = -absl::InfiniteDuration();
};

}  // namespace storage

#endif  // STORAGE_LOG_WRITER_H_
