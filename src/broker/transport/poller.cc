#include "broker/transport/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace broker {
namespace {

namespace asio = boost::asio;
using Clock = Timer::Clock;
using std::chrono::nanoseconds;

constexpr Clock::time_point kNever = Clock::time_point::max();
constexpr uint32_t kEdges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

absl::Status CannotWatch(absl::string_view what) {
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot watch ", what, ": ", strerrordesc_np(errno)));
}

}  // namespace

class Poller::Impl {
 public:
  explicit Impl(Handler& handler) : handler_(handler) {}

  ~Impl() {
    for (const int fd : {epoll_fd_, wake_fd_, alarm_fd_}) {
      if (fd >= 0) close(fd);
    }
  }

  // Neither is ever read: each write and each expiry is an edge.
  bool Open() {
    return epoll_fd_ >= 0 && wake_fd_ >= 0 && alarm_fd_ >= 0 &&
           Control(EPOLL_CTL_ADD, wake_fd_, EPOLLIN | EPOLLET, nullptr) &&
           Control(EPOLL_CTL_ADD, alarm_fd_, EPOLLIN | EPOLLET, &alarm_events_);
  }

  bool RunOne(bool may_wait) {
    if (dues_changed_) SetAlarm();
    Turn(Gather(may_wait && !HasWork() ? -1 : 0));
    return HasWork();
  }

  bool Add(int fd, void* target) { return Control(EPOLL_CTL_ADD, fd, kEdges, target); }

  bool WatchForAsio(int fd) { return Control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, &asio_events_); }

  void SetWatched(int fd, bool watched) {
    Control(EPOLL_CTL_MOD, fd, watched ? EPOLLIN | EPOLLET : EPOLLET, &asio_events_);
  }

  void Remove(int fd, const void* target) {
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
    for (size_t i = next_event_; i < event_count_; ++i) {
      if (events_[i].data.ptr == target) events_[i].data.ptr = nullptr;
    }
  }

  void Wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  }

 private:
  friend class Poller;
  friend class Timer;

  struct Mark {};  // Something to point to.

  bool Control(int operation, int fd, uint32_t events, void* target) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = target;
    return epoll_ctl(epoll_fd_, operation, fd, &event) == 0;
  }

  bool HasWork() const { return !may_sleep_ || look_at_asio_; }

  void SetAlarm() {
    dues_changed_ = false;
    Clock::time_point due = kNever;
    for (const Timer* const timer : timers_) due = std::min(due, timer->due());
    if (due == alarm_) return;
    alarm_ = due;
    const nanoseconds since = due == kNever ? nanoseconds(0) : due.time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    itimerspec setting{};
    setting.it_value = {.tv_sec = seconds.count(), .tv_nsec = (since - seconds).count()};
    CHECK(timerfd_settime(alarm_fd_, TFD_TIMER_ABSTIME, &setting, nullptr) == 0);
  }

  // Those that are due now: what a timer starts anew for now has the next alarm.
  void OnAlarm() {
    alarm_ = kNever;
    dues_changed_ = true;
    const Clock::time_point now = Clock::now();
    for (size_t i = 0; i < timers_.size() && !stopped_; ++i) {
      Timer& timer = *timers_[i];
      if (timer.due_ > now) continue;
      timer.due_ = kNever;
      std::exchange(timer.fire_, nullptr)();
    }
  }

  // Takes what has events by now, or waits until something has.
  size_t Gather(int timeout_ms) {
    const int ready = epoll_wait(epoll_fd_, events_.data(), kEventsMax, timeout_ms);
    return ready > 0 ? static_cast<size_t>(ready) : 0;
  }

  void Turn(size_t events) {
    handler_.OnTurn();
    for (int round = 1; !stopped_; ++round) {
      more_ = Round(events);
      if ((events < kFewEvents && !more_) || round == kRoundsMax) break;
      events = Gather(0);
    }
    if (!stopped_ && (look_at_asio_ || second_look_)) RunOneOfAsio();
    may_sleep_ = !stopped_ && !look_at_asio_ && !more_ && handler_.OnSleep();
  }

  bool Round(size_t events) {
    event_count_ = events;
    for (next_event_ = 0; next_event_ < event_count_ && !stopped_;) {
      const epoll_event& event = events_[next_event_++];
      void* const target = event.data.ptr;
      if (target == &asio_events_) {
        look_at_asio_ = true;
        second_look_ = true;
      } else if (target == &alarm_events_) {
        OnAlarm();
      } else if (target != nullptr) {
        handler_.OnEvents(target, event.events);
      }
    }
    event_count_ = 0;
    return !stopped_ && handler_.OnEndOfRound();
  }

  // An event of a descriptor in two sets is told to one of them first, to the other within the same
  // call of the kernel's. Should it have been ours, and Asio been looked at too early: once more.
  void RunOneOfAsio() {
    if (!look_at_asio_) second_look_ = false;
    look_at_asio_ = context_.poll_one() > 0;
  }

  Handler& handler_;
  const int epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  const int wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const int alarm_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  Mark asio_events_;  // What the descriptors that Asio waits for are registered with.
  Mark alarm_events_;
  bool stopped_ = false;
  bool may_sleep_ = false;            // As of the end of the last turn.
  bool more_ = false;                 // As OnEndOfRound said.
  bool look_at_asio_ = false;         // It may have something.
  bool second_look_ = false;          // In the next turn.
  bool dues_changed_ = false;         // Since the alarm was set.
  Clock::time_point alarm_ = kNever;  // As it is set.
  std::array<epoll_event, kEventsMax> events_;
  size_t event_count_ = 0;  // Of this round,
  size_t next_event_ = 0;   // and the first that was not yet handled.
  std::vector<Timer*> timers_;
  // No locks in Asio: only this thread touches it. Last, since what it still waits for may own
  // timers.
  asio::io_context context_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
  // Or it would count as stopped while it waits for nothing.
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
};

