// Which Packet Identifiers of one direction are in use, and for what.
#ifndef BROKER_CORE_IN_FLIGHT_TABLE_H_
#define BROKER_CORE_IN_FLIGHT_TABLE_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "mqtt/types.h"

namespace broker {

// A small open-addressed table. Identifiers are given out in ascending order, which multiplicative
// hashing spreads evenly, so one look finds nearly each. Whatever they are, it is at most half full
// and, beyond `kSlotsKept`, at least an eighth: 32 bytes for each in use. Up to three need no heap.
// Part of one session, used on its shard's thread.
class InFlightTable {
 public:
  enum class State : uint8_t {
    kFree = 0,
    kAwaitingPubAck,
    kAwaitingPubRec,
    kPubRecCommitting,  // PUBREC came; PUBREL leaves when that is durable.
    kAwaitingPubComp,
  };

  size_t size() const { return used_; }
  bool empty() const { return used_ == 0; }

  State Find(mqtt::PacketId id) const {
    const Slot* const slots = this->slots();
    for (size_t at = Home(id.value);; at = (at + 1) & mask_) {
      if (slots[at].state == State::kFree) return State::kFree;
      if (slots[at].id == id.value) return slots[at].state;
    }
  }

  // In no order. Not to be changed meanwhile.
  template <typename Visit>
  void ForEach(Visit&& visit) const {  // visit(uint16_t id, State)
    for (size_t at = 0; at <= mask_; ++at) {
      if (slots()[at].state != State::kFree) visit(slots()[at].id, slots()[at].state);
    }
  }

  // Adds or changes an identifier.
  void Set(mqtt::PacketId id, State state) {
    DCHECK(id.value != 0 && state != State::kFree) << "an identifier in use has a state";
    Slot* slot = PlaceOf(id.value);
    if (slot->state == State::kFree) {
      if (used_ >= Room(mask_)) {
        Resize((mask_ + 1) * 2);
        slot = PlaceOf(id.value);
      }
      ++used_;
    }
    *slot = {id.value, state};
  }

  void Erase(mqtt::PacketId id) {
    Slot* const slot = PlaceOf(id.value);
    if (slot->state == State::kFree) return;
    --used_;
    CloseGap(static_cast<size_t>(slot - slots()));
    if (mask_ >= kSlotsKept && used_ <= mask_ / 8) {
      Resize((mask_ + 1) / 2);
    }
  }

  // The next identifier after the last one given out that is not in use [MQTT5-2.2.1-4]
  // [MQTT311-2.3.1-4]. The table is not full: at most 65,534 are in use.
  mqtt::PacketId NextFree() {
    for (int tries = 0; tries < 65'536; ++tries) {
      last_ = last_ == 65'535 ? uint16_t{1} : static_cast<uint16_t>(last_ + 1);
      if (Find(mqtt::PacketId{last_}) == State::kFree) return mqtt::PacketId{last_};
    }
    CHECK(false) << "a window leaves identifiers free";
    return {};
  }

 private:
  struct Slot {
    uint16_t id = 0;
    State state = State::kFree;
  };
  static constexpr size_t kSlotsInside = 4;
  static constexpr size_t kSlotsKept = 32;  // An idle session keeps no more.

  // How many may be in use: a search must end at a free slot, soon.
  static size_t Room(size_t mask) { return mask < kSlotsInside ? mask : (mask + 1) / 2; }

  size_t Home(uint16_t id) const { return id * 2'654'435'769u >> std::countl_zero(mask_); }

  const Slot* slots() const { return heap_ != nullptr ? heap_.get() : inside_.data(); }
  Slot* slots() { return heap_ != nullptr ? heap_.get() : inside_.data(); }

  // Where it is, or would be.
  Slot* PlaceOf(uint16_t id) {
    Slot* const slots = this->slots();
    size_t at = Home(id);
    while (slots[at].state != State::kFree && slots[at].id != id) at = (at + 1) & mask_;
    return &slots[at];
  }

  // Frees the slot, and moves those behind it up that would not be found beyond a free one.
  void CloseGap(size_t gap) {
    Slot* const slots = this->slots();
    for (size_t at = (gap + 1) & mask_; slots[at].state != State::kFree; at = (at + 1) & mask_) {
      const size_t home = Home(slots[at].id);
      if (((at - home) & mask_) < ((at - gap) & mask_)) continue;
      slots[gap] = slots[at];
      gap = at;
    }
    slots[gap] = {};
  }

  void Resize(size_t count) {
    const size_t old_count = mask_ + 1;
    const std::unique_ptr<Slot[]> old = std::move(heap_);
    const std::array<Slot, kSlotsInside> old_inside = inside_;
    const Slot* const from = old != nullptr ? old.get() : old_inside.data();
    heap_ = std::make_unique<Slot[]>(count);
    mask_ = static_cast<uint32_t>(count - 1);
    for (size_t i = 0; i < old_count; ++i) {
      if (from[i].state != State::kFree) *PlaceOf(from[i].id) = from[i];
    }
  }

  std::unique_ptr<Slot[]> heap_;  // Null: `inside_`.
  std::array<Slot, kSlotsInside> inside_{};
  uint32_t mask_ = kSlotsInside - 1;
  uint16_t used_ = 0;
  uint16_t last_ = 0;
};

// A budget: part of every session.
static_assert(sizeof(InFlightTable) <= 32);

}  // namespace broker
#endif  // BROKER_CORE_IN_FLIGHT_TABLE_H_
