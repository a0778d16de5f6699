// What the log is given, and gives back.
#ifndef STORAGE_CORE_LOG_ENTRY_H_
#define STORAGE_CORE_LOG_ENTRY_H_

#include <cstdint>
#include <string_view>

#include "storage/core/partition_api.h"

namespace storage {

// One partition's share of a group commit. Indexes of a partition are consecutive. `data` is a view
// of what whoever handed it over keeps.
struct LogEntry {
  PartitionId partition = 0;
  uint64_t index = 0;
  uint64_t term = 0;
  std::string_view data;
};

// Where the log of a new partition begins: as if this entry had been there and applied. Not at 0,
// so that a replica that comes later, with an empty log, is given the state first.
struct LogBegin {
  uint64_t index = 0;
  uint64_t term = 0;
};
inline constexpr LogBegin kLogBegin{.index = 5, .term = 5};

}  // namespace storage

#endif  // STORAGE_CORE_LOG_ENTRY_H_
