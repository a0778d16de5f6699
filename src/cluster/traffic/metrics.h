// What the traffic of a node with the others counts.
#ifndef CLUSTER_TRAFFIC_METRICS_H_
#define CLUSTER_TRAFFIC_METRICS_H_

#include "cluster/link/metrics.h"

namespace cluster {

// Several threads write, at most once for each batch; any thread reads.
struct TrafficMetrics {
  LinkCounter messages_forwarded;  // To each node that was to have it.
  LinkCounter messages_received;
  LinkCounter messages_repeated;  // They came again after a link had broken, and were known.
  LinkCounter messages_dropped;   // Of QoS 0: the node could not be reached, and too much waited.
  LinkCounter times_behind;       // A node was behind, and publishers had to wait for it.
  LinkCounter gaps;               // Forwarded messages were missing. Never seen in a sound cluster.

  LinkCounter requests_sent;
  LinkCounter
      requests_dropped;  // The partition was not led there, or there was no link: asked anew.
  LinkCounter events_sent;
  LinkCounter events_dropped;  // No link, or the shard's node has begun another life.
  LinkCounter resyncs;         // Times that a node was asked for all it has under way.
  LinkCounter unreadable;      // Items that no release of ours writes.
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_METRICS_H_
