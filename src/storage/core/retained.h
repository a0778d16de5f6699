// Retained messages in the store: one per topic, looked up by filter without reading the others.
#ifndef STORAGE_CORE_RETAINED_H_
#define STORAGE_CORE_RETAINED_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "mqtt/message.h"
#include "storage/core/kv.h"
#include "storage/core/partition_api.h"

namespace storage {

inline constexpr uint64_t kAnyOrder = 0xFFFFFFFF'FFFFFFFF;

struct RetainedScanOptions {
  size_t messages_max = 100;   // ≥ 1.
  size_t bytes_max = 1 << 20;  // Payload and topic; one message always fits.
  size_t seeks_max =
      10'000;  // So that a sparse match cannot hold the thread: the page may be empty.
  // A message is left out when whoever asks has it from its live stream:
  //   - set after `since_order`, by a PUBLISH that went to `live_partition` too; or
  //   - set after `live_order`, when every route of the subscription was confirmed.
  uint64_t since_order = kAnyOrder;
  uint64_t live_order = kAnyOrder;
  PartitionId live_partition = kPartitionsMax;  // kPartitionsMax: none.
};

struct RetainedScanPage {
  std::vector<mqtt::MessagePtr> messages;  // In key order, retain flag set.
  std::string cursor;                      // Empty: that was the last page.
  // What it took, for who shares a budget among scans.
  size_t seeks = 0;
  size_t bytes = 0;
};

// The retained messages of one partition whose topics match `filter` (valid, not shared), from
// `cursor` (empty: from the start) on. Topics that begin with '$' are not for filters that begin
// with a wildcard [MQTT-4.7.2-1]. Errors: the store's.
// Cost: one seek for each branch that '+' or '#' opens, not one step for each topic passed over.
absl::StatusOr<RetainedScanPage> ScanRetainedMessages(const StateReader& reader,
                                                      PartitionId partition,
                                                      std::string_view filter,
                                                      std::string_view cursor, int64_t now_unix_ms,
                                                      const RetainedScanOptions& options);

// Retained messages of one partition that have expired, those first that did so first.
struct ExpiredRetainedPage {
  struct Message {
    std::string topic;
    uint64_t order = 0;
    uint64_t bytes = 0;
    int64_t expires_at_unix_ms = 0;
  };
  std::vector<Message> messages;  // For DropRetained.
  std::string through;            // The index was read up to here: for the next page.
  int64_t next_unix_ms = 0;       // When the next expires, or has; 0: none does.
};

// From behind `after` (empty: from the start) in the index of expiries. Cost: what it finds.
absl::StatusOr<ExpiredRetainedPage> FindExpiredRetained(const StateReader& reader,
                                                        PartitionId partition,
                                                        std::string_view after, int64_t now_unix_ms,
                                                        size_t messages_max);

// The retained message of exactly this topic, expired or not; null if there is none.
absl::StatusOr<mqtt::MessagePtr> ReadRetained(const StateReader& reader, PartitionId partition,
                                              std::string_view topic);

}  // namespace storage

#endif  // STORAGE_CORE_RETAINED_H_
