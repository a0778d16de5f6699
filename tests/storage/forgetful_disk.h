// A state and a log in memory, as a disk has them: what was not synced may be gone after a crash.
#ifndef TESTS_STORAGE_FORGETFUL_DISK_H_
#define TESTS_STORAGE_FORGETFUL_DISK_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "storage/core/keys.h"
#include "storage/core/memory_store.h"
#include "storage/leader/host.h"

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
  // Another node that leads the partition has proposed it.
  Committed AppendOfOther(PartitionId partition, std::string entry) {
    Committed committed = {.partition = partition,
                           .index = ++last_[partition],
                           .term = term_,
                           .entry = std::move(entry)};
    Append({.entries = {committed}, .sync = true});
    return committed;
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

}  // namespace storage

#endif  // TESTS_STORAGE_FORGETFUL_DISK_H_
