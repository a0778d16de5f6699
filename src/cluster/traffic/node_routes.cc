#include "cluster/traffic/node_routes.h"

#include <optional>
#include <string>
#include <utility>

#include "broker/core/router.h"

namespace cluster {
namespace {

std::optional<RouteLevel> LevelOf(broker::Wanted wanted) {
  switch (wanted) {
    case broker::Wanted::kNothing:
      return std::nullopt;
    case broker::Wanted::kQos0:
      return RouteLevel::kQos0;
    case broker::Wanted::kAll:
      break;
  }
  return RouteLevel::kAll;
}

std::shared_ptr<const std::vector<broker::NodeRoute>> RoutesOf(
    const std::vector<RouteDelta>& changes) {
  auto routes = std::make_shared<std::vector<broker::NodeRoute>>();
  routes->reserve(changes.size());
  for (const RouteDelta& change : changes) {
    const std::optional<RouteOfKey> key = ParseRouteKey(change.key);
    if (!key.has_value()) continue;  // Of a later release: it does not count on being understood.
    routes->push_back(
        {.filter = {.hash = key->hash, .wildcard = std::string(key->wildcard)},
         .wanted = key->level == RouteLevel::kAll ? broker::Wanted::kAll : broker::Wanted::kQos0,
         .add = change.add});
  }
  return routes;
}

}  // namespace

NodeRoutes::NodeRoutes(storage::ShardId shards, LockedRoutes& own, TrafficLocal& local,
                       Peers& peers, Sending& sending)
    : own_(own), local_(local), peers_(peers), sending_(sending) {
  for (storage::ShardId shard = 0; shard < shards; ++shard)
    shards_.push_back(std::make_unique<OfShard>());
}

// ---- What this node wants -----------------------------------------------------------------------

void NodeRoutes::Announce(storage::ShardId shard, const broker::RouteAnnouncement& announcement) {
  shards_[shard]->announced = true;
  base::MutexLock lock(own_.mutex);
  own_.routes.Change(shard, announcement.number, announcement.filter, LevelOf(announcement.before),
                     LevelOf(announcement.after));
}

void NodeRoutes::Flush(storage::ShardId shard) {
  if (!std::exchange(shards_[shard]->announced, false)) return;
  std::vector<OwnRoutes::Confirmed> confirmed;
  {
    base::MutexLock lock(own_.mutex);
    confirmed = own_.routes.TakeConfirmed();  // At once, if there is no other node.
  }
  TellConfirmed(confirmed);
  for (Peer* const peer : peers_.All()) {
    base::MutexLock lock(peer->mutex);
    sending_.Pump(*peer);
  }
}

void NodeRoutes::TellConfirmed(const std::vector<OwnRoutes::Confirmed>& confirmed) {
  Tasks tasks(local_, static_cast<storage::ShardId>(shards_.size()));
  for (const OwnRoutes::Confirmed& one : confirmed)
    tasks.For(one.shard).emplace_back(broker::NodesConfirmed{one.number});
}

void NodeRoutes::OnLinkLost(Peer& peer) {
  peer.route_frame.clear();
  base::MutexLock lock(own_.mutex);
  own_.routes.OnLost(peer.node);
}

void NodeRoutes::OnWanted(Peer& peer, const RoutesWanted& wanted) {
  base::MutexLock lock(own_.mutex);
  own_.routes.OnWanted(peer.node, wanted);
}

void NodeRoutes::OnTaken(Peer& peer, const cluster::RoutesTaken& taken) {
  std::vector<OwnRoutes::Confirmed> confirmed;
  {
    base::MutexLock lock(own_.mutex);
    own_.routes.OnTaken(peer.node, taken);
    confirmed = own_.routes.TakeConfirmed();
  }
  TellConfirmed(confirmed);
}

// ---- What another node wants --------------------------------------------------------------------

void NodeRoutes::OnLife(Peer& peer, Tasks& tasks) {
  {
    base::MutexLock lock(own_.mutex);
    own_.routes.Join(peer.node);
  }
  peer.routes.Begin();
  peer.told_stale = false;
  PostStale(peer, tasks);
}

void NodeRoutes::OnGone(Peer& peer, Tasks& tasks) {
  std::vector<OwnRoutes::Confirmed> confirmed;
  {
    base::MutexLock lock(own_.mutex);
    own_.routes.Leave(peer.node);
    confirmed = own_.routes.TakeConfirmed();
  }
  TellConfirmed(confirmed);
  peer.routes.Begin();
  peer.routes_wanted.reset();
  peer.tell_routes_taken = false;
  peer.told_stale = false;
  tasks.ForAll(broker::NodeRoutes{.node = peer.place, .forget = true, .number = ++last_block_});
}

void NodeRoutes::AskAnew(Peer& peer, Tasks& tasks) {
  peer.routes_wanted = peer.routes.Ask();
  PostStale(peer, tasks);
}

void NodeRoutes::PostStale(Peer& peer, Tasks& tasks) {
  if (!peer.routes.stale() || std::exchange(peer.told_stale, true)) return;
  const uint64_t block = ++last_block_;
  peer.routes.Posted(block);
  tasks.ForAll(broker::NodeRoutes{.node = peer.place, .stale = true, .number = block});
}

void NodeRoutes::OnTold(Peer& peer, const RoutesTold& told, Tasks& tasks) {
  base::MutexLock lock(peer.mutex);
  switch (peer.routes.OnTold(told)) {
    case RoutesOfNode::Told::kBefore:
      return;
    case RoutesOfNode::Told::kGap:
      return AskAnew(peer, tasks);
    case RoutesOfNode::Told::kNews:
      break;
  }
  const uint64_t block = ++last_block_;
  peer.routes.Posted(block);
  peer.told_stale = peer.routes.stale();
  tasks.ForAll(broker::NodeRoutes{.node = peer.place,
                                  .forget = told.frame.begin,
                                  .stale = peer.routes.stale(),
                                  .number = block,
                                  .changes = RoutesOf(told.frame.changes)});
}

void NodeRoutes::RoutesTaken(storage::ShardId shard, uint32_t place, uint64_t block) {
  Peer* const peer = peers_.At(place);
  if (peer == nullptr) return;
  base::MutexLock lock(peer->mutex);
  if (!peer->routes.OnShardTook(shard, block)) return;
  peer->tell_routes_taken = true;
  sending_.Pump(*peer);
}

}  // namespace cluster
