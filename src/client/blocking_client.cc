#include "client/blocking_client.h"

#include <boost/asio/use_future.hpp>
#include <chrono>
#include <future>
#include <utility>

namespace mqttd::client {
namespace {

template <typename Result>
Result Await(std::future<Result> future, absl::Duration timeout) {
  if (future.wait_for(absl::ToChronoMilliseconds(timeout)) != std::future_status::ready) {
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
  return Await(client_.AsyncConnect(boost::asio::use_future), timeout_);
}

absl::StatusOr<SubscribeResult> BlockingClient::ConnectAndSubscribe(
    std::vector<Subscription> subscriptions) {
  return Await(client_.AsyncConnectAndSubscribe(std::move(subscriptions), boost::asio::use_future),
               timeout_);
}

absl::Status BlockingClient::Reauthenticate() {
  return Await(client_.AsyncReauthenticate(boost::asio::use_future), timeout_).status();
}

absl::StatusOr<SubscribeResult> BlockingClient::Subscribe(std::vector<Subscription> subscriptions,
                                                          SubscribeOptions options) {
  return Await(
      client_.AsyncSubscribe(std::move(subscriptions), std::move(options), boost::asio::use_future),
      timeout_);
}

absl::StatusOr<UnsubscribeResult> BlockingClient::Unsubscribe(std::vector<std::string> filters) {
  return Await(client_.AsyncUnsubscribe(std::move(filters), boost::asio::use_future), timeout_);
}

absl::StatusOr<PublishResult> BlockingClient::Publish(Message message) {
  return Await(client_.AsyncPublish(std::move(message), boost::asio::use_future), timeout_);
}

absl::StatusOr<absl::Duration> BlockingClient::Ping() {
  return Await(client_.AsyncPing(boost::asio::use_future), timeout_);
}

absl::StatusOr<Answer> BlockingClient::RoundTrip(Packet packet) {
  return Await(client_.AsyncRoundTrip(std::move(packet), boost::asio::use_future), timeout_);
}

absl::StatusOr<ReceivedMessage> BlockingClient::Request(Message request, absl::Duration timeout) {
  // The client keeps the time, so that its end is said once.
  return client_.AsyncRequest(std::move(request), timeout, boost::asio::use_future).get();
}

absl::StatusOr<Statistics> BlockingClient::GetStatistics() {
  return Await(client_.AsyncStatistics(boost::asio::use_future), timeout_);
}

absl::Status BlockingClient::Disconnect(DisconnectOptions options) {
  return Await(client_.AsyncDisconnect(std::move(options), boost::asio::use_future), timeout_)
      .status();
}

}  // namespace mqttd::client
