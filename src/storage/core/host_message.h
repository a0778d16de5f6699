// What the partition hosts of two nodes say to each other.
#ifndef STORAGE_CORE_HOST_MESSAGE_H_
#define STORAGE_CORE_HOST_MESSAGE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "storage/core/addresses.h"
#include "storage/core/partition_api.h"

namespace storage {

// A partition's leader wants to hear when that node's shards know all routes that the partition's
// entries up to this one have made. Cumulative: the last one asks for all before it.
struct KnowRoutes {
  PartitionId partition = 0;
  uint64_t index = 0;
  uint64_t ticket = 0;
};

// They do.
struct RoutesKnown {
  PartitionId partition = 0;
  uint64_t ticket = 0;  // As KnowRoutes said.
};

// ---- A node without a replica of a partition ----------------------------------------------------

// Its leader tells such a node of the routes: first all that there are, in parts, then each change.
// A feed that begins with number 1 replaces those with a lesser `feed`; between numbers that do not
// follow each other something was lost, and the leader begins another one.
struct FeedRoutes {
  PartitionId partition = 0;
  uint64_t feed = 0;
  uint64_t number = 0;  // From 1 on.
  bool whole = false;   // All that there are has been told, by this one or one before it …
  uint64_t index = 0;   // … and what entries up to this one have made.
  bool wants_taken = false;
  // Of these RouteChange::number and ShareMemberChange::number say nothing.
  std::vector<RouteChange> routes;
  std::vector<ShareMemberChange> members;
};

// The node's shards know what was told so far.
struct FeedTaken {
  PartitionId partition = 0;
  uint64_t feed = 0;
  uint64_t number = 0;
};

// A page of retained messages, asked of a node that has a replica of where the cursor stands.
struct ScanWanted {
  uint64_t ticket = 0;
  ScanRetained scan;  // `token` says nothing.
};
struct ScanDone {
  uint64_t ticket = 0;
  RetainedPage page;
};

// What is lost with a link is asked for again, or told anew.
using HostMessage =
    std::variant<KnowRoutes, RoutesKnown, FeedRoutes, FeedTaken, ScanWanted, ScanDone>;

}  // namespace storage

#endif  // STORAGE_CORE_HOST_MESSAGE_H_
