// A client whose server is in memory, and a test that runs its executor.
#ifndef TESTS_CLIENT_CONNECTION_FIXTURE_H_
#define TESTS_CLIENT_CONNECTION_FIXTURE_H_

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "client/client.h"
#include "tests/client/fake_stream.h"

namespace mqttd::client {

namespace asio = boost::asio;

class ClientConnection : public testing::Test {
 protected:
  Options Here(mqtt::Version version = mqtt::Version::k5) {
    network_ = std::make_unique<FakeNetwork>(io_.get_executor(), version);
    Options options;
    options.servers = {"mqtt://nowhere"};
    options.dialer = network_->MakeDialer();
    options.session.version = version;
    options.session.client_id = "device";
    options.reconnect = {absl::Milliseconds(1), absl::Milliseconds(2)};
    return options;
  }
  // The clients are closed by then: what is left of them ends while its server is still there.
  void TearDown() override { io_.run_for(std::chrono::seconds(30)); }

  void Until(const std::function<bool()>& done) {
    if (io_.stopped()) io_.restart();  // It had nothing to do for a while.
    while (!done()) ASSERT_GT(io_.run_one_for(std::chrono::seconds(30)), 0u) << "nothing happens";
  }
  template <typename Result>
  auto Into(std::optional<absl::StatusOr<Result>>& place) {
    return [&place](absl::StatusOr<Result> result) { place.emplace(std::move(result)); };
  }
  absl::StatusOr<ConnectResult> Connect(Client& client) {
    std::optional<absl::StatusOr<ConnectResult>> result;
    client.AsyncConnect(Into(result));
    Until([&] { return result.has_value(); });
    return *result;
  }

  // Starts an operation and waits for its end: `start` gets the completion.
  template <typename Result, typename Start>
  absl::StatusOr<Result> Await(const Start& start) {
    std::optional<absl::StatusOr<Result>> result;
    start(Into(result));
    Until([&] { return result.has_value(); });
    return *result;
  }
  Statistics StatisticsOf(Client& client) {
    std::optional<absl::StatusOr<Statistics>> statistics;
    client.AsyncStatistics(Into(statistics));
    Until([&] { return statistics.has_value(); });
    return **statistics;
  }

  asio::io_context io_;
  std::unique_ptr<FakeNetwork> network_;
};

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_CONNECTION_FIXTURE_H_
