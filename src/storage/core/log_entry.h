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

}  // namespace storage

#endif  // STORAGE_CORE_LOG_ENTRY_H_
