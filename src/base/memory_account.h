// What one thread holds in memory for clients, by what it is for.
#ifndef BASE_MEMORY_ACCOUNT_H_
#define BASE_MEMORY_ACCOUNT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>

#include "base/metric.h"

namespace base {

enum class MemoryUse : uint8_t {
  kInput,          // Packets that have begun to arrive and are not complete.
  kConnecting,     // CONNECT packets that are not answered yet.
  kAliases,        // Topic Names behind topic aliases, both ways.
  kOutput,         // Buffers of bytes on their way to clients, free ones kept for reuse included.
  kMessages,       // Messages, wherever they wait: each once, however many wait for it.
  kSubscriptions,  // Subscriptions and what finds them: records, index.
  kCount_,
};

using MemorySums = std::array<int64_t, static_cast<size_t>(MemoryUse::kCount_)>;

// One writer: a shard, or the partition host. Any thread may read. The server adds up those of all
// writers, and the messages (mqtt::MessageMemoryBytes), and compares the sum with the memory mark.
// What moves from one thread to another is added by the one and taken away by the other, so an
// account by itself may be negative; their sum is what is held. Cost of a change: an addition.
class MemoryAccount {
 public:
  void Add(MemoryUse use, int64_t bytes) { gauges_[static_cast<size_t>(use)].Add(bytes); }
  void Set(MemoryUse use, int64_t bytes) { gauges_[static_cast<size_t>(use)].Set(bytes); }

  int64_t bytes(MemoryUse use) const { return gauges_[static_cast<size_t>(use)].value(); }
  void AddTo(MemorySums& sums) const {
    for (size_t use = 0; use < sums.size(); ++use) sums[use] += gauges_[use].value();
  }

 private:
  std::array<Gauge, std::tuple_size_v<MemorySums>> gauges_;
};

constexpr std::string_view Name(MemoryUse use) {
  switch (use) {
    case MemoryUse::kInput:
      return "input";
    case MemoryUse::kConnecting:
      return "connecting";
    case MemoryUse::kAliases:
      return "aliases";
    case MemoryUse::kOutput:
      return "output";
    case MemoryUse::kMessages:
      return "messages";
    case MemoryUse::kSubscriptions:
      return "subscriptions";
    case MemoryUse::kCount_:
      break;
  }
  return "";
}

}  // namespace base
#endif  // BASE_MEMORY_ACCOUNT_H_
