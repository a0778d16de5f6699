// When to look at a connection again: a coarse wheel of seconds.
#ifndef BROKER_TIMER_WHEEL_H_
#define BROKER_TIMER_WHEEL_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "broker/connection.h"

namespace broker {

// Lazy: a packet only notes its time; a connection is filed again when its slot comes up and it was
// not silent after all. So nothing is paid per packet. Part of one shard, used on its thread.
class TimerWheel {
 public:
  // Look at the connection at `at_s` or earlier. A later time than it is filed for changes nothing.
  void File(Connection& connection, uint32_t at_s) {
    at_s = std::max(at_s, done_s_ + 1);
    if (connection.filed_s != 0 && connection.filed_s <= at_s) return;
    connection.filed_s = at_s;
    slots_[at_s % kSlots].push_back({connection.ref.connection, at_s});
  }

  // Calls visit(connection number) for what is due up to `now_s`. It may be gone, or filed for
  // another time: `IsDue`.
  template <typename Visit>
  void Advance(uint32_t now_s, Visit&& visit) {
    // At first, once round for what was filed before.
    if (done_s_ == 0 && now_s > kSlots) done_s_ = now_s - kSlots;
    while (done_s_ < now_s) {
      ++done_s_;
      std::vector<Entry> entries;
      entries.swap(slots_[done_s_ % kSlots]);
      for (const Entry& entry : entries) {
        if (entry.at_s > done_s_) {
          slots_[entry.at_s % kSlots].push_back(entry);  // A later round of the wheel.
        } else {
          visit(entry.connection, entry.at_s);
        }
      }
    }
  }

 private:
  static constexpr uint32_t kSlots = 1024;
  struct Entry {
    uint64_t connection;
    uint32_t at_s;
  };
  std::array<std::vector<Entry>, kSlots> slots_;
  uint32_t done_s_ = 0;
};

}  // namespace broker
#endif  // BROKER_TIMER_WHEEL_H_
