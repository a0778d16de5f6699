// What is to happen in a simulation, and when: virtual time goes from one event to the next.
#ifndef TESTS_BROKER_SHARD_AGENDA_H_
#define TESTS_BROKER_SHARD_AGENDA_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "absl/time/time.h"
#include "tests/support/fake_clock.h"

namespace sim {

// Events of one moment come in the order in which they were planned, so a run is the same each
// time.
class Agenda {
 public:
  explicit Agenda(support::FakeClock& clock) : clock_(clock) {}

  int64_t now_ns() const { return clock_.MonotonicNs(); }

  void At(int64_t at_ns, std::function<void()> act) {
    events_.emplace(std::pair{std::max(at_ns, now_ns()), ++last_number_}, std::move(act));
  }
  void After(absl::Duration delay, std::function<void()> act) {
    At(now_ns() + absl::ToInt64Nanoseconds(delay), std::move(act));
  }

  void RunFor(absl::Duration time) {
    const int64_t end_ns = now_ns() + absl::ToInt64Nanoseconds(time);
    while (!events_.empty() && events_.begin()->first.first <= end_ns) {
      auto event = events_.extract(events_.begin());
      MoveTo(event.key().first);
      event.mapped()();
    }
    MoveTo(end_ns);
  }

 private:
  void MoveTo(int64_t at_ns) { clock_.Advance(absl::Nanoseconds(at_ns - now_ns())); }

  support::FakeClock& clock_;
  std::map<std::pair<int64_t, uint64_t>, std::function<void()>> events_;
  uint64_t last_number_ = 0;
};

}  // namespace sim

#endif  // TESTS_BROKER_SHARD_AGENDA_H_
