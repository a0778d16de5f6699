#include "client/core/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/client/core/fake_server.h"

namespace mqttd::client {
namespace {

using mqtt::QoS;
using mqtt::ReasonCode;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

SessionOptions Resumable() {
  SessionOptions options;
  options.client_id = "device";
  options.session_expiry_s = 3600;
  options.clean_start = false;
  return options;
}

// A session and its server; bytes go between them when the test says so.
class SessionTest : public testing::Test {
 protected:
  void Use(const SessionOptions& options) {
    server_ = FakeServer(options.version);
    session_ = std::make_unique<Session>(options, nullptr);
  }
  void Connect() {
    session_->BeginConnection();
    Exchange();
  }
  void Deliver() {  // What the client has written reaches the server.
    std::string bytes;
    session_->TakeOutput(bytes);
    server_.Receive(bytes);
  }
  void Exchange() {  // Until nobody has anything to say.
    while (session_->HasOutput() || !server_.answers().empty()) {
      Deliver();
      ASSERT_FALSE(server_.AnswerTo(*session_).has_value());
    }
    for (Event& event : session_->TakeEvents()) Take(event);
  }
  void Lose() {
    session_->EndConnection();
    server_.Drop();
    for (Event& event : session_->TakeEvents()) Take(event);
  }
  void Take(Event& event) {
    if (auto* done = std::get_if<PublishDone>(&event)) published_.push_back(*done);
    if (auto* done = std::get_if<SubscribeDone>(&event)) subscribed_.push_back(*done);
    if (auto* arrived = std::get_if<Arrived>(&event)) arrived_.push_back(arrived->message);
    if (auto* connected = std::get_if<Connected>(&event)) connected_ = connected->result;
  }
  void Publish(Token token, std::string payload, QoS qos) {
    Message message;
    message.topic = "t";
    message.payload = std::move(payload);
    message.qos = qos;
    ASSERT_TRUE(session_->Publish(token, std::move(message)).ok());
  }
  std::vector<std::string> Payloads() const {
    std::vector<std::string> payloads;
    for (const ReceivedMessage& message : arrived_) payloads.push_back(message.payload);
    return payloads;
  }

