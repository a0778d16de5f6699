#include "admin/obstacle.h"

#include "absl/strings/str_cat.h"
#include "storage/core/metrics.h"

namespace admin {

std::string Obstacle(const broker::MetricsSnapshot& snapshot) {
  if (snapshot.memory.high) return "memory is short";
  if (snapshot.storage == nullptr) return "";
  // Both are repaired without anybody asking: this passes by itself.
  if (snapshot.storage->log_healthy.value() == 0) {
    return "the log cannot be written: the disk is full, read-only or failing";
  }
  if (snapshot.storage->state_healthy.value() == 0) {
    return "the state cannot be written or read: the disk is full, read-only or failing";
  }
  if (const int64_t stopped = snapshot.storage->partitions_stopped.value(); stopped != 0) {
    return absl::StrCat(
        stopped, stopped == 1 ? " partition stands" : " partitions stand",
        " still: a newer release of mqttd wrote what this one cannot read. Start that release; "
        "nothing is lost. The log says more");
  }
  if (snapshot.storage->damaged.value() != 0) {
    return "stored data is damaged: the log has what, and what to do";
  }
  return snapshot.storage->disk_low.value() != 0 ? "the disk is nearly full" : "";
}

}  // namespace admin
