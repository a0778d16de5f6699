// A shard's own edge-triggered epoll set, nested in its io_context: one wait of Asio's for all
// connections, no epoll_ctl and no allocation per event.
#ifndef BROKER_TRANSPORT_POLLER_H_
#define BROKER_TRANSPORT_POLLER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace boost::asio {
class io_context;
}  // namespace boost::asio

namespace broker {

// What a descriptor is registered with: a base class of the connection.
class Pollable {
 public:
  Pollable() = default;
  Pollable(const Pollable&) = delete;
  Pollable& operator=(const Pollable&) = delete;

 protected:
  ~Pollable() = default;

 private:
  friend class Poller;
  static constexpr uint32_t kNotListed = UINT32_MAX;
  uint32_t again_index_ = kNotListed;  // Place in the poller's list of those to be visited again.
};

// Used on its shard's thread only, but for `Wake`.
//
// A turn, at most kRoundsMax times:  OnEvents of a batch…  OnEndOfRound
// and when nothing is left to do:    OnSleep, then Asio waits for everything.
class Poller {
 public:
  class Handler {
   public:
    // `events` are epoll's: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR. A second visit
    // that `VisitAgain` asked for comes as EPOLLIN.
    // Any Pollable may be removed in here.
    virtual void OnEvents(Pollable& target, uint32_t events) = 0;

    // The batch is done: take the mailbox, flush what is dirty, free what was closed.
    virtual void OnEndOfRound() = 0;

    // The turn begins: others need not call `Wake` until `OnSleep` (Mailbox::Awake).
    virtual void OnTurn() = 0;

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

  // Errors: kResourceExhausted (no descriptor). Turns begin once `context` runs. Both must outlive
  // the poller.
  static absl::StatusOr<std::unique_ptr<Poller>> Create(boost::asio::io_context& context,
                                                        Handler& handler);
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Registers for EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, once for life: the first event tells
  // what is ready already. Errors: kResourceExhausted.
  absl::Status Add(int fd, Pollable& target);

  // Before the descriptor is closed. No event of `target` comes any more, this round's included.
  void Remove(int fd, Pollable& target);

  // Asks for one more OnEvents(target, EPOLLIN) in the next round: its buffer was filled, or it
  // `HasBufferedInput`. At most once per round, however often it is asked for.
  void VisitAgain(Pollable& target);

  // Asks for a turn although no descriptor has an event: a timer or an acceptor made output that
  // `OnEndOfRound` flushes. Idempotent until the turn comes.
  void RequestTurn();

  // Thread-safe: makes the thread take a turn soon.
  void Wake();

 private:
  class Impl;
  explicit Poller(std::shared_ptr<Impl> impl);

  std::shared_ptr<Impl> impl_;  // Shared with the wait in progress.
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_POLLER_H_
