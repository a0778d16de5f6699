// When stored sessions end and wills fire.
#ifndef STORAGE_DEADLINES_H_
#define STORAGE_DEADLINES_H_

#include <cstdint>
#include <optional>
#include <queue>
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
// Lazy: a deadline that no longer holds stays until it is due; whoever takes it compares it with
// the session.
class Deadlines {
 public:
  // `interval_ms`: the whole of which this is the rest.
  void Add(std::string client_id, uint64_t epoch, int64_t at_unix_ms, int64_t interval_ms,
           const HostTime& now) {
    int64_t left_ms = at_unix_ms - now.unix_ms;
    if (left_ms > interval_ms) left_ms = interval_ms;
    if (left_ms < 0) left_ms = 0;
    heap_.push({.due = now.monotonic + absl::Milliseconds(left_ms),
                .at_unix_ms = at_unix_ms,
                .epoch = epoch,
                .client_id = std::move(client_id)});
  }

  std::optional<absl::Duration> next() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.top().due;
  }

  // The earliest that is due.
  std::optional<Deadline> Take(absl::Duration monotonic) {
    if (heap_.empty() || heap_.top().due > monotonic) return std::nullopt;
    Deadline taken = heap_.top();
    heap_.pop();
    return taken;
  }

  size_t size() const { return heap_.size(); }

 private:
  struct Later {
    bool operator()(const Deadline& a, const Deadline& b) const { return a.due > b.due; }
  };
  std::priority_queue<Deadline, std::vector<Deadline>, Later> heap_;
};

}  // namespace storage

#endif  // STORAGE_DEADLINES_H_
