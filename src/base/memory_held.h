// What one object adds to an account of memory.
#ifndef BASE_MEMORY_HELD_H_
#define BASE_MEMORY_HELD_H_

#include <cstddef>
#include <cstdint>

#include "base/memory_account.h"

namespace base {

// For as long as the object lives that it is a member of; used on the account's thread.
class MemoryHeld {
 public:
  MemoryHeld(MemoryAccount& account, MemoryUse use) : account_(account), use_(use) {}
  ~MemoryHeld() { Set(0); }
  MemoryHeld(const MemoryHeld&) = delete;
  MemoryHeld& operator=(const MemoryHeld&) = delete;

  size_t bytes() const { return bytes_; }
  void Set(size_t bytes) {
    if (bytes == bytes_) return;
    account_.Add(use_, static_cast<int64_t>(bytes) - static_cast<int64_t>(bytes_));
    bytes_ = bytes;
  }

 private:
  MemoryAccount& account_;
  size_t bytes_ = 0;
  const MemoryUse use_;
};

}  // namespace base
#endif  // BASE_MEMORY_HELD_H_
