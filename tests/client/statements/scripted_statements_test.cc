// What binds clients about extended authentication: no server has a method for strangers, so a
// scripted one in memory hears the bytes that the client writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "tests/client/fake_stream.h"

namespace mqttd::client {
namespace {

using mqtt::PacketType;
using mqtt::ReasonCode;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

class TwoSteps final : public Authenticator {
 public:
  std::string method() const override { return "TWO-STEPS"; }
  absl::StatusOr<std::string> Begin() override { return "begin"; }
  absl::StatusOr<std::string> Continue(std::string_view) override { return answer; }
  absl::Status Finish(std::string_view) override { return absl::OkStatus(); }

  std::string answer = "answer";
};

class ScriptedStatements : public testing::Test {
 protected:
  ScriptedStatements() : network_(io_.get_executor()) {
    Options options;
    options.servers = {"mqtt://nowhere"};
    options.dialer = network_.MakeDialer();
    options.session.client_id = "device";
    options.authenticator = method_;
    options.trace = [this](mqtt::Sender sender, std::string_view words) {
      if (sender == mqtt::Sender::kClient) sent_.emplace_back(words.substr(0, words.find(' ')));
    };
    client_ = std::make_unique<Client>(io_.get_executor(), std::move(options));
  }
  ~ScriptedStatements() override {
    client_->Close();
    io_.run_for(std::chrono::seconds(30));
  }

  void Until(const std::function<bool()>& done) {
    while (!done()) ASSERT_GT(io_.run_one_for(std::chrono::seconds(30)), 0u) << "nothing happens";
  }
  absl::StatusOr<ConnectResult> Connect() {
    std::optional<absl::StatusOr<ConnectResult>> result;
    client_->AsyncConnect([&](absl::StatusOr<ConnectResult> r) { result.emplace(std::move(r)); });
    Until([&] { return result.has_value(); });
    return *result;
  }
  absl::Status Reauthenticate() {
    std::optional<absl::StatusOr<Client::Done>> result;
    client_->AsyncReauthenticate(
        [&](absl::StatusOr<Client::Done> r) { result.emplace(std::move(r)); });
    Until([&] { return result.has_value(); });
    return result->status();
  }
  const std::vector<std::string>& auths() const { return network_.server.auth_frames(); }

  boost::asio::io_context io_;
  FakeNetwork network_;
  const std::shared_ptr<TwoSteps> method_ = std::make_shared<TwoSteps>();
  std::vector<std::string> sent_;  // Names of packets.
  std::unique_ptr<Client> client_;
};

// What the application asks for meanwhile waits for CONNACK.
TEST_F(ScriptedStatements, MQTT5_3_1_2_30) {
  Message message;
  message.topic = "t";
  client_->AsyncPublish(message, [](absl::StatusOr<PublishResult>) {});
  client_->AsyncSubscribe({{"t", {}}}, [](absl::StatusOr<SubscribeResult>) {});
  ASSERT_TRUE(Connect().ok());
  Until([&] { return network_.server.publishes().size() == 1; });
  ASSERT_GE(sent_.size(), 4u);
  EXPECT_THAT(std::vector<std::string>(sent_.begin(), sent_.begin() + 2),
              ElementsAre("CONNECT", "AUTH"));
}

TEST_F(ScriptedStatements, MQTT5_3_15_1_1) {
  ASSERT_TRUE(Connect().ok());
  ASSERT_TRUE(Reauthenticate().ok());
  for (const std::string& auth : auths()) EXPECT_EQ(static_cast<uint8_t>(auth[0]), 0xF0);
}

// 0x18 goes on, 0x19 begins anew; a client has no other.
TEST_F(ScriptedStatements, MQTT5_3_15_2_1) {
  ASSERT_TRUE(Connect().ok());
  ASSERT_TRUE(Reauthenticate().ok());
  std::vector<int> reasons;
  for (const std::string& auth : auths()) reasons.push_back(static_cast<uint8_t>(auth[2]));
  EXPECT_THAT(reasons, ElementsAre(0x18, 0x19, 0x18));
}

// Its method and its data are all that an AUTH has: no reason in words, no User Property.
TEST_F(ScriptedStatements, MQTT5_3_15_2_2) {
  ASSERT_TRUE(Connect().ok());
  ASSERT_EQ(auths().size(), 1u);
  const size_t properties = 3 + std::string("TWO-STEPS").size() + 3 + std::string("answer").size();
  EXPECT_EQ(auths()[0].size(), 2 + 1 + 1 + properties);
}
TEST_F(ScriptedStatements, MQTT5_3_15_2_3) {
  ASSERT_TRUE(Connect().ok());
  ASSERT_EQ(auths().size(), 1u);
  const size_t properties = 3 + std::string("TWO-STEPS").size() + 3 + std::string("answer").size();
  EXPECT_EQ(auths()[0].size(), 2 + 1 + 1 + properties);
}

TEST_F(ScriptedStatements, MQTT5_4_12_0_3) {
  ASSERT_TRUE(Connect().ok());
  ASSERT_EQ(auths().size(), 1u);
  EXPECT_EQ(static_cast<uint8_t>(auths()[0][2]), 0x18);
  EXPECT_THAT(network_.server.authentication_data(), ElementsAre("begin", "answer"));
}

// The scripted server takes no AUTH without it; and the client no CONNACK that names another.
TEST_F(ScriptedStatements, MQTT5_4_12_0_5) {
  ASSERT_TRUE(Connect().ok());
  for (const std::string& auth : auths()) {
    EXPECT_THAT(auth, testing::HasSubstr(std::string("\x15\x00\x09TWO-STEPS", 12)));
  }
}

TEST_F(ScriptedStatements, MQTT5_4_12_1_1) {
  ASSERT_TRUE(Connect().ok());
  ASSERT_TRUE(Reauthenticate().ok());
  ASSERT_EQ(auths().size(), 3u);
  EXPECT_EQ(static_cast<uint8_t>(auths()[1][2]), 0x19);
  EXPECT_THAT(auths()[1], testing::HasSubstr(std::string("\x15\x00\x09TWO-STEPS", 12)));
}

// By the client: it does not take the server's last word for proof.
TEST_F(ScriptedStatements, MQTT5_4_12_1_2) {
  ASSERT_TRUE(Connect().ok());
  method_->answer = "something else";
  std::optional<absl::StatusOr<Client::Done>> result;
  client_->AsyncReauthenticate(
      [&](absl::StatusOr<Client::Done> r) { result.emplace(std::move(r)); });
  Until([&] { return network_.server.authentication_data().size() == 4; });
  Until([&] { return network_.server.answers().empty(); });
  network_.HangUp();
  Until([&] { return result.has_value(); });
  EXPECT_EQ(result->status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(network_.closed, 1u);
}

}  // namespace
}  // namespace mqttd::client
