// What two nodes say to each other of their traffic, beside requests, events and messages.
#ifndef CLUSTER_CORE_NODE_ITEM_H_
#define CLUSTER_CORE_NODE_ITEM_H_

#include <cstdint>
#include <type_traits>
#include <variant>

#include "cluster/core/route_stream.h"
#include "storage/core/host_message.h"

namespace cluster {

// What has become of the forwarded messages of one life of the node that hears it. All three only
// grow, so one that is lost is made up for by the next.
struct ForwardsTaken {
  uint64_t through = 0;  // Numbered so far they are in mailboxes here, and never needed again.
  // So much has left the mailboxes, as the sender counted it.
  uint64_t messages = 0;
  uint64_t bytes = 0;
  friend bool operator==(const ForwardsTaken&, const ForwardsTaken&) = default;
};

// Whoever is asked begins, or goes on, to tell what it wants: from where the asker is. What is told
// to an earlier asking is not listened to any more.
struct RoutesWanted {
  uint64_t ask = 0;
  uint64_t life = 0;  // 0: it knows nothing.
  uint64_t number = 0;
};

struct RoutesTold {
  uint64_t ask = 0;
  RouteFrame frame;
};

// Every shard of the asker has taken in so many frames, and knows the routes up to `number`.
struct RoutesTaken {
  uint64_t ask = 0;
  uint64_t frames = 0;
  uint64_t life = 0;
  uint64_t number = 0;
};

using NodeItem = std::variant<ForwardsTaken, RoutesWanted, RoutesTold, RoutesTaken,
                              storage::KnowRoutes, storage::RoutesKnown, storage::FeedRoutes,
                              storage::FeedTaken, storage::ScanWanted, storage::ScanDone>;

// Of those, what the partition hosts say to each other.
template <typename Value>
inline constexpr bool kIsHostMessage = std::is_constructible_v<storage::HostMessage, Value>;

}  // namespace cluster

#endif  // CLUSTER_CORE_NODE_ITEM_H_
