// How late it is for messages and sessions: the time in which MQTT's intervals are counted.
#ifndef BASE_TIMELINE_H_
#define BASE_TIMELINE_H_

#include <atomic>
#include <cstdint>

namespace base {

// Milliseconds that look like those of the Unix epoch and are none: the wall clock may be set, and
// an interval must become neither shorter nor longer by that. This time began once as the wall
// clock's; since then it goes on with the monotonic clock, over the time for which the machine
// sleeps, and from one start to the next (storage/core/time_record.h). The nodes of a cluster have
// one (cluster/core/common_time.h). Once it is used it never goes back.
//
// Set by the partition host; may be read, and put ahead, from any thread.
class Timeline {
 public:
  // At the moment at which the monotonic clock shows so much.
  int64_t UnixMs(int64_t monotonic_ns) const {
    return monotonic_ns / 1'000'000 + ahead_ms_.load(std::memory_order_relaxed);
  }

  // It is so late now. Before anybody else reads it.
  void Set(int64_t unix_ms, int64_t monotonic_ns) {
    ahead_ms_.store(unix_ms - monotonic_ns / 1'000'000, std::memory_order_relaxed);
  }
  // The machine slept so long, and the monotonic clock with it; or others are ahead by so much.
  void Skip(int64_t ms) { ahead_ms_.fetch_add(ms, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> ahead_ms_{0};
};

}  // namespace base

#endif  // BASE_TIMELINE_H_
