// Who asked, and which of its requests to the partition it is.
#ifndef STORAGE_LEADER_ASKER_H_
#define STORAGE_LEADER_ASKER_H_

#include <cstdint>

#include "storage/core/origins.h"
#include "storage/core/partition_api.h"
#include "storage/leader/shard_table.h"

namespace storage {

// A shard; or a partition's outbox, for which a shard asks.
struct Asker {
  ShardAddress shard;
  ShardSlot slot = 0;
  uint64_t sequence = 0;   // 0: not numbered.
  uint64_t kept_from = 0;  // The asker has copies of its requests from this one on.

  OutboxRef outbox = {};  // Whose record it is a part of, if it is one.

  // As the partition's state has it: see Origin in records.proto.
  uint64_t origin() const { return outbox ? Origins::OfOutbox(outbox.partition) : OriginOf(shard); }
  uint64_t number() const { return outbox ? outbox.number : sequence; }  // 0: it has none.
  uint64_t forgets_below() const { return outbox ? outbox.kept_from : kept_from; }
};

}  // namespace storage

#endif  // STORAGE_LEADER_ASKER_H_
