#include "storage/log_writer.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/thread_priority.h"

namespace storage {

namespace {

constexpr absl::Duration kClaimInterval = absl::Milliseconds(100);
constexpr absl::Duration kRepairInterval = absl::Seconds(1);
// A node alone is its own leader for ever.
constexpr uint64_t kTerm = 1;
constexpr size_t kEntryOverhead = 19;  // Key and term.

}  // namespace

LogWriter::LogWriter(std::unique_ptr<Log> log, std::unique_ptr<LogEnd> end,
                     const StorageOptions& options, const base::Clock& clock, HostMetrics& metrics)
    : log_(std::move(log)),
      end_(std::move(end)),
      options_(options),
      clock_(clock),
      metrics_(metrics),
      last_(options.partitions, 0) {
  metrics_.log_healthy.Set(1);
}

LogWriter::~LogWriter() {
  if (thread_.joinable()) (void)Stop();
}

// ---- The host's thread -------------------------------------------------------------------------

absl::Status LogWriter::ReadAfter(PartitionId partition, uint64_t after, const Visit& visit) {
  {
    base::MutexLock lock(mutex_);
    while (working_) rest_.Wait(mutex_);
    working_ = true;
  }
  const absl::Status status = log_->ReadAfter(partition, after, [&](const LogEntry& entry) {
    last_[partition] = std::max(last_[partition], entry.index);
    return visit(entry);
  });
  base::MutexLock lock(mutex_);
  working_ = false;
  wake_.SignalOne();
  return status;
}

absl::Status LogWriter::Start(absl::Span<const LogStart> partitions, Post post) {
  CHECK(!thread_.joinable()) << "started twice";
  post_ = std::move(post);
  std::vector<LogEvent> roles;
  for (const LogStart& start : partitions) {
    uint64_t& last = last_[start.partition];
    last = std::max(last, start.index);
    roles.push_back(RoleChange{
        .partition = start.partition, .leads = true, .term = kTerm, .acts_behind = start.index});
  }
  if (end_ != nullptr) RETURN_IF_ERROR(CheckEnd());
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "mqttd-log");
    base::SetThreadPriority(base::ThreadPriority::kWork);
    Run();
  });
  post_(std::move(roles));
  return absl::OkStatus();
}

// What was written to the log and is neither there nor in the state is lost: a file of the log was
// cut short or deleted.
absl::Status LogWriter::CheckEnd() {
  uint64_t lost = 0;
  for (PartitionId id = 0; id < last_.size(); ++id) {
    if (end_->claimed(id) > last_[id]) {
      RETURN_IF_ERROR(end_->Missing(id, last_[id], options_.log_recovery));
      lost += end_->claimed(id) - last_[id];
    }
    end_->Note(id, last_[id]);
  }
  metrics_.log_entries_lost.Set(static_cast<int64_t>(lost));
  end_->Claim();
  return absl::OkStatus();
}

LogWriter::Group LogWriter::Number(Submission& submission) {
  Group group;
  group.sync = submission.sync && options_.durability == Durability::kSync;
  group.entries.reserve(submission.proposals.size());
  for (ProposedEntry& proposal : submission.proposals) {
    group.entries.push_back({.partition = proposal.partition,
                             .index = ++last_[proposal.partition],
                             .term = kTerm,
                             .proposal = proposal.number,
                             .entry = std::move(proposal.entry)});
  }
  return group;
}

// Without a sync it is written here, if the writer's thread is at rest: nobody waits for the disk,
// so two changes of threads would cost more than the write.
std::vector<LogEvent> LogWriter::Submit(Submission submission) {
  Group group = Number(submission);
  std::vector<LogEvent> events;
  if (!group.sync && TakeLog()) {
    Write(std::move(group), events);
    base::MutexLock lock(mutex_);
    working_ = false;
    // It has the interval to watch, or a repair, or was given something meanwhile.
    if (broken_ || options_.durability == Durability::kInterval || HasWork() || stop_) {
      wake_.SignalOne();
    }
    return events;
  }
  {
    base::MutexLock lock(mutex_);
    CHECK(!group_.has_value()) << "the writer has a group already";
    group_ = std::move(group);
  }
  wake_.SignalOne();  // Not under the lock: the writer would wake up only to wait for it.
  return events;
}

bool LogWriter::TakeLog() {
  base::MutexLock lock(mutex_);
  if (working_ || HasWork()) return false;
  working_ = true;
  return true;
}

