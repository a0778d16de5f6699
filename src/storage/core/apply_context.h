// What one entry of a partition's log is applied with.
#ifndef STORAGE_CORE_APPLY_CONTEXT_H_
#define STORAGE_CORE_APPLY_CONTEXT_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "storage/core/effects.h"
#include "storage/core/kv.h"
#include "storage/core/partition_api.h"

namespace storage {

struct ApplyContext {
  // For what is not kept in memory until the next flush.
  StateBatch& Batch() {
    writes = true;
    return batch;
  }
  void CountDropped(DropCause cause) { ++effects.dropped[static_cast<size_t>(cause)]; }

  // A command of a release that is newer than this one.
  void StopAtUnknown();
  // It cannot be read, or what it bears cannot.
  void StopAtUnreadable(std::string_view what);
  // Other replicas have made something else of the entries before.
  void StopAsDifferent();

  const PartitionId partition;
  const uint64_t index;
  const StateReader& reader;
  StateBatch& batch;
  Effects& effects;
  int64_t now_unix_ms = 0;
  uint64_t order = 0;
  // The request whose commands are being applied, if they are.
  uint64_t origin = 0;
  uint64_t sequence = 0;
  // Nothing more may be applied: the store failed, or contradicts the entry, or `stops`.
  absl::Status status;
  bool stops = false;  // Because of the entry itself: it fails again whenever it is tried.
  bool writes = false;
};

}  // namespace storage

#endif  // STORAGE_CORE_APPLY_CONTEXT_H_
