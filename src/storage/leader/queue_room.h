// Room in queues that is promised to messages on their way.
#ifndef STORAGE_LEADER_QUEUE_ROOM_H_
#define STORAGE_LEADER_QUEUE_ROOM_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"

namespace storage {

// Room for one message: in one session's queue, or (kNoSlot) in any one of the partition's.
struct QueueReservation {
  PartitionId partition = 0;
  SessionSlot slot = kNoSlot;
  uint64_t bytes = 0;
};

// Of all that was proposed and is not applied, as far as room was asked for. Bounded by what
// publishers may have unanswered. A slot that is given to another session meanwhile only makes the
// answer about that one more careful.
class QueueRoom {
 public:
  struct Taken {
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };

  explicit QueueRoom(uint32_t partitions) : any_(partitions), all_(partitions) {}

  void Add(const QueueReservation& reservation) {
    Change(all_[reservation.partition], reservation, 1);
    if (reservation.slot == kNoSlot) return Change(any_[reservation.partition], reservation, 1);
    Change(of_sessions_[{reservation.partition, reservation.slot}], reservation, 1);
  }
  // It is applied, or never will be.
  void Remove(const QueueReservation& reservation) {
    Change(all_[reservation.partition], reservation, ~uint64_t{0});
    if (reservation.slot == kNoSlot)
      return Change(any_[reservation.partition], reservation, ~uint64_t{0});
    const auto it = of_sessions_.find({reservation.partition, reservation.slot});
    Change(it->second, reservation, ~uint64_t{0});
    if (it->second.messages == 0) of_sessions_.erase(it);
  }

  // What a session's queue may get at most, beside what it has.
  Taken Of(PartitionId partition, SessionSlot slot) const {
    Taken taken = any_[partition];
    if (const auto it = of_sessions_.find({partition, slot}); it != of_sessions_.end()) {
      taken.messages += it->second.messages;
      taken.bytes += it->second.bytes;
    }
    return taken;
  }
  // What all queues of a partition may get at most.
  const Taken& Of(PartitionId partition) const { return all_[partition]; }

 private:
  static void Change(Taken& taken, const QueueReservation& reservation, uint64_t sign) {
    taken.messages += sign;
    taken.bytes += sign * reservation.bytes;
  }

  std::vector<Taken> any_;  // By partition: those without a session.
  std::vector<Taken> all_;  // By partition.
  absl::flat_hash_map<std::pair<PartitionId, SessionSlot>, Taken> of_sessions_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_QUEUE_ROOM_H_
