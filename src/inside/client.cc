#include "inside/client.h"

#include <pthread.h>

#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/log.h"
#include "inside/stream.h"
#include "mqtt/reason_code.h"

namespace inside {
namespace {

namespace asio = boost::asio;
namespace client = mqttd::client;

// What the caller is told of: it must not end the thread.
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

template <typename Done, typename Result>
void Tell(const Done& done, Result result) {
  if (done) Guard("done", [&] { done(std::move(result)); });
}

}  // namespace

Client::Client(std::function<void(std::unique_ptr<broker::Stream>)> adopt)
    : io_(std::make_shared<asio::io_context>()), work_(asio::make_work_guard(*io_)) {
  client::Options options;
  options.servers = {"mqtt://inside"};
  // The largest message has room, whatever waits.
  options.session.queue_bytes_max += options.session.maximum_packet_size;
  options.dialer = [adopt = std::move(adopt)](const client::Endpoint&)
      -> asio::awaitable<absl::StatusOr<std::unique_ptr<client::Stream>>> {
    absl::StatusOr<Ends> ends = MakeEnds(co_await asio::this_coro::executor);
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

Client::~Client() {
  Close();
  client_.reset();
  work_.reset();
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void Client::Close() { client_->Close(); }

void Client::Publish(client::Message message, PublishDone done) {
  client_->AsyncPublish(
      std::move(message),
      [done = std::move(done)](const absl::StatusOr<client::PublishResult>& result) {
        if (!result.ok()) return Tell(done, absl::StatusOr<Matched>(result.status()));
        if (mqtt::IsError(result->reason))
          return Tell(done, absl::StatusOr<Matched>(ToStatus(result->reason)));
        const bool nobody = result->reason == mqtt::ReasonCode::kNoMatchingSubscribers;
        Tell(done, absl::StatusOr<Matched>(nobody ? Matched::kNobody : Matched::kSomebody));
      });
}

void Client::Subscribe(client::Subscription subscription, client::MessageHandler handler,
                       Done done) {
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

void Client::Unsubscribe(std::string filter, Done done) {
  client_->OnMessage(filter, nullptr);
  client_->AsyncUnsubscribe(
      {std::move(filter)},
      [done = std::move(done)](const absl::StatusOr<client::UnsubscribeResult>& result) {
        Tell(done, result.ok() ? FirstError(result->reasons) : result.status());
      });
}

void Client::Subscribe(std::vector<client::Subscription> subscriptions,
                       client::MessageHandler handler, Done done) {
  client_->OnMessage([handler = std::move(handler)](const client::ReceivedMessage& message) {
    Guard("on message", [&] { handler(message); });
  });
  client_->AsyncSubscribe(
      std::move(subscriptions),
      [done = std::move(done)](const absl::StatusOr<client::SubscribeResult>& result) {
        Tell(done, result.ok() ? FirstError(result->reasons) : result.status());
      });
}

// A packet that is answered behind them, and changes nothing.
void Client::Sync(Done done) { Unsubscribe("$none", std::move(done)); }

}  // namespace inside
