// A timer in a shard's event loop.
#ifndef BROKER_TRANSPORT_TIMER_H_
#define BROKER_TRANSPORT_TIMER_H_

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <vector>

namespace broker {

class Poller;

// One of Asio's that the poller knows of, or it would oversleep it. On the poller's thread.
class Timer {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Timer(Poller& poller);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Calls `fire` once, not before `due`, in a turn. Replaces what it was started for before.
  void Start(Clock::time_point due, std::function<void()> fire);

  // `fire` is not called any more, and freed soon.
  void Cancel();

  // Clock::time_point::max() if it is not running.
  Clock::time_point due() const { return due_; }

 private:
  Poller& poller_;
  boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>,
                                    boost::asio::io_context::executor_type>
      timer_;
  std::vector<const Timer*>& known_;  // The poller's.
  Clock::time_point due_ = Clock::time_point::max();
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_TIMER_H_
