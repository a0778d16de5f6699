// Which of others (shards, partitions, nodes) want the messages of an exact Topic Filter.
#ifndef BROKER_CORE_HASHED_ROUTES_H_
#define BROKER_CORE_HASHED_ROUTES_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace broker {

// Filters of others are known by hash only, which takes a quarter of the memory. Two with the same
// hash share an entry: then a message also goes where nobody wants it and is found unwanted there.
// None is missed, for repeats are counted. Part of one router, used on its shard's thread.
class HashedRoutes {
 public:
  using Mask = uint64_t;

  Mask Find(size_t hash) const {
    if (masks_.empty()) return 0;
    const auto it = masks_.find(hash);
    return it == masks_.end() ? 0 : it->second;
  }

  // Another filter of this hash, or one fewer.
  void Change(size_t hash, uint32_t bit, bool add) { add ? Add(hash, bit) : Remove(hash, bit); }

  // Whoever has that bit has nothing any more. Cost: the number of entries.
  void Clear(uint32_t bit) {
    absl::erase_if(masks_, [bit](auto& entry) {
      entry.second &= ~(Mask{1} << bit);
      return entry.second == 0;
    });
    absl::erase_if(repeats_, [bit](const auto& entry) { return entry.first.second == bit; });
  }

  size_t size() const { return masks_.size(); }
  bool empty() const { return masks_.empty(); }

 private:
  void Add(size_t hash, uint32_t bit) {
    Mask& mask = masks_[hash];
    const Mask with = mask | Mask{1} << bit;
    if (mask == with) {
      ++repeats_[{hash, bit}];
      return;
    }
    mask = with;
  }

  void Remove(size_t hash, uint32_t bit) {
    const auto it = masks_.find(hash);
    if (it == masks_.end() || (it->second >> bit & 1) == 0) return;
    if (!repeats_.empty()) {
      if (const auto repeat = repeats_.find({hash, bit}); repeat != repeats_.end()) {
        if (--repeat->second == 0) repeats_.erase(repeat);
        return;
      }
    }
    it->second &= ~(Mask{1} << bit);
    if (it->second == 0) masks_.erase(it);
  }

  absl::flat_hash_map<size_t, Mask> masks_;
  absl::flat_hash_map<std::pair<size_t, uint32_t>, uint32_t> repeats_;
};

}  // namespace broker
#endif  // BROKER_CORE_HASHED_ROUTES_H_
