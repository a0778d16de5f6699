#include "cluster/traffic/node_routes.h"

#include <optional>
#include <string>
#include <utility>

#include "broker/core/router.h"
#include "mqtt/topic.h"

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

bool IsSharedFilter(std::string_view filter) {
  const auto shared = mqtt::ParseShared(filter);
  return shared.has_value() && mqtt::IsValidTopicFilter(shared->filter);
}

broker::NodeMember MemberOf(const Peer& peer, const MemberOfKey& key, bool add) {
  broker::NodeMember change{.filter = std::string(key.filter), .add = add};
  broker::ShareMember& member = change.member;
  member.client_id = key.client_id;
  member.connection = {.node = peer.node,
                       .shard = key.shard,
                       .incarnation = *peer.life,
                       .connection = key.connection};
  member.of_node = peer.node;
  member.packet_size_max = key.packet_size_max;
  member.options = key.options;
  member.subscription_id = key.subscription_id;
  return change;
}

void AddChanges(const Peer& peer, const std::vector<RouteDelta>& changes,
                broker::NodeRoutes& told) {
  auto routes = std::make_shared<std::vector<broker::NodeRoute>>();
  auto members = std::make_shared<std::vector<broker::NodeMember>>();
  routes->reserve(changes.size());
  for (const RouteDelta& change : changes) {
    const std::optional<RouteOfKey> key = ParseRouteKey(change.key);
    if (!key.has_value()) continue;  // Of a later release: it does not count on being understood.
    if (key->member.has_value()) {
      if (IsSharedFilter(key->member->filter))
        members->push_back(MemberOf(peer, *key->member, change.add));
      continue;
    }
    routes->push_back(
        {.filter = {.hash = key->hash, .wildcard = std::string(key->wildcard)},
         .wanted = key->level == RouteLevel::kAll ? broker::Wanted::kAll : broker::Wanted::kQos0,
         .add = change.add});
  }
  told.changes = std::move(routes);
  if (!members->empty()) told.members = std::move(members);
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

void NodeRoutes::AnnounceMember(storage::ShardId shard,
                                const broker::MemberAnnouncement& announcement) {
  shards_[shard]->announced = true;
  const broker::ShareMember& member = announcement.member;
  const MemberOfKey key{.shard = member.connection.shard,
                        .connection = member.connection.connection,
                        .filter = announcement.filter,
                        .options = member.options,
                        .subscription_id = member.subscription_id,
                        .packet_size_max = member.packet_size_max,
                        .client_id = member.client_id};
  base::MutexLock lock(own_.mutex);
  own_.routes.ChangeMember(shard, announcement.number, key, announcement.add);
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
    tasks.For(one.shard).emplace_back(broker::NodesConfirmed{one.number, one.taken_back});
}

void NodeRoutes::OnLinkLost(Peer& peer) {
  peer.route_frame.clear();
  std::vector<OwnRoutes::Confirmed> confirmed;
  {
    base::MutexLock lock(own_.mutex);
    own_.routes.OnLost(peer.node);
    confirmed = own_.routes.TakeConfirmed();  // Without most nodes it is waited for no more.
  }
  TellConfirmed(confirmed);
}

void NodeRoutes::SetDegraded(bool degraded) {
  std::vector<OwnRoutes::Confirmed> confirmed;
  {
    base::MutexLock lock(own_.mutex);
    own_.routes.SetDegraded(degraded);
    confirmed = own_.routes.TakeConfirmed();
  }
  TellConfirmed(confirmed);
}

NodeRoutes::Report NodeRoutes::Reported() const {
  Report report;
  {
    base::MutexLock lock(own_.mutex);
    report.told = own_.routes.keys();
    report.unaware = own_.routes.Unaware();
  }
  for (Peer* const peer : peers_.All()) {
    base::MutexLock lock(peer->mutex);
    if (peer->life.has_value() && peer->routes.stale()) report.unknown.push_back(peer->node);
  }
  return report;
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
  tasks.ForAll(broker::NodeRoutes{
      .node = peer.place, .forget = true, .number = ++last_block_, .gone = true});
}

void NodeRoutes::AskAnew(Peer& peer, Tasks& tasks) {
  peer.routes_wanted = peer.routes.Ask();
  PostStale(peer, tasks);
}

void NodeRoutes::PostStale(Peer& peer, Tasks& tasks) {
  if (!peer.routes.stale() || std::exchange(peer.told_stale, true)) return;
  const uint64_t block = ++last_block_;
  peer.routes.Posted(block);
  tasks.ForAll(broker::NodeRoutes{.node = peer.place,
                                  .stale = true,
                                  .unheard = peer.unheard,
                                  .number = block,
                                  .id = peer.node,
                                  .life = *peer.life});
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
  peer.unheard = peer.unheard && peer.told_stale;
  broker::NodeRoutes routes{.node = peer.place,
                            .forget = told.frame.begin,
                            .stale = peer.routes.stale(),
                            .unheard = peer.unheard,
                            .number = block,
                            .id = peer.node,
                            .life = *peer.life};
  AddChanges(peer, told.frame.changes, routes);
  tasks.ForAll(routes);
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
