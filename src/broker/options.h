// What the configuration says about the broker itself. Plain values; src/config fills them.
//
// The limits that MQTT names have MQTT's names in snake_case. Every bound says what happens when it
// is reached.
#ifndef BROKER_OPTIONS_H_
#define BROKER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "auth/hash_pool.h"
#include "auth/options.h"
#include "auth/verified_logins.h"
#include "broker/core/limits.h"
#include "broker/shard/shard_options.h"
#include "broker/transport/listener.h"

namespace broker {

// One entry of `listeners`.
struct ListenerSettings {
  std::string name;  // For logs, metrics and access rules. Default: the URL.
  ListenerOptions listener;
  Limits limits;
  auth::AuthOptions auth;
};

struct BrokerOptions : ShardOptions {
  // Threads that serve connections. 0: as many as usable processors (affinity and cgroup quota).
  uint32_t shards = 0;
  std::vector<ListenerSettings> listeners;
  // Seconds that a shard may be busy with one thing before the process counts as stuck; 0: it never
  // does.
  uint32_t stall_timeout_s = 30;
  // Threads and queue for passwords, of all listeners.
  auth::HashPool::Limits hash_pool;
  auth::VerifiedLogins::Limits verified_logins;
};

}  // namespace broker
#endif  // BROKER_OPTIONS_H_
