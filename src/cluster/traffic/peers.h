// All other nodes that the traffic knows of.
#ifndef CLUSTER_TRAFFIC_PEERS_H_
#define CLUSTER_TRAFFIC_PEERS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "broker/core/router.h"
#include "cluster/traffic/peer.h"

namespace cluster {

// Any thread. A Peer that it gives stays.
class Peers {
 public:
  using Make = std::function<std::unique_ptr<Peer>(NodeId)>;
  explicit Peers(Make make) : make_(std::move(make)) {}

  Peer* Find(NodeId node) const;  // Null: it was never heard of.
  Peer& FindOrMake(NodeId node);
  std::vector<Peer*> All() const;

  // ---- Places in a NodeMask. Whose place it is; null: nobody's as yet. Without a lock.
  Peer* At(uint32_t place) const { return places_[place].load(std::memory_order_acquire); }
  // Gives it one, under both of its locks: the one that it had before, if it can be. False: all are
  // taken.
  bool TakePlace(Peer& peer);
  void LeavePlace(Peer& peer);

 private:
  const Make make_;
  mutable base::Mutex mutex_;
  std::map<NodeId, std::unique_ptr<Peer>> peers_ ABSL_GUARDED_BY(mutex_);
  std::array<NodeId, broker::kNodesMax> had_ ABSL_GUARDED_BY(mutex_);  // Whose it was last.
  std::array<bool, broker::kNodesMax> taken_ ABSL_GUARDED_BY(mutex_) = {};
  std::array<std::atomic<Peer*>, broker::kNodesMax> places_{};
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_PEERS_H_
