// Clients that are connected by user name, over all shards: how many at a time.
#ifndef BROKER_USER_LIMITS_H_
#define BROKER_USER_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "broker/shard/shard_ports.h"

namespace broker {

// Thread-safe; taken once for a CONNECT and once for its end, and only where a limit is set. Its
// size is bounded by the connections that are admitted.
class UserLimits final : public UserPlaces {
 public:
  bool Enter(const Place& place, uint32_t max) override;
  void Leave(const Place& place) override;

  size_t ClientsOf(const std::string& user_name) const;
  size_t users() const;

 private:
  using Clients = absl::flat_hash_map<std::string, uint32_t>;  // Client Identifier → connections.

  mutable base::Mutex mutex_;
  absl::flat_hash_map<std::string, Clients> users_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace broker
#endif  // BROKER_USER_LIMITS_H_
