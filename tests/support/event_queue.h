// Virtual time for simulations: what is to happen, and when.
#ifndef TESTS_SUPPORT_EVENT_QUEUE_H_
#define TESTS_SUPPORT_EVENT_QUEUE_H_

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>

namespace support {

// Time goes from one event to the next. Those of one moment come in the order in which they were
// planned, so a run is the same each time. `Time`: milliseconds as a number, or an absl::Duration.
template <typename Time>
class EventQueue {
 public:
  explicit EventQueue(Time now = {}) : now_(now) {}

  Time now() const { return now_; }
  void After(Time delay, std::function<void()> run) {
    events_.push({now_ + delay, ++last_number_, std::move(run)});
  }

  // The next event, if it is due by then. False: none is.
  bool RunNext(Time until) {
    if (events_.empty() || events_.top().at > until) return false;
    const Event event = events_.top();
    events_.pop();
    now_ = event.at;
    event.run();
    return true;
  }
  // All that are due by then; then it is then.
  void RunUntil(Time until) {
    while (RunNext(until)) {
    }
    now_ = until;
  }

 private:
  struct Event {
    Time at;
    uint64_t number = 0;
    std::function<void()> run;
    bool operator<(const Event& other) const {  // The greatest is the next.
      return at != other.at ? at > other.at : number > other.number;
    }
  };

  Time now_;
  uint64_t last_number_ = 0;
  std::priority_queue<Event> events_;
};

}  // namespace support

#endif  // TESTS_SUPPORT_EVENT_QUEUE_H_
