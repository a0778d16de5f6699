// How long this node's lease in its cluster lasts: until then sessions that are kept are its own.
#ifndef BROKER_CORE_LEASE_END_H_
#define BROKER_CORE_LEASE_END_H_

#include <atomic>
#include <cstdint>
#include <limits>

#include "broker/core/ports.h"

namespace broker {

// Told by whoever renews the lease, on any thread; looked at by each shard before it reads.
struct LeaseEnd {
  // Who is not served behind it. Set before the shards start.
  Fenced without = Fenced::kSessions;
  // By the time since the machine was started, which goes on while that sleeps. The least there is:
  // there is no lease.
  std::atomic<int64_t> since_boot_ns{std::numeric_limits<int64_t>::min()};
};

}  // namespace broker

#endif  // BROKER_CORE_LEASE_END_H_
