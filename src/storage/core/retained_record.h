// RetainedRecord of proto/mqttd/storage/v1/records.proto, written and read by hand.
#ifndef STORAGE_CORE_RETAINED_RECORD_H_
#define STORAGE_CORE_RETAINED_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace storage {

struct RetainedView {
  std::string_view message;  // A StoredMessage.
  uint64_t order = 0;
  uint64_t partitions = 0;
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
