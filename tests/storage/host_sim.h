// A Host without threads, on a disk that forgets: what was not synced may be gone after a
// crash.
#ifndef TESTS_STORAGE_HOST_SIM_H_
#define TESTS_STORAGE_HOST_SIM_H_

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/timeline.h"
#include "storage/core/keys.h"
#include "storage/core/memory_store.h"
#include "storage/core/request_streams.h"
#include "storage/core/time_record.h"
#include "storage/leader/host.h"
#include "tests/storage/requests.h"
#include "tests/support/fake_clock.h"

namespace storage {

// The state without a log of its own: a crash takes it back to the last flush.
class MemoryState final : public StateStore, public StateReader {
 public:
  const StateReader& reader() const override { return *this; }
  absl::StatusOr<bool> Get(std::string_view key, std::string& value) const override {
    if (absl::Status status = ReadStatus(key); !status.ok()) return status;
    return store_->Get(key, value);
  }
  std::unique_ptr<StateIterator> NewIterator(std::string_view lower,
                                             std::string_view upper) const override {
    if (absl::Status status = ReadStatus(lower); !status.ok()) {
      return std::make_unique<FailedIterator>(std::move(status));
    }
    return store_->NewIterator(lower, upper);
  }
  StateBatch& batch() override { return batch_; }
  absl::Status Write() override {
    if (batch_.size() == 0) return absl::OkStatus();
    if (!fail_.ok()) return fail_;
    greatest_batch_bytes = std::max(greatest_batch_bytes, batch_.bytes());
    store_->Write(batch_);
    batch_.Clear();
    ++writes;
    return absl::OkStatus();
  }
  void Discard() override { batch_.Clear(); }
  absl::StatusOr<Repaired> Repair() override {
    if (!fail_.ok()) return fail_;
    if (!std::exchange(forgets_, false)) return Repaired::kWhole;
    batch_.Clear();
    Crash();
    return Repaired::kReopened;
  }

  void Flush() { flushed_ = std::make_unique<MemoryStore>(*store_); }
  void Crash() {
    batch_.Clear();
    fail_ = absl::OkStatus();
    fail_reads_ = absl::OkStatus();
    failing_.reset();
    forgets_ = false;
    store_ = flushed_ == nullptr ? std::make_unique<MemoryStore>()
                                 : std::make_unique<MemoryStore>(*flushed_);
  }
  void FailWith(absl::Status status) { fail_ = std::move(status); }
  // When it is repaired, what was not flushed is gone.
  void ForgetWhenRepaired() { forgets_ = true; }
  void FailReadsWith(absl::Status status) { fail_reads_ = std::move(status); }
  // Of one partition only. Never of more than one at a time.
  void FailReadsOf(PartitionId partition, absl::Status status) {
    failing_ = partition;
    FailReadsWith(std::move(status));
  }
  size_t ChunkCount() const {
    return static_cast<size_t>(std::count_if(
        store_->map().begin(), store_->map().end(),
        [](const auto& item) { return item.first[2] == static_cast<char>(KeyKind::kQueue); }));
  }

  size_t writes = 0;
  size_t greatest_batch_bytes = 0;

 private:
  absl::Status ReadStatus(std::string_view key) const {
    if (!failing_.has_value() || fail_reads_.ok()) return fail_reads_;
    const bool concerned = key.size() >= 2 && static_cast<uint8_t>(key[0]) == *failing_ >> 8 &&
                           static_cast<uint8_t>(key[1]) == (*failing_ & 0xFF);
    return concerned ? fail_reads_ : absl::OkStatus();
  }

  class FailedIterator final : public StateIterator {
   public:
    explicit FailedIterator(absl::Status status) : status_(std::move(status)) {}
    bool Valid() const override { return false; }
    void Seek(std::string_view) override {}
    void SeekForPrev(std::string_view) override {}
    void Next() override {}
    std::string_view key() const override { return {}; }
    std::string_view value() const override { return {}; }
    absl::Status status() const override { return status_; }

