#include "cluster/traffic/peers.h"

#include <utility>

namespace cluster {

Peer* Peers::Find(NodeId node) const {
  base::MutexLock lock(mutex_);
  const auto it = peers_.find(node);
  return it == peers_.end() ? nullptr : it->second.get();
}

Peer& Peers::FindOrMake(NodeId node) {
  base::MutexLock lock(mutex_);
  std::unique_ptr<Peer>& peer = peers_[node];
  if (peer == nullptr) peer = make_(node);
  return *peer;
}

std::vector<Peer*> Peers::All() const {
  base::MutexLock lock(mutex_);
  std::vector<Peer*> all;
  for (const auto& [node, peer] : peers_) all.push_back(peer.get());
  return all;
}

// Not one that another node had, as long as there are others: shards may still speak of that one.
bool Peers::TakePlace(Peer& peer) {
  base::MutexLock lock(mutex_);
  uint32_t best = broker::kNodesMax;
  for (uint32_t place = 0; place < broker::kNodesMax; ++place) {
    if (taken_[place]) continue;
    if (had_[place] == peer.node) {
      best = place;
      break;
    }
    if (best == broker::kNodesMax || (had_[best] != NodeId() && had_[place] == NodeId()))
      best = place;
  }
  if (best == broker::kNodesMax) return false;
  taken_[best] = true;
  had_[best] = peer.node;
  peer.place = best;
  places_[best].store(&peer, std::memory_order_release);
  return true;
}

// It still stands there: what shards say of it has to find it.
void Peers::LeavePlace(Peer& peer) {
  base::MutexLock lock(mutex_);
  taken_[peer.place] = false;
  peer.place = broker::kNodesMax;
}

}  // namespace cluster
