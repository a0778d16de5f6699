// Another node, as the traffic with it needs it.
#ifndef CLUSTER_TRAFFIC_PEER_H_
#define CLUSTER_TRAFFIC_PEER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "broker/core/router.h"
#include "cluster/core/event_gate.h"
#include "cluster/core/forward_stream.h"
#include "cluster/core/node_life.h"
#include "cluster/core/routes_of_node.h"
#include "cluster/link/early_frames.h"
#include "cluster/traffic/outlet.h"

namespace cluster {

// Made when it is first heard of, and kept as long as the process lives. Two locks, `in` before
// `mutex`: whoever hands on what the node has said holds `in`, so that it comes to mailboxes in its
// order; `mutex` is for what shards and the host touch too, and is held shortly.
struct Peer {
  Peer(NodeId id, Links& links, ForwardLimits limits, storage::ShardId shards)
      : node(id),
        outlet(links, id),
        forwards_out(limits),
        forwards_in(limits, shards),
        routes(shards) {}

  const NodeId node;

  // Which life of it there is; none: it is not there. Changed under both locks.
  std::optional<Incarnation> life;
  uint32_t place = broker::kNodesMax;  // In a NodeMask, while there is a life.

  base::Mutex in;
  Incarnation gone_through;         // Lives up to this one are over.
  std::optional<uint64_t> in_link;  // The last that something came by, of this life.
  std::string in_parts;             // Of an item that has not come to its end.
  EarlyFrames early;                // Of a life that nobody has told of as yet.
  // It was there before this node, and has not told all that it wants as yet.
  bool unheard = false;
  bool told_stale = false;  // The shards have heard that it may want more than is known.
  uint64_t last_place = 0;  // Of requests: in which order they came.

  base::Mutex mutex;
  std::optional<Incarnation> linked;  // To which life of it there is a link.
  Outlet outlet;
  uint32_t turn = 0;  // Whose it is to send.
  EventGate events;
  ForwardSender forwards_out;
  ForwardReceiver forwards_in;
  RoutesOfNode routes;
  // What it is to be told when the link has room.
  bool tell_forwards_taken = false;
  bool tell_routes_taken = false;
  std::optional<RoutesWanted> routes_wanted;
  std::string route_frame;  // That is to be sent next; empty: none.
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_PEER_H_
