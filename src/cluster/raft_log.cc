#include "cluster/raft_log.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/thread_priority.h"

namespace cluster {
namespace {

constexpr absl::Duration kRepairInterval = absl::Milliseconds(500);
// Where entries are not synced each, so often is claimed how far they reach: the claim's write
// would cost as much as theirs.
constexpr absl::Duration kClaimInterval = absl::Milliseconds(100);

}  // namespace

RaftLog::RaftLog(RaftLogOptions options, std::unique_ptr<LogStore> store,
                 std::unique_ptr<storage::LogEnd> end, const base::Clock& clock,
                 storage::HostMetrics& metrics, Send send, Post post)
    : options_(std::move(options)),
      store_(std::move(store)),
      end_(std::move(end)),
      clock_(clock),
      metrics_(metrics),
      send_(std::move(send)),
      post_(std::move(post)),
      mailbox_([this] { Ring(); }),
      loop_(options_.loop, *store_) {
  metrics_.log_healthy.Set(1);
}

void RaftLog::Ring() {
  {
    base::MutexLock lock(mutex_);
    rung_ = true;
  }
  wake_.SignalOne();
}

RaftLog::~RaftLog() {
  if (thread_.joinable()) (void)Stop();
}

absl::Status RaftLog::Start(const std::vector<GroupStart>& groups) {
  CHECK(!thread_.joinable()) << "started twice";
  for (const GroupStart& start : groups) {
    RETURN_IF_ERROR(loop_.AddGroup(start));
    if (start.conf_state.voters == std::vector<ReplicaId>{start.replica} && loop_.alone()) {
      RETURN_IF_ERROR(loop_.Campaign(start.group));
    }
  }
  next_tick_ = clock_.Monotonic() + options_.tick;
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "raft");
    if (options_.gives_way) base::SetThreadPriority(base::ThreadPriority::kWork);
    Serve();
  });
  writer_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "raft-log");
    if (options_.gives_way) base::SetThreadPriority(base::ThreadPriority::kWork);
    WriteOnItsThread();
  });
  return absl::OkStatus();
}

void RaftLog::Submit(std::vector<Proposal> proposals) { mailbox_.PostOne(std::move(proposals)); }

std::optional<std::vector<LogEvent>> RaftLog::SubmitHere(std::vector<Proposal>& proposals) {
  {
    base::MutexLock lock(mutex_);
    if (turning_ || !mailbox_.empty() || !loop_.alone() || !repaired_ || stopping_) {
      return std::nullopt;
    }
    turning_ = true;
  }
  std::vector<LogEvent> events;
  here_ = &events;
  On(proposals);
  Round();
  here_ = nullptr;
  // It has the interval to watch, or a repair, or was given something meanwhile.
  const bool wake =
      !repaired_ || (unsynced_ && options_.durability == storage::Durability::kInterval);
  EndTurn();
  if (wake) Ring();
  return events;
}

absl::StatusOr<RaftLog::Extent> RaftLog::ExtentOf(GroupId group, ReplicaId self) const {
  const absl::StatusOr<EntryStore::Group> stored = store_->Load(group);
  if (absl::IsNotFound(stored.status())) return Extent{};
  RETURN_IF_ERROR(stored.status());
  const ConfState& members = stored->conf_states.back().state;
  const bool alone = members == ConfState{.voters = {self}};
  // Of a member that votes alone all that it has is committed.
  return Extent{
      .last = stored->last,
      .committed = alone ? stored->last : std::max(stored->hard_state.commit, stored->begin.index),
      .alone = members.voters == std::vector<ReplicaId>{1},
      .of_cluster = members != ConfState{.voters = {1}}};
}

absl::Status RaftLog::ReadAfter(GroupId group, uint64_t after,
                                absl::FunctionRef<absl::Status(const EntryView&)> visit) {
  base::MutexLock lock(store_mutex_);
  return store_->ReadAfter(group, after, visit);
}

absl::Status RaftLog::Checkpoint(const std::string& directory) {
  base::MutexLock lock(store_mutex_);
  if (metrics_.log_healthy.value() == 0)
    return absl::UnavailableError("the log is waiting for its repair");
  return store_->Checkpoint(directory);
}

void RaftLog::Receive(std::vector<RaftLoop::Message> messages) {
  mailbox_.PostOne(std::move(messages));
}

void RaftLog::Run(std::function<void(RaftLoop&)> task) { mailbox_.PostOne(Task{std::move(task)}); }

absl::Status RaftLog::Stop() {
  if (!thread_.joinable()) return absl::OkStatus();
  mailbox_.PostOne(StopRequested{});
  thread_.join();
  {
    base::MutexLock lock(mutex_);
    writer_ends_ = true;
  }
  write_wake_.SignalOne();
  writer_.join();
  return stop_status_;
}

// ---- The loop's thread -------------------------------------------------------------------------

