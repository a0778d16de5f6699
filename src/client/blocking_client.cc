#include "client/blocking_client.h"

#include <chrono>
#include <future>
#include <memory>
#include <utility>

namespace mqttd::client {
namespace {

// Starts an operation and waits for its end. Not by Asio's use_future, which brings Asio's pool of
// threads along.
template <typename Result, typename Start>
absl::StatusOr<Result> Await(Start start, absl::Duration timeout) {
  const auto promise = std::make_shared<std::promise<absl::StatusOr<Result>>>();
  std::future<absl::StatusOr<Result>> future = promise->get_future();
  start([promise](absl::StatusOr<Result> result) { promise->set_value(std::move(result)); });
  if (timeout != absl::InfiniteDuration() &&
      future.wait_for(absl::ToChronoMilliseconds(timeout)) != std::future_status::ready) {
    return absl::DeadlineExceededError("no answer in time; it may still come");
  }
  return future.get();
}

}  // namespace

BlockingClient::BlockingClient(Options options, absl::Duration timeout)
    : work_(io_.get_executor()),
      timeout_(timeout),
      client_(io_.get_executor(), std::move(options)),
      thread_([this] { io_.run(); }) {}

BlockingClient::~BlockingClient() {
  client_.Close();
  work_.reset();
  thread_.join();
}

absl::StatusOr<ConnectResult> BlockingClient::Connect() {
  return Await<ConnectResult>([&](auto done) { client_.AsyncConnect(std::move(done)); }, timeout_);
}

absl::StatusOr<SubscribeResult> BlockingClient::ConnectAndSubscribe(
    std::vector<Subscription> subscriptions) {
  return Await<SubscribeResult>(
      [&](auto done) {
        client_.AsyncConnectAndSubscribe(std::move(subscriptions), std::move(done));
      },
      timeout_);
}

absl::Status BlockingClient::Reauthenticate() {
  return Await<Client::Done>([&](auto done) { client_.AsyncReauthenticate(std::move(done)); },
                             timeout_)
      .status();
}

absl::StatusOr<SubscribeResult> BlockingClient::Subscribe(std::vector<Subscription> subscriptions,
                                                          SubscribeOptions options) {
  return Await<SubscribeResult>(
      [&](auto done) {
        client_.AsyncSubscribe(std::move(subscriptions), std::move(options), std::move(done));
      },
      timeout_);
}

absl::StatusOr<UnsubscribeResult> BlockingClient::Unsubscribe(std::vector<std::string> filters) {
  return Await<UnsubscribeResult>(
      [&](auto done) { client_.AsyncUnsubscribe(std::move(filters), std::move(done)); }, timeout_);
}

absl::StatusOr<PublishResult> BlockingClient::Publish(Message message) {
  return Await<PublishResult>(
      [&](auto done) { client_.AsyncPublish(std::move(message), std::move(done)); }, timeout_);
}

absl::StatusOr<absl::Duration> BlockingClient::Ping() {
  return Await<absl::Duration>([&](auto done) { client_.AsyncPing(std::move(done)); }, timeout_);
}

absl::StatusOr<Answer> BlockingClient::RoundTrip(Packet packet) {
  return Await<Answer>(
      [&](auto done) { client_.AsyncRoundTrip(std::move(packet), std::move(done)); }, timeout_);
}

absl::StatusOr<ReceivedMessage> BlockingClient::Request(Message request, absl::Duration timeout) {
  // The client keeps the time, so that its end is said once.
  return Await<ReceivedMessage>(
      [&](auto done) { client_.AsyncRequest(std::move(request), timeout, std::move(done)); },
      absl::InfiniteDuration());
}

absl::StatusOr<Statistics> BlockingClient::GetStatistics() {
  return Await<Statistics>([&](auto done) { client_.AsyncStatistics(std::move(done)); }, timeout_);
}

absl::Status BlockingClient::Disconnect(DisconnectOptions options) {
  return Await<Client::Done>(
             [&](auto done) { client_.AsyncDisconnect(std::move(options), std::move(done)); },
             timeout_)
      .status();
}

}  // namespace mqttd::client
