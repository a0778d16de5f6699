// Durations counted in buckets of at most 1.6 % width.
#ifndef CMD_MQTTCTL_HISTOGRAM_H_
#define CMD_MQTTCTL_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mqttctl {

// Any thread may record while another reads; what a reader sees is a moment ago.
class Histogram {
 public:
  void Record(std::chrono::nanoseconds duration) {
    const auto value = static_cast<uint64_t>(std::max<int64_t>(0, duration.count()));
    buckets_[IndexOf(value)].fetch_add(1, std::memory_order_relaxed);
    count_.fetch_add(1, std::memory_order_relaxed);
    uint64_t most = most_.load(std::memory_order_relaxed);
    while (value > most && !most_.compare_exchange_weak(most, value, std::memory_order_relaxed)) {
    }
  }

  uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  double max_ms() const { return static_cast<double>(most_.load(std::memory_order_relaxed)) / 1e6; }
  // `share` of all were no longer than this; 0 if there are none.
  double QuantileMs(double share) const {
    const uint64_t all = count();
    const auto wanted = static_cast<uint64_t>(share * static_cast<double>(all) + 0.5);
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size() && all > 0; ++i) {
      seen += buckets_[i].load(std::memory_order_relaxed);
      if (seen >= std::max<uint64_t>(1, wanted)) {
        return std::min(static_cast<double>(UpperBound(i)) / 1e6, max_ms());
      }
    }
    return max_ms();
  }

 private:
  static constexpr unsigned kBits = 6;  // 64 buckets for each power of two.
  static constexpr size_t kBuckets = size_t{64 - kBits + 1} << kBits;

  static size_t IndexOf(uint64_t value) {
    const unsigned width = static_cast<unsigned>(std::bit_width(value));
    if (width <= kBits) return static_cast<size_t>(value);
    const unsigned shift = width - kBits - 1;
    return (size_t{shift} << kBits) + static_cast<size_t>(value >> shift);
  }
  static uint64_t UpperBound(size_t index) {
    if (index < (size_t{2} << kBits)) return index;
    const size_t shift = (index >> kBits) - 1;
    const uint64_t mantissa = (index & ((size_t{1} << kBits) - 1)) + (uint64_t{1} << kBits);
    return ((mantissa + 1) << shift) - 1;
  }

  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> most_{0};
};

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_HISTOGRAM_H_
