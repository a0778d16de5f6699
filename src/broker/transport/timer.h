// A timer in a shard's event loop.
#ifndef BROKER_TRANSPORT_TIMER_H_
#define BROKER_TRANSPORT_TIMER_H_

#include <chrono>
#include <functional>

#include "broker/transport/poller.h"

namespace broker {

// On the poller's thread, which outlives it. Not Asio's: that would set an alarm of its own, for
// which its set would have to be looked at.
class Timer {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Timer(Poller& poller);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Calls `fire` once, not before `due`, in a turn. Replaces what it was started for before.
  void Start(Clock::time_point due, std::function<void()> fire);

  // `fire` is not called any more, and freed.
  void Cancel();

  // Clock::time_point::max() if it is not running.
  Clock::time_point due() const { return due_; }

 private:
  friend class Poller;

  Poller::Impl& impl_;
  Clock::time_point due_ = Clock::time_point::max();
  std::function<void()> fire_;
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_TIMER_H_
