// The work of pairs.h with this project's library: all clients on one thread.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/client/pairs.h"
#include "client/client.h"

namespace {

namespace client = mqttd::client;

class Load {
 public:
  explicit Load(const pairs::Arguments& arguments) : arguments_(arguments) {}

  void Run() {
    for (int pair = 0; pair < arguments_.pairs; ++pair) {
      client::Client& subscriber = Add();
      subscriber.OnMessage([this](const client::ReceivedMessage&) { measurement_.Arrived(); });
      std::vector<client::Subscription> subscriptions;
      subscriptions.push_back({pairs::TopicOf(pair), {.qos = mqtt::QoS::kAtLeastOnce}});
      subscriber.AsyncConnectAndSubscribe(
          subscriptions, [this, pair](absl::StatusOr<client::SubscribeResult> result) {
            if (!result.ok() || !result->ok()) pairs::GiveUp("cannot subscribe");
            Connect(pair);
          });
    }
    io_.run();
  }

 private:
  client::Client& Add() {
    client::Options options;
    options.servers = {"mqtt://127.0.0.1:" + std::to_string(arguments_.port)};
    options.session.version = mqtt::Version::k311;
    clients_.push_back(std::make_unique<client::Client>(io_.get_executor(), std::move(options)));
    return *clients_.back();
  }

  void Connect(int pair) {
    client::Client& publisher = Add();
    publisher.AsyncConnect([this, pair, &publisher](absl::StatusOr<client::ConnectResult> result) {
      if (!result.ok() || !result->ok()) pairs::GiveUp("cannot connect");
      for (int i = 0; i < arguments_.window; ++i) Publish(publisher, pair);
      if (++connected_ == arguments_.pairs) Measure();
    });
  }

  void Publish(client::Client& publisher, int pair) {
    client::Message message;
    message.topic = pairs::TopicOf(pair);
    message.payload.assign(static_cast<size_t>(arguments_.payload_bytes), 'x');
    message.qos = mqtt::QoS::kAtLeastOnce;
    publisher.AsyncPublish(
        std::move(message),
        [this, &publisher, pair](const absl::StatusOr<client::PublishResult>& result) {
          if (!result.ok()) pairs::GiveUp("a publish failed");
          Publish(publisher, pair);
        });
  }

  void Measure() {
    timer_.expires_after(pairs::kWarmUp);
    timer_.async_wait([this](auto) {
      measurement_.Begin();
      timer_.expires_after(std::chrono::duration_cast<pairs::Clock::duration>(
          std::chrono::duration<double>(arguments_.seconds)));
      timer_.async_wait([this](auto) {
        measurement_.End("mqttd");
        std::_Exit(0);
      });
    });
  }

  const pairs::Arguments arguments_;
  boost::asio::io_context io_{1};
  boost::asio::steady_timer timer_{io_};
  pairs::Measurement measurement_;
  std::vector<std::unique_ptr<client::Client>> clients_;
  int connected_ = 0;
};

}  // namespace

int main(int argc, char** argv) { Load(pairs::Parse(argc, argv)).Run(); }
