#include "embed/inside_client.h"

#include <pthread.h>

#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/log.h"
#include "embed/inside_stream.h"
#include "mqtt/reason_code.h"

namespace mqttd {
namespace {

namespace asio = boost::asio;

// What the embedding program is told of: it must not end the thread.
template <typename Function>
void Guard(absl::string_view what, Function&& function) {
  try {
    function();
  } catch (const std::exception& error) {
    base::LogLimited(base::LogLevel::kError, "handler failed", what, {{"error", error.what()}});
  } catch (...) {
    base::LogLimited(base::LogLevel::kError, "handler failed", what, {});
  }
}

absl::Status ToStatus(mqtt::ReasonCode reason) {
  if (!mqtt::IsError(reason)) return absl::OkStatus();
  const std::string_view name = mqtt::ReasonCodeName(reason);
  const absl::string_view words(name.data(), name.size());
  if (reason == mqtt::ReasonCode::kQuotaExceeded) return absl::ResourceExhaustedError(words);
  if (reason == mqtt::ReasonCode::kTopicFilterInvalid ||
      reason == mqtt::ReasonCode::kTopicNameInvalid)
    return absl::InvalidArgumentError(words);
  return absl::UnavailableError(words);
}

absl::Status FirstError(const std::vector<mqtt::ReasonCode>& reasons) {
  for (const mqtt::ReasonCode reason : reasons) {
    if (mqtt::IsError(reason)) return ToStatus(reason);
  }
  return absl::OkStatus();
}

void Tell(const Done& done, absl::Status status) {
  if (done) Guard("done", [&] { done(std::move(status)); });
}

}  // namespace

InsideClient::InsideClient(std::function<void(std::unique_ptr<broker::Stream>)> adopt)
    : io_(std::make_shared<asio::io_context>()), work_(asio::make_work_guard(*io_)) {
  client::Options options;
  options.servers = {"mqtt://inside"};
  options.dialer = [adopt = std::move(adopt)](const client::Endpoint&)
      -> asio::awaitable<absl::StatusOr<std::unique_ptr<client::Stream>>> {
    absl::StatusOr<InsideEnds> ends = MakeInsideEnds(co_await asio::this_coro::executor);
    if (!ends.ok()) co_return ends.status();
    adopt(std::move(ends->server));
    co_return std::move(ends->client);
  };
  client_ = std::make_unique<client::Client>(io_->get_executor(), std::move(options));
  client_->AsyncServe([](const auto&) {});
  thread_ = std::thread([io = io_] {
    pthread_setname_np(pthread_self(), "inside");
    io->run();
  });
}

InsideClient::~InsideClient() {
  Close();
  client_.reset();
  work_.reset();
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void InsideClient::Close() { client_->Close(); }

void InsideClient::Publish(Message message, Done done) {
  client_->AsyncPublish(
      std::move(message),
      [done = std::move(done)](const absl::StatusOr<client::PublishResult>& result) {
        Tell(done, result.ok() ? ToStatus(result->reason) : result.status());
      });
}

void InsideClient::Subscribe(client::Subscription subscription, MessageHandler handler, Done done) {
  client_->OnMessage(subscription.filter,
                     [handler = std::move(handler)](const client::ReceivedMessage& message) {
                       Guard("on message", [&] { handler(message); });
                     });
  client_->AsyncSubscribe(
      {std::move(subscription)},
      [done = std::move(done)](const absl::StatusOr<client::SubscribeResult>& result) {
        Tell(done, result.ok() ? FirstError(result->reasons) : result.status());
      });
}

void InsideClient::Unsubscribe(std::string filter, Done done) {
  client_->OnMessage(filter, nullptr);
  client_->AsyncUnsubscribe(
      {std::move(filter)},
      [done = std::move(done)](const absl::StatusOr<client::UnsubscribeResult>& result) {
        Tell(done, result.ok() ? FirstError(result->reasons) : result.status());
      });
}

}  // namespace mqttd
