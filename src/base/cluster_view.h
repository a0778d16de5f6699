// A node's cluster as the node sees it at one moment, for people and for metrics: plain values.
#ifndef BASE_CLUSTER_VIEW_H_
#define BASE_CLUSTER_VIEW_H_

#include <cstdint>
#include <string>
#include <vector>

namespace base {

// Nodes have the numbers that the cluster gave them, from 1 on.
struct ClusterView {
  std::string cluster_id;  // Empty: the node belongs to none yet.
  uint32_t node = 0;       // This one.
  uint32_t incarnation = 0;
  bool holds_lease = false;     // Sessions that are kept are served here.
  uint64_t times_apart = 0;     // Another node's time was too far from this one's to be followed.
  bool aside = false;           // Its storage takes nothing, and it serves nobody.
  bool holds_replicas = false;  // Of some partition. Else it serves clients and stores nothing.
  std::string problem;          // In words. Empty: there is none.
  // Partitions of which there was a replica at this node's address, before it came there with an
  // empty data directory: each has a copy less. Not 0: `lost` says so in words.
  uint32_t replicas_lost = 0;
  std::string lost;

  struct Member {
    uint32_t node = 0;
    std::string uuid;  // Of its data directory.
    uint32_t incarnation = 0;
    bool live = false;  // Its last life has not been given up.
    bool has_replicas = false;
    std::string address;  // Where it listens for other nodes.
    std::string release;
    std::string zone;
    uint32_t shards = 0;
  };
  std::vector<Member> members;  // By number; this node among them.

  struct Partition {
    std::vector<uint32_t> replicas;  // On these nodes.
    uint32_t preferred = 0;          // The node that is to lead it while it lives; 0: any.
    uint32_t leader = 0;             // That leads it, as far as is known here; 0: not known.
  };
  std::vector<Partition> partitions;  // By number.

  struct Stream {
    std::string link_class;  // control, log, traffic or bulk.
    uint64_t items = 0;
    uint64_t bytes = 0;
    uint64_t frames = 0;
    uint64_t dropped = 0;
    uint64_t times_full = 0;
    // On their way just now: given to the link, and not taken by the other node.
    uint64_t items_on_way = 0;
    uint64_t bytes_on_way = 0;
  };
  // The link to one other node, since the start.
  struct Link {
    uint32_t node = 0;
    std::string address;
    bool up = false;
    std::string why;  // While it is not: in words.
    double round_trip_s = 0;
    uint64_t connected = 0;
    uint64_t disconnected = 0;
    std::vector<Stream> streams;
  };
  std::vector<Link> links;

  uint64_t routes_told = 0;              // Filters and members that this node tells the others.
  std::vector<uint32_t> routes_unknown;  // What these nodes want is not known: they get everything.
  // These have yet to hear of a subscription that was acknowledged here without most nodes.
  std::vector<uint32_t> routes_unaware;

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

}  // namespace base

#endif  // BASE_CLUSTER_VIEW_H_
