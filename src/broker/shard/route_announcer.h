// Tells the other shards and nodes what this one's sessions subscribe to, and knows when all have
// heard.
#ifndef BROKER_ROUTE_ANNOUNCER_H_
#define BROKER_ROUTE_ANNOUNCER_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "broker/shard/shard_context.h"

namespace broker {

// SUBACK leaves when every shard of every node that may receive a PUBLISH has the route: from then
// on none is missed. Part of one shard, used on its thread.
class RouteAnnouncer {
 public:
  explicit RouteAnnouncer(ShardContext& context)
      : context_(context), confirmed_(context.shards, 0) {}

  // Nothing, unless the shard wants something else of the filter's messages now.
  void Route(std::string_view filter, const Router::Change& change) {
    if (!change.any()) return;
    ++number_;
    context_.routes_changed = true;
    ForOthers([&](storage::ShardId shard) {
      context_.Announce(shard, ShardRouteChange{context_.id, number_, change.before, change.after,
                                                std::string(filter)});
    });
    if (context_.forwarder == nullptr) return;
    announced_to_nodes_ = number_;
    context_.forwarder->Announce(context_.id,
                                 {number_, change.before, change.after, std::string(filter)});
  }
  void Member(bool add, std::string_view filter, const ShareMember& member) {
    ++number_;
    context_.routes_changed = true;
    ForOthers([&](storage::ShardId shard) {
      ShareMember remote = member;
      remote.local = nullptr;
      context_.Announce(shard, ShardMemberChange{context_.id, number_, add, std::string(filter),
                                                 std::move(remote)});
    });
    if (context_.forwarder == nullptr) return;
    announced_to_nodes_ = number_;
    ShareMember remote = member;
    remote.local = nullptr;
    context_.forwarder->AnnounceMember(context_.id,
                                       {number_, add, std::string(filter), std::move(remote)});
  }

  // Of the last announcement; `confirmed() >= number()` when all others have taken it in.
  uint64_t number() const { return number_; }
  uint64_t confirmed() const {
    uint64_t least = confirmed_by_nodes_ < announced_to_nodes_ ? confirmed_by_nodes_ : number_;
    for (uint32_t shard = 0; shard < context_.shards; ++shard) {
      if (shard != context_.id) least = std::min(least, confirmed_[shard]);
    }
    return least;
  }
  void OnConfirmed(storage::ShardId from, uint64_t number) {
    confirmed_[from] = std::max(confirmed_[from], number);
  }

  void OnNodesConfirmed(const NodesConfirmed& confirmed) {
    if (confirmed.taken_back < taken_back_) return;
    const bool as_before = std::exchange(taken_back_, confirmed.taken_back) == confirmed.taken_back;
    confirmed_by_nodes_ =
        as_before ? std::max(confirmed_by_nodes_, confirmed.number) : confirmed.number;
  }

  template <typename Do>
  void ForOthers(Do&& act) {
    for (uint32_t shard = 0; shard < context_.shards; ++shard) {
      if (shard != context_.id) act(static_cast<storage::ShardId>(shard));
    }
  }

 private:
  ShardContext& context_;
  uint64_t number_ = 0;
  std::vector<uint64_t> confirmed_;
  uint64_t announced_to_nodes_ = 0;  // The last one that was.
  uint64_t confirmed_by_nodes_ = 0;
  uint32_t taken_back_ = 0;
};

}  // namespace broker
#endif  // BROKER_ROUTE_ANNOUNCER_H_
