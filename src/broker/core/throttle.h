// Publishers that are faster than they may be, or than the memory allows: who waits, and how long.
#ifndef BROKER_CORE_THROTTLE_H_
#define BROKER_CORE_THROTTLE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/rate_meter.h"
#include "broker/core/limits.h"

namespace broker {

enum class ThrottleCause : uint8_t {
  kRate,    // Above `publish_rate_max` or `publish_bytes_rate_max`.
  kMemory,  // The broker is above its memory mark.
  kCount_,
};

// Part of one shard, used on its thread. Connections that are not limited leave no trace here.
class Throttle {
 public:
  // A pause pays what came too much, and then a little more, so that a fast publisher is not
  // stopped and started for each single message.
  static constexpr int64_t kPaceNs = 10'000'000;
  // After each PUBLISH while memory is short. Not for ever: what else the client says, such as that
  // it has read something, is what frees memory.
  static constexpr int64_t kMemoryPauseNs = 1'000'000'000;

  struct Verdict {
    enum class Kind : uint8_t { kGoOn, kPause, kDisconnect };
    Kind kind = Kind::kGoOn;
    ThrottleCause cause = ThrottleCause::kRate;
    int64_t until_ns = 0;  // kPause.
  };

  static bool Concerns(const Limits& limits, bool memory_high) {
    return (limits.publish_rate_max | limits.publish_bytes_rate_max) != 0 || memory_high;
  }

  // A PUBLISH of so many bytes came, from a connection that this `Concerns`.
  Verdict OnPublish(uint64_t connection, const Limits& limits, bool memory_high, uint64_t bytes,
                    int64_t now_ns) {
    int64_t wait_ns = 0;
    if ((limits.publish_rate_max | limits.publish_bytes_rate_max) != 0) {
      Meters& meters = meters_[connection];
      if (limits.publish_rate_max != 0)
        wait_ns = meters.messages.Take(now_ns, limits.publish_rate_max);
      if (limits.publish_bytes_rate_max != 0) {
        wait_ns =
            std::max(wait_ns, meters.bytes.Take(now_ns, limits.publish_bytes_rate_max, bytes));
      }
    }
    using Kind = Verdict::Kind;
    if (wait_ns > 0 && limits.publish_rate_policy == PublishRatePolicy::kDisconnect)
      return {Kind::kDisconnect, ThrottleCause::kRate, 0};
    if (memory_high && wait_ns < kMemoryPauseNs)
      return {Kind::kPause, ThrottleCause::kMemory, now_ns + kMemoryPauseNs};
    if (wait_ns > 0) return {Kind::kPause, ThrottleCause::kRate, now_ns + wait_ns + kPaceNs};
    return {};
  }

  void Forget(uint64_t connection) {
    if (!meters_.empty()) meters_.erase(connection);
  }

 private:
  struct Meters {
    base::RateMeter messages;
    base::RateMeter bytes;
  };
  absl::flat_hash_map<uint64_t, Meters> meters_;
};

// Connections that wait for a moment to come. A connection that closes is left here until then.
class Waiting {
 public:
  void Add(int64_t until_ns, uint64_t connection) { heap_.emplace(until_ns, connection); }

  bool empty() const { return heap_.empty(); }
  int64_t next_ns() const { return heap_.top().first; }

  // Calls visit(connection) for those whose moment has come.
  template <typename Visit>
  void TakeDue(int64_t now_ns, Visit&& visit) {
    while (!heap_.empty() && heap_.top().first <= now_ns) {
      const uint64_t connection = heap_.top().second;
      heap_.pop();
      visit(connection);
    }
  }

 private:
  using Entry = std::pair<int64_t, uint64_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> heap_;
};

}  // namespace broker
#endif  // BROKER_CORE_THROTTLE_H_