  FakeServer server_;
  std::unique_ptr<Session> session_;
  std::vector<PublishDone> published_;
  std::vector<SubscribeDone> subscribed_;
  std::vector<ReceivedMessage> arrived_;
  ConnectResult connected_;
};

TEST_F(SessionTest, APublishEndsWithItsAcknowledgement) {
  Use(Resumable());
  Connect();
  for (const QoS qos : {QoS::kAtMostOnce, QoS::kAtLeastOnce, QoS::kExactlyOnce}) {
    Publish(static_cast<Token>(qos) + 1, "x", qos);
  }
  EXPECT_THAT(published_, IsEmpty());
  Exchange();
  EXPECT_THAT(published_, SizeIs(3));
  EXPECT_THAT(server_.routed(), ElementsAre("x", "x", "x"));
  EXPECT_EQ(session_->in_flight(), 0u);
}

TEST_F(SessionTest, WhatIsSaidWithoutAConnectionWaitsForOne) {
  Use(Resumable());
  Publish(1, "early", QoS::kAtLeastOnce);
  ASSERT_TRUE(session_->Subscribe(2, {{"a/#", {}}}).ok());
  EXPECT_FALSE(session_->HasOutput());
  Connect();
  EXPECT_THAT(server_.subscribed(), ElementsAre("a/#"));
  EXPECT_THAT(server_.routed(), ElementsAre("early"));
  EXPECT_THAT(published_, SizeIs(1));
  EXPECT_THAT(subscribed_, SizeIs(1));
}

// [MQTT-4.4.0-1] (client side), [MQTT-3.3.1-1], [MQTT-4.6.0-1].
TEST_F(SessionTest, WhatIsUnacknowledgedIsSentAgainInOrderUnderItsIdentifier) {
  Use(Resumable());
  Connect();
  Publish(1, "one", QoS::kAtLeastOnce);
  Publish(2, "two", QoS::kExactlyOnce);
  Publish(3, "three", QoS::kAtLeastOnce);
  Deliver();
  Lose();
  const auto before = server_.publishes();
  Connect();
  ASSERT_THAT(server_.publishes(), SizeIs(6));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(server_.publishes()[3 + i].payload, before[i].payload);
    EXPECT_EQ(server_.publishes()[3 + i].id, before[i].id);
    EXPECT_TRUE(server_.publishes()[3 + i].dup);
  }
  EXPECT_THAT(server_.routed(), ElementsAre("one", "two", "three", "one", "three"));
  EXPECT_THAT(published_, SizeIs(3));
}

// [MQTT5-4.3.3-6]: after PUBREC, PUBREL is what is sent again.
TEST_F(SessionTest, AfterPubrecOnlyPubrelIsSentAgain) {
  Use(Resumable());
  Connect();
  Publish(1, "once", QoS::kExactlyOnce);
  Deliver();
  ASSERT_FALSE(server_.AnswerTo(*session_).has_value());  // PUBREC; our PUBREL is lost.
  Lose();
  Connect();
  EXPECT_THAT(server_.publishes(), SizeIs(1));
  EXPECT_THAT(published_, SizeIs(1));
  EXPECT_TRUE(published_[0].status.ok());
}

TEST_F(SessionTest, ALostSessionEndsWhatCannotBeKnownAndSubscribesAgain) {
  Use(Resumable());
  ASSERT_TRUE(session_->Subscribe(9, {{"a", {}}, {"b", {}}}).ok());
  Connect();
  Publish(1, "at least once", QoS::kAtLeastOnce);
  Publish(2, "exactly once", QoS::kExactlyOnce);
  Deliver();
  Lose();
  server_.LoseSession();
  Connect();
  EXPECT_FALSE(connected_.session_present);
  ASSERT_THAT(published_, SizeIs(2));
  EXPECT_EQ(published_[0].token, 2u);
  EXPECT_EQ(published_[0].status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(published_[1].token, 1u);
  EXPECT_TRUE(published_[1].status.ok());
  EXPECT_FALSE(server_.publishes().back().dup);  // A new message.
  EXPECT_THAT(server_.subscribed(), ElementsAre("a", "b", "a", "b"));
}

// [MQTT5-3.3.4-7]: never more unacknowledged than the server's Receive Maximum.
TEST_F(SessionTest, TheServersReceiveMaximumHolds) {
  Use(Resumable());
  server_.connack().receive_maximum = 2;
  Connect();
  for (Token token = 1; token <= 5; ++token) {
    Publish(token, std::to_string(token), QoS::kAtLeastOnce);
  }
  Deliver();
  EXPECT_THAT(server_.publishes(), SizeIs(2));
  EXPECT_EQ(session_->queued(), 3u);
  Exchange();
  EXPECT_THAT(server_.routed(), ElementsAre("1", "2", "3", "4", "5"));
}

TEST_F(SessionTest, AFullQueueRefusesInWords) {
  SessionOptions options = Resumable();
  options.queue_messages_max = 2;
  Use(options);
  Publish(1, "x", QoS::kAtMostOnce);
  Publish(2, "y", QoS::kAtLeastOnce);
  Message third;
  third.topic = "t";
  const absl::Status status = session_->Publish(3, third);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("queue_messages_max"));
}

// [MQTT5-4.3.3-10]: a repeat before PUBREL is acknowledged and not handed out again.
TEST_F(SessionTest, AQos2MessageArrivesOnceWhateverIsRepeated) {
  Use(Resumable());
  Connect();
  server_.Send("once", QoS::kExactlyOnce);
  ASSERT_FALSE(server_.AnswerTo(*session_).has_value());  // Our PUBREC is lost.
  Lose();
  Connect();
  EXPECT_THAT(Payloads(), ElementsAre("once"));
  EXPECT_EQ(server_.unacknowledged(), 0u);
  EXPECT_EQ(session_->statistics().duplicates, 1u);
}

TEST_F(SessionTest, TopicAliasesAreUsedAsTheServerAllowsAndForgottenWithTheConnection) {
  Use(Resumable());
  server_.connack().topic_alias_maximum = 1;
  Connect();
  Publish(1, "a", QoS::kAtMostOnce);
  Publish(2, "b", QoS::kAtMostOnce);
  Exchange();
  ASSERT_THAT(server_.publishes(), SizeIs(2));
  EXPECT_EQ(server_.publishes()[0].topic, "t");
  EXPECT_EQ(server_.publishes()[0].alias, 1);
  EXPECT_EQ(server_.publishes()[1].topic, "");
  EXPECT_EQ(server_.publishes()[1].alias, 1);
  Lose();
  Connect();
  Publish(3, "c", QoS::kAtMostOnce);
  Exchange();
  EXPECT_EQ(server_.publishes()[2].topic, "t");  // [MQTT5-3.3.2-7]
}

TEST_F(SessionTest, WhatTheServerCannotTakeFailsInWordsAndIsNotSent) {
  Use(Resumable());
  server_.connack().maximum_qos = QoS::kAtLeastOnce;
  server_.connack().maximum_packet_size = 50;
  Connect();
  Publish(1, "x", QoS::kExactlyOnce);
  Publish(2, std::string(100, 'x'), QoS::kAtLeastOnce);
  Exchange();
  ASSERT_THAT(published_, SizeIs(2));
  EXPECT_EQ(published_[0].status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(published_[1].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(server_.publishes(), IsEmpty());
}

TEST_F(SessionTest, AServerThatBreaksTheProtocolIsToldSo) {
  Use(Resumable());
  Connect();
  // PUBACK from a server is fine, CONNACK a second time is not [MQTT5-3.2.0-2].
  const auto violation = FakeServer::Give(*session_, std::string("\x20\x03\x00\x00\x00", 5));
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->reason, ReasonCode::kProtocolError);
  std::string out;
  session_->TakeOutput(out);
  EXPECT_EQ(out, "\xE0\x01\x82");
}

TEST_F(SessionTest, ARefusalIsAResultNotAnError) {
  Use(Resumable());
  server_.connack().reason = ReasonCode::kNotAuthorized;
  Connect();
  EXPECT_FALSE(connected_.ok());
  EXPECT_FALSE(session_->is_connected());
}

TEST_F(SessionTest, EverythingThatWaitsEndsWhenTheApplicationGivesUp) {
  Use(Resumable());
  Connect();
  Publish(1, "in flight", QoS::kAtLeastOnce);
  Deliver();
  Lose();
  Publish(2, "queued", QoS::kAtMostOnce);
  ASSERT_TRUE(session_->Subscribe(3, {{"a", {}}}).ok());
  session_->Fail(absl::CancelledError("enough"));
  for (Event& event : session_->TakeEvents()) Take(event);
  EXPECT_THAT(published_, SizeIs(2));
  EXPECT_THAT(subscribed_, SizeIs(1));
}

TEST_F(SessionTest, OldServersGetWhatTheyUnderstand) {
  SessionOptions options = Resumable();
  options.version = mqtt::Version::k311;
  Use(options);
  Connect();
  Message message;
  message.topic = "t";
  message.qos = QoS::kAtLeastOnce;
  message.content_type = "text/plain";
  ASSERT_TRUE(session_->Publish(1, message).ok());
  Exchange();
  EXPECT_THAT(published_, SizeIs(1));
}

}  // namespace
}  // namespace mqttd::client
