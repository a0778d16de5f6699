// Which messages this node wants of the others, and they of it.
#ifndef CLUSTER_TRAFFIC_NODE_ROUTES_H_
#define CLUSTER_TRAFFIC_NODE_ROUTES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "broker/core/ports.h"
#include "cluster/core/node_item.h"
#include "cluster/traffic/local.h"
#include "cluster/traffic/peers.h"
#include "cluster/traffic/sending.h"
#include "cluster/traffic/tasks.h"

namespace cluster {

// What the shards here announce is told to each node that asks, and confirmed to them when all have
// it: OwnRoutes. What another node tells is passed on to the shards here, and confirmed to it when
// all of them have it: RoutesOfNode. While that is not known, they send it everything.
class NodeRoutes {
 public:
  NodeRoutes(storage::ShardId shards, LockedRoutes& own, TrafficLocal& local, Peers& peers,
             Sending& sending);

  // ---- On the shard's thread: as broker::Forwarder.
  void Announce(storage::ShardId shard, const broker::RouteAnnouncement& announcement);
  void AnnounceMember(storage::ShardId shard, const broker::MemberAnnouncement& announcement);
  void Flush(storage::ShardId shard);
  void RoutesTaken(storage::ShardId shard, uint32_t place, uint64_t block);
  void SetDegraded(bool degraded);  // Any thread.

  // For people. Any thread.
  struct Report {
    size_t told = 0;              // Filters and members.
    std::vector<NodeId> unknown;  // Live nodes of which it is not known what they want.
    // Live nodes that have yet to hear of a subscription that was acknowledged without them: while
    // most nodes could not be reached.
    std::vector<NodeId> unaware;
  };
  Report Reported() const;

  // ---- Under both locks of the peer, which has its place.
  void OnLife(Peer& peer, Tasks& tasks);
  void OnGone(Peer& peer, Tasks& tasks);
  // What was under way in either direction may be lost.
  void AskAnew(Peer& peer, Tasks& tasks);

  // ---- Under its `in`.
  void OnTold(Peer& peer, const RoutesTold& told, Tasks& tasks);

  // ---- Under its `mutex`.
  void OnLinkLost(Peer& peer);
  void OnWanted(Peer& peer, const RoutesWanted& wanted);
  void OnTaken(Peer& peer, const cluster::RoutesTaken& taken);

 private:
  struct alignas(64) OfShard {
    bool announced = false;
  };

  void PostStale(Peer& peer, Tasks& tasks);
  void TellConfirmed(const std::vector<OwnRoutes::Confirmed>& confirmed);

  LockedRoutes& own_;
  TrafficLocal& local_;
  Peers& peers_;
  Sending& sending_;
  std::vector<std::unique_ptr<OfShard>> shards_;
  std::atomic<uint64_t> last_block_{0};  // Of all nodes, so that no number is used twice.
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_NODE_ROUTES_H_
