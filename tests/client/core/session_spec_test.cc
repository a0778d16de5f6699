// Statements that bind a client, by number, where they are about packets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/core/session.h"
#include "tests/client/core/fake_server.h"

namespace mqttd::client {
namespace {

using mqtt::PacketType;
using mqtt::QoS;
using mqtt::Version;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

class ClientSpec : public testing::Test {
 protected:
  void Use(Version version, const std::function<void(SessionOptions&)>& change = {}) {
    SessionOptions options;
    options.version = version;
    options.client_id = "device";
    options.session_expiry_s = 3600;
    options.clean_start = false;
    if (change) change(options);
    server_ = std::make_unique<FakeServer>(version);
    session_ = std::make_unique<Session>(options, nullptr);
    Connect();
  }
  void Connect() {
    session_->BeginConnection();
    Exchange();
  }
  void Lose() {
    session_->EndConnection();
    server_->Drop();
  }
  void Deliver() {
    std::string bytes;
    session_->TakeOutput(bytes);
    server_->Receive(bytes);
  }
  void Answer() { ASSERT_FALSE(server_->AnswerTo(*session_).has_value()); }
  void Exchange() {
    while (session_->HasOutput() || !server_->answers().empty()) {
      Deliver();
      Answer();
    }
    TakeEvents();
  }
  void TakeEvents() {
    for (Event& event : session_->TakeEvents()) {
      if (auto* done = std::get_if<PublishDone>(&event)) ended_.push_back(*done);
      if (auto* arrived = std::get_if<Arrived>(&event)) arrived_.push_back(arrived->message);
      if (std::holds_alternative<Pong>(event)) ++pongs_;
      if (std::holds_alternative<SubscribeDone>(event)) ++subscribed_;
    }
  }
  void Publish(std::string payload, QoS qos) {
    Message message;
    message.topic = "t";
    message.payload = std::move(payload);
    message.qos = qos;
    ASSERT_TRUE(session_->Publish(++last_token_, std::move(message)).ok());
  }

