#include "storage/core/options.h"

#include <bit>

#include "absl/strings/str_cat.h"
#include "storage/core/partition_api.h"

namespace storage {

absl::Status Validate(const StorageOptions& options) {
  if (options.data_dir.empty()) {
    return absl::InvalidArgumentError("data_dir: name a directory to keep the store in");
  }
  if (!std::has_single_bit(options.partitions) || options.partitions > kPartitionsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "partitions: ", options.partitions, " is not a power of two from 1 to ", kPartitionsMax));
  }
  if (options.durability == Durability::kInterval &&
      options.durability_interval < absl::Milliseconds(1)) {
    return absl::InvalidArgumentError("durability_interval: at least 1 ms");
  }
  if (options.state_memtable_bytes < (1u << 20) || options.log_memtable_bytes < (1u << 20)) {
    return absl::InvalidArgumentError(
        "state_memtable_bytes, log_memtable_bytes: at least 1 MiB each");
  }
  return absl::OkStatus();
}

}  // namespace storage
