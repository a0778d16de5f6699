// The state as a host sees it: RocksDB on a node, a map in tests.
#ifndef STORAGE_CORE_STATE_STORE_H_
#define STORAGE_CORE_STATE_STORE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/core/kv.h"

namespace storage {

class StateStore {
 public:
  virtual ~StateStore() = default;
  virtual const StateReader& reader() const = 0;
  // What is being collected; the reader does not see it yet.
  virtual StateBatch& batch() = 0;
  // Makes it visible and begins a new one; costs nothing if it is empty. After an error it is as it
  // was: Write again. kAborted: nothing is wrong, but what was written before is not on the disk
  // yet and takes all the room in memory; try again in a moment. After any other error, Repair
  // first.
  virtual absl::Status Write() = 0;
  // Throws it away.
  virtual void Discard() = 0;

  enum class Repaired {
    kWhole,     // All that was written is there, and the batch is as it was.
    kReopened,  // What was not on the disk is gone, the batch too: the log has it.
  };
  virtual absl::StatusOr<Repaired> Repair() = 0;
};

}  // namespace storage

#endif  // STORAGE_CORE_STATE_STORE_H_
