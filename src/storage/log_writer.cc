#include "storage/log_writer.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/thread_priority.h"

namespace storage {

namespace {

constexpr absl::Duration kClaimInterval = absl::Milliseconds(100);

}  // namespace

LogWriter::LogWriter(std::unique_ptr<Log> log, std::unique_ptr<LogEnd> end,
                     const StorageOptions& options, const base::Clock& clock, HostMetrics& metrics,
                     std::function<void(Result)> report)
    : log_(std::move(log)),
      end_(std::move(end)),
      durability_(options.durability),
      interval_(options.durability_interval),
      clock_(clock),
      metrics_(metrics),
      report_(std::move(report)) {
  metrics_.log_healthy.Set(1);
}

LogWriter::~LogWriter() {
  if (thread_.joinable()) (void)Stop();
}

void LogWriter::Start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "mqttd-log");
    base::SetThreadPriority(base::ThreadPriority::kWork);
    Run();
  });
}

void LogWriter::Write(std::vector<LogEntry> entries, Log::Sync sync) {
  HandOver({.job = Job::kWrite, .entries = std::move(entries), .sync = sync});
}

void LogWriter::Repair() {
  HandOver({.job = Job::kRepair, .entries = {}, .sync = Log::Sync::kYes});
}

// The signal comes after the lock is free: the writer would wake up only to wait for it.
void LogWriter::HandOver(Task task) {
  {
    base::MutexLock lock(mutex_);
    CHECK(!task_.has_value()) << "the writer has a task already";
    task_ = std::move(task);
  }
  wake_.SignalOne();
}

void LogWriter::Cut(PartitionId partition, uint64_t index) {
  base::MutexLock lock(mutex_);
  uint64_t& cut = cuts_[partition];
  cut = std::max(cut, index);
  wake_.SignalOne();
}

void LogWriter::Checkpoint(std::string directory, std::function<void(absl::Status)> done) {
  base::MutexLock lock(mutex_);
  CHECK(!copy_.has_value()) << "one copy at a time";
  copy_ = Copy{std::move(directory), std::move(done)};
  wake_.SignalOne();
}

absl::Status LogWriter::Stop() {
  {
    base::MutexLock lock(mutex_);
    stop_ = true;
    wake_.SignalOne();
  }
  thread_.join();
  if (broken_) return absl::UnavailableError("the log could not be written when mqttd stopped");
  absl::Status synced = unsynced_ ? log_->SyncAppended() : absl::OkStatus();
  const absl::Status closed = log_->Close();
  return synced.ok() ? closed : synced;
}

void LogWriter::Run() {
  Work work;
  while (WaitForWork(work)) {
    if (work.task.has_value()) {
      const Job job = work.task->job;
      report_({.job = job, .status = Execute(*work.task)});
    }
    SyncIfDue();
    CutAll(work.cuts);
    if (work.copy.has_value()) {
      work.copy->done(broken_ ? absl::UnavailableError("the log is waiting for its repair")
                              : log_->Checkpoint(work.copy->directory));
    }
    work = {};
    Rest();
  }
}

void LogWriter::Rest() {
  base::MutexLock lock(mutex_);
  working_ = false;
  rest_.SignalOne();
}

// False: stop, nothing is left to do. Else the log is the writer's until `working_` is reset.
bool LogWriter::WaitForWork(Work& work) {
  base::MutexLock lock(mutex_);
  bool sync_is_due = false;
  while (working_ || (!HasWork() && !stop_ && !sync_is_due)) {
    sync_is_due = WaitForNews();
  }
  if (!HasWork() && !sync_is_due) return false;
  working_ = true;
  work = {std::exchange(task_, std::nullopt), std::exchange(cuts_, {}),
          std::exchange(copy_, std::nullopt)};
  return true;
}

// True: what was written must be synced now.
bool LogWriter::WaitForNews() {
  if (working_ || !unsynced_ || broken_ || durability_ != Durability::kInterval) {
    wake_.Wait(mutex_);
    return false;
  }
  const absl::Duration left = unsynced_since_ + interval_ - clock_.Monotonic();
  return left <= absl::ZeroDuration() || !wake_.WaitFor(mutex_, left);
}

