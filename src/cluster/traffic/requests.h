// Requests of the shards here, to whichever node leads the partition.
#ifndef CLUSTER_TRAFFIC_REQUESTS_H_
#define CLUSTER_TRAFFIC_REQUESTS_H_

#include <memory>
#include <vector>

#include "cluster/core/request_routes.h"
#include "cluster/traffic/local.h"
#include "cluster/traffic/metrics.h"
#include "cluster/traffic/peers.h"
#include "cluster/traffic/sending.h"
#include "storage/core/addresses.h"

namespace cluster {

// What cannot be sent is dropped, and nothing of that shard and partition follows it: the leader
// hears that a link began anew, asks for Claims, and gets all of it. While a link is full requests
// wait here; how many, the shards bound by what they have unanswered.
class Requests {
 public:
  Requests(const storage::LiveNode& self, TrafficLocal& local, Peers& peers, Sending& sending,
           TrafficMetrics& metrics);

  // On the shard's thread.
  void Submit(storage::ShardId shard, std::vector<storage::Addressed> requests);

 private:
  using Routes = RequestRoutes<Peer*>;
  struct ToNode {
    Peer* peer = nullptr;
    uint64_t epoch = 0;
    ItemBatch items;
  };
  struct alignas(64) OfShard {
    Routes routes;
    std::vector<ToNode> to_nodes;  // Between calls it is empty.
  };

  Routes::Way OfClaims(storage::NodeId by) const;
  void Add(OfShard& mine, const Routes::Way& way, storage::ShardId shard,
           const storage::Addressed& asked);

  const storage::LiveNode self_;
  TrafficLocal& local_;
  Peers& peers_;
  Sending& sending_;
  TrafficMetrics& metrics_;
  std::vector<std::unique_ptr<OfShard>> shards_;
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_REQUESTS_H_
