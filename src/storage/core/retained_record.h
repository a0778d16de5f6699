// RetainedRecord of proto/mqttd/storage/v1/records.proto, written and read by hand.
#ifndef STORAGE_CORE_RETAINED_RECORD_H_
#define STORAGE_CORE_RETAINED_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/core/partition_api.h"

namespace storage {

struct RetainedView {
  std::string_view message;  // A StoredMessage.
  uint64_t order = 0;
  uint64_t partitions = 0;     // Bits, of partitions that got the same PUBLISH.
  uint32_t of_partitions = 0;  // So many there were then. 0: as many as there are.

  // Also if the partitions were split since.
  bool WentTo(PartitionId partition) const {
    const uint32_t then = of_partitions == 0 ? partition : partition & (of_partitions - 1);
    return then < kPartitionsMax && (partitions >> then & 1) != 0;
  }
};

// RetainedExpiry, likewise.
struct RetainedExpiryView {
  uint64_t order = 0;
  uint64_t bytes = 0;
};
std::string EncodeRetainedExpiry(const RetainedExpiryView& expiry);
std::optional<RetainedExpiryView> ParseRetainedExpiry(std::string_view bytes);

std::string EncodeRetained(const RetainedView& retained);
std::optional<RetainedView> ParseRetained(std::string_view bytes);

}  // namespace storage

#endif  // STORAGE_CORE_RETAINED_RECORD_H_