std::optional<absl::Status> LogWriter::WriteHere(std::vector<LogEntry>& entries) {
  {
    base::MutexLock lock(mutex_);
    if (working_ || HasWork()) return std::nullopt;
    working_ = true;
  }
  Task task{.job = Job::kWrite, .entries = std::move(entries), .sync = Log::Sync::kNo};
  const absl::Status status = ExecuteWrite(task);
  base::MutexLock lock(mutex_);
  working_ = false;
  // It has the interval to watch, or was given something meanwhile.
  if (durability_ == Durability::kInterval || HasWork() || stop_) {
    wake_.SignalOne();
  }
  return status;
}

absl::Status LogWriter::ReadAfter(PartitionId partition, uint64_t after,
                                  const std::function<absl::Status(const LogEntry&)>& visit) {
  {
    base::MutexLock lock(mutex_);
    while (working_) rest_.Wait(mutex_);
    working_ = true;
  }
  const absl::Status status = log_->ReadAfter(partition, after, visit);
  base::MutexLock lock(mutex_);
  working_ = false;
  wake_.SignalOne();
  return status;
}

absl::Status LogWriter::Execute(Task& task) {
  if (task.job == Job::kWrite) return ExecuteWrite(task);
  const absl::Status status = log_->Repair();
  if (status.ok()) {
    broken_ = false;
    unsynced_ = false;
  }
  metrics_.log_healthy.Set(status.ok() ? 1 : 0);
  return status;
}

absl::Status LogWriter::ExecuteWrite(Task& task) {
  if (broken_) {  // A sync of our own failed while the host handed this over.
    return absl::UnavailableError("the log is waiting for its repair");
  }
  const absl::Duration begin = clock_.Monotonic();
  const Log::Sync sync = durability_ == Durability::kSync ? task.sync : Log::Sync::kNo;
  const absl::Status status = log_->Append(task.entries, sync);
  const absl::Duration end = clock_.Monotonic();
  if (!status.ok()) {
    broken_ = true;
    metrics_.log_errors.Add();
    metrics_.log_healthy.Set(0);
    return status;
  }
  if (sync == Log::Sync::kYes) {
    unsynced_ = false;
    metrics_.log_fsyncs.Add();
  } else if (!std::exchange(unsynced_, true)) {
    unsynced_since_ = begin;
  }
  if (end_ != nullptr) {
    for (const LogEntry& entry : task.entries) end_->Note(entry.partition, entry.index);
    // A claim must not outlive what it is about: see LogEnd. Where groups are not synced each, it
    // is made some times a second only, for its write would cost as much as the group.
    const bool due = durability_ != Durability::kSync && end >= claimed_at_ + kClaimInterval;
    if (sync == Log::Sync::kYes || due) {
      end_->Claim();
      claimed_at_ = end;
    }
  }
  metrics_.log_batches.Add();
  metrics_.log_entries.Add(task.entries.size());
  for (const LogEntry& entry : task.entries) metrics_.log_bytes.Add(entry.data.size() + 19);
  metrics_.log_sync_latency.Record(end - begin);
  return status;
}

void LogWriter::SyncIfDue() {
  if (!unsynced_ || broken_ || durability_ != Durability::kInterval) return;
  if (clock_.Monotonic() < unsynced_since_ + interval_) return;
  const absl::Status status = log_->SyncAppended();
  unsynced_ = !status.ok();
  if (status.ok()) {
    metrics_.log_fsyncs.Add();
    return;
  }
  broken_ = true;
  metrics_.log_errors.Add();
  metrics_.log_healthy.Set(0);
  report_({.job = Job::kSync, .status = status});
}

void LogWriter::CutAll(const std::map<PartitionId, uint64_t>& cuts) {
  if (broken_) return;  // Cut again after the next flush.
  for (const auto& [partition, index] : cuts) {
    if (!log_->Cut(partition, index).ok()) return;  // The next write finds out why.
  }
}

}  // namespace storage
