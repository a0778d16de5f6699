// Which Packet Identifiers of one direction are in use, and for what.
#ifndef BROKER_CORE_IN_FLIGHT_TABLE_H_
#define BROKER_CORE_IN_FLIGHT_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "mqtt/types.h"

namespace broker {

// A small open table, indexed by the identifier's low bits. Identifiers are given out in ascending
// order, so the live ones lie close together and the table stays about twice as large as the
// window. Empty: 32 bytes, no heap. Part of one session, used on its shard's thread.
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
    if (slots_.empty()) return State::kFree;
    const Slot& slot = slots_[id.value & (slots_.size() - 1)];
    return slot.id == id.value ? slot.state : State::kFree;
  }

  // Adds or changes an identifier. Grows when two live identifiers share a slot: at 65,536 slots
  // none do.
  void Set(mqtt::PacketId id, State state) {
    DCHECK(id.value != 0 && state != State::kFree) << "an identifier in use has a state";
    if (slots_.empty()) slots_.resize(kSlotsMin);
    for (;;) {
      Slot& slot = slots_[id.value & (slots_.size() - 1)];
      if (slot.state == State::kFree) ++used_;
      if (slot.state == State::kFree || slot.id == id.value) {
        slot = {id.value, state};
        return;
      }
      Grow();
    }
  }

  void Erase(mqtt::PacketId id) {
    if (Find(id) == State::kFree) return;
    slots_[id.value & (slots_.size() - 1)] = {};
    if (--used_ == 0 && slots_.size() > kSlotsMin) slots_ = {};  // An idle session keeps little.
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
  static constexpr size_t kSlotsMin = 16;

  void Grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.state != State::kFree) slots_[slot.id & (slots_.size() - 1)] = slot;
    }
  }

  std::vector<Slot> slots_;
  uint16_t used_ = 0;
  uint16_t last_ = 0;
};

}  // namespace broker
#endif  // BROKER_CORE_IN_FLIGHT_TABLE_H_
