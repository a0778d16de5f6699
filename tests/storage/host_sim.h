// A Host without threads, on a disk that forgets: what was not synced may be gone after a
// crash.
#ifndef TESTS_STORAGE_HOST_SIM_H_
#define TESTS_STORAGE_HOST_SIM_H_

#include <algorithm>
#include <functional>
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
  void Append(Host::Write write) {
    batches_.push_back(Keep(write));
    // What failed is tried again before anything else, as it was.
    if (const Batch failed = std::exchange(doubtful_, {}); !failed.empty()) {
      CHECK(failed == batches_.back()) << "a write that failed was not written again";
    }
    if (write.sync) synced_ = batches_.size();
  }
  // An error came back: what is on the disk is not known until the repair.
  void Fail(Host::Write write) { doubtful_ = Keep(write); }
  void Crash(base::Rng& rng) {
    const size_t written = batches_.size();
    batches_.resize(synced_ + rng.Below(written - synced_ + 1));
    const bool all_kept = batches_.size() == written;  // A log loses its end only.
    if (!doubtful_.empty() && all_kept && rng.Chance(0.5)) batches_.push_back(doubtful_);
    doubtful_.clear();
    synced_ = batches_.size();
  }
  // As another release would have written it.
  void AppendRaw(const LogEntry& entry) {
    batches_.push_back({{entry, std::string(entry.data)}});
    synced_ = batches_.size();
  }
  // Has the entry say something else. Its bytes before.
  std::string Rewrite(PartitionId partition, uint64_t index, std::string data) {
    for (auto& batch : batches_) {
      for (Kept& kept : batch) {
        if (kept.entry.partition != partition || kept.entry.index != index) continue;
        return std::exchange(kept.data, std::move(data));
      }
    }
    CHECK(false) << "the log has no such entry";
    return {};
  }
  void Replay(Host& core) const {
    for (const auto& batch : batches_) {
      for (const Kept& kept : batch) {
        const LogEntry entry = kept.View();
        if (entry.index <= core.logged(entry.partition)) continue;
        CHECK(entry.index == core.logged(entry.partition) + 1) << "the log has a gap";
        CHECK(core.Replay(entry).ok()) << "replay";
      }
    }
  }
  absl::Status ReadAfter(PartitionId partition, uint64_t after,
                         const std::function<absl::Status(const LogEntry&)>& visit) const {
    for (const auto& batch : batches_) {
      for (const Kept& kept : batch) {
        const LogEntry entry = kept.View();
        if (entry.partition != partition || entry.index <= after) continue;
        if (absl::Status status = visit(entry); !status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

 private:
  struct Kept {
    LogEntry entry;
    std::string data;
    bool operator==(const Kept& other) const {
      return entry.partition == other.entry.partition && entry.index == other.entry.index &&
             data == other.data;
    }
    LogEntry View() const {
      LogEntry view = entry;
      view.data = data;
      return view;
    }
  };
  using Batch = std::vector<Kept>;
  static Batch Keep(const Host::Write& write) {
    Batch batch;
    for (const LogEntry& entry : write.entries) batch.push_back({entry, std::string(entry.data)});
    return batch;
  }

  std::vector<Batch> batches_;
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
  // Cuts each Publish into parts, and makes one Published of the answers, as a shard does; or a
  // shard does so.
  bool joins_answers = true;
  // Bytes of entries, and how many were to be synced.
  uint64_t log_bytes = 0;
  uint64_t greatest_write_bytes = 0;
  size_t log_syncs = 0;

  void Send(Request request, ShardId from = 0) {
    Tick();
    if (const auto* open = std::get_if<OpenSession>(&request)) {
      names_[open->connection.connection] = open->client_id;
    }
    auto* const publish = std::get_if<Publish>(&request);
    if (publish == nullptr || !joins_answers) return core_->OnRequest(from, std::move(request));
    published_.Cut(std::move(*publish), options_.partitions,
                   [&](Publish part) { core_->OnRequest(from, std::move(part)); });
  }

  // One step of the machine: hand a group to the log, have it written, apply.
  void BeginWrite() {
    Tick();
    if (writing_.has_value()) return;
    writing_ = core_->TakeWrite();
  }
  void EndWrite(const absl::Status& status = absl::OkStatus()) {
    Tick();
    if (!writing_.has_value()) return;
    Host::Write write = *std::move(writing_);
    writing_.reset();
    if (status.ok()) {
      uint64_t bytes = 0;
      for (const LogEntry& entry : write.entries) bytes += entry.data.size();
      log_bytes += bytes;
      greatest_write_bytes = std::max(greatest_write_bytes, bytes);
      log_syncs += write.sync ? 1 : 0;
      log_.Append(std::move(write));
    } else {
      log_.Fail(std::move(write));
    }
    core_->OnWritten(status);
  }
  // The log's thread tries to make the log work again, if it is asked to.
  void Repair(const absl::Status& status = absl::OkStatus()) {
    Tick();
    if (!core_->WantsRepair() || writing_.has_value()) return;
    core_->OnRepair(status);
  }
  void Run() {
    Tick();
    core_->Run();
    Deliver();
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
      Repair();
      clock_.Advance(absl::Milliseconds(6));  // Longer than acknowledgements wait for company.
      if (core_->Drained() && !writing_.has_value()) {
        BeginWrite();
        Run();
        if (core_->Drained() && !writing_.has_value() && core_->healthy()) return;
      }
    }
    CHECK(false) << "the host never comes to rest";
  }

  // The machine dies and starts again.
  void Crash(base::Rng& rng) {
    writing_.reset();
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
    while (!ready) {
      BeginWrite();
      EndWrite();
      Run();
    }
  }

  void Deliver() {
    for (ShardId shard = 0; shard < shards_; ++shard) {
      for (Event& event : core_->TakeEvents(shard)) {
        if (const auto* route = std::get_if<RouteChange>(&event)) Confirm(shard, route->number);
        if (const auto* block = std::get_if<RouteBlock>(&event)) Confirm(shard, block->number);
        if (const auto* member = std::get_if<ShareMemberChange>(&event)) {
          Confirm(shard, member->number);
        }
        if (const auto* deliver = std::get_if<storage::Deliver>(&event)) TakeReplay(*deliver);
        if (auto* const part = std::get_if<Published>(&event); part != nullptr && joins_answers) {
          std::optional<Published> all = published_.Join(std::move(*part));
          if (!all.has_value()) continue;
          event = *std::move(all);
        }
        if (on_event) {
          on_event(shard, event);
        } else {
          events.push_back(std::move(event));
        }
      }
    }
    if (confirmed_) {
      confirmed_ = false;
      Run();
    }
  }
  void TakeReplay(const storage::Deliver& deliver) {
    const bool replays = std::any_of(deliver.entries.begin(), deliver.entries.end(),
                                     [](const Delivery& entry) { return entry.replay; });
    if (!replays || !take_replays) return;
    core_->OnRequest(deliver.connection.shard,
                     ReplayTaken{names_[deliver.connection.connection], deliver.epoch});
    confirmed_ = true;
  }
  void ConfirmHeard(ShardId shard) {
    core_->OnRequest(shard, ConfirmRoutes{heard_routes_});
    confirmed_ = true;
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
  std::optional<Host::Write> writing_;
  absl::flat_hash_map<uint64_t, std::string> names_;  // Of clients, by their connections.
  PublishJoiner published_;
  bool confirmed_ = false;
  uint64_t heard_routes_ = 0;
};

}  // namespace storage

#endif  // TESTS_STORAGE_HOST_SIM_H_