void LogWriter::Flushed(PartitionId partition, uint64_t index) {
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

// ---- The writer's thread -----------------------------------------------------------------------

void LogWriter::Run() {
  Work work;
  while (WaitForWork(work)) {
    std::vector<LogEvent> events;
    RepairIfDue(events);
    if (work.group.has_value()) Write(*std::move(work.group), events);
    SyncIfDue(events);
    CutAll(work.cuts);
    if (work.copy.has_value()) {
      work.copy->done(broken_ ? absl::UnavailableError("the log is waiting for its repair")
                              : log_->Checkpoint(work.copy->directory));
    }
    work = {};
    Rest();
    if (!events.empty()) post_(std::move(events));
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
  bool due = false;
  while (working_ || (!HasWork() && !stop_ && !due)) due = WaitForNews();
  if (!HasWork() && stop_) return false;
  working_ = true;
  work = {std::exchange(group_, std::nullopt), std::exchange(cuts_, {}),
          std::exchange(copy_, std::nullopt)};
  return true;
}

// True: the log must be repaired, or what was written be synced, now.
bool LogWriter::WaitForNews() {
  std::optional<absl::Duration> until;
  if (!working_ && broken_) until = repair_at_;
  if (!working_ && !broken_ && unsynced_ && options_.durability == Durability::kInterval) {
    until = unsynced_since_ + options_.durability_interval;
  }
  if (!until.has_value()) {
    wake_.Wait(mutex_);
    return false;
  }
  const absl::Duration left = *until - clock_.Monotonic();
  return left <= absl::ZeroDuration() || !wake_.WaitFor(mutex_, left);
}

// ---- Whoever has the log -----------------------------------------------------------------------

void LogWriter::Write(Group group, std::vector<LogEvent>& events) {
  // Else a sync of our own failed while the host handed this over.
  const absl::Status status = broken_ ? absl::OkStatus() : Append(group);
  if (broken_ || !status.ok()) {
    CHECK(!failed_.has_value()) << "a group was handed over behind one that failed";
    failed_ = std::move(group);
    if (!status.ok()) Break(status, events);
    return;
  }
  for (Committed& entry : group.entries) events.emplace_back(std::move(entry));
}

absl::Status LogWriter::Append(const Group& group) {
  std::vector<LogEntry> entries;
  entries.reserve(group.entries.size());
  for (const Committed& entry : group.entries) {
    entries.push_back({entry.partition, entry.index, entry.term, entry.entry});
  }
  const absl::Duration begin = clock_.Monotonic();
  RETURN_IF_ERROR(log_->Append(entries, group.sync ? Log::Sync::kYes : Log::Sync::kNo));
  const absl::Duration end = clock_.Monotonic();
  if (group.sync) {
    unsynced_ = false;
    metrics_.log_fsyncs.Add();
  } else if (!std::exchange(unsynced_, true)) {
    unsynced_since_ = begin;
  }
  if (end_ != nullptr) {
    for (const LogEntry& entry : entries) end_->Note(entry.partition, entry.index);
    // A claim must not outlive what it is about: see LogEnd. Where groups are not synced each, it
    // is made some times a second only, for its write would cost as much as the group.
    const bool due =
        options_.durability != Durability::kSync && end >= claimed_at_ + kClaimInterval;
    if (group.sync || due) {
      end_->Claim();
      claimed_at_ = end;
    }
  }
  metrics_.log_batches.Add();
  metrics_.log_entries.Add(entries.size());
  for (const LogEntry& entry : entries) metrics_.log_bytes.Add(entry.data.size() + kEntryOverhead);
  metrics_.log_sync_latency.Record(end - begin);
  return absl::OkStatus();
}

void LogWriter::Break(const absl::Status& status, std::vector<LogEvent>& events) {
  broken_ = true;
  repair_at_ = clock_.Monotonic();  // The repair may be tried at once.
  metrics_.log_errors.Add();
  metrics_.log_healthy.Set(0);
  events.emplace_back(LogHealth{status});
}

// It is healthy when what failed is written.
void LogWriter::RepairIfDue(std::vector<LogEvent>& events) {
  if (!broken_ || clock_.Monotonic() < repair_at_) return;
  absl::Status status = log_->Repair();
  if (status.ok()) {
    unsynced_ = false;
    if (failed_.has_value()) status = Append(*failed_);
  }
  if (!status.ok()) {
    repair_at_ = clock_.Monotonic() + kRepairInterval;
    events.emplace_back(LogHealth{std::move(status)});
    return;
  }
  broken_ = false;
  metrics_.log_healthy.Set(1);
  events.emplace_back(LogHealth{absl::OkStatus()});
  if (!failed_.has_value()) return;
  for (Committed& entry : failed_->entries) events.emplace_back(std::move(entry));
  failed_.reset();
}

void LogWriter::SyncIfDue(std::vector<LogEvent>& events) {
  if (!unsynced_ || broken_ || options_.durability != Durability::kInterval) return;
  if (clock_.Monotonic() < unsynced_since_ + options_.durability_interval) return;
  const absl::Status status = log_->SyncAppended();
  unsynced_ = !status.ok();
  if (!status.ok()) return Break(status, events);
  metrics_.log_fsyncs.Add();
}

void LogWriter::CutAll(const std::map<PartitionId, uint64_t>& cuts) {
  if (broken_) return;  // Cut again after the next flush.
  for (const auto& [partition, index] : cuts) {
    if (!log_->Cut(partition, index).ok()) return;  // The next write finds out why.
  }
}

}  // namespace storage
