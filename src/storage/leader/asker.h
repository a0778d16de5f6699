// Who asked, and which of its requests to the partition it is.
#ifndef STORAGE_LEADER_ASKER_H_
#define STORAGE_LEADER_ASKER_H_

#include <cstdint>

#include "storage/core/origins.h"
#include "storage/core/partition_api.h"

namespace storage {

struct Asker {
  ShardId shard = 0;
  uint64_t sequence = 0;   // 0: not numbered.
  uint64_t kept_from = 0;  // The asker has copies of its requests from this one on.

  // As the partition's state has it: see Origin in records.proto.
  uint64_t origin() const { return OriginOf({.shard = shard}); }
};

}  // namespace storage

#endif  // STORAGE_LEADER_ASKER_H_
