// When memory is short, and when it is enough again.
#ifndef BROKER_CORE_MEMORY_GATE_H_
#define BROKER_CORE_MEMORY_GATE_H_

#include <cstdint>

namespace broker {

// Above the mark until an eighth of it is free again, so that it does not flutter.
class MemoryGate {
 public:
  enum class Change : uint8_t { kNone, kRose, kFell };

  explicit MemoryGate(uint64_t high_bytes)
      : high_bytes_(high_bytes), low_bytes_(high_bytes - high_bytes / 8) {}

  bool high() const { return high_; }

  // So much is in use that it matters how much of it could be given back.
  bool Matters(uint64_t used_bytes) const {
    return used_bytes >= (high_ ? low_bytes_ : high_bytes_);
  }

  Change Update(uint64_t used_bytes) {
    if (Matters(used_bytes) == high_) return Change::kNone;
    high_ = !high_;
    return high_ ? Change::kRose : Change::kFell;
  }

 private:
  const uint64_t high_bytes_;
  const uint64_t low_bytes_;
  bool high_ = false;
};

}  // namespace broker
#endif  // BROKER_CORE_MEMORY_GATE_H_
