// The partition host's figures: written by its thread, read by any.
#ifndef STORAGE_HOST_METRICS_H_
#define STORAGE_HOST_METRICS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace storage {

// One number with one writer: a plain load and store, no read-modify-write.
class Figure {
 public:
  void Add(uint64_t n) { Set(Get() + n); }
  void Sub(uint64_t n) { Set(Get() - n); }
  void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Counts by power of two: bucket i holds what is below `Bound(i)`, the last one the rest.
class Histogram {
 public:
  static constexpr size_t kBuckets = 24;
  static constexpr uint64_t Bound(size_t bucket) { return uint64_t{1} << bucket; }

  void Record(uint64_t value) {
    size_t bucket = 0;
    while (bucket + 1 < kBuckets && value >= Bound(bucket)) ++bucket;
    counts_[bucket].Add(1);
    count_.Add(1);
    sum_.Add(value);
  }
  uint64_t Count() const { return count_.Get(); }
  uint64_t Sum() const { return sum_.Get(); }
  uint64_t BucketCount(size_t bucket) const { return counts_[bucket].Get(); }

 private:
  std::array<Figure, kBuckets> counts_;
  Figure count_;
  Figure sum_;
};

struct HostMetrics {
  // Gauges.
  Figure sessions_stored;     // Durable, connected or not.
  Figure sessions_connected;  // Client Identifiers with a Connection, transient ones too.
  Figure queued_messages;     // In all queues, in flight included.
  Figure retained_messages;
  Figure retained_bytes;
  Figure routes;     // (partition, filter) pairs that shards know.
  Figure log_bytes;  // Entries appended that are not cut yet.
  Figure storage_ok;  // 1, or 0 while nothing can be written.
  Figure disk_free_bytes;

  // Counters.
  Figure commits;  // Groups written to the log.
  Figure commits_failed;
  Figure fsyncs;
  Figure entries;    // Partition entries in those groups.
  Figure commands;   // Commands in those entries.
  Figure publishes;  // Requests to store.
  Figure duplicates;
  Figure enqueued;   // Messages put in queues.
  Figure delivered;  // Handed to a shard.
  Figure acknowledged;
  Figure dropped_queue_full;
  Figure dropped_expired;
  Figure dropped_session_ended;
  Figure refused_storage;  // Requests answered with an error because nothing could be written.
  Figure refused_retained;
  Figure takeovers;
  Figure wills_fired;
  Figure sessions_expired;
  Figure replayed_entries;  // At the last start.

  // Microseconds from a group's being handed to the log until it is durable.
  Histogram commit_us;
  // Requests that one group carries.
  Histogram group_requests;
};

}  // namespace storage

#endif  // STORAGE_HOST_METRICS_H_
