// What the log has said of this node's partitions.
#ifndef STORAGE_LEADER_LOG_LEDGER_H_
#define STORAGE_LEADER_LOG_LEDGER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/check.h"
#include "storage/core/command_log.h"
#include "storage/core/log_entry.h"
#include "storage/core/partition_api.h"
#include "storage/core/replica.h"

namespace storage {

// Part of the host, used on its thread: who leads each partition, what is committed and not applied
// yet, and what was handed over and has no fate yet.
class LogLedger {
 public:
  // Of what others propose and waits to be applied, of each partition; one more always may.
  static constexpr size_t kWaitingBytesMax = 4 << 20;

  explicit LogLedger(uint32_t partitions) : partitions_(partitions) {}

  // ---- Who leads.
  // True: this node led it until now.
  bool Hear(const RoleChange& change) {
    Partition& partition = partitions_[change.partition];
    partition.acts_behind = change.acts_behind;
    return std::exchange(partition.role, change.leads ? Role::kLeads : Role::kFollows) ==
           Role::kLeads;
  }
  bool leads(PartitionId id) const { return partitions_[id].role == Role::kLeads; }
  bool follows(PartitionId id) const { return partitions_[id].role == Role::kFollows; }
  // It is led here, and what others may have proposed is applied.
  bool MayAct(PartitionId id, uint64_t applied) const {
    return leads(id) && applied >= partitions_[id].acts_behind;
  }

  // ---- What is committed.
  // At the start: the log is read up to here.
  void SetLast(PartitionId id, uint64_t index) {
    partitions_[id].last = partitions_[id].waits_through = partitions_[id].done = index;
  }
  uint64_t last(PartitionId id) const { return partitions_[id].last; }
  // Through this one all has come of it: the state has it, and the shards were told. What the
  // partition has applied may be one further.
  uint64_t done(PartitionId id) const { return partitions_[id].done; }
  // `kept`: it is to be applied. Else the replica has stopped, and the log may have been read
  // beyond it. What others propose while nothing can be applied is kept within a bound; what comes
  // behind that is in the log alone, until ReadOn.
  void Hear(Committed&& entry, bool kept) {
    Partition& partition = partitions_[entry.partition];
    CHECK(!kept || entry.index > partition.last) << "an entry of the log was committed twice";
    const bool all_wait = partition.waits_through == partition.last;
    partition.last = std::max(partition.last, entry.index);
    if (entry.proposal != 0) Landed(entry.partition);
    if (!kept) {
      partition.waits_through = partition.last;
    } else if (all_wait && (entry.proposal != 0 || partition.HasRoom())) {
      partition.Add(std::move(entry));
    } else if (entry.proposal != 0) {
      partition.own.emplace_back(entry.index, entry.proposal);
    }
  }
  bool all_wait(PartitionId id) const {
    return partitions_[id].waits_through == partitions_[id].last;
  }
  // When nothing waits any more, and not all did: the next ones, from the log. Not OK: it cannot be
  // read now.
  absl::Status ReadOn(PartitionId id, const Replica::LogReader& read_log) {
    Partition& partition = partitions_[id];
    const absl::Status read =
        read_log(id, partition.waits_through, [&](const LogEntry& entry) -> absl::Status {
          if (entry.index > partition.last || !partition.HasRoom())
            return absl::CancelledError("that is enough");
          partition.Add(partition.AsHeard(entry));
          return absl::OkStatus();
        });
    if (!partition.to_apply.empty()) return absl::OkStatus();
    return read.ok() ? absl::DataLossError("the log lacks what is committed") : read;
  }
  size_t waiting_bytes(PartitionId id) const { return partitions_[id].waiting_bytes; }
  // Null: nothing waits.
  Committed* Next(PartitionId id) {
    std::deque<Committed>& to_apply = partitions_[id].to_apply;
    return to_apply.empty() ? nullptr : &to_apply.front();
  }
  bool has_next(PartitionId id) const { return !partitions_[id].to_apply.empty() || !all_wait(id); }
  void PopNext(PartitionId id) { partitions_[id].Pop(); }

  // ---- What was handed over.
  uint64_t NumberNext(PartitionId id) {
    flying_ |= BitOf(id);
    return ++last_number_;
  }
  void Landed(PartitionId id) {
    flying_ &= ~BitOf(id);
    late_ &= flying_;
  }
  bool flying(PartitionId id) const { return (flying_ & BitOf(id)) != 0; }
  // The others are not to wait for those that are under way now.
  void CallLate() { late_ = flying_; }
  // But for those that are late.
  bool flying() const { return (flying_ & ~late_) != 0; }
  bool flying_or_late() const { return flying_ != 0; }

 private:
  enum class Role : uint8_t { kUnknown, kLeads, kFollows };
  struct Partition {
    // Those that this node proposed do not count: they are few, and have a bound of their own.
    static size_t BytesOf(const Committed& entry) {
      return entry.proposal != 0 ? 0 : sizeof(entry) + entry.entry.size();
    }
    bool HasRoom() const { return waiting_bytes < kWaitingBytesMax; }
    void Add(Committed entry) {
      waits_through = entry.index;
      waiting_bytes += BytesOf(entry);
      to_apply.push_back(std::move(entry));
    }
    // As it was said to be committed.
    Committed AsHeard(const LogEntry& entry) {
      Committed committed = {.partition = entry.partition,
                             .index = entry.index,
                             .term = entry.term,
                             .entry = std::string(entry.data)};
      if (!own.empty() && own.front().first == entry.index) {
        committed.proposal = own.front().second;
        own.pop_front();
      }
      return committed;
    }
    void Pop() {
      done = to_apply.front().index;
      waiting_bytes -= BytesOf(to_apply.front());
      to_apply.pop_front();
    }

    Role role = Role::kUnknown;
    uint64_t acts_behind = 0;
    uint64_t last = 0;           // That is committed.
    uint64_t done = 0;           // Below what waits.
    uint64_t waits_through = 0;  // Or is applied.
    size_t waiting_bytes = 0;
    std::deque<Committed> to_apply;
    std::deque<std::pair<uint64_t, uint64_t>> own;  // Of what is not: index, proposal.
  };
  std::vector<Partition> partitions_;
  PartitionMask flying_ = 0;
  PartitionMask late_ = 0;  // Of these.
  uint64_t last_number_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_LOG_LEDGER_H_
