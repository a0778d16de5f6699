// A transport in memory whose other end is a FakeServer: for what a client does with its
// connection.
#ifndef TESTS_CLIENT_FAKE_STREAM_H_
#define TESTS_CLIENT_FAKE_STREAM_H_

#include <algorithm>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "client/stream.h"
#include "tests/client/core/fake_server.h"

namespace mqttd::client {

// What the fake connections of one test share. All of it runs on one thread.
struct FakeNetwork {
  explicit FakeNetwork(boost::asio::any_io_executor its_executor,
                       mqtt::Version version = mqtt::Version::k5)
      : executor(std::move(its_executor)), server(version), changed(executor) {
    changed.expires_at(std::chrono::steady_clock::time_point::max());
  }

  // The server ends the connection.
  void HangUp() {
    hung_up = true;
    changed.cancel();
  }
  Dialer MakeDialer();

  boost::asio::any_io_executor executor;
  FakeServer server;
  boost::asio::steady_timer changed;  // Cancelled whenever a reader should look again.
  bool hung_up = false;
  bool answering = true;  // False: what the server says stays on its side.
  bool writing = true;    // False: after `writes_before` nothing is taken from the client.
  size_t writes_before = 0;
  size_t dialed = 0;
  size_t closed = 0;
};

class FakeStream final : public Stream {
 public:
  explicit FakeStream(FakeNetwork& network) : network_(network) {}
  ~FakeStream() override { Close(); }

  boost::asio::awaitable<size_t> Read(boost::asio::mutable_buffer buffer,
                                      boost::system::error_code& error) override {
    std::string& answers = network_.server.answers();
    while (!closed_ && !network_.hung_up && (answers.empty() || !network_.answering)) {
      boost::system::error_code ignored;
      co_await network_.changed.async_wait(
          boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
    }
    if (closed_ || network_.hung_up) {
      error = boost::asio::error::eof;
      co_return 0;
    }
    const size_t count = std::min(buffer.size(), answers.size());
    std::memcpy(buffer.data(), answers.data(), count);
    answers.erase(0, count);
    co_return count;
  }

  boost::asio::awaitable<void> Write(boost::asio::const_buffer buffer,
                                     boost::system::error_code& error) override {
    while (!closed_ && !network_.hung_up && !network_.writing && network_.writes_before == 0) {
      boost::system::error_code ignored;
      co_await network_.changed.async_wait(
          boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
    }
    if (closed_ || network_.hung_up) {
      error = boost::asio::error::broken_pipe;
      co_return;
    }
    if (network_.writes_before > 0) --network_.writes_before;
    network_.server.Receive({static_cast<const char*>(buffer.data()), buffer.size()});
    network_.changed.cancel();
    co_return;
  }

  void Close() override {
    if (std::exchange(closed_, true)) return;
    ++network_.closed;
    network_.server.Drop();
    network_.changed.cancel();
  }

 private:
  FakeNetwork& network_;
  bool closed_ = false;
};

inline Dialer FakeNetwork::MakeDialer() {
  return
      [this](const Endpoint&) -> boost::asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> {
        ++dialed;
        hung_up = false;
        co_return std::make_unique<FakeStream>(*this);
      };
}

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_FAKE_STREAM_H_
