// What links count, for each node and class.
#ifndef CLUSTER_LINK_METRICS_H_
#define CLUSTER_LINK_METRICS_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "cluster/link/options.h"

namespace cluster {

// gRPC's threads write, several at a time, once for each frame; any thread reads.
class LinkCounter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct LinkClassMetrics {
  LinkCounter items_sent;
  LinkCounter bytes_sent;  // Of items.
  LinkCounter frames_sent;
  LinkCounter items_received;
  LinkCounter bytes_received;
  LinkCounter frames_received;
  LinkCounter items_dropped;  // The stream was full.
  LinkCounter times_full;     // Who sends had to wait.
};

// Of one other node; kept while it is a peer.
struct PeerMetrics {
  std::array<LinkClassMetrics, kLinkClasses> classes;
  LinkCounter connected;     // Times.
  LinkCounter disconnected;  // Times.
  LinkCounter failed;        // Times that it could not be connected to.
  LinkCounter refused;       // Callers that said they were this node.

  LinkClassMetrics& operator[](LinkClass link_class) {
    return classes[static_cast<size_t>(link_class)];
  }
};

}  // namespace cluster

#endif  // CLUSTER_LINK_METRICS_H_
