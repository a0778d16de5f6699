// Request and response between two clients and a real broker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "client/blocking_client.h"
#include "tests/support/broker_process.h"

namespace mqttd::client {
namespace {

using mqtt::QoS;
using testing::HasSubstr;
using testing::StartsWith;

Options Here(mqtt::Version version = mqtt::Version::k5) {
  Options options;
  options.servers = {"mqtt://127.0.0.1:" + std::to_string(support::SharedBroker().port())};
  options.session.version = version;
  return options;
}

Message To(std::string topic, std::string payload, QoS qos = QoS::kAtLeastOnce) {
  Message message;
  message.topic = std::move(topic);
  message.payload = std::move(payload);
  message.qos = qos;
  return message;
}

Message Text(std::string payload) { return To("", std::move(payload), QoS::kAtMostOnce); }

// Answers requests to `topic` with their payload, doubled.
class Doubler {
 public:
  explicit Doubler(const std::string& topic) : client_(Here()) {
    client_.client().OnRequest(topic, [this](const ReceivedMessage& request, const Reply& reply) {
      last_request_ = request;
      reply(Text(request.payload + request.payload));
    });
    const auto subscribed = client_.ConnectAndSubscribe({{topic, {.qos = QoS::kExactlyOnce}}});
    EXPECT_TRUE(subscribed.ok() && subscribed->ok()) << subscribed.status();
  }
  ReceivedMessage last_request() {
    EXPECT_TRUE(client_.Ping().ok());  // On its thread, behind the handler.
    return last_request_;
  }

 private:
  ReceivedMessage last_request_;
  BlockingClient client_;
};

TEST(Request, EndsWithItsOwnResponse) {
  Doubler service("request/double");
  BlockingClient client(Here());
  ASSERT_TRUE(client.Connect().ok());
  std::vector<std::future<absl::StatusOr<ReceivedMessage>>> responses;
  for (int i = 0; i < 100; ++i) {
    const auto qos = static_cast<QoS>(i % 3);
    responses.push_back(client.client().AsyncRequest(To("request/double", std::to_string(i), qos),
                                                     absl::Seconds(30), boost::asio::use_future));
  }
  for (int i = 0; i < 100; ++i) {
    const auto response = responses[static_cast<size_t>(i)].get();
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->payload, std::to_string(i) + std::to_string(i));
    EXPECT_EQ(response->qos, static_cast<QoS>(i % 3));
  }
  EXPECT_THAT(service.last_request().response_topic, StartsWith("responses/"));
}

TEST(Request, SaysWhenNobodyIsThere) {
  BlockingClient client(Here());
  ASSERT_TRUE(client.Connect().ok());
  const auto response = client.Request(To("request/nobody", "?"), absl::Seconds(30));
  EXPECT_EQ(response.status().code(), absl::StatusCode::kNotFound) << response.status();
}

TEST(Request, EndsAtItsDeadlineAndALateResponseIsDroppedAndCounted) {
  Reply late;
  std::promise<void> asked;
  BlockingClient service(Here());
  service.client().OnRequest("request/late", [&](const ReceivedMessage&, Reply reply) {
    late = std::move(reply);
    asked.set_value();
  });
  ASSERT_TRUE(service.ConnectAndSubscribe({{"request/late", {}}}).ok());
  BlockingClient client(Here());
  int unexpected = 0;
  client.client().OnMessage([&](const ReceivedMessage&) { ++unexpected; });
  ASSERT_TRUE(client.Connect().ok());
  const auto response =
      client.Request(To("request/late", "?", QoS::kAtMostOnce), absl::Milliseconds(50));
  EXPECT_EQ(response.status().code(), absl::StatusCode::kDeadlineExceeded) << response.status();
  asked.get_future().get();
  late(Text("at last"));
  for (uint64_t seen = 0; seen == 0;) {
    ASSERT_TRUE(client.Ping().ok());
    const auto statistics = client.GetStatistics();
    ASSERT_TRUE(statistics.ok());
    seen = statistics->responses_late;
    EXPECT_EQ(statistics->requests, 0u);
  }
  EXPECT_EQ(unexpected, 0);
}

TEST(Request, CanBeCancelled) {
  BlockingClient service(Here());
  std::promise<void> asked;
  service.client().OnRequest("request/silent",
                             [&](const ReceivedMessage&, const Reply&) { asked.set_value(); });
  ASSERT_TRUE(service.ConnectAndSubscribe({{"request/silent", {}}}).ok());
  BlockingClient client(Here());
  ASSERT_TRUE(client.Connect().ok());
  boost::asio::cancellation_signal signal;
  std::promise<absl::Status> ended;
  client.client().AsyncRequest(To("request/silent", "?"), absl::Hours(1),
                               boost::asio::bind_cancellation_slot(
                                   signal.slot(), [&](absl::StatusOr<ReceivedMessage> response) {
                                     ended.set_value(response.status());
                                   }));
  asked.get_future().get();
  signal.emit(boost::asio::cancellation_type::total);
  EXPECT_EQ(ended.get_future().get().code(), absl::StatusCode::kCancelled);
}

TEST(Request, TheSideThatAnswersIsToldWhatBecameOfItsAnswer) {
  std::promise<absl::StatusOr<PublishResult>> answered;
  std::promise<absl::Status> nowhere;
  BlockingClient service(Here());
  service.client().OnRequest("request/told", [&](const ReceivedMessage& request, Reply reply) {
    if (request.response_topic.empty()) {
      return reply(Text("nobody"), [&](const auto& result) { nowhere.set_value(result.status()); });
    }
    reply(Text("answer"), [&](const auto& result) { answered.set_value(result); });
  });
  ASSERT_TRUE(service.ConnectAndSubscribe({{"request/told", {.qos = QoS::kAtLeastOnce}}}).ok());
  BlockingClient client(Here());
  ASSERT_TRUE(client.Connect().ok());
  ASSERT_TRUE(client.Request(To("request/told", "?"), absl::Seconds(30)).ok());
  const auto result = answered.get_future().get();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->reason, mqtt::ReasonCode::kSuccess);
  ASSERT_TRUE(client.Publish(To("request/told", "not a request")).ok());
  EXPECT_EQ(nowhere.get_future().get().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Request, NeedsVersion5) {
  BlockingClient client(Here(mqtt::Version::k311));
  ASSERT_TRUE(client.Connect().ok());
  const auto response = client.Request(To("request/double", "?"), absl::Seconds(30));
  EXPECT_EQ(response.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(response.status().message()), HasSubstr("5.0"));
}

}  // namespace
}  // namespace mqttd::client