   private:
    const absl::Status status_;
  };

  std::unique_ptr<MemoryStore> store_ = std::make_unique<MemoryStore>();
  std::unique_ptr<MemoryStore> flushed_;
  MemoryBatch batch_;
  absl::Status fail_;
  absl::Status fail_reads_;
  std::optional<PartitionId> failing_;  // Whose reads fail; none: all.
  bool forgets_ = false;
};

// Batches of entries, of which a crash keeps all that were synced and some of the others.
class MemoryLog {
 public:
  struct Batch {
    std::vector<Committed> entries;
    bool sync = false;
  };
  // What the host hands over becomes the next entries.
  Batch Number(Submission submission) {
    Batch batch;
    batch.sync = submission.sync;
    for (ProposedEntry& proposal : submission.proposals) {
      batch.entries.push_back({.partition = proposal.partition,
                               .index = ++last_[proposal.partition],
                               .term = term_,
                               .proposal = proposal.number,
                               .entry = std::move(proposal.entry)});
    }
    return batch;
  }
  void Append(const Batch& batch) {
    CHECK(doubtful_.entries.empty()) << "a write that failed was not written again";
    batches_.push_back(batch.entries);
    if (batch.sync) synced_ = batches_.size();
  }
  // An error came back: what is on the disk is not known until the repair.
  void Fail(Batch batch) { doubtful_ = std::move(batch); }
  // It is written again, as it was.
  Batch Repair() {
    Batch again = std::exchange(doubtful_, {});
    if (!again.entries.empty()) Append(again);
    return again;
  }
  void Crash(base::Rng& rng) {
    const size_t written = batches_.size();
    batches_.resize(synced_ + rng.Below(written - synced_ + 1));
    const bool all_kept = batches_.size() == written;  // A log loses its end only.
    if (!doubtful_.entries.empty() && all_kept && rng.Chance(0.5)) {
      batches_.push_back(doubtful_.entries);
    }
    doubtful_ = {};
    synced_ = batches_.size();
  }
  // As another release would have written it.
  void AppendRaw(const LogEntry& entry) {
    batches_.push_back({{entry.partition, entry.index, entry.term, 0, std::string(entry.data)}});
    synced_ = batches_.size();
  }
  // The partition is led here again: the first entry of the term, which says nothing else.
  Committed BeginTerm(PartitionId partition) {
    const Committed first = {
        .partition = partition, .index = ++last_[partition], .term = ++term_, .entry = {}};
    Append({.entries = {first}, .sync = true});
    return first;
  }
  uint64_t term() const { return term_; }
  // Nobody has the partition's last entry, which was numbered.
  void TakeBack(PartitionId partition) { --last_[partition]; }

