// Clients that are connected by user name, over all shards: how many at a time.
#ifndef BROKER_USER_LIMITS_H_
#define BROKER_USER_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"

namespace broker {

// Thread-safe; taken once for a CONNECT and once for its end, and only where a limit is set. Its
// size is bounded by the connections that are admitted.
class UserLimits {
 public:
  // One client of a user, from CONNECT to the end of its connection.
  struct Place {
    std::string user_name;
    std::string client_id;
  };

  // False: the user has `max` clients connected. A Client Identifier counts once: who takes over
  // its own session is let in while the connection before it is still being closed.
  bool Enter(const Place& place, uint32_t max);
  // For each Enter that returned true.
  void Leave(const Place& place);

  size_t ClientsOf(const std::string& user_name) const;
  size_t users() const;

 private:
  using Clients = absl::flat_hash_map<std::string, uint32_t>;  // Client Identifier → connections.

  mutable base::Mutex mutex_;
  absl::flat_hash_map<std::string, Clients> users_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace broker
#endif  // BROKER_USER_LIMITS_H_
