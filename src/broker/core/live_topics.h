// Of which topics a retained message was delivered live, while others are on their way.
#ifndef BROKER_CORE_LIVE_TOPICS_H_
#define BROKER_CORE_LIVE_TOPICS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "base/by_name.h"
#include "base/memory_account.h"
#include "base/memory_held.h"

namespace broker {

// Remembers a hash of each, since they may be 64 KiB long. Of two topics with one hash one is taken
// for the other, once in 2^50 subscriptions; with a key that is chance nobody can make them.
// Bounded: `kMax`, then a repeat is possible. Part of one session.
class LiveTopics {
 public:
  static constexpr size_t kMax = 10'000;

  LiveTopics(base::MemoryAccount& account, uint64_t key)
      : key_(key), held_(account, base::MemoryUse::kAliases) {}

  bool empty() const { return last_.empty(); }
  size_t held_bytes() const { return held_.bytes(); }
  // `now` of the last one of the topic; 0: there was none.
  uint64_t Find(std::string_view topic) const {
    const auto known = last_.find(HashOf(topic));
    return known == last_.end() ? 0 : known->second;
  }
  // One of the topic is delivered, `now`: above 0.
  void Note(std::string_view topic, uint64_t now) {
    const uint64_t hash = HashOf(topic);
    if (last_.size() == kMax && !last_.contains(hash)) return;
    last_[hash] = now;
    held_.Set(last_.capacity() * (2 * sizeof(uint64_t) + 1));
  }
  void Clear() {
    absl::flat_hash_map<uint64_t, uint64_t>().swap(last_);
    held_.Set(0);
  }

 private:
  uint64_t HashOf(std::string_view topic) const {
    return absl::HashOf(key_, base::AbslView(topic));
  }

  const uint64_t key_;
  absl::flat_hash_map<uint64_t, uint64_t> last_;
  base::MemoryHeld held_;
};

}  // namespace broker
#endif  // BROKER_CORE_LIVE_TOPICS_H_
