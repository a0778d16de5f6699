// When stored sessions end and wills fire.
#ifndef STORAGE_LEADER_DEADLINES_H_
#define STORAGE_LEADER_DEADLINES_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace storage {

// Read once per iteration of the host. Neither ever goes back.
struct HostTime {
  int64_t unix_ms = 0;       // Of base::Timeline: for records, and what they say is due.
  absl::Duration monotonic;  // For what concerns this process alone.
};

// A moment in a session's record at which something is due.
struct Deadline {
  int64_t at_unix_ms = 0;
  uint64_t epoch = 0;
  std::string client_id;
};

// Lazy: a deadline that no longer holds stays; whoever takes it compares it with the session. But
// when there are many more than there were after the last Prune, they are to be pruned: a client
// that comes and goes all day would leave one each time.
class Deadlines {
 public:
  void Add(std::string client_id, uint64_t epoch, int64_t at_unix_ms) {
    heap_.push_back({.at_unix_ms = at_unix_ms, .epoch = epoch, .client_id = std::move(client_id)});
    std::push_heap(heap_.begin(), heap_.end(), Later());
  }

  bool WantsPrune() const { return heap_.size() > 2 * pruned_size_ + kPruneMin; }
  template <typename Holds>
  void Prune(Holds&& holds) {
    std::erase_if(heap_, [&](const Deadline& deadline) { return !holds(deadline); });
    std::make_heap(heap_.begin(), heap_.end(), Later());
    pruned_size_ = heap_.size();
  }

  std::optional<int64_t> next() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.front().at_unix_ms;
  }

  // The earliest that is due.
  std::optional<Deadline> Take(int64_t now_unix_ms) {
    if (heap_.empty() || heap_.front().at_unix_ms > now_unix_ms) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end(), Later());
    Deadline taken = std::move(heap_.back());
    heap_.pop_back();
    return taken;
  }

  size_t size() const { return heap_.size(); }

 private:
  struct Later {
    bool operator()(const Deadline& a, const Deadline& b) const {
      return a.at_unix_ms > b.at_unix_ms;
    }
  };
  static constexpr size_t kPruneMin = 1024;
  std::vector<Deadline> heap_;
  size_t pruned_size_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_DEADLINES_H_
