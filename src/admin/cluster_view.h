// What the metrics page tells of the other nodes of the cluster.
#ifndef ADMIN_CLUSTER_VIEW_H_
#define ADMIN_CLUSTER_VIEW_H_

#include <cstdint>
#include <string>
#include <vector>

namespace admin {

struct ClusterView {
  struct Stream {
    std::string link_class;  // control, log, traffic or bulk.
    uint64_t items = 0;
    uint64_t bytes = 0;
    uint64_t frames = 0;
    uint64_t dropped = 0;
    uint64_t times_full = 0;
  };
  // The link to one other node, since the start.
  struct Link {
    uint32_t node = 0;
    bool up = false;
    double round_trip_s = 0;
    uint64_t connected = 0;
    uint64_t disconnected = 0;
    std::vector<Stream> streams;
  };
  std::vector<Link> links;

  struct Traffic {
    uint64_t forwarded = 0;
    uint64_t received = 0;
    uint64_t repeated = 0;
    uint64_t dropped = 0;
    uint64_t times_behind = 0;
    uint64_t gaps = 0;
    uint64_t requests_sent = 0;
    uint64_t requests_dropped = 0;
    uint64_t events_sent = 0;
    uint64_t events_dropped = 0;
    uint64_t resyncs = 0;
    uint64_t unreadable = 0;
  };
  Traffic traffic;
};

}  // namespace admin

#endif  // ADMIN_CLUSTER_VIEW_H_