  void AcknowledgesWhatItDidNotAskFor(Version version);
  void AcknowledgesInOrder(Version version, QoS qos, PacketType type);

  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Session> session_;
  std::vector<PublishDone> ended_;
  std::vector<ReceivedMessage> arrived_;
  int pongs_ = 0;
  int subscribed_ = 0;
  Token last_token_ = 0;
};

TEST_F(ClientSpec, MQTT5_3_2_2_5) {
  Use(Version::k5);
  server_->Send("half way", QoS::kExactlyOnce);
  Answer();
  Publish("out", QoS::kExactlyOnce);
  Deliver();
  Lose();
  server_->LoseSession();
  Connect();
  EXPECT_EQ(session_->in_flight(), 0u);
  EXPECT_THAT(server_->publishes(), SizeIs(1)) << "what was open is not sent again";
  ASSERT_THAT(ended_, SizeIs(1));
  EXPECT_EQ(ended_[0].status.code(), absl::StatusCode::kAborted);
  server_->Send("new, under the same identifier", QoS::kExactlyOnce);
  server_->Send("and another", QoS::kExactlyOnce);
  Exchange();
  EXPECT_THAT(arrived_, SizeIs(3)) << "no identifier of the old session is remembered";
}

TEST_F(ClientSpec, MQTT5_3_3_2_10) {
  Use(Version::k5, [](SessionOptions& options) { options.topic_alias_maximum = 5; });
  for (uint16_t alias = 1; alias <= 5; ++alias) {
    server_->Send("with its topic", QoS::kAtMostOnce, alias);
    server_->Send("without", QoS::kAtMostOnce, alias);
  }
  Exchange();
  ASSERT_THAT(arrived_, SizeIs(10));
  for (const ReceivedMessage& message : arrived_) EXPECT_EQ(message.topic, "to/client");
}

TEST_F(ClientSpec, MQTT5_3_3_4_8) {
  Use(Version::k5, [](SessionOptions& options) { options.inflight_messages_max = 1; });
  Publish("first", QoS::kExactlyOnce);
  Publish("waits", QoS::kExactlyOnce);
  Deliver();  // The window is full, and nothing is answered.
  ASSERT_THAT(server_->publishes(), SizeIs(1));
  server_->answers().clear();
  ASSERT_TRUE(session_->Subscribe(100, {{"a", {}}}).ok());
  session_->SendPing();
  server_->Send("comes", QoS::kAtLeastOnce);
  Answer();
  Exchange();
  EXPECT_THAT(server_->publishes(), SizeIs(1));
  EXPECT_EQ(subscribed_, 1);
  EXPECT_EQ(pongs_, 1);
  EXPECT_THAT(server_->acks(), ElementsAre(Pair(PacketType::kPubAck, 1)));
}

void ClientSpec::AcknowledgesWhatItDidNotAskFor(Version version) {
  Use(version);
  server_->Send("nobody subscribed", QoS::kAtLeastOnce);
  server_->Send("nor to this", QoS::kExactlyOnce);
  Exchange();
  EXPECT_EQ(server_->unacknowledged(), 0u);
}
TEST_F(ClientSpec, MQTT5_4_5_0_2) { AcknowledgesWhatItDidNotAskFor(Version::k5); }
TEST_F(ClientSpec, MQTT311_4_5_0_2) { AcknowledgesWhatItDidNotAskFor(Version::k311); }

TEST_F(ClientSpec, MQTT5_4_6_0_1) {
  Use(Version::k5);
  for (const char* payload : {"1", "2", "3", "4", "5"}) {
    Publish(payload, payload[0] % 2 == 0 ? QoS::kExactlyOnce : QoS::kAtLeastOnce);
  }
  Deliver();
  Lose();
  Connect();
  std::vector<std::string> sent;
  for (const FakeServer::Publish& publish : server_->publishes()) sent.push_back(publish.payload);
  EXPECT_THAT(sent, ElementsAre("1", "2", "3", "4", "5", "1", "2", "3", "4", "5"));
}

void ClientSpec::AcknowledgesInOrder(Version version, QoS qos, PacketType type) {
  Use(version);
  std::vector<std::pair<PacketType, uint16_t>> wanted;
  for (uint16_t i = 1; i <= 100; ++i) {
    server_->Send(std::to_string(i), qos);
    wanted.emplace_back(type, i);
  }
  Answer();
  Deliver();
  EXPECT_EQ(server_->acks(), wanted);
}
TEST_F(ClientSpec, MQTT5_4_6_0_2) {
  AcknowledgesInOrder(Version::k5, QoS::kAtLeastOnce, PacketType::kPubAck);
}
TEST_F(ClientSpec, MQTT311_4_6_0_2) {
  AcknowledgesInOrder(Version::k311, QoS::kAtLeastOnce, PacketType::kPubAck);
}
TEST_F(ClientSpec, MQTT5_4_6_0_3) {
  AcknowledgesInOrder(Version::k5, QoS::kExactlyOnce, PacketType::kPubRec);
}
TEST_F(ClientSpec, MQTT311_4_6_0_3) {
  AcknowledgesInOrder(Version::k311, QoS::kExactlyOnce, PacketType::kPubRec);
}

TEST_F(ClientSpec, MQTT5_4_6_0_4) {
  Use(Version::k5);
  for (int i = 1; i <= 50; ++i) Publish(std::to_string(i), QoS::kExactlyOnce);
  Deliver();
  Answer();  // PUBRECs in the order of the PUBLISH packets.
  Deliver();
  ASSERT_THAT(server_->acks(), SizeIs(50));
  for (size_t i = 0; i < 50; ++i) {
    EXPECT_THAT(server_->acks()[i], Pair(PacketType::kPubRel, server_->publishes()[i].id));
  }
}

// The identifiers go round while one message stays open: nobody else gets its identifier.
TEST_F(ClientSpec, MQTT311_2_3_1_2) {
  Use(Version::k311);
  Publish("stays open", QoS::kAtLeastOnce);
  Deliver();
  server_->answers().clear();
  const uint16_t open = server_->publishes()[0].id;
  for (int i = 0; i < 66'000; ++i) {
    Publish("x", QoS::kAtLeastOnce);
    Deliver();
    Answer();
    ASSERT_NE(server_->publishes().back().id, open);
    ASSERT_NE(server_->publishes().back().id, 0);
  }
  EXPECT_EQ(session_->in_flight(), 1u);
}

TEST_F(ClientSpec, MQTT311_2_3_1_3) {
  Use(Version::k311);
  Publish("x", QoS::kAtLeastOnce);
  Deliver();
  const uint16_t id = server_->publishes()[0].id;
  Lose();
  Connect();
  ASSERT_THAT(server_->publishes(), SizeIs(2));
  EXPECT_EQ(server_->publishes()[1].id, id);
  EXPECT_EQ(session_->in_flight(), 0u);
  std::set<uint16_t> used;
  for (int i = 0; i < 65'535; ++i) {
    Publish("y", QoS::kAtLeastOnce);
    Exchange();
    used.insert(server_->publishes().back().id);
  }
  EXPECT_TRUE(used.contains(id)) << "after its acknowledgement it is free again";
}

}  // namespace
}  // namespace mqttd::client