void RaftLog::BeginTurn() {
  base::MutexLock lock(mutex_);
  while (turning_) turn_over_.Wait(mutex_);
  turning_ = true;
}

void RaftLog::EndTurn() {
  {
    base::MutexLock lock(mutex_);
    turning_ = false;
  }
  turn_over_.SignalOne();
}

void RaftLog::Serve() {
  while (true) {
    BeginTurn();
    TakeInputs();
    const absl::Duration now = clock_.Monotonic();
    if (TickIsWanted() && now >= next_tick_) {
      loop_.Tick();
      // Of ticks that were missed none is made up for: the others' clocks were not slow.
      next_tick_ = now + options_.tick;
    }
    RepairIfDue();
    Round();
    SyncIfDue();
    if (stopping_ && (failed_ || !writing_.has_value())) break;
    const absl::Duration wake_at = NextWake();
    EndTurn();
    Sleep(wake_at);
  }
  stop_status_ = ShutDown();
  EndTurn();
}

void RaftLog::TakeInputs() {
  mailbox_.TakeAll([this](Input input) { std::visit([this](auto& value) { On(value); }, input); });
}

void RaftLog::On(std::vector<Proposal>& proposals) {
  for (Proposal& proposal : proposals) loop_.Submit(std::move(proposal));
}

void RaftLog::On(std::vector<RaftLoop::Message>& messages) {
  for (const RaftLoop::Message& message : messages) {
    const absl::Status status = loop_.OnMessage(message.group, message.data, message.all_have);
    if (!absl::IsUnimplemented(status)) continue;
    base::LogLimited(base::LogLevel::kError, "a replica cannot catch up", "snapshot",
                     {{"group", message.group},
                      {"error", status},
                      {"advice", "start the release here that the leader has"}});
  }
}

void RaftLog::On(Task& task) { task.run(loop_); }

void RaftLog::On(Written& written) { EndWrite(written); }

void RaftLog::On(StopRequested& /*stop*/) { stopping_ = true; }

// What leads to nothing but the disk is done at once.
void RaftLog::Round() {
  do {
    loop_.Run();
    HandOut();
  } while (BeginWrite());
}

void RaftLog::HandOut() {
  if (std::vector<RaftLoop::Message> messages = loop_.TakeMessages(); !messages.empty()) {
    send_(std::move(messages));
  }
  if (std::vector<LogEvent> events = loop_.TakeEvents(); !events.empty()) Emit(std::move(events));
}

void RaftLog::Emit(std::vector<LogEvent> events) {
  if (here_ == nullptr) return post_(std::move(events));
  std::move(events.begin(), events.end(), std::back_inserter(*here_));
}

// True: it was written here, and there is more to do.
bool RaftLog::BeginWrite() {
  if (writing_.has_value() || !repaired_) return false;
  writing_ = loop_.BeginWrite();
  if (!writing_.has_value()) return false;
  DisclaimReplaced();
  write_began_ns_.store(clock_.MonotonicNs(), std::memory_order_relaxed);
  if (loop_.alone() || !WantsSync()) {
    EndWrite(WriteNow());
    return !failed_;
  }
  {
    base::MutexLock lock(mutex_);
    write_wanted_ = true;
  }
  write_wake_.SignalOne();
  return false;
}

bool RaftLog::WantsSync() const {
  return writing_->sync == EntryStore::Sync::kYes &&
         (writing_->votes || options_.durability == storage::Durability::kSync);
}

RaftLog::Written RaftLog::WriteNow() {
  const absl::Duration begin = clock_.Monotonic();
  const auto sync = WantsSync() ? EntryStore::Sync::kYes : EntryStore::Sync::kNo;
  absl::Status status = disclaims_ ? end_->ClaimOnDisk() : absl::OkStatus();
  if (status.ok()) status = store_->Write(*writing_->batch, sync);
  return {.status = std::move(status), .took = clock_.Monotonic() - begin};
}

void RaftLog::EndWrite(const Written& written) {
  write_began_ns_.store(0, std::memory_order_relaxed);
  failed_ = !written.status.ok();
  if (failed_) {
    repaired_ = false;
    next_repair_ = clock_.Monotonic();
    metrics_.log_errors.Add();
    return SetHealth(written.status);
  }
  if (WantsSync()) {
    unsynced_ = false;
    metrics_.log_fsyncs.Add();
  } else if (!std::exchange(unsynced_, true)) {
    unsynced_since_ = clock_.Monotonic();
  }
  metrics_.log_batches.Add();
  metrics_.log_entries.Add(writing_->entries);
  metrics_.log_bytes.Add(writing_->bytes + writing_->entries * EntryStore::kEntryOverhead);
  metrics_.log_sync_latency.Record(written.took);
  NoteEnd();
  writing_.reset();
  SetHealth(absl::OkStatus());
  loop_.OnWritten();
}

