#include "storage/leader/fed_routes.h"

#include <algorithm>
#include <vector>

#include "storage/leader/routes.h"

namespace storage {

void FedRoutes::Begin() {
  lacking_ = 0;
  for (PartitionId id = 0; id < partitions_.size(); ++id) {
    if (!node_.Holds(id)) lacking_ |= BitOf(id);
  }
}

void FedRoutes::Hear(NodeId from, const FeedRoutes& told) {
  if (told.partition >= partitions_.size() || node_.Holds(told.partition)) return;
  const PartitionId id = told.partition;
  OfPartition& partition = partitions_[id];
  const bool begins = told.number == 1 && told.feed > partition.feed;
  if (begins) {
    partition.feed = told.feed;
    partition.replaces = true;
  } else if (told.feed != partition.feed || told.number != partition.number + 1) {
    return;  // Of an earlier leader; or something was lost, and another feed begins.
  }
  partition.number = told.number;
  for (const RouteChange& change : told.routes) Change(id, partition, change);
  for (const ShareMemberChange& change : told.members) Change(id, partition, change);
  if (told.whole) {
    if (std::exchange(partition.replaces, false)) DropUntold(id, partition);
    lacking_ &= ~BitOf(id);
    partition.through = std::max(partition.through, told.index);
    ReadyIfWhole();
  }
  if (!told.wants_taken || node_.send == nullptr) return;
  Confirmed taken;
  taken.call = [this, from,
                message = FeedTaken{.partition = id, .feed = told.feed, .number = told.number}] {
    node_.send(from, message);
  };
  node_.routes->Wait(std::move(taken));
}

void FedRoutes::Change(PartitionId id, OfPartition& partition, const RouteChange& change) {
  if (!change.add) {
    if (partition.filters.erase(change.filter) == 0) return;
  } else {
    const auto [it, is_new] = partition.filters.insert_or_assign(change.filter, partition.feed);
    if (!is_new) return;
  }
  node_.routes->Tell(change, id);
}

void FedRoutes::Change(PartitionId id, OfPartition& partition, const ShareMemberChange& change) {
  const Member member{change.client_id, change.subscription.filter};
  if (change.state == ShareMemberChange::State::kGone) {
    if (partition.members.erase(member) == 0) return;
  } else {
    partition.members.insert_or_assign(member, partition.feed);
  }
  node_.routes->Tell(change, id);
}

// Of earlier feeds, and gone since.
void FedRoutes::DropUntold(PartitionId id, OfPartition& partition) {
  std::vector<RouteChange> routes;
  // tidy: any order: they are sorted before the shards hear of them.
  for (const auto& [filter, feed] : partition.filters) {
    if (feed != partition.feed) routes.push_back({.add = false, .partition = id, .filter = filter});
  }
  std::sort(routes.begin(), routes.end(),
            [](const RouteChange& a, const RouteChange& b) { return a.filter < b.filter; });
  for (const RouteChange& change : routes) Change(id, partition, change);
  std::vector<ShareMemberChange> members;
  for (const auto& [member, feed] : partition.members) {
    if (feed == partition.feed) continue;
    ShareMemberChange& gone = members.emplace_back();
    gone.client_id = member.first;
    gone.subscription.filter = member.second;
  }
  for (const ShareMemberChange& change : members) Change(id, partition, change);
}

void FedRoutes::WhenWhole(std::function<void()> then) {
  ready_ = std::move(then);
  ReadyIfWhole();
}

void FedRoutes::ReadyIfWhole() {
  if (ready_ == nullptr || !whole()) return;
  Confirmed waiter;
  waiter.call = std::exchange(ready_, nullptr);
  node_.routes->Wait(std::move(waiter));
}

}  // namespace storage
