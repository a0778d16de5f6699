// What the broker wants from outside. A node alone implements it with its own partition host; a
// cluster with peers.
#ifndef BROKER_CORE_PORTS_H_
#define BROKER_CORE_PORTS_H_

#include <vector>

#include "mqtt/message.h"
#include "storage/core/partition_api.h"

namespace broker {

// Takes durable changes to whoever leads the partition. Answers come back as storage::Event in the
// shard's mailbox.
class PartitionClient {
 public:
  virtual ~PartitionClient() = default;

  // Called on a shard's thread, once per turn at most; never blocks. First in, first out per shard.
  virtual void Submit(storage::ShardId shard, std::vector<storage::Addressed> requests) = 0;
};

// Takes messages to other nodes' transient sessions.
class Forwarder {
 public:
  virtual ~Forwarder() = default;

  // Called on a shard's thread for each message that has subscribers on other nodes; never blocks.
  virtual void Forward(storage::ShardId shard, const mqtt::MessagePtr& message) = 0;
};

}  // namespace broker
#endif  // BROKER_CORE_PORTS_H_
