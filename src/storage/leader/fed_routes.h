// Routes of partitions of which this node has no replica.
#ifndef STORAGE_LEADER_FED_ROUTES_H_
#define STORAGE_LEADER_FED_ROUTES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "storage/core/host_message.h"
#include "storage/leader/node.h"

namespace storage {

// Part of the host, used on its thread. What their leaders tell (RouteFeeds) goes to this node's
// shards as what the replicas here make does. It is remembered, for a later leader tells all of it
// anew: the shards hear of what is different. Until it has come to the end, what an earlier one
// told holds as well, so nothing that was acknowledged is missing meanwhile.
class FedRoutes {
 public:
  explicit FedRoutes(Node& node) : node_(node), partitions_(node.options.partitions) {}

  // Which partitions are held is known.
  void Begin();
  void Hear(NodeId from, const FeedRoutes& told);

  // Calls `then` when the shards know all that there was of these partitions at some moment from
  // now on; now, if there is a replica of each.
  void WhenWhole(std::function<void()> then);

  // They have been told so, of every partition without a replica here.
  bool whole() const { return lacking_ == 0; }
  // How far the shards have been told. Nothing has come: 0.
  uint64_t through(PartitionId id) const { return partitions_[id].through; }

 private:
  using Member = std::pair<std::string, std::string>;  // Client Identifier and filter.
  struct OfPartition {
    uint64_t feed = 0;
    uint64_t number = 0;  // Heard last.
    uint64_t through = 0;
    // What the shards know, and of which feed it was told last.
    absl::flat_hash_map<std::string, uint64_t> filters;
    std::map<Member, uint64_t> members;
    bool replaces = false;  // What this feed has not told is to go at its end.
  };

  void Change(PartitionId id, OfPartition& partition, const RouteChange& change);
  void Change(PartitionId id, OfPartition& partition, const ShareMemberChange& change);
  void DropUntold(PartitionId id, OfPartition& partition);
  void ReadyIfWhole();

  Node& node_;
  PartitionMask lacking_ = 0;  // Of which nothing whole has been told.
  std::vector<OfPartition> partitions_;
  std::function<void()> ready_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_FED_ROUTES_H_
