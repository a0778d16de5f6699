// What one other node wants, as it tells it, on its way to the shards here.
#ifndef CLUSTER_CORE_ROUTES_OF_NODE_H_
#define CLUSTER_CORE_ROUTES_OF_NODE_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "cluster/core/node_item.h"
#include "cluster/core/route_stream.h"
#include "storage/core/addresses.h"

namespace cluster {

// How far it is known here, what is to be asked for, and how far all shards have it, which is what
// the other node waits for. The shards get it in blocks, numbered by whoever posts them. Used by
// one thread at a time.
class RoutesOfNode {
 public:
  explicit RoutesOfNode(storage::ShardId shards) : shard_took_(shards) {}

  // Another life of the node, of which nothing is known.
  void Begin() {
    view_.OnGone();
    taken_ = {};
    posted_.clear();
  }
  // What was under way, in either direction, may be lost: ask for it from here.
  RoutesWanted Ask() {
    view_.OnLost();
    ++ask_;
    frames_ = 0;
    return {.ask = ask_, .life = view_.life(), .number = view_.number()};
  }

  enum class Told : uint8_t {
    kBefore,  // It was told to an earlier asking.
    kNews,    // For the shards.
    kGap,     // To be asked for anew.
  };
  Told OnTold(const RoutesTold& told) {
    if (told.ask != ask_) return Told::kBefore;
    if (view_.OnFrame(told.frame) == RouteView::Result::kGap) return Told::kGap;
    ++frames_;
    return Told::kNews;
  }
  bool stale() const { return view_.stale(); }

  // What is known now goes to every shard here, by that block. Numbers ascend.
  void Posted(uint64_t block) {
    posted_.push_back(
        {block, {.ask = ask_, .frames = frames_, .life = view_.life(), .number = view_.number()}});
  }
  // True: with it all shards have more than before, and the node is to hear of it.
  bool OnShardTook(storage::ShardId shard, uint64_t block) {
    shard_took_[shard] = std::max(shard_took_[shard], block);
    const uint64_t all = *std::min_element(shard_took_.begin(), shard_took_.end());
    bool news = false;
    while (!posted_.empty() && posted_.front().number <= all) {
      taken_ = posted_.front().then;
      posted_.pop_front();
      news = true;
    }
    return news;
  }
  const RoutesTaken& taken() const { return taken_; }

 private:
  struct Block {
    uint64_t number = 0;
    RoutesTaken then;  // When all shards have it.
  };

  RouteView view_;
  uint64_t ask_ = 0;
  uint64_t frames_ = 0;  // That came since it was asked last.
  std::deque<Block> posted_;
  std::vector<uint64_t> shard_took_;
  RoutesTaken taken_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_ROUTES_OF_NODE_H_