// A claim must not outlive what it is about: see LogEnd.
void RaftLog::NoteEnd() {
  if (end_ == nullptr) return;
  for (const RaftLoop::Appended& appended : writing_->appended) {
    if (appended.group < options_.partitions) end_->Note(appended.group, appended.last);
  }
  const absl::Duration now = clock_.Monotonic();
  const bool due =
      options_.durability != storage::Durability::kSync && now >= claimed_at_ + kClaimInterval;
  if (!WantsSync() && !due) return;
  end_->Claim();
  claimed_at_ = now;
}

// Entries of a leader that leads no more may end here. A claim that counts after a power cut must
// not be found again then.
void RaftLog::DisclaimReplaced() {
  disclaims_ = false;
  if (end_ == nullptr || loop_.alone()) return;
  bool less = false;
  for (const RaftLoop::Appended& appended : writing_->appended) {
    if (appended.group >= options_.partitions) continue;
    if (end_->noted(appended.group) < appended.first) continue;
    end_->Note(appended.group, appended.first - 1);
    less = true;
  }
  if (!less) return;
  disclaims_ = options_.durability == storage::Durability::kSync;  // Where it is written.
  if (!disclaims_) end_->Claim();
}

void RaftLog::SetHealth(const absl::Status& status) {
  metrics_.log_healthy.Set(status.ok() ? 1 : 0);
  if (told_health_.code() == status.code()) return;
  told_health_ = status;
  std::vector<LogEvent> events;
  events.emplace_back(LogHealth{status});
  Emit(std::move(events));
}

// On this thread: a repair may open the database anew, and nobody may read it meanwhile.
void RaftLog::RepairIfDue() {
  if (repaired_ || clock_.Monotonic() < next_repair_) return;
  if (writing_.has_value() && !failed_) return;  // Under way: it will fail, too.
  absl::Status status;
  {
    base::MutexLock lock(store_mutex_);
    status = store_->Repair();
  }
  next_repair_ = clock_.Monotonic() + kRepairInterval;
  if (!status.ok()) return SetHealth(status);
  repaired_ = true;
  unsynced_ = false;
  if (std::exchange(failed_, false)) {
    EndWrite(WriteNow());
  } else {
    SetHealth(absl::OkStatus());
  }
}

void RaftLog::SyncIfDue() {
  if (!unsynced_ || !repaired_ || options_.durability != storage::Durability::kInterval) return;
  if (writing_.has_value()) return;
  if (clock_.Monotonic() < unsynced_since_ + options_.durability_interval) return;
  const absl::Status status = store_->SyncWritten();
  unsynced_ = !status.ok();
  if (status.ok()) return metrics_.log_fsyncs.Add();
  metrics_.log_errors.Add();
  repaired_ = false;
  next_repair_ = clock_.Monotonic();
  SetHealth(status);
}

absl::Duration RaftLog::NextWake() const {
  absl::Duration until = TickIsWanted() ? next_tick_ : absl::InfiniteDuration();
  if (!repaired_) until = std::min(until, next_repair_);
  if (unsynced_ && options_.durability == storage::Durability::kInterval) {
    until = std::min(until, unsynced_since_ + options_.durability_interval);
  }
  return until;
}

void RaftLog::Sleep(absl::Duration until) {
  if (!mailbox_.Sleep()) return;
  {
    base::MutexLock lock(mutex_);
    while (!rung_) {
      if (until == absl::InfiniteDuration()) {
        wake_.Wait(mutex_);
        continue;
      }
      const absl::Duration left = until - clock_.Monotonic();
      if (left <= absl::ZeroDuration() || !wake_.WaitFor(mutex_, left)) break;
    }
    rung_ = false;
  }
  mailbox_.Awake();
}

absl::Status RaftLog::ShutDown() {
  if (failed_ || !repaired_) {
    return absl::UnavailableError("the log could not be written when mqttd stopped");
  }
  loop_.Tick();  // What is left for the next write goes now.
  loop_.Run();
  HandOut();
  absl::Status written = absl::OkStatus();
  if (const std::optional<RaftLoop::Write> last = loop_.BeginWrite(); last.has_value()) {
    written = store_->Write(*last->batch, EntryStore::Sync::kYes);
  } else if (unsynced_) {
    written = store_->SyncWritten();
  }
  const absl::Status closed = store_->Close();
  return written.ok() ? closed : written;
}

// ---- The writer's thread -----------------------------------------------------------------------

void RaftLog::WriteOnItsThread() {
  while (true) {
    {
      base::MutexLock lock(mutex_);
      while (!write_wanted_ && !writer_ends_) write_wake_.Wait(mutex_);
      if (!write_wanted_) return;
      write_wanted_ = false;
    }
    mailbox_.PostOne(WriteNow());
  }
}

}  // namespace cluster
