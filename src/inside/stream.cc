#include "inside/stream.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "broker/transport/transport.h"

namespace inside {
namespace {

namespace asio = boost::asio;
namespace client = mqttd::client;
using broker::IoState;

// Bytes in one direction.
class Pipe {
 public:
  size_t Read(char* buffer, size_t capacity) {
    const size_t count = std::min(capacity, bytes_.size() - begin_);
    std::memcpy(buffer, bytes_.data() + begin_, count);
    begin_ += count;
    if (begin_ == bytes_.size()) {
      bytes_.clear();
      begin_ = 0;
    }
    return count;
  }
  size_t Write(std::string_view bytes) {
    const size_t count = std::min(bytes.size(), kBytesMax - std::min(kBytesMax, size()));
    bytes_.append(bytes.substr(0, count));
    return count;
  }
  size_t size() const { return bytes_.size() - begin_; }

  bool ended = false;  // By its writer.

 private:
  std::string bytes_;
  size_t begin_ = 0;
};

// What the two ends share.
struct Middle {
  explicit Middle(int event) : server_event(event) {}
  ~Middle() { close(server_event); }

  // An edge for the poller, of reading and writing both.
  void WakeServer() const {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(server_event, &one, sizeof(one));
  }

  const int server_event;
  base::Mutex mutex;
  Pipe to_server ABSL_GUARDED_BY(mutex);
  Pipe to_client ABSL_GUARDED_BY(mutex);
  std::function<void()> wake_client ABSL_GUARDED_BY(mutex);
};

class ServerEnd final : public broker::Transport {
 public:
  explicit ServerEnd(std::shared_ptr<Middle> middle) : middle_(std::move(middle)) {}
  ~ServerEnd() override { End(); }

  int fd() const override { return middle_->server_event; }
  broker::ReadResult Read(char* buffer, size_t capacity) override {
    const base::MutexLock lock(middle_->mutex);
    Pipe& pipe = middle_->to_server;
    const size_t count = pipe.Read(buffer, capacity);
    if (count == 0) return {pipe.ended ? IoState::kClosed : IoState::kAgain, 0};
    WakeClient();
    return {IoState::kOk, count};
  }
  broker::WriteResult Write(const std::string_view* ranges, size_t count) override {
    const base::MutexLock lock(middle_->mutex);
    if (middle_->to_client.ended) return {IoState::kClosed, 0};
    if (middle_->to_server.ended) return {IoState::kError, 0};
    size_t taken = 0;
    bool all = true;
    for (size_t i = 0; i < count && all; ++i) {
      const size_t wrote = middle_->to_client.Write(ranges[i]);
      taken += wrote;
      all = wrote == ranges[i].size();
    }
    if (taken != 0) WakeClient();
    return {all ? IoState::kOk : IoState::kAgain, taken};
  }
  bool HasBufferedInput() const override { return HasUnreadInput(); }
  bool HasUnreadInput() const override {
    const base::MutexLock lock(middle_->mutex);
    return middle_->to_server.size() != 0;
  }
  bool WantsWrite() const override { return false; }
  bool HandshakeDone() const override { return true; }
  void StartClose() override { End(); }
  broker::PeerInfo peer() const override {
    broker::PeerInfo info;
    info.address = "inside";
    return info;
  }
  std::string_view error() const override { return "the process has ended the connection"; }

 private:
  void End() {
    const base::MutexLock lock(middle_->mutex);
    middle_->to_client.ended = true;
    WakeClient();
  }
  void WakeClient() ABSL_EXCLUSIVE_LOCKS_REQUIRED(middle_->mutex) {
    if (middle_->wake_client) middle_->wake_client();
  }

  const std::shared_ptr<Middle> middle_;
};

class ClientEnd final : public client::Stream {
 public:
  ClientEnd(std::shared_ptr<Middle> middle, asio::any_io_executor executor)
      : middle_(std::move(middle)), waiters_(std::make_shared<Waiters>(executor)) {
    const base::MutexLock lock(middle_->mutex);
    middle_->wake_client = [weak = std::weak_ptr(waiters_), executor] {
      asio::post(executor, [weak] {
        if (const auto waiters = weak.lock()) waiters->Wake();
      });
    };
  }
  ~ClientEnd() override { Close(); }

  asio::awaitable<size_t> Read(asio::mutable_buffer buffer,
                               boost::system::error_code& error) override {
    for (;;) {
      if (const size_t count = TryRead(buffer, error); count != 0 || error) co_return count;
      co_await Wait(waiters_->reader, error);
      if (error) co_return 0;
    }
  }
  asio::awaitable<void> Write(asio::const_buffer buffer,
                              boost::system::error_code& error) override {
    while (buffer.size() != 0) {
      buffer += TryWrite(buffer, error);
      if (error || buffer.size() == 0) co_return;
      co_await Wait(waiters_->writer, error);
      if (error) co_return;
    }
  }
  void Close() override {
    {
      const base::MutexLock lock(middle_->mutex);
      middle_->to_server.ended = true;
      middle_->wake_client = {};
    }
    middle_->WakeServer();
    waiters_->closed = true;
    waiters_->Wake();
  }

 private:
  struct Waiters {
    explicit Waiters(const asio::any_io_executor& executor) : reader(executor), writer(executor) {}
    void Wake() {
      reader.cancel();
      writer.cancel();
    }
    asio::steady_timer reader;
    asio::steady_timer writer;
    bool closed = false;
  };

  size_t TryRead(asio::mutable_buffer buffer, boost::system::error_code& error) {
    error = {};
    size_t count = 0;
    {
      const base::MutexLock lock(middle_->mutex);
      count = middle_->to_client.Read(static_cast<char*>(buffer.data()), buffer.size());
      if (count == 0 && middle_->to_client.ended) error = asio::error::eof;
    }
    if (count != 0) middle_->WakeServer();  // There is room.
    return count;
  }
  size_t TryWrite(asio::const_buffer buffer, boost::system::error_code& error) {
    error = {};
    size_t count = 0;
    {
      const base::MutexLock lock(middle_->mutex);
      if (middle_->to_client.ended) error = asio::error::broken_pipe;
      if (!error)
        count = middle_->to_server.Write({static_cast<const char*>(buffer.data()), buffer.size()});
    }
    if (count != 0) middle_->WakeServer();
    return count;
  }
  // Until there is something new; what woke it is looked at by the caller. Nothing is missed: it is
  // woken by a task of the same executor, so not before it waits. An outside cancellation is seen
  // as one.
  asio::awaitable<void> Wait(asio::steady_timer& timer, boost::system::error_code& error) {
    if (waiters_->closed) {
      error = asio::error::operation_aborted;
      co_return;
    }
    const auto waiters = waiters_;
    timer.expires_at(asio::steady_timer::time_point::max());
    boost::system::error_code woken;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    const auto state = co_await asio::this_coro::cancellation_state;
    const bool cancelled = state.cancelled() != asio::cancellation_type::none;
    error = {};
    if (waiters->closed || cancelled) error = asio::error::operation_aborted;
  }

  const std::shared_ptr<Middle> middle_;
  const std::shared_ptr<Waiters> waiters_;
};

}  // namespace

absl::StatusOr<Ends> MakeEnds(asio::any_io_executor executor) {
  const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) return absl::ErrnoToStatus(errno, "eventfd");
  const auto middle = std::make_shared<Middle>(event);
  Ends ends;
  ends.client = std::make_unique<ClientEnd>(middle, std::move(executor));
  ends.server = std::make_unique<ServerEnd>(middle);
  return ends;
}

}  // namespace inside
