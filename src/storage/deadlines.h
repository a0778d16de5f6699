// When stored sessions end and wills fire.
#ifndef STORAGE_DEADLINES_H_
#define STORAGE_DEADLINES_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace storage {

// Both clocks, read once per iteration of the host.
struct HostTime {
  int64_t unix_ms = 0;       // For records. May jump.
  absl::Duration monotonic;  // For waiting. Never goes back.
};

// A moment in a session's record at which something is due.
struct Deadline {
  absl::Duration due;  // Monotonic.
  int64_t at_unix_ms = 0;
  uint64_t epoch = 0;
  std::string client_id;
};

// Records hold wall-clock times, so that the time a node is down counts. While it runs, waiting is
// measured by the monotonic clock from the moment the deadline was set: the wall clock may then be
// put forward or back, and nothing fires early or late. Across a restart the wall clock has to be
// believed, with one bound: nothing waits longer than its whole interval, in case it was put back.
//
// Lazy: a deadline that no longer holds stays; whoever takes it compares it with the session. But
// when there are many more than there were after the last Prune, they are to be pruned: a client
// that comes and goes all day would leave one each time.
class Deadlines {
 public:
  // `interval_ms`: the whole of which this is the rest.
  void Add(std::string client_id, uint64_t epoch, int64_t at_unix_ms, int64_t interval_ms,
           const HostTime& now) {
    int64_t left_ms = at_unix_ms - now.unix_ms;
    if (left_ms > interval_ms) left_ms = interval_ms;
    if (left_ms < 0) left_ms = 0;
    heap_.push_back({.due = now.monotonic + absl::Milliseconds(left_ms),
                     .at_unix_ms = at_unix_ms,
                     .epoch = epoch,
                     .client_id = std::move(client_id)});
    std::push_heap(heap_.begin(), heap_.end(), Later());
  }

  bool WantsPrune() const { return heap_.size() > 2 * pruned_size_ + kPruneMin; }
  template <typename Holds>
  void Prune(Holds&& holds) {
    std::erase_if(heap_, [&](const Deadline& deadline) { return !holds(deadline); });
    std::make_heap(heap_.begin(), heap_.end(), Later());
    pruned_size_ = heap_.size();
  }

  std::optional<absl::Duration> next() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.front().due;
  }

  // The earliest that is due.
  std::optional<Deadline> Take(absl::Duration monotonic) {
    if (heap_.empty() || heap_.front().due > monotonic) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end(), Later());
    Deadline taken = std::move(heap_.back());
    heap_.pop_back();
    return taken;
  }

  size_t size() const { return heap_.size(); }

 private:
  struct Later {
    bool operator()(const Deadline& a, const Deadline& b) const { return a.due > b.due; }
  };
  static constexpr size_t kPruneMin = 1024;
  std::vector<Deadline> heap_;
  size_t pruned_size_ = 0;
};

}  // namespace storage

#endif  // STORAGE_DEADLINES_H_