Poller::Poller(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Poller::~Poller() = default;

absl::StatusOr<std::unique_ptr<Poller>> Poller::Create(Handler& handler) {
  try {
    auto impl = std::make_unique<Impl>(handler);
    if (!impl->Open()) return CannotWatch("connections");
    const asio::posix::stream_descriptor opens_asios_set(impl->context_);
    return std::unique_ptr<Poller>(new Poller(std::move(impl)));
  } catch (const boost::system::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot watch connections: ", error.code().message()));
  }
}

void Poller::Run() {
  while (!impl_->stopped_) RunOne(true);
}

void Poller::Stop() { impl_->stopped_ = true; }
bool Poller::RunOne(bool may_wait) { return impl_->RunOne(may_wait); }

absl::Status Poller::Add(int fd, void* target) {
  return impl_->Add(fd, target) ? absl::OkStatus() : CannotWatch("a connection");
}

void Poller::Remove(int fd, const void* target) { impl_->Remove(fd, target); }
void Poller::Wake() { impl_->Wake(); }
asio::io_context& Poller::context() { return impl_->context_; }

absl::Status Poller::WatchForAsio(int fd) {
  return impl_->WatchForAsio(fd) ? absl::OkStatus() : CannotWatch("a descriptor of Asio's");
}

void Poller::SetWatched(int fd, bool watched) { impl_->SetWatched(fd, watched); }
void Poller::LookAtAsio() { impl_->look_at_asio_ = true; }

Timer::Timer(Poller& poller) : impl_(*poller.impl_) { impl_.timers_.push_back(this); }
Timer::~Timer() { std::erase(impl_.timers_, this); }

void Timer::Start(Clock::time_point due, std::function<void()> fire) {
  due_ = due;
  fire_ = std::move(fire);
  impl_.dues_changed_ = true;
}

void Timer::Cancel() {
  due_ = kNever;
  fire_ = nullptr;
}

}  // namespace broker
