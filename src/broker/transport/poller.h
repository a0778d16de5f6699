// A shard's event loop: an edge-triggered epoll set of its own for connections, without epoll_ctl
// or allocation per event, and an io_context that is looked at when something of its own is due.
#ifndef BROKER_TRANSPORT_POLLER_H_
#define BROKER_TRANSPORT_POLLER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace boost::asio {
class io_context;
}  // namespace boost::asio

namespace broker {

// Used on its shard's thread only, but for `Wake`.
//
// A turn:                             OnTurn
// at most kRoundsMax times:           OnEvents of a batch…  OnEndOfRound
// if Asio may have something:         one of its handlers; another turn follows
// and when nothing is left to do:     OnSleep, then the thread waits for everything.
//
// It waits in its own set, for connections, a `Timer` and `Wake`. Asio's set, which is another, is
// looked at when a descriptor of `WatchForAsio` has an event. (In a set within a set the kernel
// loses the hint that whoever wrote to a connection is about to sleep, and runs the two on
// different processors: docs/decisions/0002.)
class Poller {
 public:
  class Handler {
   public:
    // The turn begins: others need not call `Wake` until `OnSleep` (Mailbox::Awake).
    virtual void OnTurn() = 0;

    // `events` are epoll's: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR. `target` is as it
    // was registered. Any of them may be removed in here.
    virtual void OnEvents(void* target, uint32_t events) = 0;

    // The batch is done: take the mailbox, flush what is dirty, free what was closed. Comes at
    // least once per turn. True: there is reason for another round, or turn, at once.
    virtual bool OnEndOfRound() = 0;

    // The turn ends: from here on others must call `Wake` (Mailbox::Sleep). True: the thread may
    // block. False: something came meanwhile, there is another turn.
    virtual bool OnSleep() = 0;

   protected:
    ~Handler() = default;
  };

  static constexpr int kRoundsMax = 8;  // Asio's own events need their share.
  // Of one round. What a round is answered with is in memory at once, a buffer for each connection.
  static constexpr int kEventsMax = 128;
  static constexpr int kFewEvents = 4;  // Fewer than this in a round: more are unlikely, sleep.

  // Errors: kResourceExhausted (no descriptor). `handler` must outlive the poller.
  static absl::StatusOr<std::unique_ptr<Poller>> Create(Handler& handler);
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Takes turns until `Stop`. The first comes at once.
  void Run();

  // Ends `Run` after the callback in progress.
  void Stop();

  // One turn; before it, waits until there is a reason for one, if `may_wait`. True: there is
  // reason for another at once.
  bool RunOne(bool may_wait);

  // Registers for EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, once for life: the first event tells
  // what is ready already. Errors: kResourceExhausted.
  absl::Status Add(int fd, void* target);

  // Before the descriptor is closed. No event of `target` comes any more, this round's included.
  void Remove(int fd, const void* target);

  // Thread-safe: makes the thread take a turn soon.
  void Wake();

  // For what waits with Asio. Its handlers run within turns. Outlives all that uses it.
  boost::asio::io_context& context();

  // Input on `fd`, which Asio waits for, is a reason to look at Asio; until the descriptor is
  // closed. Errors: kResourceExhausted.
  absl::Status WatchForAsio(int fd);

  // Whether it is such a reason at the moment: not while nobody would take the input.
  void SetWatched(int fd, bool watched);

  // Asio was given something to wait for that may be there already.
  void LookAtAsio();

 private:
  friend class Timer;
  class Impl;
  explicit Poller(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

// A timer on the thread of a poller, which outlives it. Not Asio's: that would set an alarm of its
// own, for which its set would have to be looked at.
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
#endif  // BROKER_TRANSPORT_POLLER_H_
