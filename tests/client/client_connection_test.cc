// What a client does with its connection, against a server in memory: authentication, keep alive,
// the end, and what binds clients by the specification's number.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "tests/client/connection_fixture.h"

namespace mqttd::client {
namespace {

using mqtt::QoS;
using mqtt::ReasonCode;
using testing::ElementsAre;
using testing::HasSubstr;

// The answers of a method that knows one challenge.
class KnownAnswer final : public Authenticator {
 public:
  explicit KnownAnswer(std::string answer) : answer_(std::move(answer)) {}

  std::string method() const override { return "KNOWN-ANSWER"; }
  absl::StatusOr<std::string> Begin() override { return "begin " + std::to_string(++exchanges_); }
  absl::StatusOr<std::string> Continue(std::string_view server_data) override {
    if (server_data != "challenge") return absl::InvalidArgumentError("not this challenge");
    return answer_;
  }
  absl::Status Finish(std::string_view server_data) override {
    if (server_data != "proof") return absl::PermissionDeniedError("the server proves nothing");
    return absl::OkStatus();
  }

 private:
  const std::string answer_;
  int exchanges_ = 0;
};

// What was to be said before it, acknowledgements too, leaves with it.
TEST_F(ClientConnection, ADisconnectFromAHandlerIsWritten) {
  Options options = Here();
  options.session.manual_acknowledgement = true;
  Client client(io_.get_executor(), options);
  bool left = false;
  client.OnMessage([&](const ReceivedMessage& message) {
    client.Acknowledge(message);
    client.AsyncDisconnect([&](absl::StatusOr<Client::Done>) { left = true; });
  });
  ASSERT_TRUE(Connect(client).ok());
  network_->server.Send("the last one", QoS::kAtLeastOnce);
  network_->changed.cancel();
  Until([&] { return left; });
  EXPECT_EQ(network_->server.unacknowledged(), 0u);
  EXPECT_THAT(network_->server.disconnects(), ElementsAre(ReasonCode::kNormalDisconnection));
}

// Each publish is over at once; that a coroutine goes on with the next must take no stack.
TEST_F(ClientConnection, ACoroutineMayPublishAtQos0ForEver) {
  Client client(io_.get_executor(), Here());
  ASSERT_TRUE(Connect(client).ok());
  constexpr int kMessages = 50'000;
  int published = 0;
  asio::co_spawn(
      io_,
      [&]() -> asio::awaitable<void> {
        for (; published < kMessages; ++published) {
          Message message;
          message.topic = "t";
          const auto result = co_await client.AsyncPublish(message, asio::use_awaitable);
          EXPECT_TRUE(result.ok()) << result.status();
        }
      },
      asio::detached);
  Until([&] { return published == kMessages; });
}

TEST_F(ClientConnection, AnAuthenticationHasItsSteps) {
  Options options = Here();
  options.authenticator = std::make_shared<KnownAnswer>("answer");
  Client client(io_.get_executor(), options);
  const auto connected = Connect(client);
  ASSERT_TRUE(connected.ok() && connected->ok()) << connected.status();
  EXPECT_THAT(network_->server.authentication_data(), ElementsAre("begin 1", "answer"));

  std::optional<absl::StatusOr<Client::Done>> again;
  client.AsyncReauthenticate(Into(again));
  Until([&] { return again.has_value(); });
  EXPECT_TRUE(again->ok()) << again->status();
  EXPECT_THAT(network_->server.authentication_data(),
              ElementsAre("begin 1", "answer", "begin 2", "answer"));
}

TEST_F(ClientConnection, AWrongAnswerIsARefusal) {
  Options options = Here();
  options.authenticator = std::make_shared<KnownAnswer>("no idea");
  Client client(io_.get_executor(), options);
  const auto connected = Connect(client);
  ASSERT_TRUE(connected.ok()) << connected.status();
  EXPECT_EQ(connected->reason, ReasonCode::kNotAuthorized);
}

TEST_F(ClientConnection, AServerThatCannotProveItselfIsLeft) {
  Options options = Here();
  options.authenticator = std::make_shared<KnownAnswer>("answer");
  network_->server.authentication().proof = "trust me";
  Client client(io_.get_executor(), options);
  const auto connected = Connect(client);
  EXPECT_EQ(connected.status().code(), absl::StatusCode::kUnauthenticated) << connected.status();
  EXPECT_THAT(std::string(connected.status().message()), HasSubstr("proves nothing"));
  EXPECT_EQ(network_->closed, 1u);
}

// [MQTT5-4.12.1-2]: the server ends the connection, and whoever asked is told why.
TEST_F(ClientConnection, AFailedReauthenticationSaysWhatTheServerSaid) {
  Options options = Here();
  options.authenticator = std::make_shared<KnownAnswer>("answer");
  Client client(io_.get_executor(), options);
  ASSERT_TRUE(Connect(client).ok());
  network_->server.authentication().expected = "another answer";
  std::optional<absl::StatusOr<Client::Done>> again;
  client.AsyncReauthenticate(Into(again));
  Until([&] { return network_->server.authentication_data().size() == 4; });
  network_->answering = true;
  Until([&] { return network_->server.answers().empty(); });
  network_->HangUp();
  Until([&] { return again.has_value(); });
  EXPECT_EQ(again->status().code(), absl::StatusCode::kPermissionDenied) << again->status();
  EXPECT_THAT(std::string(again->status().message()), HasSubstr("not authorized"));
}

TEST_F(ClientConnection, WithoutAnAuthenticatorThereIsNothingToRepeat) {
  Client client(io_.get_executor(), Here());
  ASSERT_TRUE(Connect(client).ok());
  std::optional<absl::StatusOr<Client::Done>> again;
  client.AsyncReauthenticate(Into(again));
  Until([&] { return again.has_value(); });
  EXPECT_EQ(again->status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ClientConnection, ADialerOfOnesOwnIsUsedForEachConnection) {
  Options options = Here();
  options.session.session_expiry_s = 60;
  options.session.clean_start = false;
  Client client(io_.get_executor(), options);
  client.AsyncServe([](absl::StatusOr<Client::Done>) {});
  Until([&] { return network_->server.connects() == 1; });
  network_->HangUp();
  Until([&] { return network_->server.connects() == 2; });
  EXPECT_EQ(network_->dialed, 2u);
  while (StatisticsOf(client).connections < 2) {
  }
  EXPECT_EQ(StatisticsOf(client).state, State::kConnected);
  client.Close();
  io_.run();
}

TEST_F(ClientConnection, ARoundTripEndsWithTheAnswerOfItsPacket) {
  Client client(io_.get_executor(), Here());
  ASSERT_TRUE(Connect(client).ok());
  const auto answer_to = [&](Packet packet) {
    std::optional<absl::StatusOr<Answer>> answer;
    client.AsyncRoundTrip(std::move(packet), Into(answer));
    Until([&] { return answer.has_value(); });
    return *answer;
  };
  const auto type_of_answer_to = [&](Packet packet) {
    const auto answer = answer_to(std::move(packet));
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->type : mqtt::PacketType::kReserved;
  };
  Message message;
  message.topic = "t";
  EXPECT_EQ(answer_to(PublishPacket{message}).status().code(), absl::StatusCode::kInvalidArgument);
  message.qos = QoS::kAtLeastOnce;
  EXPECT_EQ(type_of_answer_to(PublishPacket{message}), mqtt::PacketType::kPubAck);
  message.qos = QoS::kExactlyOnce;
  EXPECT_EQ(type_of_answer_to(PublishPacket{message}), mqtt::PacketType::kPubComp);
  EXPECT_EQ(type_of_answer_to(SubscribePacket{{{"a/#", {}}}, {}}), mqtt::PacketType::kSubAck);
  EXPECT_EQ(type_of_answer_to(UnsubscribePacket{{"a/#"}, {}}), mqtt::PacketType::kUnsubAck);
  EXPECT_EQ(type_of_answer_to(PingReqPacket{}), mqtt::PacketType::kPingResp);
  EXPECT_EQ(answer_to(ReauthenticatePacket{}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

// ---- What binds clients, by number -----------------------------------------------------------

class ClientSpec : public ClientConnection {
 protected:
  void PingsWithinKeepAlive(mqtt::Version version) {
    Options options = Here(version);
    options.session.keep_alive_s = 1;
    Client client(io_.get_executor(), options);
    ASSERT_TRUE(Connect(client).ok());
    const auto begun = std::chrono::steady_clock::now();
    Until([&] { return network_->server.pings() == 3; });
    const auto taken = std::chrono::steady_clock::now() - begun;
    EXPECT_LT(taken, std::chrono::seconds(9)) << "one each second, whatever ping_timeout is";
  }
};

TEST_F(ClientSpec, MQTT5_3_1_2_20) { PingsWithinKeepAlive(mqtt::Version::k5); }
TEST_F(ClientSpec, MQTT311_3_1_2_23) { PingsWithinKeepAlive(mqtt::Version::k311); }

TEST_F(ClientSpec, MQTT311_3_14_4_1) {
  Client client(io_.get_executor(), Here(mqtt::Version::k311));
  ASSERT_TRUE(Connect(client).ok());
  std::optional<absl::StatusOr<Client::Done>> left;
  client.AsyncDisconnect(Into(left));
  Until([&] { return left.has_value(); });
  EXPECT_THAT(network_->server.disconnects(), ElementsAre(ReasonCode::kNormalDisconnection));
  EXPECT_EQ(network_->closed, 1u);
}

// A session that we have nothing of is not ours: closed, and not gone on with.
TEST_F(ClientSpec, MQTT5_3_2_2_4) {
  Client client(io_.get_executor(), Here());
  network_->server.claim_session() = true;
  const auto connected = Connect(client);
  EXPECT_FALSE(connected.ok());
  EXPECT_EQ(network_->closed, 1u);
}

}  // namespace
}  // namespace mqttd::client
