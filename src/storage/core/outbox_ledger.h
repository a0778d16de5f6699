// Which records of outboxes a shard has begun to pass on, and to whom in which order.
#ifndef STORAGE_CORE_OUTBOX_LEDGER_H_
#define STORAGE_CORE_OUTBOX_LEDGER_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "mqtt/message.h"
#include "storage/core/partition_api.h"
#include "storage/core/range_set.h"

namespace storage {

// Part of a shard, used on its thread. All records of a partition come to the same shard, in the
// order of their numbers. A leader that has just come tells of those again of which it does not
// know that they are passed on: what the shard has begun it goes on with, and how that ended is
// among the requests that are kept for the new leader.
//
// A record that a partition refuses is given back, and told of again later. None that comes behind
// it from the same publisher may overtake it: that partition takes none of them before it (AskOf),
// and none is begun while it is away, or passed on before it. Those of other publishers pass.
//
// Bounded by what outboxes hold: numbers in a row take no more than one.
class OutboxLedger {
 public:
  // Whose messages are to stay in order: a publisher, in whatever form. 0: nobody's.
  using Order = uint64_t;
  static Order OrderOf(const mqtt::Message& message);  // Never 0, nor the number of a connection.

  // False: it is a repeat.
  bool Begin(const OutboxRef& record, Order order);
  // Whether one with the same order, and a lower number, is to be told of again.
  bool MustWait(const OutboxRef& record, Order order) const;
  // The partition is asked to take its part: behind which record with the same order
  // (Publish::outbox_after).
  uint64_t AskOf(PartitionId target, const OutboxRef& record, Order order);
  // It has it.
  void Has(PartitionId target, const OutboxRef& record);
  // Whether one with the same order, and a lower number, was given back and is not passed on.
  bool IsOvertaking(const OutboxRef& record, Order order) const;
  void PassedOn(const OutboxRef& record, Order order);
  // It is passed on to the transient sessions of this node, whichever node passes it on. False:
  // they have had it.
  bool HandOut(const OutboxRef& record);
  // The partition of the outbox is to tell of it again.
  void GiveBack(const OutboxRef& record, Order order);

 private:
  using Numbers = absl::btree_set<std::pair<Order, uint64_t>>;
  // What a partition was asked to take and has not said to have.
  class Asked {
   public:
    // The greatest number below with the same order; 0: there is none.
    uint64_t LastBelow(uint64_t number, Order order) const;
    void Insert(uint64_t number, Order order);
    void Erase(uint64_t number);
    void EraseBelow(uint64_t number);

   private:
    Numbers by_order_;
    absl::btree_map<uint64_t, Order> orders_;  // By number.
  };
  struct Outbox {
    uint64_t kept_from = 0;
    RangeSet begun;
    uint64_t handed_out_from = 0;  // Those below are gone, or were handed out.
    RangeSet handed_out;
    Numbers given_back;
    Numbers again;             // They were, and are on their way once more.
    std::vector<Asked> asked;  // By target.
  };
  static bool AnyBefore(const Numbers& numbers, const OutboxRef& record, Order order);
  const Outbox* Find(PartitionId partition) const {
    return partition < outboxes_.size() ? &outboxes_[partition] : nullptr;
  }
  Outbox& Of(PartitionId partition) {
    if (outboxes_.size() <= partition) outboxes_.resize(partition + size_t{1});
    return outboxes_[partition];
  }

  std::vector<Outbox> outboxes_;  // By partition.
};

}  // namespace storage

#endif  // STORAGE_CORE_OUTBOX_LEDGER_H_
