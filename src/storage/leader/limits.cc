#include "storage/leader/limits.h"

#include <algorithm>
#include <cstdint>

#include "mqttd/storage/v1/records.pb.h"

namespace storage {

namespace pb = ::mqttd::storage::v1;

namespace {

// A partition's outbox holds what this many full queues hold, and no fewer than so many messages
// and bytes.
constexpr uint64_t kOutboxQueues = 2;
constexpr uint64_t kOutboxMin = 10'000;
constexpr uint64_t kOutboxBytesMin = 64 << 20;

uint64_t OutboxMax(uint64_t queue_max, uint64_t least) {
  return queue_max == 0 ? 0 : std::max(kOutboxQueues * queue_max, least);
}

}  // namespace

pb::Limits LimitsOf(const StorageOptions& options) {
  pb::Limits limits;
  limits.set_queue_messages_max(options.queue_messages_max);
  limits.set_queue_bytes_max(options.queue_bytes_max);
  limits.set_queue_policy(options.queue_full == QueueFull::kDropOldest ? pb::Limits::DROP_OLDEST
                                                                       : pb::Limits::DROP_NEWEST);
  // All of it may lie in one partition; over all of them Publishing checks.
  limits.set_retained_messages_max(options.retained_messages_max);
  limits.set_retained_bytes_max(options.retained_bytes_max);
  limits.set_outbox_messages_max(OutboxMax(options.queue_messages_max, kOutboxMin));
  limits.set_outbox_bytes_max(OutboxMax(options.queue_bytes_max, kOutboxBytesMin));
  return limits;
}

}  // namespace storage
