// The ordered store that a partition reads and writes, as much of it as the partition needs.
//
// Beside core stands RocksDB behind these three; tests and the simulator use MemoryStore.
#ifndef STORAGE_CORE_KV_H_
#define STORAGE_CORE_KV_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace storage {

// A walk over the keys within [lower, upper), ascending bytes. Sees the store as it was when the
// iterator was made. Not valid after an error or at an end; `status` tells which.
class StateIterator {
 public:
  virtual ~StateIterator() = default;
  virtual bool Valid() const = 0;
  virtual void Seek(std::string_view key) = 0;         // To the first key ≥ `key`.
  virtual void SeekForPrev(std::string_view key) = 0;  // To the last key ≤ `key`.
  virtual void Next() = 0;
  virtual std::string_view key() const = 0;  // Until the iterator moves.
  virtual std::string_view value() const = 0;
  virtual absl::Status status() const = 0;
};

class StateReader {
 public:
  virtual ~StateReader() = default;
  // Whether the key is there; its value replaces `value`.
  virtual absl::StatusOr<bool> Get(std::string_view key, std::string& value) const = 0;
  // Starts before the first Seek: not valid. Bounds are copied.
  virtual std::unique_ptr<StateIterator> NewIterator(std::string_view lower,
                                                     std::string_view upper) const = 0;
};

// Changes that become visible together or not at all, in the order they were made.
class StateBatch {
 public:
  virtual ~StateBatch() = default;
  virtual void Put(std::string_view key, std::string_view value) = 0;
  virtual void Delete(std::string_view key) = 0;
  // Every key within [lower, upper). Rare: when a session ends.
  virtual void DeleteRange(std::string_view lower, std::string_view upper) = 0;
};

}  // namespace storage

#endif  // STORAGE_CORE_KV_H_
