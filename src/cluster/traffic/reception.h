// Reads what has come from another node, and hands each item to whom it is for.
#ifndef CLUSTER_TRAFFIC_RECEPTION_H_
#define CLUSTER_TRAFFIC_RECEPTION_H_

#include <string_view>

#include "absl/status/status.h"
#include "cluster/link/received_frame.h"
#include "cluster/traffic/forwards.h"
#include "cluster/traffic/local.h"
#include "cluster/traffic/metrics.h"
#include "cluster/traffic/node_routes.h"
#include "cluster/traffic/peer.h"
#include "storage/core/addresses.h"

namespace cluster {

class Reception {
 public:
  Reception(storage::ShardId shards, TrafficLocal& local, Forwards& forwards,
            NodeRoutes& node_routes, TrafficMetrics& metrics)
      : shards_(shards),
        local_(local),
        forwards_(forwards),
        node_routes_(node_routes),
        metrics_(metrics) {}

  // Under the peer's `in`: it lives, and what came before is taken.
  void Take(Peer& peer, const ReceivedFrame& frame);

 private:
  struct Arrived;

  void TakeItem(Peer& peer, std::string_view item, Arrived& arrived);
  void TakeRequest(Peer& peer, std::string_view item, Arrived& arrived);
  void TakeEvent(Peer& peer, std::string_view item, Arrived& arrived);
  void TakeNodeItem(Peer& peer, std::string_view item, Arrived& arrived);
  void TakePart(Peer& peer, std::string_view item, Arrived& arrived);
  void CannotRead(const Peer& peer, const absl::Status& why);

  const storage::ShardId shards_;
  TrafficLocal& local_;
  Forwards& forwards_;
  NodeRoutes& node_routes_;
  TrafficMetrics& metrics_;
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_RECEPTION_H_
