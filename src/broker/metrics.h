// All that the broker counts, at one moment: the HTTP endpoint and the $SYS topics add it up over
// all shards.
#ifndef BROKER_METRICS_H_
#define BROKER_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/memory_account.h"
#include "broker/shard/shard_metrics.h"

namespace auth {
class HashPool;
class VerifiedLogins;
}  // namespace auth
namespace storage {
struct HostMetrics;
}  // namespace storage

namespace broker {

// One listener's part of a snapshot.
struct ListenerView {
  std::string name;  // By the configuration; "": not known.
  std::string url;
  bool stopped = false;  // Nobody comes in there any more; those who are connected came before.
  uint32_t connections = 0;
  uint64_t accepted = 0;
  uint64_t refused_connections_max = 0;
  uint64_t refused_address_max = 0;
  uint64_t refused_address_rate = 0;
  uint64_t refused_origins = 0;
  uint64_t refused_descriptors = 0;
  uint64_t rate_waits = 0;
  uint64_t pauses = 0;
  int64_t certificate_expires_unix_s = 0;  // 0: no TLS.
};

// The process's memory, as MemoryMonitor sees it.
struct MemoryView {
  uint64_t used_bytes = 0;
  uint64_t high_bytes = 0;  // The mark; 0: not known yet.
  bool high = false;
  uint64_t rises = 0;
  base::MemorySums account{};  // Of all shards and the partition host together.
};

// The shard that has not come to its next task for the longest time.
struct StallView {
  size_t shard = 0;
  uint32_t seconds = 0;
  bool stuck = false;  // For `stall_timeout_s`.
};

// All there is to report at one moment. The pointers stay valid until the process ends; the
// numbers behind them go on changing.
struct MetricsSnapshot {
  absl::Time started;
  std::vector<const ShardMetrics*> shards;
  std::vector<ListenerView> listeners;
  MemoryView memory;
  StallView stall;
  const storage::HostMetrics* storage = nullptr;          // Null: not opened yet.
  const auth::HashPool* hash_pool = nullptr;              // Null: no passwords are verified.
  const auth::VerifiedLogins* verified_logins = nullptr;  // Null: likewise.
};

// Adds a counter (gauge) of all shards:  Sum(shards, [](const ShardMetrics& m) -> auto& {
// return m.turns; })
template <typename Shards, typename Get>
auto Sum(const Shards& shards, Get&& get) {
  decltype(get(*shards[0]).value()) sum = 0;
  for (const ShardMetrics* shard : shards) sum += get(*shard).value();
  return sum;
}

}  // namespace broker

#endif  // BROKER_METRICS_H_
