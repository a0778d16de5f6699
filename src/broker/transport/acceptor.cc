// One shard's accept loop.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "broker/transport/listener.h"
#include "broker/transport/poller.h"

namespace broker {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;
using Clock = Timer::Clock;

// Of one turn: connections that are already open need their share.
constexpr int kAcceptsMax = 16;

// Descriptors and memory come back when connections close, and nothing tells when.
constexpr std::chrono::milliseconds kPause(100);

int OpenReserve() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

// Kept alive by the wait in progress.
class Acceptor::Loop : public std::enable_shared_from_this<Acceptor::Loop> {
 public:
  Loop(Poller& poller, std::shared_ptr<Listener> listener, int socket, AcceptFn accept)
      : poller_(poller),
        listener_(std::move(listener)),
        accept_(std::move(accept)),
        socket_(poller.context(), socket),
        timer_(poller),
        reserve_(OpenReserve()) {}

  ~Loop() {
    if (reserve_ >= 0) close(reserve_);
  }

  // Each wait asks the kernel anew, so that connections left over from a turn are not forgotten.
  void Wait() {
    SetWatched(true);
    socket_.async_wait(Descriptor::wait_read,
                       [self = shared_from_this()](const boost::system::error_code& error) {
                         if (!error && self->socket_.is_open()) self->AcceptSome();
                       });
    poller_.LookAtAsio();
  }

  void Hold() { held_ = true; }

  void GoOn() {
    held_ = false;
    if (std::exchange(idle_, false)) Wait();
  }

  void Stop() {
    boost::system::error_code ignored;
    socket_.close(ignored);
    timer_.Cancel();
    poller_.LookAtAsio();  // It lets go of us.
  }

 private:
  void AcceptSome() {
    if (held_) {
      idle_ = true;
      return SetWatched(false);
    }
    const int64_t now_ns = std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
    for (int i = 0; i < kAcceptsMax; ++i) {
      if (const int64_t wait_ns = listener_->WaitBeforeAccept(now_ns); wait_ns > 0) {
        listener_->CountRateWait();
        return WaitAfter(std::chrono::nanoseconds(wait_ns));
      }
      sockaddr_storage peer{};
      socklen_t length = sizeof(peer);
      const int fd = accept4(socket_.native_handle(), reinterpret_cast<sockaddr*>(&peer), &length,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        std::unique_ptr<Transport> transport = listener_->Admit(fd, peer, now_ns);
        if (transport != nullptr) accept_(std::move(transport));
        if (!socket_.is_open()) return;  // `accept_` stopped us.
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (errno == EMFILE || errno == ENFILE) {
        const Refusal refusal = RefuseOne();
        if (refusal == Refusal::kNobodyWaits) break;
        if (refusal == Refusal::kFailed) return Pause();
      } else if (errno == ENOBUFS || errno == ENOMEM) {
        return Pause();
      }
      // Any other error belongs to one connection that failed before we had it.
    }
    Wait();
  }

  enum class Refusal { kRefused, kNobodyWaits, kFailed };

  // With no descriptor left a waiting connection can neither be taken nor turned away. The reserve
  // gives its own up for that: a peer that is closed tries elsewhere, one that waits does not.
  // Without a descriptor the kernel does not even say whether somebody waits.
  Refusal RefuseOne() {
    if (reserve_ < 0) return Refusal::kFailed;
    close(reserve_);
    const int fd = accept4(socket_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const bool nobody_waits = fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (fd >= 0) {
      close(fd);
      listener_->CountRefusedDescriptor();
    }
    reserve_ = OpenReserve();
    if (reserve_ < 0) return Refusal::kFailed;
    if (fd >= 0) return Refusal::kRefused;
    return nobody_waits ? Refusal::kNobodyWaits : Refusal::kFailed;
  }

  void Pause() {
    listener_->CountPause();
    WaitAfter(kPause);
  }

  void WaitAfter(std::chrono::nanoseconds pause) {
    SetWatched(false);
    timer_.Start(Clock::now() + pause, [self = shared_from_this()] {
      if (self->reserve_ < 0) self->reserve_ = OpenReserve();
      self->AcceptSome();
    });
  }

  void SetWatched(bool watched) {
    if (std::exchange(watched_, watched) != watched)
      poller_.SetWatched(socket_.native_handle(), watched);
  }

  Poller& poller_;
  std::shared_ptr<Listener> listener_;
  AcceptFn accept_;
  Descriptor socket_;
  Timer timer_;
  int reserve_;
  bool watched_ = true;
  bool held_ = false;
  bool idle_ = false;  // Nothing is waited for: `GoOn` must.
};

Acceptor::Acceptor(Poller& poller, std::shared_ptr<Listener> listener, int shard, AcceptFn accept) {
  const int socket = listener->TakeSocket(shard);
  if (socket < 0) return;
  // Before Asio's: the kernel tells the last one first, so Asio knows when we look.
  if (const absl::Status status = poller.WatchForAsio(socket); !status.ok()) {
    base::Log(base::LogLevel::kError, "listener is late by up to a second",
              {{"listener", listener->url().ToString()}, {"error", status}});
  }
  loop_ = std::make_shared<Loop>(poller, std::move(listener), socket, std::move(accept));
  loop_->Wait();
}

Acceptor::~Acceptor() { StopAccepting(); }

void Acceptor::Hold() {
  if (loop_ != nullptr) loop_->Hold();
}

void Acceptor::GoOn() {
  if (loop_ != nullptr) loop_->GoOn();
}

void Acceptor::StopAccepting() {
  if (loop_ == nullptr) return;
  loop_->Stop();
  loop_.reset();
}

}  // namespace broker
