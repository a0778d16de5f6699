// Numbers that one thread counts and any other may read: the parts that metrics are made of.
#ifndef BASE_METRIC_H_
#define BASE_METRIC_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace base {

// Only grows. One writer; no read-modify-write, so on the fast path it costs a plain addition.
// Exact by itself; two counters read together are not a consistent pair.
class Counter {
 public:
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Goes up and down. One writer. Parts of a sum may be negative by themselves: a message that one
// shard queued and another took away.
class Gauge {
 public:
  void Add(int64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// How long things took, in buckets that double: up to 16 µs, 32 µs, … 16.8 s, and longer. One
// writer. Recording costs three plain additions.
class LatencyHistogram {
 public:
  static constexpr size_t kBuckets = 22;  // The last one has no upper bound.

  // `count` of them took that long: one clock reading may stand for a whole turn.
  void Record(absl::Duration latency, uint64_t count = 1) {
    RecordNs(absl::ToInt64Nanoseconds(latency), count);
  }
  void RecordNs(int64_t signed_ns, uint64_t count) {
    const uint64_t ns = signed_ns < 0 ? 0 : static_cast<uint64_t>(signed_ns);
    counts_[BucketOf(ns)].Add(count);
    sum_ns_.Add(ns * count);
  }

  // Inclusive upper bound of a bucket but the last.
  static constexpr absl::Duration UpperBound(size_t bucket) {
    return absl::Microseconds(int64_t{16} << bucket);
  }
  uint64_t count(size_t bucket) const { return counts_[bucket].value(); }
  uint64_t sum_ns() const { return sum_ns_.value(); }

 private:
  static size_t BucketOf(uint64_t ns) {
    constexpr uint64_t kFirstBoundNs = 16'000;
    if (ns <= kFirstBoundNs) return 0;
    // Bucket k holds (16 µs · 2^(k-1), 16 µs · 2^k]: k is the bit width of ⌈ns / 16 µs⌉ - 1.
    const auto width = static_cast<size_t>(std::bit_width((ns - 1) / kFirstBoundNs));
    return width < kBuckets ? width : kBuckets - 1;
  }

  std::array<Counter, kBuckets> counts_;
  Counter sum_ns_;
};

// A Counter for each value of an enum whose last enumerator is kCount_.
template <typename Enum>
class CounterPer {
 public:
  static constexpr size_t kSize = static_cast<size_t>(Enum::kCount_);
  Counter& operator[](Enum value) { return counters_[static_cast<size_t>(value)]; }
  const Counter& operator[](Enum value) const { return counters_[static_cast<size_t>(value)]; }

 private:
  std::array<Counter, kSize> counters_;
};

}  // namespace base

#endif  // BASE_METRIC_H_