  // Has the entry say something else. Its bytes before.
  std::string Rewrite(PartitionId partition, uint64_t index, std::string data) {
    for (auto& batch : batches_) {
      for (Committed& kept : batch) {
        if (kept.partition != partition || kept.index != index) continue;
        return std::exchange(kept.entry, std::move(data));
      }
    }
    CHECK(false) << "the log has no such entry";
    return {};
  }
  void Replay(Host& core) {
    for (const auto& batch : batches_) {
      for (const Committed& kept : batch) {
        if (kept.index <= core.logged(kept.partition)) continue;
        CHECK(kept.index == core.logged(kept.partition) + 1) << "the log has a gap";
        CHECK(core.Replay(View(kept)).ok()) << "replay";
      }
    }
    for (PartitionId id = 0; id < core.partitions(); ++id) last_[id] = core.logged(id);
  }
  absl::Status ReadAfter(PartitionId partition, uint64_t after,
                         const std::function<absl::Status(const LogEntry&)>& visit) const {
    for (const auto& batch : batches_) {
      for (const Committed& kept : batch) {
        if (kept.partition != partition || kept.index <= after) continue;
        if (absl::Status status = visit(View(kept)); !status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

 private:
  static LogEntry View(const Committed& kept) {
    return {
        .partition = kept.partition, .index = kept.index, .term = kept.term, .data = kept.entry};
  }

  std::map<PartitionId, uint64_t> last_;  // Index, of what is numbered.
  uint64_t term_ = 1;
  std::vector<std::vector<Committed>> batches_;
  size_t synced_ = 0;
  Batch doubtful_;
};

class HostSim {
 public:
  explicit HostSim(StorageOptions options, ShardId shards = 1)
      : options_(std::move(options)), shards_(shards) {
    Boot();
  }

  Host& core() { return *core_; }
  MemoryState& state() { return state_; }
  MemoryLog& log() { return log_; }
  support::FakeClock& clock() { return clock_; }
  // As messages and sessions count it.
  int64_t now_unix_ms() const { return timeline_.UnixMs(clock_.MonotonicNs()); }
  // As if the partitions had been led by a node whose time was ahead of this one's.
  void FallBehind(absl::Duration by) {
    timeline_.Set(now_unix_ms() - absl::ToInt64Milliseconds(by), clock_.MonotonicNs());
  }
  HostMetrics& metrics() { return *metrics_; }

  // Every event goes here; without it they are kept in `events`.
  std::function<void(ShardId, Event&)> on_event;
  std::vector<Event> events;
  // Shards confirm routes as they hear of them; or nobody does.
  bool confirm_routes = true;
  // They have room for the next page of a replay when they have one; or never.
  bool take_replays = true;
  // Takes Published and StreamAck as a shard does (Send cuts each Publish into parts, and numbers
  // all requests); or a shard does so, whose requests come by Take.
  bool plays_shards = true;
  // Events wait until DeliverEvents; those of a leader that goes before are lost.
  bool holds_events = false;
  // What is wrong with this world: tests must notice.
  enum class Mutant {
    kNone,
    kAcknowledgeBeforeCommit,
    kForgetEpoch,
    kSkipSequence,
    kRefuseAfterProposing,
    kResendFromHead,
  };
  Mutant mutant = Mutant::kNone;
  // Bytes of entries, and how many were to be synced.
  uint64_t log_bytes = 0;
  uint64_t greatest_write_bytes = 0;
  size_t log_syncs = 0;

  void Send(Request request, ShardId from = 0) {
    Tick();
    std::visit([&](auto& one) { Note(one, from); }, request);
    auto* const publish = std::get_if<Publish>(&request);
    if (publish == nullptr) return Ask(from, std::move(request));
    published_.Cut(std::move(*publish), options_.partitions,
                   [&](Publish part) { Ask(from, std::move(part)); });
  }
  // As a shard has numbered it.
  void Take(ShardId from, Addressed request) {
    Tick();
    if (const auto* open = std::get_if<OpenSession>(&request.request)) {
      names_[open->connection.connection] = open->client_id;
    }
    core_->OnRequest(from, std::move(request));
  }
  // What the shard's partitions have not said to be done.
  size_t kept(ShardId shard = 0) const { return streams_[shard].kept(); }

  // The partition gets a new leader; what the former one has said and nobody has heard is lost.
  void ReplaceLeader(PartitionId id) {
    Tick();
    if (mutant == Mutant::kRefuseAfterProposing) RefuseUnanswered(id);
    DropPending(id);
    core_->ReplaceLeader(id);
    Run();
  }

  // The shards know nothing of any connection.
  void ForgetConnections() { connections_.clear(); }

  // One step of the machine: hand a group to the log, have it written, apply.
  void BeginWrite() {
    Tick();
    if (writing_.has_value()) return;
    std::optional<Submission> group = core_->TakeSubmission();
    if (group.has_value()) writing_ = log_.Number(*std::move(group));
  }
  // What is handed to the log, and not known to be there.
  const std::optional<MemoryLog::Batch>& being_written() const { return writing_; }
  void EndWrite(const absl::Status& status = absl::OkStatus()) {
    Tick();
    if (!writing_.has_value()) return;
    MemoryLog::Batch write = *std::move(writing_);
    writing_.reset();
    if (mutant == Mutant::kAcknowledgeBeforeCommit) write.sync = false;
    if (!status.ok()) {
      log_fails_ = true;
      log_.Fail(std::move(write));
      return core_->OnLog(LogHealth{status});
    }
    uint64_t bytes = 0;
    for (const Committed& entry : write.entries) bytes += entry.entry.size();
    log_bytes += bytes;
    greatest_write_bytes = std::max(greatest_write_bytes, bytes);
    log_syncs += write.sync ? 1 : 0;
    log_.Append(write);
    TellCommitted(std::move(write));
  }
  // The log tries to work again, if it does not.
  void Repair(const absl::Status& status = absl::OkStatus()) {
    Tick();
    if (!log_fails_ || writing_.has_value()) return;
    if (!status.ok()) return core_->OnLog(LogHealth{status});
    log_fails_ = false;
    MemoryLog::Batch again = log_.Repair();
    core_->OnLog(LogHealth{absl::OkStatus()});
    TellCommitted(std::move(again));
  }

  // Another node leads the partition. What was on its way to the log is nobody's: it is committed
  // all the same, or (`lost`) it is in no log.
  void LoseLead(PartitionId id, bool lost) {
    if (!core_->leads(id)) return;
    Tick();
    DropPending(id);
    if (writing_.has_value()) {
      std::vector<Committed>& entries = writing_->entries;
      const auto found = std::find_if(entries.begin(), entries.end(),
                                      [id](const Committed& one) { return one.partition == id; });
      if (found != entries.end()) {
        core_->OnLog(NotCommitted{.partition = id, .proposal = found->proposal});
        found->proposal = 0;
        if (lost) {
          entries.erase(found);
          log_.TakeBack(id);
        }
      }
    }
    core_->OnLog(RoleChange{.partition = id, .leads = false, .term = log_.term()});
    Run();
  }
  void TakeLead(PartitionId id) {
    if (core_->leads(id)) return;
    EndWrite();
    Tick();
    Committed first = log_.BeginTerm(id);
    core_->OnLog(
        RoleChange{.partition = id, .leads = true, .term = first.term, .acts_behind = first.index});
    core_->OnLog(std::move(first));
    Run();
  }
  void Run() {
    Tick();
    core_->Run();
    TakeEvents();
    if (!holds_events) DeliverEvents();
  }
  void DeliverEvents() {
    while (!pending_.empty()) {
      auto [shard, event] = std::move(pending_.front());
      pending_.pop_front();
      Hear(shard, event);
    }
    if (std::exchange(asked_, false)) Run();
  }
  // What they did not while `confirm_routes` was false.
  void ConfirmRoutesNow() {
    confirm_routes = true;
    for (ShardId shard = 0; shard < shards_; ++shard) ConfirmHeard(shard);
  }

  // Until nothing is left to do at this moment.
  void Settle() {
    for (int i = 0; i < 1000; ++i) {
      BeginWrite();
      EndWrite();
      Run();
      DeliverEvents();
      Repair();
      clock_.Advance(absl::Milliseconds(6));  // Longer than acknowledgements wait for company.
      if (core_->Drained() && !writing_.has_value()) {
        BeginWrite();
        Run();
        const bool rests = core_->Drained() && !writing_.has_value() && pending_.empty();
        if (rests && core_->healthy()) return;
      }
    }
    CHECK(false) << "the host never comes to rest";
  }

  // The machine dies and starts again.
  void Crash(base::Rng& rng) {
    writing_.reset();
    log_fails_ = false;
    log_.Crash(rng);
    state_.Crash();
    Boot();
  }

  // The same, with another release of the broker.
  void CrashInto(StorageOptions options, base::Rng& rng) {
    options_ = std::move(options);
    Crash(rng);
  }

  // The events of a type heard so far, which are taken away.
  template <typename T>
  std::vector<T> Take() {
    std::vector<T> taken;
    std::vector<Event> rest;
    for (Event& event : events) {
      if (T* wanted = std::get_if<T>(&event)) {
        taken.push_back(std::move(*wanted));
      } else {
        rest.push_back(std::move(event));
      }
    }
    events = std::move(rest);
    return taken;
  }

 private:
  // A connection as its shard has it.
  struct Connected {
    ShardId shard = 0;
    Token token = 0;  // Of its OpenSession.
    bool open = false;
    Claims::Held held;
  };

  void Ask(ShardId from, Request request) {
    if (mutant == Mutant::kForgetEpoch) std::visit([&](auto& one) { Renew(one); }, request);
    Addressed asked(std::move(request));
    streams_[from].Number(asked);
    std::visit(
        [&](const auto& one) {
          if constexpr (requires { one.token; }) partition_of_[one.token] = asked.partition;
        },
        asked.request);
    core_->OnRequest(from, std::move(asked));
  }
  template <typename Asked>
  void Renew(Asked& request) {
    if constexpr (requires {
                    request.epoch;
                    request.client_id;
                  }) {
      const PartitionId id = PartitionOfClient(request.client_id, options_.partitions);
      if (const Session* const session = core_->partition(id).Find(request.client_id)) {
        request.epoch = session->epoch;
      }
    }
  }

  // ---- What a shard does with what it says and hears.
  void Note(OpenSession& open, ShardId from) {
    names_[open.connection.connection] = open.client_id;
    Connected& connected = connections_[open.connection.connection];
    connected = {.shard = from, .token = open.token, .open = false, .held = {}};
    connected.held.client_id = open.client_id;
    connected.held.user_name = open.user_name;
    connected.held.connection = open.connection;
    connected.held.window_messages = open.window_messages;
    connected.held.window_bytes = open.window_bytes;
    connected.held.packet_size_max = open.packet_size_max;
  }
  void Note(CloseSession& close, ShardId from) {
    const auto found = connections_.find(close.connection.connection);
    if (found == connections_.end()) return;
    if (!found->second.open) streams_[from].OnAnswer(found->second.token);
    if (found->second.open && holds_events) close.sent_through = found->second.held.sent_through;
    connections_.erase(found);
  }
  void Note(Acknowledge& acknowledge, ShardId /*from*/) {
    for (auto& [number, connected] : connections_) {
      if (connected.held.epoch != acknowledge.epoch) continue;
      if (connected.held.client_id != acknowledge.client_id) continue;
      for (const Acknowledge::Entry& entry : acknowledge.entries) {
        if (entry.kind != AckKind::kPubRec) std::erase(connected.held.in_flight, entry.sequence);
      }
    }
  }
  template <typename Other>
  void Note(Other& /*request*/, ShardId /*from*/) {}

  void Heed(const SessionOpened& opened, ShardId shard) {
    streams_[shard].OnAnswer(opened.token);
    for (auto& [number, connected] : connections_) {
      if (connected.token != opened.token || connected.shard != shard) continue;
      connected.open = opened.status.ok();
      connected.held.epoch = opened.epoch;
    }
  }
  void Heed(const storage::Deliver& deliver, ShardId /*shard*/) {
    const auto found = connections_.find(deliver.connection.connection);
    if (found == connections_.end() || found->second.held.epoch != deliver.epoch) return;
    Claims::Held& held = found->second.held;
    for (const Delivery& delivery : deliver.entries) {
      if (delivery.sequence == 0) continue;
      held.sent_through = std::max(held.sent_through, delivery.sequence);
      held.in_flight.push_back(delivery.sequence);
    }
  }
  void Heed(const ClaimsWanted& wanted, ShardId shard) {
    Claims claims;
    claims.partition = wanted.partition;
    claims.life = wanted.life;
    for (const auto& [number, connected] : connections_) {
      const std::string& client_id = connected.held.client_id;
      if (!connected.open || connected.shard != shard) continue;
      if (PartitionOfClient(client_id, options_.partitions) != wanted.partition) continue;
      claims.held.push_back(connected.held);
      if (mutant != Mutant::kResendFromHead) continue;
      claims.held.back().sent_through = 0;
      claims.held.back().in_flight.clear();
    }
    std::vector<Addressed> repeats = streams_[shard].Repeat(claims);
    core_->OnRequest(shard, std::move(claims));
    for (Addressed& repeat : repeats) {
      if (mutant == Mutant::kSkipSequence) repeat.sequence |= uint64_t{1} << 40;
      core_->OnRequest(shard, std::move(repeat));
    }
    asked_ = true;
  }
  void Heed(const StreamAck& ack, ShardId shard) { streams_[shard].OnAck(ack); }
  void Heed(const SubscribeDone& done, ShardId shard) { streams_[shard].OnAnswer(done.token); }
  void Heed(const UnsubscribeDone& done, ShardId shard) { streams_[shard].OnAnswer(done.token); }
  template <typename Other>
  void Heed(const Other& /*event*/, ShardId /*shard*/) {}

  // Whose leader has said it; none: nobody's in particular.
  std::optional<PartitionId> PartitionOf(const Event& event) const {
    return std::visit(
        [&](const auto& one) -> std::optional<PartitionId> {
          using T = std::decay_t<decltype(one)>;
          if constexpr (std::is_same_v<T, Published> || std::is_same_v<T, StreamAck> ||
                        std::is_same_v<T, ClaimsWanted>) {
            return one.partition;
          } else if constexpr (std::is_same_v<T, TakenOver>) {
            return PartitionOfClient(one.client_id, options_.partitions);
          } else if constexpr (requires {
                                 one.connection.connection;
                                 one.epoch;
                               }) {
            return PartitionOfClient(names_.at(one.connection.connection), options_.partitions);
          } else if constexpr (std::is_same_v<T, RetainedPage>) {
            return std::nullopt;
          } else if constexpr (requires { one.token; }) {
            const auto found = partition_of_.find(one.token);
            return found == partition_of_.end() ? std::nullopt : std::optional(found->second);
          } else {
            return std::nullopt;
          }
        },
        event);
  }
  // What was said and nobody has heard.
  void DropPending(PartitionId id) {
    TakeEvents();
    if (!holds_events) return;
    std::erase_if(pending_, [&](const auto& one) { return PartitionOf(one.second) == id; });
  }
  void TellCommitted(MemoryLog::Batch batch) {
    for (Committed& entry : batch.entries) core_->OnLog(std::move(entry));
  }
  void RefuseUnanswered(PartitionId id) {
    for (const Token token : published_.Unanswered(id)) {
      pending_.emplace_back(0, Published{.token = token,
                                         .status = absl::UnavailableError("a new leader"),
                                         .duplicate = false,
                                         .partition = id});
    }
    DeliverEvents();
  }

  void Tick() {
    time_record_ = {.clocks = ReadClocks(), .unix_ms = now_unix_ms()};
    core_->SetTime({.unix_ms = now_unix_ms(), .monotonic = clock_.Monotonic()});
  }
  ClockReading ReadClocks() const {
    return {.boot_id = clock_.BootId(),
            .boot_ms = absl::ToInt64Milliseconds(clock_.SinceBoot()),
            .wall_ms = absl::ToUnixMillis(clock_.Now())};
  }

  void Boot() {
    core_.reset();
    published_.Clear();
    metrics_ = std::make_unique<HostMetrics>();
    pending_.clear();
    connections_.clear();
    partition_of_.clear();
    asked_ = false;
    streams_.clear();
    for (ShardId shard = 0; shard < shards_; ++shard) streams_.emplace_back(options_.partitions);
    core_ = std::make_unique<Host>(options_, shards_, state_, *metrics_, rng_);
    core_->SetLogReader([this](PartitionId partition, uint64_t after, const auto& visit) {
      return log_.ReadAfter(partition, after, visit);
    });
    CHECK(core_->Load().ok()) << "load";
    log_.Replay(*core_);
    timeline_.Set(TimeAtStart(time_record_, ReadClocks(), core_->last_time_unix_ms()),
                  clock_.MonotonicNs());
    Tick();
    bool ready = false;
    core_->Begin([&ready] { ready = true; });
    for (PartitionId id = 0; id < options_.partitions; ++id) {
      core_->OnLog(RoleChange{
          .partition = id, .leads = true, .term = log_.term(), .acts_behind = core_->applied(id)});
    }
    Run();
    while (!ready) {
      BeginWrite();
      EndWrite();
      Run();
      DeliverEvents();
    }
  }

  void TakeEvents() {
    for (ShardId shard = 0; shard < shards_; ++shard) {
      for (Event& event : core_->TakeEvents(shard)) pending_.emplace_back(shard, std::move(event));
    }
  }
  void Hear(ShardId shard, Event& event) {
    if (const auto* route = std::get_if<RouteChange>(&event)) Confirm(shard, route->number);
    if (const auto* block = std::get_if<RouteBlock>(&event)) Confirm(shard, block->number);
    if (const auto* member = std::get_if<ShareMemberChange>(&event)) {
      Confirm(shard, member->number);
    }
    if (const auto* deliver = std::get_if<storage::Deliver>(&event)) TakeReplay(*deliver);
    if (plays_shards) {
      std::visit([&](const auto& one) { Heed(one, shard); }, event);
      if (std::holds_alternative<StreamAck>(event)) return;
      if (std::holds_alternative<ClaimsWanted>(event)) return;
      if (auto* const part = std::get_if<Published>(&event)) {
        std::optional<Published> all = published_.Join(std::move(*part));
        if (!all.has_value()) return;
        event = *std::move(all);
      }
    }
    if (on_event) {
      on_event(shard, event);
    } else {
      events.push_back(std::move(event));
    }
  }
  void TakeReplay(const storage::Deliver& deliver) {
    const bool replays = std::any_of(deliver.entries.begin(), deliver.entries.end(),
                                     [](const Delivery& entry) { return entry.replay; });
    if (!replays || !take_replays) return;
    core_->OnRequest(deliver.connection.shard,
                     ReplayTaken{names_[deliver.connection.connection], deliver.epoch});
    asked_ = true;
  }
  void ConfirmHeard(ShardId shard) {
    core_->OnRequest(shard, ConfirmRoutes{heard_routes_});
    asked_ = true;
  }
  void Confirm(ShardId shard, uint64_t number) {
    heard_routes_ = number;
    if (confirm_routes) ConfirmHeard(shard);
  }

  StorageOptions options_;
  const ShardId shards_;
  base::Rng rng_{1};
  support::FakeClock clock_;
  base::Timeline timeline_;
  std::optional<TimeRecord> time_record_;
  MemoryState state_;
  MemoryLog log_;
  std::unique_ptr<HostMetrics> metrics_;
  std::unique_ptr<Host> core_;
  std::optional<MemoryLog::Batch> writing_;
  bool log_fails_ = false;
  absl::flat_hash_map<uint64_t, std::string> names_;  // Of clients, by their connections.
  PublishJoiner published_;
  std::vector<RequestStreams> streams_;            // By shard.
  std::deque<std::pair<ShardId, Event>> pending_;  // Said, and not heard.
  std::map<uint64_t, Connected> connections_;      // By number.
  absl::flat_hash_map<Token, PartitionId> partition_of_;
  bool asked_ = false;  // Something, because of what was heard.
  uint64_t heard_routes_ = 0;
};

}  // namespace storage

#endif  // TESTS_STORAGE_HOST_SIM_H_
