// Cancellation of each operation through its slot, against a server in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/client/connection_fixture.h"

namespace mqttd::client {
namespace {

using mqtt::QoS;
using testing::ElementsAre;
using testing::HasSubstr;

Message At(QoS qos, std::string payload = "") {
  Message message;
  message.topic = "t";
  message.payload = std::move(payload);
  message.qos = qos;
  return message;
}

class ClientCancel : public ClientConnection {
 protected:
  // What an operation ends with that is cancelled once `until` holds.
  template <typename Result, typename Start>
  absl::Status Cancelled(const Start& start, const std::function<bool()>& until) {
    asio::cancellation_signal signal;
    std::optional<absl::StatusOr<Result>> result;
    start(asio::bind_cancellation_slot(signal.slot(), Into(result)));
    Until([&] { return until() || result.has_value(); });
    EXPECT_FALSE(result.has_value()) << "it ended before it was cancelled";
    signal.emit(asio::cancellation_type::terminal);
    Until([&] { return result.has_value(); });
    return result->status();
  }
  // Whatever is at hand is done.
  void Drain() {
    if (io_.stopped()) io_.restart();
    io_.poll();
  }
  std::function<bool()> drained() {
    return [this] {
      Drain();
      return true;
    };
  }
};

TEST_F(ClientCancel, AConnectThatDials) {
  Options options = Here();
  asio::steady_timer never(io_, std::chrono::steady_clock::time_point::max());
  size_t dials = 0;
  options.dialer =
      [&, dial = options.dialer](
          const Endpoint& endpoint) -> asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> {
    if (dials++ == 0) co_await never.async_wait(asio::use_awaitable);
    co_return co_await dial(endpoint);
  };
  Client client(io_.get_executor(), options);
  EXPECT_TRUE(absl::IsCancelled(Cancelled<ConnectResult>(
      [&](auto done) { client.AsyncConnect(std::move(done)); }, [&] { return dials == 1; })));
  EXPECT_TRUE(Connect(client).ok()) << "the client goes on being usable";
}

TEST_F(ClientCancel, AConnectThatWaitsForTheServersAnswer) {
  Client client(io_.get_executor(), Here());
  network_->answering = false;
  EXPECT_TRUE(absl::IsCancelled(
      Cancelled<ConnectResult>([&](auto done) { client.AsyncConnect(std::move(done)); },
                               [&] { return network_->server.connects() == 1; })));
  EXPECT_TRUE(absl::IsCancelled(Cancelled<SubscribeResult>(
      [&](auto done) {
        client.AsyncConnectAndSubscribe({{"a", {}}}, std::move(done));
      },
      [&] { return network_->server.connects() == 2; })));
  network_->answering = true;
  EXPECT_TRUE(Connect(client).ok());
}

TEST_F(ClientCancel, AServeThatWaitsForTheNextTry) {
  Options options = Here();
  options.reconnect = {absl::Hours(1), absl::Hours(1)};
  network_->server.connack().reason = mqtt::ReasonCode::kServerBusy;
  Client client(io_.get_executor(), options);
  EXPECT_TRUE(absl::IsCancelled(
      Cancelled<Client::Done>([&](auto done) { client.AsyncServe(std::move(done)); },
                              [&] { return network_->closed == 1; })));
  network_->server.connack().reason = mqtt::ReasonCode::kSuccess;
  EXPECT_TRUE(Connect(client).ok());
}

TEST_F(ClientCancel, AServeThatTriesToConnect) {
  Client client(io_.get_executor(), Here());
  network_->answering = false;
  EXPECT_TRUE(absl::IsCancelled(
      Cancelled<Client::Done>([&](auto done) { client.AsyncServe(std::move(done)); },
                              [&] { return network_->server.connects() == 1; })));
  EXPECT_EQ(StatisticsOf(client).state, State::kDisconnected);
}

// The connection stays: it may be left with a DISCONNECT.
TEST_F(ClientCancel, AServeThatStandsAlternativelyToATimer) {
  using namespace asio::experimental::awaitable_operators;
  Client client(io_.get_executor(), Here());
  bool over = false;
  asio::co_spawn(
      io_,
      [&]() -> asio::awaitable<void> {
        asio::steady_timer timer(io_, std::chrono::milliseconds(20));
        const auto first = co_await (client.AsyncServe(asio::use_awaitable) ||
                                     timer.async_wait(asio::use_awaitable));
        EXPECT_EQ(first.index(), 1u);
        EXPECT_TRUE((co_await client.AsyncPing(asio::use_awaitable)).ok());
        EXPECT_TRUE((co_await client.AsyncDisconnect(asio::use_awaitable)).ok());
        over = true;
      },
      asio::detached);
  Until([&] { return over; });
  EXPECT_THAT(network_->server.disconnects(), ElementsAre(mqtt::ReasonCode::kNormalDisconnection));
}

// It may have been delivered; and it is, under the identifier that the server knows.
TEST_F(ClientCancel, APublishInFlight) {
  Options options = Here();
  options.session.session_expiry_s = 60;
  Client client(io_.get_executor(), options);
  client.AsyncServe([](absl::StatusOr<Client::Done>) {});
  Until([&] { return network_->server.connects() == 1; });
  Drain();
  network_->answering = false;
  const absl::Status status = Cancelled<PublishResult>(
      [&](auto done) { client.AsyncPublish(At(QoS::kExactlyOnce, "x"), std::move(done)); },
      [&] { return network_->server.publishes().size() == 1; });
  EXPECT_TRUE(absl::IsCancelled(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("may have been delivered"));
  network_->HangUp();
  network_->answering = true;
  const auto next = Await<PublishResult>(
      [&](auto done) { client.AsyncPublish(At(QoS::kExactlyOnce, "y"), done); });
  EXPECT_TRUE(next.ok()) << next.status();
  EXPECT_THAT(network_->server.routed(), ElementsAre("x", "y"));
  EXPECT_EQ(StatisticsOf(client).in_flight, 0u);
}

TEST_F(ClientCancel, APublishThatWaits) {
  Client client(io_.get_executor(), Here());
  EXPECT_TRUE(absl::IsCancelled(Cancelled<PublishResult>(
      [&](auto done) { client.AsyncPublish(At(QoS::kAtLeastOnce), std::move(done)); }, drained())));
  ASSERT_TRUE(Connect(client).ok());
  Drain();
  EXPECT_TRUE(network_->server.publishes().empty());
}

TEST_F(ClientCancel, ASubscribeAndAnUnsubscribe) {
  Client client(io_.get_executor(), Here());
  const auto subscribe = [&](auto done) { client.AsyncSubscribe({{"a", {}}}, std::move(done)); };
  const auto unsubscribe = [&](auto done) { client.AsyncUnsubscribe({"a"}, std::move(done)); };
  EXPECT_TRUE(absl::IsCancelled(Cancelled<SubscribeResult>(subscribe, drained())));
  EXPECT_TRUE(absl::IsCancelled(Cancelled<UnsubscribeResult>(unsubscribe, drained())));
  ASSERT_TRUE(Connect(client).ok());
  Drain();
  EXPECT_TRUE(network_->server.subscribed().empty()) << "what had not been sent is not sent";
  network_->answering = false;
  EXPECT_TRUE(absl::IsCancelled(Cancelled<SubscribeResult>(
      subscribe, [&] { return network_->server.subscribed().size() == 1; })));
  EXPECT_TRUE(absl::IsCancelled(Cancelled<UnsubscribeResult>(unsubscribe, drained())));
  network_->HangUp();
  Drain();
  network_->answering = true;
  ASSERT_TRUE(Connect(client).ok());
  Drain();
  EXPECT_EQ(network_->server.subscribed().size(), 1u) << "what had been sent is not sent again";
}

TEST_F(ClientCancel, APing) {
  Client client(io_.get_executor(), Here());
  ASSERT_TRUE(Connect(client).ok());
  network_->answering = false;
  EXPECT_TRUE(absl::IsCancelled(
      Cancelled<absl::Duration>([&](auto done) { client.AsyncPing(std::move(done)); },
                                [&] { return network_->server.pings() == 1; })));
  network_->answering = true;
  network_->changed.cancel();
  EXPECT_TRUE(Await<absl::Duration>([&](auto done) { client.AsyncPing(done); }).ok());
  EXPECT_EQ(network_->server.pings(), 2u);
}

TEST_F(ClientCancel, ADisconnectThatIsNotWritten) {
  Options options = Here();
  network_->writing = false;
  network_->writes_before = 1;  // CONNECT.
  Client client(io_.get_executor(), options);
  ASSERT_TRUE(Connect(client).ok());
  EXPECT_TRUE(absl::IsCancelled(Cancelled<Client::Done>(
      [&](auto done) { client.AsyncDisconnect(std::move(done)); }, drained())));
  EXPECT_EQ(network_->closed, 1u);
}

}  // namespace
}  // namespace mqttd::client
