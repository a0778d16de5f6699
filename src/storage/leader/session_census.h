// Whose the stored sessions are, and which of them would give way to a new one.
#ifndef STORAGE_LEADER_SESSION_CENSUS_H_
#define STORAGE_LEADER_SESSION_CENSUS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "base/by_name.h"
#include "storage/core/effects.h"

namespace storage {

// Part of the partition host, used on its thread; made anew from the partitions at each start. No
// function costs more than O(1), over time.
class SessionCensus {
 public:
  // Anonymous clients are no user: nobody counts them.
  void Came(std::string_view user_name) {
    if (!user_name.empty()) ++by_user_[std::string(user_name)];
  }
  void Went(std::string_view user_name) {
    const auto user = by_user_.find(base::AbslView(user_name));
    if (user == by_user_.end()) return;
    if (--user->second == 0) by_user_.erase(user);
  }
  size_t OfUser(std::string_view user_name) const {
    const auto user = by_user_.find(base::AbslView(user_name));
    return user == by_user_.end() ? 0 : user->second;
  }
  size_t users() const { return by_user_.size(); }

  // A stored session whose client is not connected, as it was when the client went.
  struct Away {
    uint64_t epoch = 0;
    SessionSlot slot = kNoSlot;
    PartitionId partition = 0;
  };
  enum class Holds : uint8_t {
    kNothing,    // No subscription, message or will: its end takes nothing from its client.
    kSomething,  // It does.
  };

  // The client went just now: sessions become away in the order of time.
  void IsAway(const Away& away, Holds holds) { ListOf(holds).push_back(away); }

  // The one that is away longest, for which `still_is` says that it still is; it is forgotten here.
  template <typename StillIs>
  std::optional<Away> TakeOldest(Holds holds, StillIs&& still_is) {
    std::deque<Away>& list = ListOf(holds);
    while (!list.empty()) {
      const Away oldest = list.front();
      list.pop_front();
      if (still_is(oldest)) return oldest;
    }
    return std::nullopt;
  }

  // Clients that come and go leave an entry each time: to be pruned when there are many more than
  // after the last time.
  bool WantsPrune() const { return listed() > 2 * pruned_size_ + kPruneMin; }
  template <typename StillIs>
  void Prune(StillIs&& still_is) {
    for (std::deque<Away>* const list : {&empty_, &holding_}) {
      std::erase_if(*list, [&](const Away& away) { return !still_is(away); });
    }
    pruned_size_ = listed();
  }
  size_t listed() const { return empty_.size() + holding_.size(); }

 private:
  static constexpr size_t kPruneMin = 1024;
  std::deque<Away>& ListOf(Holds holds) { return holds == Holds::kNothing ? empty_ : holding_; }

  absl::flat_hash_map<std::string, size_t> by_user_;
  std::deque<Away> empty_;
  std::deque<Away> holding_;
  size_t pruned_size_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_SESSION_CENSUS_H_
