// What the partition host here has to say to the shards and hosts of other nodes.
#ifndef CLUSTER_TRAFFIC_EVENTS_H_
#define CLUSTER_TRAFFIC_EVENTS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "cluster/traffic/metrics.h"
#include "cluster/traffic/peers.h"
#include "cluster/traffic/sending.h"
#include "storage/core/host_message.h"
#include "storage/core/partition_api.h"

namespace cluster {

// What cannot be sent is dropped, and so is all that follows it until the host has begun anew with
// that node: see EventGate.
class Events {
 public:
  Events(Peers& peers, Sending& sending, TrafficMetrics& metrics)
      : peers_(peers), sending_(sending), metrics_(metrics) {}

  // On the host's thread.
  void Send(const storage::ShardAddress& to, std::vector<storage::Event> events);
  void SendHostMessage(NodeId to, const storage::HostMessage& message);
  // For TrafficLocal::Resync, of the link that there is now: under the peer's `mutex`.
  std::function<void()> Begins(Peer& peer) const;

 private:
  Peers& peers_;
  Sending& sending_;
  TrafficMetrics& metrics_;
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_EVENTS_H_
