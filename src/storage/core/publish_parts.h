// A message's way to the partitions that it is for: one request to each.
#ifndef STORAGE_CORE_PUBLISH_PARTS_H_
#define STORAGE_CORE_PUBLISH_PARTS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "storage/core/partition_api.h"

namespace storage {

// Cuts what a message is for into parts, in the order of the partitions, and calls `take` for each.
// Of a message that is for nobody there is one, without anything to do: its answer comes in its
// turn all the same. Returns how many there are; so many answers come, if any are wanted.
// `partitions`: how many the store has.
uint32_t CutIntoParts(Publish whole, uint32_t partitions,
                      absl::FunctionRef<void(Publish part)> take);

}  // namespace storage

#endif  // STORAGE_CORE_PUBLISH_PARTS_H_
