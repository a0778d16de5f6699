// Gives the links what there is for another node, as far as they take it.
#ifndef CLUSTER_TRAFFIC_SENDING_H_
#define CLUSTER_TRAFFIC_SENDING_H_

#include <cstdint>

#include "base/mutex.h"
#include "cluster/core/own_routes.h"
#include "cluster/traffic/metrics.h"
#include "cluster/traffic/outlet.h"
#include "cluster/traffic/peer.h"

namespace cluster {

// OwnRoutes with its lock, which is taken inside a peer's.
struct LockedRoutes {
  explicit LockedRoutes(OwnRoutes its) : routes(std::move(its)) {}
  base::Mutex mutex;
  OwnRoutes routes ABSL_GUARDED_BY(mutex);
};

// Four kinds of things leave in turns, one item each, so that none holds up another: what has been
// taken and is wanted, requests and events, forwarded messages, routes. Any thread.
class Sending {
 public:
  // `on_lost` is told under the peer's `mutex` when a link turns out to be over; both outlive it.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void OnLinkLost(Peer& peer) = 0;
  };
  Sending(LockedRoutes& own, Owner& owner) : own_(own), owner_(owner) {}

  // Under the peer's `mutex`: sends until the link is full, or there is nothing more.
  void Pump(Peer& peer);
  // Behind what waits, if it still is that epoch of the outlet. False: it is not, nothing is sent.
  bool Send(Peer& peer, uint64_t epoch, ItemBatch batch);

 private:
  enum class Sent : uint8_t { kNothing, kItem, kFull, kDown };
  Sent SendNext(Peer& peer);
  Sent SendWord(Peer& peer);
  Sent SendForwards(Peer& peer);
  Sent SendRoutes(Peer& peer);

  LockedRoutes& own_;
  Owner& owner_;
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_SENDING_H_
