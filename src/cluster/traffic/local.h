// What the traffic between nodes wants from the node that it is part of.
#ifndef CLUSTER_TRAFFIC_LOCAL_H_
#define CLUSTER_TRAFFIC_LOCAL_H_

#include <functional>
#include <memory>
#include <vector>

#include "base/mailbox.h"
#include "broker/shard/shard_task.h"
#include "cluster/core/node_life.h"
#include "storage/core/addresses.h"
#include "storage/core/host_message.h"
#include "storage/core/partition_api.h"

namespace cluster {

// Called on any thread, some of it under locks of the traffic: it posts to mailboxes, blocks
// nothing, and does not call back.
class TrafficLocal {
 public:
  virtual ~TrafficLocal() = default;

  // To the partition host here; first in, first out per shard.
  virtual void Submit(const storage::ShardAddress& from,
                      std::vector<storage::Addressed> requests) = 0;
  virtual void OnHostMessage(NodeLife from, storage::HostMessage message) = 0;
  // What was on its way to or from that node's shards may be lost. On the host's thread, before
  // what is submitted later: `begins` is called, and then Host::Resync(node). What that has to say
  // goes to SendEvents at the end of the same turn.
  virtual void Resync(storage::NodeId node, std::function<void()> begins) = 0;

  // Into the mailbox of a shard here.
  virtual void Post(storage::ShardId shard,
                    std::unique_ptr<base::Batch<broker::ShardTask>> tasks) = 0;
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_LOCAL_H_
