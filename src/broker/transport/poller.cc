#include "broker/transport/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"

namespace broker {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

}  // namespace

// Kept alive by the wait and the posted turn in progress.
class Poller::Impl : public std::enable_shared_from_this<Poller::Impl> {
 public:
  Impl(asio::io_context& context, Handler& handler, int epoll_fd, int wake_fd)
      : context_(context),
        handler_(handler),
        epoll_fd_(epoll_fd),
        wake_fd_(wake_fd),
        set_(context, epoll_fd) {}

  ~Impl() { close(wake_fd_); }

  void Stop() {
    stopped_ = true;
    boost::system::error_code ignored;
    set_.close(ignored);
  }

  // Edge-triggered, and never read: each write is an edge, and the count does not overflow.
  bool WatchWakeUps() {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) == 0;
  }

  bool Add(int fd, Pollable& target) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &target;
    return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
  }

  void Remove(int fd, Pollable& target) {
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
    for (size_t i = next_event_; i < event_count_; ++i) {
      if (events_[i].data.ptr == &target) events_[i].data.ptr = nullptr;
    }
    if (target.again_index_ != Pollable::kNotListed) {
      again_[target.again_index_] = nullptr;
      target.again_index_ = Pollable::kNotListed;
    }
  }

  void VisitAgain(Pollable& target) {
    if (target.again_index_ != Pollable::kNotListed) return;
    target.again_index_ = static_cast<uint32_t>(again_.size());
    again_.push_back(&target);
    if (!in_turn_) RequestTurn();
  }

  void RequestTurn() {
    if (posted_) return;
    posted_ = true;
    asio::post(context_, [self = shared_from_this()] {
      self->posted_ = false;
      if (!self->stopped_) self->Turn();
    });
  }

  void Wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  }

 private:
  void Turn() {
    in_turn_ = true;
    handler_.OnTurn();
    for (int round = 0; round < kRoundsMax; ++round) {
      const size_t events = Round();
      if (stopped_) return;
      if (events < kFewEvents && again_.empty()) break;
    }
    in_turn_ = false;
    if (!again_.empty() || !handler_.OnSleep()) RequestTurn();
    if (!stopped_ && !waiting_) Wait();
  }

  size_t Round() {
    const size_t listed = again_.size();
    const int ready = epoll_wait(epoll_fd_, events_.data(), kEventsMax, 0);
    event_count_ = ready > 0 ? static_cast<size_t>(ready) : 0;
    for (next_event_ = 0; next_event_ < event_count_ && !stopped_;) {
      const epoll_event& event = events_[next_event_++];
      Pollable* const target = static_cast<Pollable*>(event.data.ptr);
      if (target != nullptr) handler_.OnEvents(*target, event.events);
    }
    const size_t events = event_count_;
    event_count_ = 0;
    VisitListed(listed);
    if (!stopped_) handler_.OnEndOfRound();
    return events;
  }

  // The first `count` of the list: those of earlier rounds.
  void VisitListed(size_t count) {
    for (size_t i = 0; i < count && !stopped_; ++i) {
      Pollable* const target = std::exchange(again_[i], nullptr);
      if (target == nullptr) continue;
      target->again_index_ = Pollable::kNotListed;
      handler_.OnEvents(*target, EPOLLIN);
    }
    size_t kept = 0;
    for (Pollable* const target : again_) {
      if (target == nullptr) continue;
      target->again_index_ = static_cast<uint32_t>(kept);
      again_[kept++] = target;
    }
    again_.resize(kept);
  }

  // Re-arming asks the kernel anew, so that events beyond a turn's bound are not forgotten.
  void Wait() {
    waiting_ = true;
    set_.async_wait(Descriptor::wait_read,
                    [self = shared_from_this()](const boost::system::error_code& error) {
                      self->waiting_ = false;
                      if (!error && !self->stopped_) self->Turn();
                    });
  }

  friend class Poller;

  asio::io_context& context_;
  Handler& handler_;
  const int epoll_fd_;  // Owned by `set_`.
  const int wake_fd_;
  Descriptor set_;
  bool stopped_ = false;
  bool in_turn_ = false;
  bool waiting_ = false;  // Asio watches `set_`.
  bool posted_ = false;   // A turn was asked for.
  std::array<epoll_event, kEventsMax> events_;
  size_t event_count_ = 0;        // Of this round,
  size_t next_event_ = 0;         // and the first that was not yet handled.
  std::vector<Pollable*> again_;  // Null: removed. Keeps its memory.
};

Poller::Poller(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Poller::~Poller() { impl_->Stop(); }

absl::StatusOr<std::unique_ptr<Poller>> Poller::Create(asio::io_context& context,
                                                       Handler& handler) {
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  const int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (epoll_fd < 0 || wake_fd < 0) {
    const std::string words = strerrordesc_np(errno);
    if (epoll_fd >= 0) close(epoll_fd);
    return absl::ResourceExhaustedError("cannot watch connections: " + words);
  }
  auto impl = std::make_shared<Impl>(context, handler, epoll_fd, wake_fd);
  if (!impl->WatchWakeUps()) {
    return absl::ResourceExhaustedError(std::string("cannot watch connections: ") +
                                        strerrordesc_np(errno));
  }
  impl->RequestTurn();
  return std::unique_ptr<Poller>(new Poller(std::move(impl)));
}

absl::Status Poller::Add(int fd, Pollable& target) {
  if (impl_->Add(fd, target)) return absl::OkStatus();
  return absl::ResourceExhaustedError(std::string("cannot watch a connection: ") +
                                      strerrordesc_np(errno));
}

void Poller::Remove(int fd, Pollable& target) { impl_->Remove(fd, target); }
void Poller::VisitAgain(Pollable& target) { impl_->VisitAgain(target); }
void Poller::RequestTurn() { impl_->RequestTurn(); }
void Poller::Wake() { impl_->Wake(); }

}  // namespace broker
