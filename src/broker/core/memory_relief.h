// Memory that clients make the broker hold: how much there may be of it, and who goes if it is too
// much.
#ifndef BROKER_CORE_MEMORY_RELIEF_H_
#define BROKER_CORE_MEMORY_RELIEF_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace broker {

// One shard's view of a bound that holds for all shards together. To add up what all of them hold
// is dear, so a shard does it only when it has grown by a part of what was free the last time; the
// bound is exceeded by no more than `kStepBytes` for each shard.
class SharedBudget {
 public:
  static constexpr int64_t kStepBytes = 1 << 20;

  explicit SharedBudget(uint32_t shards) : shards_(shards) {}

  // Whether this shard may hold `own` bytes and go on. `sum()`: what all of them hold.
  template <typename Sum>
  bool Fits(int64_t own, int64_t max, Sum&& sum) {
    if (own <= allowed_) return true;
    const int64_t free = max - sum();
    full_ = free < 0;
    allowed_ = full_ ? 0 : own + std::min(free / (2 * int64_t{shards_}), kStepBytes);
    return !full_;
  }

  // As of the last look: nothing more may be taken.
  bool full() const { return full_; }
  // The bound has changed, or there is room again: look anew.
  void LookAgain() {
    full_ = false;
    allowed_ = 0;
  }

 private:
  const uint32_t shards_;
  int64_t allowed_ = 0;
  bool full_ = false;
};

// Below a bound that was reached there is room again when an eighth of it is free.
constexpr int64_t RoomAgainBelow(int64_t max) { return max - max / 8; }

// What one shard gives up when all of them together hold too much: in proportion to what it holds.
constexpr int64_t ShareOfRelief(int64_t own, int64_t held, int64_t excess) {
  if (held <= 0 || excess <= 0) return 0;
  return static_cast<int64_t>(static_cast<double>(own) * static_cast<double>(excess) /
                              static_cast<double>(held)) +
         1;
}

struct MemoryHolder {
  uint64_t connection = 0;
  uint64_t bytes = 0;
  uint64_t weight = 0;  // What it holds, times how long it has held it, if that is known.
};

// Moves those to the front that have to go for `bytes` to be free, those of most weight first, and
// returns how many they are. Cost: O(holders), and O(log holders) for each that goes.
inline size_t ChooseWhoGoes(std::vector<MemoryHolder>& holders, int64_t bytes) {
  const auto lighter = [](const MemoryHolder& a, const MemoryHolder& b) {
    return a.weight < b.weight;
  };
  std::make_heap(holders.begin(), holders.end(), lighter);
  auto end = holders.end();
  while (bytes > 0 && end != holders.begin()) {
    std::pop_heap(holders.begin(), end, lighter);
    --end;
    bytes -= static_cast<int64_t>(end->bytes);
  }
  std::reverse(holders.begin(), holders.end());
  return static_cast<size_t>(holders.end() - end);
}

}  // namespace broker
#endif  // BROKER_CORE_MEMORY_RELIEF_H_
