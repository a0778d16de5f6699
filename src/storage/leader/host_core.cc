#include "storage/leader/host_core.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/core/retained.h"
#include "storage/core/session.h"

namespace storage {
namespace {

// A node alone is its own leader for ever. In a cluster the term comes from the consensus engine.
constexpr uint64_t kTerm = 1;
// Acknowledgements alone wait so long for company: nobody waits for them.
constexpr absl::Duration kLinger = absl::Milliseconds(5);
constexpr absl::Duration kRetry = absl::Seconds(1);
// While the state is writing out what it has in memory, and takes no more.
constexpr absl::Duration kRetryBusy = absl::Milliseconds(5);
// All sessions are counted once in so long while there is anything new, a partition at a time.
constexpr absl::Duration kCountSessions = absl::Seconds(2);
constexpr size_t kCommittedMax = 2;
// They keep some of their room.
constexpr size_t kSpareGroupsMax = 8;
// What is done of the host's own accord waits when a group has so many commands: a crowd of
// sessions that end at once must not hold up who publishes.
constexpr size_t kBackgroundCommandsMax = 1024;
// And when the shards have been asked about so many messages of `$share` groups.
constexpr size_t kOrphansOfferedMax = 1024;
// A partition keeps for groups without a member what this many full queues hold, and no fewer than
// so many messages and bytes.
constexpr uint64_t kOrphanQueues = 2;
constexpr uint64_t kOrphansMin = 10'000;
constexpr uint64_t kOrphansBytesMin = 64 << 20;
// Messages and seeks of one round, each about a microsecond.
constexpr size_t kRoundWorkMax = 8192;

uint64_t OrphansMax(uint64_t queue_max, uint64_t least) {
  return queue_max == 0 ? 0 : std::max(kOrphanQueues * queue_max, least);
}

}  // namespace

HostCore::HostCore(const StorageOptions& options, ShardId shards, StateStore& store,
                   HostMetrics& metrics, base::Rng& rng)
    : options_(options),
      shards_(shards),
      store_(store),
      metrics_(metrics),
      owner_key_(rng()),
      last_index_(options.partitions, 0),
      filters_(options.partitions, 0),
      slots_(options.partitions),
      effects_(options.partitions),
      queue_room_(options.partitions),
      fights_(options.takeover_pause_max),
      retained_sweeps_(options.partitions),
      routes_(shards),
      outbox_(shards),
      counts_(options.partitions),
      orphan_scans_(options.partitions) {
  CHECK(shards > 0) << "somebody must hear the events";
  for (uint32_t id = 0; id < options.partitions; ++id) {
    partitions_.push_back(std::make_unique<Partition>(static_cast<PartitionId>(id)));
  }
  growing_ = NewGroup();
  metrics_.state_healthy.Set(1);
}

HostCore::~HostCore() = default;

// ---- Start --------------------------------------------------------------------------------------

absl::Status HostCore::Load() {
  for (const auto& partition : partitions_) {
    RETURN_IF_ERROR(partition->Load(store_.reader()));
    RETURN_IF_ERROR(partition->Upgrade(store_.reader(), store_.batch()));
    RETURN_IF_ERROR(store_.Write());
    last_index_[partition->id()] = partition->applied_index();
    last_order_ = std::max(last_order_, partition->last_order());
  }
  return absl::OkStatus();
}

absl::Status HostCore::Replay(const LogEntry& entry) {
  Partition& partition = *partitions_[entry.partition];
  RETURN_IF_ERROR(ApplyLogged(partition, entry));
  RETURN_IF_ERROR(FlushSome());
  last_index_[entry.partition] = entry.index;
  last_order_ = std::max(last_order_, partition.last_order());
  return absl::OkStatus();
}

int64_t HostCore::last_time_unix_ms() const {
  int64_t last = 0;
  for (const auto& partition : partitions_) last = std::max(last, partition->last_time_unix_ms());
  return last;
}

absl::Status HostCore::ApplyLogged(Partition& partition, const LogEntry& entry) {
  Effects effects;
  RETURN_IF_ERROR(partition.ApplyEntry(entry.data, {}, entry.index, entry.term, store_.reader(),
                                       store_.batch(), effects));
  return store_.Write();
}

void HostCore::Begin(std::function<void()> ready) {
  ready_ = std::move(ready);
  pb::Limits limits;
  limits.set_queue_messages_max(options_.queue_messages_max);
  limits.set_queue_bytes_max(options_.queue_bytes_max);
  limits.set_queue_policy(options_.queue_full == QueueFull::kDropOldest ? pb::Limits::DROP_OLDEST
                                                                        : pb::Limits::DROP_NEWEST);
  // All of it may lie in one partition; over all of them the host checks: see CheckRetainedRoom.
  limits.set_retained_messages_max(options_.retained_messages_max);
  limits.set_retained_bytes_max(options_.retained_bytes_max);
  limits.set_orphans_max(OrphansMax(options_.queue_messages_max, kOrphansMin));
  limits.set_orphans_bytes_max(OrphansMax(options_.queue_bytes_max, kOrphansBytesMin));
  for (const auto& partition : partitions_) {
    bool connected = false;
    partition->ForEachSession([&](const Session& session) {
      connected = connected || session.connected;
      if (!session.connected) ArmDeadlines(session);
    });
    if (connected) Propose(partition->id()).mutable_close_all();
    if (partition->limits().SerializeAsString() != limits.SerializeAsString()) {
      *Propose(partition->id()).mutable_set_limits()->mutable_limits() = limits;
    }
  }
  if (growing_->has_commands()) growing_->NeedSync();
  After(FinishStart{});
}

// ---- The life of a group ------------------------------------------------------------------------

HostCore::GroupPtr HostCore::NewGroup() {
  if (spare_groups_.empty()) return std::make_unique<CommitGroup>(options_.partitions);
  GroupPtr group = std::move(spare_groups_.back());
  spare_groups_.pop_back();
  return group;
}

void HostCore::Recycle(GroupPtr group) {
  group->Clear();
  if (spare_groups_.size() < kSpareGroupsMax) spare_groups_.push_back(std::move(group));
}

pb::Command& HostCore::Propose(PartitionId partition, mqtt::MessagePtr message,
                               CommandPlace* place) {
  if (!growing_->has_commands()) growing_since_ = now_.monotonic;
  pb::Command& command = growing_->Add(partition, std::move(message), place);
  command.set_time_unix_ms(now_.unix_ms);
  command.set_order(++last_order_);
  return command;
}

std::string& HostCore::ProposeTo(PartitionId partition, mqtt::MessagePtr message,
                                 CommandStamp& stamp) {
  if (!growing_->has_commands()) growing_since_ = now_.monotonic;
  stamp = {.time_unix_ms = now_.unix_ms, .order = ++last_order_};
  return growing_->AddTo(partition, std::move(message));
}

bool HostCore::RoomForBackground() const {
  return growing_->command_count() < kBackgroundCommandsMax &&
         orphans_offered_.size() < kOrphansOfferedMax;
}

void HostCore::After(Step step) {
  if (NothingPending()) {
    std::visit([this](auto& now) { Finish(now); }, step);
    return;
  }
  growing_->Then(std::move(step));
  growing_->Hurry();
}

std::optional<HostCore::Write> HostCore::TakeWrite() {
  if (writing_ || !healthy() || applying_failed_) return std::nullopt;
  if (flying_ == nullptr && !NextGroup()) return std::nullopt;
  writing_ = true;
  Write write;
  write.sync = flying_->needs_sync();
  write.entries.reserve(flying_->used().size());
  for (const PartitionId id : flying_->used()) {
    const CommitGroup::Part& part = flying_->part(id);
    write.entries.push_back(
        {.partition = id, .index = part.index, .term = kTerm, .data = part.entry});
  }
  return write;
}

// Has the next group, if there is one whose time has come, become `flying_`.
bool HostCore::NextGroup() {
  if (committed_.size() >= kCommittedMax) return false;
  if (!full_.empty()) {
    flying_ = std::move(full_.front());
    full_.pop_front();
  } else {
    if (growing_->empty()) return false;
    if (!growing_->has_commands()) {  // Answers that only waited for what was before them.
      committed_.push_back(std::exchange(growing_, NewGroup()));
      return false;
    }
    if (!growing_->urgent() && now_.monotonic < growing_since_ + kLinger) return false;
    flying_ = std::exchange(growing_, NewGroup());
  }
  flying_->Seal();
  for (const PartitionId id : flying_->used()) flying_->part(id).index = ++last_index_[id];
  return true;
}

void HostCore::OnWritten(const absl::Status& status) {
  CHECK(std::exchange(writing_, false)) << "nothing was being written";
  if (status.ok()) {
    committed_.push_back(std::move(flying_));
    return;
  }
  log_status_ = status;
  repair_at_ = now_.monotonic;  // The repair may be tried at once.
}

void HostCore::Run() {
  if (applying_failed_ && now_.monotonic >= retry_at_) RetryState();
  ApplyCommitted();
  TellStorageState();
  work_left_ = kRoundWorkMax;
  RunScans();
  if (announcement_.has_value()) AnnounceStored();
  if (healthy() && begun_ && !announcement_.has_value()) {
    PublishPostponedWills();
    PassOnOrphans();
    RunDeadlines();
    PassOnHeld();
    RunExpiry();
    Pump();
  }
  ReleaseConfirmed();
  if (counts_due_ > 0 && now_.monotonic >= count_at_) CountSessions();
  size_t pending = growing_->steps().size() + (flying_ != nullptr ? flying_->steps().size() : 0);
  for (const GroupPtr& group : full_) pending += group->steps().size();
  metrics_.requests_pending.Set(static_cast<int64_t>(pending));
}

// ---- Applying -----------------------------------------------------------------------------------

void HostCore::ApplyCommitted() {
  while (!committed_.empty() && !applying_failed_) {
    CommitGroup& group = *committed_.front();
    const absl::Status status = ApplyGroup(group);
    if (!status.ok()) return ApplyFailed(status);
    FinishGroup(group);
    Recycle(std::move(committed_.front()));
    committed_.pop_front();
  }
  if (applying_failed_) return;
  if (const absl::Status status = FlushSome(); !status.ok()) ApplyFailed(status);
}

void HostCore::ApplyFailed(const absl::Status& status) {
  applying_failed_ = true;
  if (absl::IsAborted(status)) {  // Busy: nothing is wrong.
    retry_at_ = now_.monotonic + kRetryBusy;
    return;
  }
  state_status_ = status;
  metrics_.state_errors.Add();
  NoteDamage(status);
  retry_at_ = std::max(now_.monotonic, repaired_at_ + kRetry);
}

void HostCore::OnStateError(const absl::Status& status) { ApplyFailed(status); }

void HostCore::RetryState() {
  const bool was_busy = state_status_.ok();
  const absl::Status status = was_busy ? store_.Write() : RepairState();
  if (!status.ok()) return ApplyFailed(status);
  applying_failed_ = false;
  state_status_ = absl::OkStatus();
}

// What the state store lost is made again from the log, which is cut only up to what the state has
// on the disk. Effects of a group of which a part is applied stay right: sessions keep their slots.
absl::Status HostCore::RepairState() {
  repaired_at_ = now_.monotonic;
  ASSIGN_OR_RETURN(const StateStore::Repaired repaired, store_.Repair());
  if (repaired == StateStore::Repaired::kReopened) {
    for (const auto& partition : partitions_) reload_ |= PartitionMask{1} << partition->id();
  }
  while (reload_ != 0) {
    const auto id = static_cast<PartitionId>(std::countr_zero(reload_));
    RETURN_IF_ERROR(ReloadPartition(id));
    reload_ &= ~(PartitionMask{1} << id);
  }
  return store_.Write();  // What could not be written.
}

// Committed entries are applied whatever it takes: when the state cannot be read or written this
// is done again until it can, and everything waits.
absl::Status HostCore::ApplyGroup(CommitGroup& group) {
  for (const PartitionId id : group.used()) {
    CommitGroup::Part& part = group.part(id);
    if (partitions_[id]->applied_index() >= part.index) continue;  // Before the one that failed.
    effects_[id].Clear();
    const absl::Status applied =
        partitions_[id]->ApplyEntry(part.entry, part.messages, part.index, kTerm, store_.reader(),
                                    store_.batch(), effects_[id]);
    if (!applied.ok()) {
      store_.Discard();
      reload_ |= PartitionMask{1} << id;
      return applied;
    }
    // Not all partitions' changes at once: a large message for thousands of sessions is there as
    // often.
    RETURN_IF_ERROR(store_.Write());
    RETURN_IF_ERROR(BoundPending());
  }
  return absl::OkStatus();
}

// As it was after the last entry that it could apply: from the state, and from the log what the
// state does not have.
absl::Status HostCore::ReloadPartition(PartitionId id) {
  store_.Discard();  // Of an earlier try.
  const uint64_t applied = partitions_[id]->applied_index();
  auto fresh = std::make_unique<Partition>(id);
  fresh->KeepSlotsOf(*partitions_[id]);
  RETURN_IF_ERROR(fresh->Load(store_.reader()));
  RETURN_IF_ERROR(fresh->Upgrade(store_.reader(), store_.batch()));
  RETURN_IF_ERROR(store_.Write());
  const auto apply = [&](const LogEntry& entry) -> absl::Status {
    if (entry.index > applied) return absl::OkStatus();
    RETURN_IF_ERROR(ApplyLogged(*fresh, entry));
    if (fresh->unflushed_bytes() <= options_.state_pending_bytes) return absl::OkStatus();
    fresh->Flush(store_.batch());
    return store_.Write();
  };
  if (fresh->applied_index() < applied) {
    RETURN_IF_ERROR(read_log_(id, fresh->applied_index(), apply));
  }
  if (fresh->applied_index() != applied) {
    return absl::DataLossError(absl::StrCat("the log of partition ", id, " ends at entry ",
                                            fresh->applied_index(), " and not at ", applied));
  }
  fresh->StopKeepingSlots();
  partitions_[id] = std::move(fresh);
  slots_[id].clear();  // Half an entry may have ended a session, and another have taken its slot.
  for (const auto& claim : claims_) {
    if (claim->partition != id) continue;
    if (claim->state != Claim::State::kOpen || !claim->stored) continue;
    const Session* const session = partitions_[id]->Find(claim->client_id);
    if (session == nullptr) continue;
    claim->feed->slot = session->slot;
    if (slots_[id].size() <= session->slot) slots_[id].resize(session->slot + 1, nullptr);
    slots_[id][session->slot] = claim.get();
  }
  RecountSessions();
  return absl::OkStatus();
}

void HostCore::FinishGroup(CommitGroup& group) {
  for (const RetainedSet& set : group.retained_sets()) {
    retained_pending_.Remove(set);
    NoteRetained(set);
  }
  for (const QueueReservation& each : group.reservations()) queue_room_.Remove(each);
  for (const PartitionId id : group.used()) RunEffects(id, effects_[id]);
  for (Step& step : group.steps()) {
    std::visit([this](auto& now) { Finish(now); }, step);
  }
  metrics_.entries_applied.Add(group.used().size());
  CountGauges();
}

void HostCore::RunEffects(PartitionId partition, Effects& effects) {
  NoteDamage(effects.damage);
  for (Effect& effect : effects.list) {
    std::visit([&](auto& one) { On(partition, one); }, effect);
  }
  const auto dropped = [&](DropCause cause) { return effects.dropped[static_cast<size_t>(cause)]; };
  metrics_.messages_queued.Add(effects.queued);
  metrics_.dropped_queue_full.Add(dropped(DropCause::kQueueMessages) +
                                  dropped(DropCause::kQueueBytes));
  metrics_.dropped_expired.Add(dropped(DropCause::kExpired));
  metrics_.dropped_orphans.Add(dropped(DropCause::kOrphans));
}

const Outcome& HostCore::OutcomeAt(CommandPlace place) const {
  return effects_[place.partition].outcomes[static_cast<size_t>(place.command)];
}

// ---- What is applied and not in the state store -------------------------------------------------

void HostCore::WantFlush() {
  for (const auto& partition : partitions_) {
    const bool has_news = partition->flushed_index() < partition->applied_index();
    if (has_news) flush_wanted_ |= PartitionMask{1} << partition->id();
  }
}

absl::Status HostCore::FlushPartition(PartitionId id) {
  flush_wanted_ &= ~(PartitionMask{1} << id);
  if (partitions_[id]->flushed_index() == partitions_[id]->applied_index()) return absl::OkStatus();
  partitions_[id]->Flush(store_.batch());
  return store_.Write();
}

absl::Status HostCore::BoundPending() {
  size_t bytes = UnflushedBytes();
  while (bytes > options_.state_pending_bytes) {
    const auto largest = std::max_element(
        partitions_.begin(), partitions_.end(),
        [](const auto& a, const auto& b) { return a->unflushed_bytes() < b->unflushed_bytes(); });
    bytes -= (*largest)->unflushed_bytes();
    RETURN_IF_ERROR(FlushPartition((*largest)->id()));
  }
  metrics_.state_pending_bytes.Set(static_cast<int64_t>(bytes));
  return absl::OkStatus();
}

// What must be, and one of those that are to be.
absl::Status HostCore::FlushSome() {
  RETURN_IF_ERROR(BoundPending());
  if (flush_wanted_ == 0) return absl::OkStatus();
  return FlushPartition(static_cast<PartitionId>(std::countr_zero(flush_wanted_)));
}

absl::Status HostCore::FlushAll() {
  for (const auto& partition : partitions_) RETURN_IF_ERROR(FlushPartition(partition->id()));
  return absl::OkStatus();
}

size_t HostCore::UnflushedBytes() const {
  size_t bytes = 0;
  for (const auto& partition : partitions_) bytes += partition->unflushed_bytes();
  return bytes;
}

// ---- Storage that fails -------------------------------------------------------------------------

bool HostCore::WantsRepair() const {
  return !log_status_.ok() && !writing_ && now_.monotonic >= repair_at_;
}

void HostCore::OnRepair(const absl::Status& status) {
  log_status_ = status;
  repair_at_ = now_.monotonic + kRetry;
}

void HostCore::OnLogError(const absl::Status& status) {
  log_status_ = status;
  repair_at_ = now_.monotonic;
}

void HostCore::SetDiskFree(uint64_t bytes) {
  const bool low = options_.min_free_disk_bytes != 0 && bytes < options_.min_free_disk_bytes;
  if (low == disk_low_) return;
  disk_low_ = low;
  metrics_.disk_low.Set(low ? 1 : 0);
  if (!healthy()) return;
  base::Log(low ? base::LogLevel::kError : base::LogLevel::kInfo,
            low ? "disk nearly full, nothing more is stored" : "disk has room again",
            {{"free_bytes", bytes}, {"min_free_disk_bytes", options_.min_free_disk_bytes}});
  SendToAll(StorageState{Refusal(/*stores=*/true)});
}

// Whatever found it. What is intact goes on being served.
void HostCore::NoteDamage(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return;
  metrics_.damage.Add();
  metrics_.damaged.Set(options_.log_recovery == LogRecovery::kStrict ? 1 : 0);
  if (std::exchange(damage_told_, true)) return;
  base::Log(base::LogLevel::kError,
            "stored data is damaged: some of it cannot be read; restore data_dir from a backup",
            {{"error", status}});
}

void HostCore::TellStorageState() {
  metrics_.state_healthy.Set(state_status_.ok() ? 1 : 0);
  const absl::Status& status = log_status_.ok() ? state_status_ : log_status_;
  if (status.code() == told_status_.code()) return;
  told_status_ = status;
  if (status.ok()) {
    base::Log(base::LogLevel::kInfo, "storage works again");
  } else {
    base::Log(base::LogLevel::kError, "storage cannot write", {{"error", status}});
  }
  SendToAll(StorageState{Refusal(/*stores=*/true)});
}

// What a request that must be logged is answered with now; `stores`: it takes room.
absl::Status HostCore::Refusal(bool stores) const {
  // A disk that is full has a code of its own; the rest is one to the client.
  for (const absl::Status& status : {log_status_, state_status_}) {
    if (absl::IsResourceExhausted(status)) return status;
    if (!status.ok()) return absl::UnavailableError(status.message());
  }
  if (stores && disk_low_) {
    return absl::ResourceExhaustedError("less than min_free_disk_bytes is free on the disk");
  }
  return absl::OkStatus();
}

// ---- Around it ----------------------------------------------------------------------------------

void HostCore::OnRequest(ShardId from, Request request) {
  metrics_.requests.Add();
  // Only here: a request's commands and what follows them stay together.
  if (IsFull(*growing_)) full_.push_back(std::exchange(growing_, NewGroup()));
  std::visit([&](auto& one) { Handle(from, one); }, request);
}

bool HostCore::IsFull(const CommitGroup& group) const {
  return group.command_count() >= options_.group_commands_max ||
         group.bytes() >= options_.group_bytes_max;
}

std::vector<Event> HostCore::TakeEvents(ShardId shard) {
  ++outbox_round_;
  metrics_.events.Add(outbox_[shard].size());
  return std::exchange(outbox_[shard], {});
}

std::optional<absl::Duration> HostCore::NextWake() const {
  std::optional<absl::Duration> next;
  const auto consider = [&](absl::Duration at) {
    next = next.has_value() ? std::min(*next, at) : at;
  };
  if (!scans_.empty() && state_status_.ok()) consider(now_.monotonic);
  if (!log_status_.ok() && !writing_) consider(repair_at_);
  if (applying_failed_) consider(retry_at_);
  if (!healthy() || applying_failed_) return next;
  if (!committed_.empty() || flush_wanted_ != 0) consider(now_.monotonic);
  if (!writing_ && (flying_ != nullptr || !full_.empty())) consider(now_.monotonic);
  if (counts_due_ > 0) consider(count_at_);
  if (!growing_->empty() && !writing_) {
    const bool at_once = growing_->urgent() || !growing_->has_commands();
    consider(at_once ? now_.monotonic : growing_since_ + kLinger);
  }
  if (!held_.empty()) consider(held_.begin()->first);
  if (announcement_.has_value()) return next;  // The shards' answers wake.
  if (!pump_list_.empty()) consider(std::max(now_.monotonic, pump_again_at_));
  // Without room for them, the end of a write wakes, or a shard's answer.
  if (!RoomForBackground()) return next;
  if (shutting_down_) return next;
  if (const auto due = deadlines_.next(); due.has_value()) {
    consider(now_.monotonic + absl::Milliseconds(*due - now_.unix_ms));
  }
  if (const auto expiry = NextExpiry(); expiry.has_value()) {
    consider(std::max(*expiry, pump_again_at_));
  }
  const bool orphans_wait = std::any_of(orphan_scans_.begin(), orphan_scans_.end(),
                                        [](const OrphanScan& scan) { return scan.wanted; });
  if (orphans_wait) consider(std::max(now_.monotonic, pump_again_at_));
  if (orphans_again_at_.has_value()) consider(std::max(*orphans_again_at_, pump_again_at_));
  return next;
}

void HostCore::SendToAll(const Event& event) {
  for (ShardId shard = 0; shard < shards_; ++shard) Send(shard, event);
}

void HostCore::CountGauges() {
  int64_t sessions = 0;
  int64_t retained = 0;
  int64_t retained_bytes = 0;
  int64_t orphans = 0;
  int64_t subscriptions_bytes = 0;
  int64_t crowded = 0;
  for (const auto& partition : partitions_) {
    sessions += static_cast<int64_t>(partition->session_count());
    const RetainedRoom now = RetainedNow(partition->id());
    retained += static_cast<int64_t>(now.messages);
    retained_bytes += static_cast<int64_t>(now.bytes);
    orphans += static_cast<int64_t>(partition->orphans());
    subscriptions_bytes += static_cast<int64_t>(partition->subscriptions_bytes());
    crowded += static_cast<int64_t>(partition->crowded());
  }
  metrics_.sessions.Set(sessions);
  metrics_.retained_messages.Set(retained);
  metrics_.retained_bytes.Set(retained_bytes);
  metrics_.orphans.Set(orphans);
  metrics_.memory.Set(base::MemoryUse::kSubscriptions, subscriptions_bytes);
  metrics_.queues_crowded.Set(crowded);
  metrics_.subscriptions_shared.Set(static_cast<int64_t>(share_members_.subscriptions()));
  counts_due_ = counts_.size();
}

// Sums over the sessions of one partition, and over what was found in the others.
void HostCore::CountSessions() {
  --counts_due_;
  count_at_ = now_.monotonic + kCountSessions / static_cast<int64_t>(counts_.size());
  count_next_ = (count_next_ + 1) % counts_.size();
  Counts& counted = counts_[count_next_] = {};
  partitions_[count_next_]->ForEachSession([&](const Session& session) {
    counted.messages += static_cast<int64_t>(session.queue.messages());
    counted.bytes += static_cast<int64_t>(session.queue.bytes());
    counted.subscriptions += static_cast<int64_t>(session.subscriptions.size());
    counted.wills += session.will.message ? 1 : 0;
  });
  Counts sum;
  for (const Counts& counts : counts_) {
    sum.messages += counts.messages;
    sum.bytes += counts.bytes;
    sum.subscriptions += counts.subscriptions;
    sum.wills += counts.wills;
  }
  metrics_.queued_messages.Set(sum.messages);
  metrics_.queued_bytes.Set(sum.bytes);
  metrics_.subscriptions.Set(sum.subscriptions);
  metrics_.wills.Set(sum.wills);
}

PartitionId HostCore::PartitionOf(std::string_view client_id) const {
  return PartitionOfClient(client_id, options_.partitions);
}

}  // namespace storage
