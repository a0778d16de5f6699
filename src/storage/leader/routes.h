// What every shard must know of durable subscriptions, and who waits until they do.
#ifndef STORAGE_LEADER_ROUTES_H_
#define STORAGE_LEADER_ROUTES_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/core/effects.h"
#include "storage/core/partition.h"
#include "storage/core/partition_api.h"
#include "storage/leader/node.h"
#include "storage/leader/route_feeds.h"
#include "storage/leader/route_ledger.h"
#include "storage/leader/routes_elsewhere.h"

namespace storage {

// What is done once the shards know all that they were told before, in a cluster those of all
// nodes.
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
  std::function<void()> call;  // Instead of all that, when this node's shards know.
  // The shards of other nodes are to know as well what the partition's entries up to this one have
  // made; 0: they need not.
  uint64_t index = 0;
};

// Part of the host, used on its thread. The routes of all partitions have one sequence of numbers,
// which each shard confirms.
class Routes {
 public:
  explicit Routes(Node& node)
      : node_(node),
        ledger_(node.shards.own()),
        elsewhere_(node),
        feeds_(node),
        waiting_(node.options.partitions) {}

  void Tell(const RouteChanged& change, PartitionId partition);
  void Tell(const ShareMemberChanged& change, PartitionId partition);
  // What this node was told of a partition without a replica here.
  void Tell(const RouteChange& change, PartitionId partition);
  void Tell(const ShareMemberChange& change, PartitionId partition);
  // `shard`: one of this node.
  void Confirm(ShardSlot shard, const ConfirmRoutes& request) {
    ledger_.Confirm(shard, request.number);
  }
  void Wait(Confirmed waiter);
  void ReleaseReady();
  RoutesElsewhere& elsewhere() { return elsewhere_; }
  const RoutesElsewhere& elsewhere() const { return elsewhere_; }
  RouteFeeds& feeds() { return feeds_; }

  // At the start: what is stored, a part at a time, a few parts ahead of what all shards have
  // confirmed; then `ready`, when they have confirmed the last.
  void BeginAnnouncing(std::function<void()> ready);
  bool announcing() const { return announcement_.has_value(); }
  // True: the last part was told just now.
  bool Announce();

 private:
  void AnnouncePart();
  void Release(Confirmed waiter);

  Node& node_;
  RouteLedger<Confirmed> ledger_;
  RoutesElsewhere elsewhere_;
  RouteFeeds feeds_;
  // By partition: who waits for other nodes only, in the order in which they came.
  std::vector<std::deque<Confirmed>> waiting_;
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
