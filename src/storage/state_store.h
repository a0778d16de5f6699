// The state as HostCore sees it: RocksDB on a node, a map in tests.
#ifndef STORAGE_STATE_STORE_H_
#define STORAGE_STATE_STORE_H_

#include "absl/status/status.h"
#include "storage/core/kv.h"

namespace storage {

class StateStore {
 public:
  virtual ~StateStore() = default;
  virtual const StateReader& reader() const = 0;
  // What is being collected; the reader does not see it yet.
  virtual StateBatch& batch() = 0;
  // Makes it visible and begins a new one; costs nothing if it is empty. After an error it is as it
  // was: Write again.
  virtual absl::Status Write() = 0;
  // Throws it away.
  virtual void Discard() = 0;
  // Before a Write again.
  virtual absl::Status Resume() = 0;
};

}  // namespace storage

#endif  // STORAGE_STATE_STORE_H_
