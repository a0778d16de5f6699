// Requests that must wait while a partition has a new leader.
#ifndef STORAGE_LEADER_ADMISSION_H_
#define STORAGE_LEADER_ADMISSION_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "storage/core/partition_api.h"
#include "storage/leader/shard_table.h"

namespace storage {

// Part of the host, used on its thread. A leader that has just come takes no requests until it
// knows who is connected: each shard tells (Claims), and asks again what it does not know to be
// done. What comes of a shard before its claims is dropped here, since it comes again; what comes
// behind them waits for the other shards, or until the partition serves those that have told.
//
// Scans and confirmations come behind everything the shard has asked before. Bounded by what shards
// have under way: their publishers stand still before long.
//
// Of a partition that is led elsewhere nothing is taken, as before the claims. What does not
// concern it does not wait for it.
class Admission {
 public:
  explicit Admission(const ShardTable& shards) : shards_(shards), blocked_(shards.slots(), 0) {}

  // Whether the request may be handed on now. If not it is taken: kept, or dropped.
  bool Admit(ShardSlot from, Addressed& asked) {
    return (closed_.empty() && kept_.empty() && elsewhere_ == 0) || Consider(from, asked);
  }

  // The partition is led by another node, until Close or SetHere.
  void SetElsewhere(PartitionId id);
  void SetHere(PartitionId id) { elsewhere_ &= ~BitOf(id); }

  // The partition has a new leader, which asks under the number `life`: what was kept for it comes
  // again.
  void Close(PartitionId id, uint64_t life);
  // Returns them if the partition is open for those that have told: its leader is to have them
  // before the next request of that shard.
  std::optional<Claims> Hear(ShardSlot from, Claims claims);
  // The same of Claims::further: true if the leader is to have them.
  bool HearFurther(ShardSlot from, Claims& claims);
  bool HasHeardAll(PartitionId id) const;
  bool IsElsewhere(PartitionId id) const { return (elsewhere_ & BitOf(id)) != 0; }
  bool Asks(PartitionId id) const { return closed_.contains(id); }
  // Its leader serves: what the shards have told, by slot; nothing: nobody has it.
  std::vector<std::optional<Claims>> Open(PartitionId id);
  // The same, of those that have told by now; of the others nothing is taken before they do.
  std::vector<std::optional<Claims>> OpenInPart(PartitionId id);

  // A partition is open, or led elsewhere: what was kept for it need not wait any more.
  bool TakeNews() { return std::exchange(news_, false); }
  // What was kept, each shard's in the order in which it asked. To be admitted anew.
  std::vector<std::pair<ShardSlot, Addressed>> TakeKept();

  // To those that have told, at least.
  bool all_open() const { return ClosedMask() == 0; }

  // Another shard has its slot, or nobody; there may be more slots than before.
  void Forget(ShardSlot shard);

 private:
  struct Closed {
    uint64_t life = 0;
    bool serves = false;  // Those that have told.
    // By slot.
    std::vector<bool> heard;
    std::vector<std::optional<Claims>> told;  // Until it serves.
  };
  bool Consider(ShardSlot from, Addressed& asked);
  void ForgetKept(PartitionId id);
  PartitionMask ClosedMask() const;

  const ShardTable& shards_;
  std::map<PartitionId, Closed> closed_;
  PartitionMask elsewhere_ = 0;
  bool news_ = false;
  std::vector<std::pair<ShardSlot, Addressed>> kept_;
  // By slot: partitions for which it has to wait, because something of it that is kept goes first.
  std::vector<PartitionMask> blocked_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_ADMISSION_H_
