#include "cluster/traffic/requests.h"

#include <algorithm>
#include <utility>

#include "cluster/core/traffic_codec.h"

namespace cluster {

Requests::Requests(const storage::LiveNode& self, TrafficLocal& local, Peers& peers,
                   Sending& sending, TrafficMetrics& metrics)
    : self_(self), local_(local), peers_(peers), sending_(sending), metrics_(metrics) {
  for (storage::ShardId shard = 0; shard < self.shards; ++shard)
    shards_.push_back(std::make_unique<OfShard>());
}

Requests::Routes::Way Requests::OfClaims(storage::NodeId by) const {
  if (by == self_.node) return {.kind = Routes::Kind::kHere};
  Peer* const peer = peers_.Find(by);
  if (peer == nullptr) return {};
  return {.kind = Routes::Kind::kNode, .node = peer, .epoch = peer->outlet.epoch()};
}

void Requests::Submit(storage::ShardId shard, std::vector<storage::Addressed> requests) {
  OfShard& mine = *shards_[shard];
  const auto of_claims = [this](storage::NodeId by) { return OfClaims(by); };
  // Those for this node stay in their place, the others are taken out.
  size_t here = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const Routes::Way way = mine.routes.Of(requests[i], of_claims);
    if (way.kind != Routes::Kind::kHere) {
      Add(mine, way, shard, requests[i]);
      continue;
    }
    if (here != i) requests[here] = std::move(requests[i]);
    ++here;
  }
  requests.erase(requests.begin() + static_cast<std::ptrdiff_t>(here), requests.end());
  if (!requests.empty()) local_.Submit({self_.node, shard, self_.incarnation}, std::move(requests));
  for (ToNode& to : mine.to_nodes) {
    const size_t count = to.items.size();
    const bool sent = sending_.Send(*to.peer, to.epoch, std::move(to.items));
    (sent ? metrics_.requests_sent : metrics_.requests_dropped).Add(count);
  }
  mine.to_nodes.clear();
}

void Requests::Add(OfShard& mine, const Routes::Way& way, storage::ShardId shard,
                   const storage::Addressed& asked) {
  if (way.kind == Routes::Kind::kNowhere || way.node->outlet.epoch() != way.epoch)
    return metrics_.requests_dropped.Add();
  auto to = std::find_if(mine.to_nodes.begin(), mine.to_nodes.end(), [&](const ToNode& it) {
    return it.peer == way.node && it.epoch == way.epoch;
  });
  if (to == mine.to_nodes.end()) {
    mine.to_nodes.push_back({.peer = way.node, .epoch = way.epoch, .items = {}});
    to = mine.to_nodes.end() - 1;
  }
  AppendRequest(shard, asked, to->items.bytes());
  to->items.Added();
}

}  // namespace cluster
