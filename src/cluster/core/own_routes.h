// What this node's transient sessions, and those that are connected here at QoS 0, want of others.
#ifndef CLUSTER_CORE_OWN_ROUTES_H_
#define CLUSTER_CORE_OWN_ROUTES_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "cluster/core/node_item.h"
#include "cluster/core/route_stream.h"
#include "storage/core/addresses.h"

namespace cluster {

// Counts over shards what they announce, tells each other node of it as that asks, and knows when
// all have it: then, and not before, a SUBACK may leave. Used by one thread at a time.
class OwnRoutes {
 public:
  // Frames that a node has been told and has not taken: what waits there is bounded.
  static constexpr uint64_t kFramesMax = 8;
  static constexpr size_t kFrameBytes = 16 << 10;

  // `life`: another for each start of the node.
  OwnRoutes(RouteStreamOptions options, uint64_t life, storage::ShardId shards)
      : source_(options, life), life_(life), shards_(shards) {}

  // The shard's announcement of that number: of the filter's messages it wants `after`, and wanted
  // `before`; none: nothing.
  void Change(storage::ShardId shard, uint64_t number, std::string_view filter,
              std::optional<RouteLevel> before, std::optional<RouteLevel> after);

  // Likewise: the member is in its group, with these options, or (`add` is false) is not any more.
  void ChangeMember(storage::ShardId shard, uint64_t number, const MemberOfKey& member, bool add);

  // Which nodes have to know. One that comes knows nothing, and one that goes is waited for no
  // more.
  void Join(storage::NodeId node);
  void Leave(storage::NodeId node);

  void OnWanted(storage::NodeId node, const RoutesWanted& wanted);
  // What was told it may not have come: nothing more is told before it asks.
  void OnLost(storage::NodeId node) { readers_.erase(node); }
  void OnTaken(storage::NodeId node, const RoutesTaken& taken);
  // Without most nodes nobody can say of one that it is gone: only those that ask are waited for.
  // What was confirmed so, and is not known to all, is taken back when there are most nodes again:
  // a SUBACK that leaves then speaks for all nodes.
  void SetDegraded(bool degraded);
  // The next that the node is to be told. None: nothing as yet.
  std::optional<RoutesTold> Next(storage::NodeId node);

  // All nodes have this shard's announcements up to this one.
  struct Confirmed {
    storage::ShardId shard = 0;
    uint64_t number = 0;
    uint32_t taken_back = 0;  // So often before: as broker::NodesConfirmed.
  };
  // Those that were not told of before.
  std::vector<Confirmed> TakeConfirmed();

  size_t keys() const { return source_.keys(); }
  // Nodes that have yet to hear of something that was confirmed without them.
  std::vector<storage::NodeId> Unaware() const;

 private:
  struct Waiting {
    uint64_t number = 0;  // Of the node.
    uint64_t announced = 0;
  };
  struct OfShard {
    std::deque<Waiting> waiting;
    uint64_t known = 0;  // What it announced up to this one all nodes have.
    Waiting degraded;    // The last that was confirmed and that some have yet to hear of; or none.
    uint32_t taken_back = 0;
  };
  struct Reader {
    RouteSource::Reader at;
    uint64_t ask = 0;
    uint64_t told = 0;  // Frames.
    uint64_t taken = 0;
  };

  RouteSource source_;
  const uint64_t life_;
  uint64_t number_ = 0;
  std::vector<OfShard> shards_;
  RouteConfirmations confirmations_;
  std::map<storage::NodeId, Reader> readers_;
  bool degraded_ = false;
  std::vector<Confirmed> taken_back_;
  // Up to which number something was confirmed without the node, which has yet to hear of it.
  std::map<storage::NodeId, uint64_t> owed_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_OWN_ROUTES_H_
