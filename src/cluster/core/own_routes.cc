#include "cluster/core/own_routes.h"

#include <algorithm>
#include <utility>

namespace cluster {

void OwnRoutes::Change(storage::ShardId shard, uint64_t number, std::string_view filter,
                       std::optional<RouteLevel> before, std::optional<RouteLevel> after) {
  ++number_;
  source_.Advance(number_);
  // First what is wanted more: there is no moment without.
  if (after.has_value()) source_.Add(filter, number_, *after);
  if (before.has_value()) source_.Remove(filter, number_, *before);
  shards_[shard].waiting.push_back({number_, number});
}

void OwnRoutes::ChangeMember(storage::ShardId shard, uint64_t number, const MemberOfKey& member,
                             bool add) {
  ++number_;
  source_.Advance(number_);
  source_.Replace(MemberKeyPrefix(member.shard, member.connection, member.filter),
                  add ? MemberKeyOf(member) : std::string(), number_);
  shards_[shard].waiting.push_back({number_, number});
}

void OwnRoutes::Join(storage::NodeId node) { confirmations_.Join(node.value()); }

void OwnRoutes::Leave(storage::NodeId node) {
  confirmations_.Leave(node.value());
  readers_.erase(node);
  owed_.erase(node);
}

void OwnRoutes::OnWanted(storage::NodeId node, const RoutesWanted& wanted) {
  readers_[node] = {.at = source_.ReaderAt(wanted.life, wanted.number), .ask = wanted.ask};
}

void OwnRoutes::OnTaken(storage::NodeId node, const RoutesTaken& taken) {
  if (taken.life == life_) {
    confirmations_.Confirm(node.value(), taken.number);
    const auto owed = owed_.find(node);
    if (owed != owed_.end() && owed->second <= taken.number) owed_.erase(owed);
  }
  const auto it = readers_.find(node);
  if (it == readers_.end() || it->second.ask != taken.ask) return;
  it->second.taken = std::max(it->second.taken, std::min(taken.frames, it->second.told));
}

std::optional<RoutesTold> OwnRoutes::Next(storage::NodeId node) {
  const auto it = readers_.find(node);
  if (it == readers_.end()) return std::nullopt;
  Reader& reader = it->second;
  if (reader.told - reader.taken >= kFramesMax) return std::nullopt;
  std::optional<RouteFrame> frame = source_.Next(reader.at, kFrameBytes);
  if (!frame.has_value()) return std::nullopt;
  ++reader.told;
  return RoutesTold{reader.ask, *std::move(frame)};
}

void OwnRoutes::SetDegraded(bool degraded) {
  if (!std::exchange(degraded_, degraded) || degraded) return;
  const uint64_t by_all = confirmations_.ByAll();
  for (storage::ShardId id = 0; id < shards_.size(); ++id) {
    OfShard& shard = shards_[id];
    const Waiting confirmed = std::exchange(shard.degraded, {});
    if (confirmed.number <= by_all) continue;
    shard.waiting.push_front(confirmed);
    taken_back_.push_back({id, shard.known, ++shard.taken_back});
  }
}

std::vector<OwnRoutes::Confirmed> OwnRoutes::TakeConfirmed() {
  std::vector<Confirmed> confirmed = std::exchange(taken_back_, {});
  const uint64_t by_all = confirmations_.ByAll();
  const uint64_t by_those = confirmations_.ByAllOf(
      [&](uint16_t node) { return !degraded_ || readers_.contains(storage::NodeId(node)); });
  uint64_t owed = 0;  // The greatest number that is confirmed without some node.
  for (storage::ShardId id = 0; id < shards_.size(); ++id) {
    OfShard& shard = shards_[id];
    if (shard.degraded.number != 0 && shard.degraded.number <= by_all)
      shard.known = std::exchange(shard.degraded, {}).announced;
    uint64_t announced = 0;
    while (!shard.waiting.empty() && shard.waiting.front().number <= by_those) {
      announced = shard.waiting.front().announced;
      if (shard.waiting.front().number <= by_all) {
        shard.known = announced;
      } else {
        shard.degraded = shard.waiting.front();
        owed = std::max(owed, shard.degraded.number);
      }
      shard.waiting.pop_front();
    }
    if (announced != 0) confirmed.push_back({id, announced, shard.taken_back});
  }
  for (const uint16_t node : confirmations_.Behind(owed)) {
    uint64_t& number = owed_[storage::NodeId(node)];
    number = std::max(number, owed);
  }
  return confirmed;
}

std::vector<storage::NodeId> OwnRoutes::Unaware() const {
  std::vector<storage::NodeId> unaware;
  for (const auto& [node, number] : owed_) unaware.push_back(node);
  return unaware;
}

}  // namespace cluster
