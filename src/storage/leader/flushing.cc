#include "storage/leader/flushing.h"

#include <algorithm>
#include <bit>

#include "base/status_macros.h"

namespace storage {

void Flushing::Want() {
  for (const auto& replica : replicas_) {
    if (replica->has_news()) wanted_ |= BitOf(replica->id());
  }
}

absl::Status Flushing::Flush(PartitionId id) {
  wanted_ &= ~BitOf(id);
  return replicas_[id]->status().ok() ? replicas_[id]->Flush() : absl::OkStatus();
}

absl::Status Flushing::BoundPending() {
  const auto bytes_of = [](const Replica& replica) {
    return replica.status().ok() ? replica.unflushed_bytes() : 0;
  };
  size_t bytes = 0;
  for (const auto& replica : replicas_) bytes += bytes_of(*replica);
  while (bytes > options_.state_pending_bytes) {
    const auto largest =
        std::max_element(replicas_.begin(), replicas_.end(),
                         [&](const auto& a, const auto& b) { return bytes_of(*a) < bytes_of(*b); });
    bytes -= bytes_of(**largest);
    RETURN_IF_ERROR(Flush((*largest)->id()));
  }
  metrics_.state_pending_bytes.Set(static_cast<int64_t>(bytes));
  return absl::OkStatus();
}

absl::Status Flushing::Some() {
  RETURN_IF_ERROR(BoundPending());
  if (wanted_ == 0) return absl::OkStatus();
  return Flush(static_cast<PartitionId>(std::countr_zero(wanted_)));
}

absl::Status Flushing::All() {
  for (const auto& replica : replicas_) RETURN_IF_ERROR(Flush(replica->id()));
  return absl::OkStatus();
}

}  // namespace storage
