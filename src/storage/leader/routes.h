// What every shard must know of durable subscriptions, and who waits until they do.
#ifndef STORAGE_LEADER_ROUTES_H_
#define STORAGE_LEADER_ROUTES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "storage/core/effects.h"
#include "storage/core/partition.h"
#include "storage/core/partition_api.h"
#include "storage/leader/node.h"
#include "storage/leader/route_ledger.h"

namespace storage {

// What is done once the shards know all that they were told before.
struct Confirmed {
  PartitionId partition =
      0;  // Whose leader waits, and which it is: if another has come, nobody does.
  uint64_t life = 0;
  ShardAddress shard;
  std::optional<Event> event;
  // Then retained messages are replayed to the session, those of `reads`; empty: to nobody.
  std::string replays;
  uint64_t epoch = 0;
  PartitionMask reads = 0;
  std::function<void()> call;  // At the start.
};

// Part of the host, used on its thread. The routes of all partitions have one sequence of numbers,
// which each shard confirms.
class Routes {
 public:
  explicit Routes(Node& node) : node_(node), ledger_(node.shards.own()) {}

  void Tell(const RouteChanged& change, PartitionId partition);
  void Tell(const ShareMemberChanged& change, PartitionId partition);
  // `shard`: one of this node.
  void Confirm(ShardSlot shard, const ConfirmRoutes& request) {
    ledger_.Confirm(shard, request.number);
  }
  void Wait(Confirmed waiter) { ledger_.Wait(std::move(waiter)); }
  void ReleaseReady();

  // At the start: what is stored, a part at a time, a few parts ahead of what all shards have
  // confirmed; then `ready`, when they have confirmed the last.
  void BeginAnnouncing(std::function<void()> ready);
  bool announcing() const { return announcement_.has_value(); }
  // True: the last part was told just now.
  bool Announce();

 private:
  void AnnouncePart();

  Node& node_;
  RouteLedger<Confirmed> ledger_;
  // What was stored at the start, as far as the shards do not know it yet.
  struct Announcement {
    PartitionId partition = 0;
    Partition::SubscriptionPlace place;
    uint64_t next_after = 0;  // The next part leaves when this number is confirmed,
    uint64_t sent = 0;        // and the one behind it when this one is.
  };
  std::optional<Announcement> announcement_;
  std::function<void()> ready_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_ROUTES_H_
