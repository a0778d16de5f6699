// What a shard core wants from the thread it runs on, and from what all shards share.
#ifndef BROKER_SHARD_SHARD_PORTS_H_
#define BROKER_SHARD_SHARD_PORTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/mailbox.h"
#include "broker/core/stream.h"
#include "broker/shard/shard_task.h"
#include "storage/core/partition_api.h"

namespace broker {

class Connection;

// Implemented by Shard with a poller and mailboxes, by a simulator with neither. Called on the
// shard's thread; what it passes on comes to the other shard as ShardCore::OnTask, first in, first
// out for each pair of shards.
class ShardPort {
 public:
  virtual void Post(storage::ShardId to, std::unique_ptr<base::Batch<ShardTask>> batch) = 0;
  // Something that was posted there changes its routes: ShardCore::NoteRoutesCame, on any thread.
  virtual void Hurry(storage::ShardId to) = 0;
  // OnTask, now, for all that lies in this shard's mailbox.
  virtual void TakeMail() = 0;

  // From here on OnReady comes for the connection. Errors: kResourceExhausted.
  virtual absl::Status Watch(Connection& connection) = 0;
  // And from here on it does not.
  virtual void Unwatch(Connection& connection) = 0;
  // Another shard's acceptor took this connection in: ShardCore::Accept.
  virtual void Adopt(std::unique_ptr<Stream> stream, size_t listener) = 0;
  // Too many connections wait to be let in: none are accepted, or are again.
  virtual void HoldAcceptors(bool hold) = 0;

 protected:
  ~ShardPort() = default;
};

// Clients that are connected by user name, over all shards: how many at a time. Thread-safe.
class UserPlaces {
 public:
  // One client of a user, from CONNECT to the end of its connection.
  struct Place {
    std::string user_name;
    std::string client_id;
  };
  virtual ~UserPlaces() = default;

  // False: the user has `max` clients connected. A Client Identifier counts once: who takes over
  // its own session is let in while the connection before it is still being closed.
  virtual bool Enter(const Place& place, uint32_t max) = 0;
  // For each Enter that returned true.
  virtual void Leave(const Place& place) = 0;
};

}  // namespace broker
#endif  // BROKER_SHARD_SHARD_PORTS_H_
