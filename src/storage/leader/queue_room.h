// Room in queues that is promised to messages on their way.
#ifndef STORAGE_LEADER_QUEUE_ROOM_H_
#define STORAGE_LEADER_QUEUE_ROOM_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"

namespace storage {

// Room for one message: in one session's queue, or (kNoSlot) in any one of the partition's.
struct QueueReservation {
  SessionSlot slot = kNoSlot;
  uint64_t bytes = 0;
};

// Of all that was proposed to one partition and is not applied, as far as room was asked for.
// Bounded by what publishers may have unanswered. A slot that is given to another session meanwhile
// only makes the answer about that one more careful.
class QueueRoom {
 public:
  struct Taken {
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };

  void Add(const QueueReservation& reservation) {
    Change(all_, reservation, 1);
    Change(reservation.slot == kNoSlot ? any_ : of_sessions_[reservation.slot], reservation, 1);
  }
  // It is applied, or never will be.
  void Remove(const QueueReservation& reservation) {
    Change(all_, reservation, ~uint64_t{0});
    if (reservation.slot == kNoSlot) return Change(any_, reservation, ~uint64_t{0});
    const auto it = of_sessions_.find(reservation.slot);
    Change(it->second, reservation, ~uint64_t{0});
    if (it->second.messages == 0) of_sessions_.erase(it);
  }

  // What a session's queue may get at most, beside what it has.
  Taken Of(SessionSlot slot) const {
    Taken taken = any_;
    if (const auto it = of_sessions_.find(slot); it != of_sessions_.end()) {
      taken.messages += it->second.messages;
      taken.bytes += it->second.bytes;
    }
    return taken;
  }
  // What all queues together may get at most.
  const Taken& OfAll() const { return all_; }

 private:
  static void Change(Taken& taken, const QueueReservation& reservation, uint64_t sign) {
    taken.messages += sign;
    taken.bytes += sign * reservation.bytes;
  }

  Taken any_;  // Those without a session.
  Taken all_;
  absl::flat_hash_map<SessionSlot, Taken> of_sessions_;
};

// Room in a queue of some partition, promised by that partition's leader of so long a life: a later
// one knows nothing of it.
struct HeldRoom {
  PartitionId partition = 0;
  uint64_t life = 0;
  QueueReservation reservation;
};
using HeldRooms = std::vector<HeldRoom>;

}  // namespace storage

#endif  // STORAGE_LEADER_QUEUE_ROOM_H_
