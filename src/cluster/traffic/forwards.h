// Messages for the sessions of other nodes, and those of other nodes for the sessions here.
#ifndef CLUSTER_TRAFFIC_FORWARDS_H_
#define CLUSTER_TRAFFIC_FORWARDS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/core/ports.h"
#include "broker/core/router.h"
#include "cluster/core/forward_stream.h"
#include "cluster/traffic/local.h"
#include "cluster/traffic/metrics.h"
#include "cluster/traffic/peers.h"
#include "cluster/traffic/sending.h"
#include "cluster/traffic/tasks.h"
#include "mqtt/message.h"

namespace cluster {

// A message is encoded once, whatever number of nodes it is for, and goes with what else the shard
// forwards in its turn. Messages of one shard come to one shard of the other node, in order. While
// a node has too much before it publishers wait; if there is no link to it either, only those of
// QoS 1 and 2 do, until it is back or gone, and messages of QoS 0 are dropped.
class Forwards {
 public:
  static constexpr size_t kBlockBytes = 64 << 10;  // A block that is larger leaves at once.
  static constexpr uint32_t kBlockMessages = 1024;

  // `self`: this life of this node.
  Forwards(ForwardLimits limits, const storage::LiveNode& self, TrafficLocal& local, Peers& peers,
           Sending& sending, TrafficMetrics& metrics);

  // ---- On the shard's thread: as broker::Forwarder.
  broker::NodeMask Forward(storage::ShardId shard, broker::NodeMask nodes,
                           const mqtt::MessageParts& message, const broker::Forwarding& how);
  broker::NodeMask ForwardToMember(storage::ShardId shard, uint32_t place,
                                   const mqtt::MessageParts& message,
                                   const storage::ChosenMember& member,
                                   const broker::Forwarding& how);
  // Any thread.
  broker::NodeMask cut_off() const { return cut_off_.load(std::memory_order_relaxed); }
  void Flush(storage::ShardId shard);
  void Taken(storage::ShardId shard, uint32_t place, uint64_t messages);

  // ---- Under the peer's `mutex`.
  void OnTaken(Peer& peer, const ForwardsTaken& taken, Tasks& tasks);
  void OnLink(Peer& peer);  // There is one, or there is none any more.
  void OnLife(Peer& peer);  // One has begun: it has a place.
  // It still has its place. What members of `$share` groups there were to have, and may not have
  // had, goes back to the shards: others can have it.
  void OnGone(Peer& peer, Tasks& tasks);

  // ---- Under its `in`.
  void TakeBlock(Peer& peer, std::string_view item, Tasks& tasks);

 private:
  struct Growing {
    uint32_t messages = 0;
    uint64_t receipt = 0;
    std::string bytes;  // Keeps its memory.

    void Added(uint64_t for_receipt) {
      ++messages;
      if (for_receipt != 0) receipt = for_receipt;
    }
  };
  struct alignas(64) OfShard {
    broker::NodeMask growing = 0;
    std::array<Growing, broker::kNodesMax> blocks;
  };

  // Of a message of QoS 0, those to which there is no way are left out, and counted.
  broker::NodeMask WithoutLost(broker::NodeMask nodes, mqtt::QoS qos);
  static Growing& BlockTo(OfShard& mine, uint32_t place);
  void FlushIfFull(storage::ShardId shard, OfShard& mine, uint32_t place);
  void FlushTo(storage::ShardId shard, OfShard& mine, uint32_t place);
  void Judge(Peer& peer);
  // `sent`: the other node may have passed it on. A message of QoS 2 is nobody else's then
  // [MQTT5-4.8.2-5].
  void HandBack(std::string_view item, bool sent, Tasks& tasks);

  const ForwardLimits limits_;
  const storage::ShardId shard_count_;
  const storage::Incarnation self_;
  TrafficLocal& local_;
  Peers& peers_;
  Sending& sending_;
  TrafficMetrics& metrics_;
  std::vector<std::unique_ptr<OfShard>> shards_;
  // Nodes that have too much before them, those to which there is no link, and who is both.
  alignas(64) std::atomic<broker::NodeMask> behind_{0};
  std::atomic<broker::NodeMask> cut_off_{0};
  std::atomic<broker::NodeMask> lost_{0};
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_FORWARDS_H_
