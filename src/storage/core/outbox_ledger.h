// Which records of outboxes a shard has begun to pass on.
#ifndef STORAGE_CORE_OUTBOX_LEDGER_H_
#define STORAGE_CORE_OUTBOX_LEDGER_H_

#include <cstddef>
#include <vector>

#include "storage/core/partition_api.h"
#include "storage/core/range_set.h"

namespace storage {

// Part of a shard, used on its thread. All records of a partition come to the same shard. A leader
// that has just come tells of those again of which it does not know that they are passed on: what
// the shard has begun it goes on with, and how that ended is among the requests that are kept for
// the new leader. Bounded by what outboxes hold: numbers in a row take no more than one.
class OutboxLedger {
 public:
  // False: it is a repeat.
  bool Begin(const OutboxRef& record) {
    RangeSet& begun = Of(record.partition);
    begun.EraseBelow(record.kept_from);
    return begun.insert(record.number);
  }
  // The partition is to tell of it again.
  void GiveBack(const OutboxRef& record) { Of(record.partition).erase(record.number); }

 private:
  RangeSet& Of(PartitionId partition) {
    if (begun_.size() <= partition) begun_.resize(partition + size_t{1});
    return begun_[partition];
  }

  std::vector<RangeSet> begun_;  // By partition.
};

}  // namespace storage

#endif  // STORAGE_CORE_OUTBOX_LEDGER_H_
