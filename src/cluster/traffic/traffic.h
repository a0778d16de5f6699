// The traffic between this node and the others: requests and events of partitions, routes,
// forwarded messages. What makes several nodes one broker.
#ifndef CLUSTER_TRAFFIC_TRAFFIC_H_
#define CLUSTER_TRAFFIC_TRAFFIC_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "broker/core/ports.h"
#include "cluster/core/forward_stream.h"
#include "cluster/core/route_stream.h"
#include "cluster/link/links.h"
#include "cluster/traffic/events.h"
#include "cluster/traffic/forwards.h"
#include "cluster/traffic/local.h"
#include "cluster/traffic/metrics.h"
#include "cluster/traffic/node_routes.h"
#include "cluster/traffic/peers.h"
#include "cluster/traffic/reception.h"
#include "cluster/traffic/requests.h"
#include "cluster/traffic/sending.h"

namespace cluster {

struct TrafficOptions {
  ForwardLimits forwards;
  RouteStreamOptions routes;
};

// Over the stream Traffic of the links. Nothing is lost that matters, whatever link breaks at
// whatever moment: who leads a partition asks anew for what is under way, routes are told from
// where they are known, messages are kept until they are there and known if they come twice.
// Whoever has gone is waited for no more.
//
// Any thread, but as broker::PartitionClient and broker::Forwarder say. It is there before the
// shards' threads and the partition host's, and until the links have stopped.
class Traffic final : public broker::PartitionClient,
                      public broker::Forwarder,
                      private Sending::Owner {
 public:
  // `self`: this life of this node. `links` and `local` outlive it.
  Traffic(TrafficOptions options, const storage::LiveNode& self, Links& links, TrafficLocal& local);

  // Who else lives. The partition host hears it first, so that it knows whose requests come. The
  // first time before the shards serve anybody: they have to send the others everything by then.
  void SetNodes(const std::vector<storage::LiveNode>& others);

  // Whether most nodes cannot be reached: see broker::Fenced. A SUBACK waits for those that can.
  // Any thread.
  void SetDegraded(bool degraded) { node_routes_.SetDegraded(degraded); }

  // ---- For the partition host, on its thread. To other nodes than this one.
  void SendEvents(const storage::ShardAddress& to, std::vector<storage::Event> events) {
    events_.Send(to, std::move(events));
  }
  void SendHostMessage(NodeId to, const storage::HostMessage& message) {
    events_.SendHostMessage(to, message);
  }

  // ---- What LinkHandler is told, OnRoom and OnFrame of the class kTraffic.
  void OnUp(NodeLife peer);
  void OnDown(NodeId peer);
  void OnRoom(NodeId peer);
  void OnFrame(ReceivedFrame frame);

  // ---- broker::PartitionClient.
  void Submit(storage::ShardId shard, std::vector<storage::Addressed> requests) override {
    requests_.Submit(shard, std::move(requests));
  }

  // ---- broker::Forwarder.
  broker::NodeMask Forward(storage::ShardId shard, broker::NodeMask nodes,
                           const mqtt::MessageParts& message,
                           const broker::Forwarding& how) override {
    return forwards_.Forward(shard, nodes, message, how);
  }
  broker::NodeMask ForwardToMember(storage::ShardId shard, uint32_t node,
                                   const mqtt::MessageParts& message,
                                   const storage::ChosenMember& member,
                                   const broker::Forwarding& how) override {
    return forwards_.ForwardToMember(shard, node, message, member, how);
  }
  broker::NodeMask CutOff() const override { return forwards_.cut_off(); }
  void AnnounceMember(storage::ShardId shard, broker::MemberAnnouncement announcement) override {
    node_routes_.AnnounceMember(shard, announcement);
  }
  void Announce(storage::ShardId shard, broker::RouteAnnouncement announcement) override {
    node_routes_.Announce(shard, announcement);
  }
  void Flush(storage::ShardId shard) override {
    forwards_.Flush(shard);
    node_routes_.Flush(shard);
  }
  void RoutesTaken(storage::ShardId shard, uint32_t node, uint64_t number) override {
    node_routes_.RoutesTaken(shard, node, number);
  }
  void Taken(storage::ShardId shard, uint32_t node, uint64_t messages, uint64_t bytes) override;

  const TrafficMetrics& metrics() const { return metrics_; }
  NodeRoutes::Report routes() const { return node_routes_.Reported(); }
  // Where the node stands in a NodeMask. None: no life of it is known.
  std::optional<uint32_t> PlaceOf(NodeId node) const;

 private:
  void OnLinkLost(Peer& peer) override;

  // Under both locks of the peer.
  void Begin(Peer& peer, const storage::LiveNode& node, Tasks& tasks);
  void End(Peer& peer, Tasks& tasks);
  // A link to its life has begun. Returns what is to be said to TrafficLocal::Resync.
  std::function<void()> BeginLink(Peer& peer, Tasks& tasks);
  bool HasLink(const Peer& peer) const { return peer.life.has_value() && peer.linked == peer.life; }

  void SetNode(Peer& peer, const storage::LiveNode* node);
  void Resync(Peer& peer, std::function<void()> begins);

  // Under its `in`.
  void TakeEarly(Peer& peer);
  void TakeFrame(Peer& peer, ReceivedFrame frame);

  const storage::LiveNode self_;
  TrafficLocal& local_;
  TrafficMetrics metrics_;
  Peers peers_;
  LockedRoutes own_routes_;
  Sending sending_;
  Requests requests_;
  Events events_;
  Forwards forwards_;
  NodeRoutes node_routes_;
  Reception reception_;
  base::Mutex nodes_mutex_;  // One SetNodes at a time.
  bool nodes_were_set_ ABSL_GUARDED_BY(nodes_mutex_) = false;
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_TRAFFIC_H_
