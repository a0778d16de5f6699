// What the log has said of this node's partitions.
#ifndef STORAGE_LEADER_LOG_LEDGER_H_
#define STORAGE_LEADER_LOG_LEDGER_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "base/check.h"
#include "storage/core/command_log.h"
#include "storage/core/partition_api.h"

namespace storage {

// Part of the host, used on its thread: who leads each partition, what is committed and not applied
// yet, and what was handed over and has no fate yet.
class LogLedger {
 public:
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
  void SetLast(PartitionId id, uint64_t index) { partitions_[id].last = index; }
  uint64_t last(PartitionId id) const { return partitions_[id].last; }
  // `kept`: it is to be applied. Else the replica has stopped, and the log may have been read
  // beyond it.
  void Hear(Committed&& entry, bool kept) {
    Partition& partition = partitions_[entry.partition];
    CHECK(!kept || entry.index > partition.last) << "an entry of the log was committed twice";
    partition.last = std::max(partition.last, entry.index);
    if (entry.proposal != 0) Landed(entry.partition);
    if (kept) partition.to_apply.push_back(std::move(entry));
  }
  // Null: nothing is to be applied.
  Committed* Next(PartitionId id) {
    std::deque<Committed>& to_apply = partitions_[id].to_apply;
    return to_apply.empty() ? nullptr : &to_apply.front();
  }
  bool has_next(PartitionId id) const { return !partitions_[id].to_apply.empty(); }
  void PopNext(PartitionId id) { partitions_[id].to_apply.pop_front(); }

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
    Role role = Role::kUnknown;
    uint64_t acts_behind = 0;
    uint64_t last = 0;
    std::deque<Committed> to_apply;
  };
  std::vector<Partition> partitions_;
  PartitionMask flying_ = 0;
  PartitionMask late_ = 0;  // Of these.
  uint64_t last_number_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_LOG_LEDGER_H_
