// When to look at a connection again: a wheel of tenths of a second.
#ifndef BROKER_TIMER_WHEEL_H_
#define BROKER_TIMER_WHEEL_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "broker/shard/connection.h"

namespace broker {

// Lazy: a packet only notes its time; a connection is filed again when its slot comes up and it was
// not silent after all. So nothing is paid per packet. Part of one shard, used on its thread.
class TimerWheel {
 public:
  // Look at the connection at `at_tick` or earlier. A later time than it is filed for changes
  // nothing.
  void File(Connection& connection, uint32_t at_tick) {
    at_tick = std::max(at_tick, done_tick_ + 1);
    if (connection.filed_tick != 0 && connection.filed_tick <= at_tick) return;
    connection.filed_tick = at_tick;
    slots_[at_tick % kSlots].push_back({connection.ref.connection, at_tick});
  }

  // The next tick that may have something to visit, at most so far from the last one advanced to.
  uint32_t Next(uint32_t ticks_max) const {
    uint32_t ahead = 1;
    while (ahead < ticks_max && slots_[(done_tick_ + ahead) % kSlots].empty()) ++ahead;
    return done_tick_ + ahead;
  }

  // Calls visit(connection number) for what is due up to `now_tick`. It may be gone, or filed for
  // another time: `IsDue`.
  template <typename Visit>
  void Advance(uint32_t now_tick, Visit&& visit) {
    // At first, once round for what was filed before.
    if (done_tick_ == 0 && now_tick > kSlots) done_tick_ = now_tick - kSlots;
    while (done_tick_ < now_tick) {
      ++done_tick_;
      std::vector<Entry> entries;
      entries.swap(slots_[done_tick_ % kSlots]);
      for (const Entry& entry : entries) {
        if (entry.at_tick > done_tick_) {
          slots_[entry.at_tick % kSlots].push_back(entry);  // A later round of the wheel.
        } else {
          visit(entry.connection, entry.at_tick);
        }
      }
    }
  }

 private:
  static constexpr uint32_t kSlots = 1024;
  struct Entry {
    uint64_t connection;
    uint32_t at_tick;
  };
  std::array<std::vector<Entry>, kSlots> slots_;
  uint32_t done_tick_ = 0;
};

}  // namespace broker
#endif  // BROKER_TIMER_WHEEL_H_
