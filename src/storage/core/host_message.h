// What the partition hosts of two nodes say to each other.
#ifndef STORAGE_CORE_HOST_MESSAGE_H_
#define STORAGE_CORE_HOST_MESSAGE_H_

#include <cstdint>
#include <variant>

#include "storage/core/addresses.h"

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

// What is lost with a link is asked for again.
using HostMessage = std::variant<KnowRoutes, RoutesKnown>;

}  // namespace storage

#endif  // STORAGE_CORE_HOST_MESSAGE_H_
