// What binds clients about a server's limits, topic aliases, and the form of each packet.
#include "tests/client/statements/statements_test.h"
#include "tests/support/wire.h"

namespace mqttd::client {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Le;
using testing::SizeIs;

class LimitStatements : public ClientStatements {
 protected:
  std::vector<uint16_t> AliasesOf(const Subject& subject) {
    std::vector<uint16_t> out;
    for (const auto& publish : PublishesOf(subject)) out.push_back(publish.topic_alias);
    return out;
  }
  void PublishToTopics(Subject& subject, int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(Publish(subject, At(Own("t") + std::to_string(i), "x", QoS::kAtLeastOnce)).ok());
    }
  }
  void TheWindowIsTheServers();
  void AFullWindowDelaysNothingElse();
  void KeepsToAliases();
  void FlagsAre(Version version, PacketType type, uint8_t flags);
  void EachPacketHasItsFlags(Version version);
};
MQTTD_AGAINST_BOTH_SERVERS(LimitStatements);

TEST_P(LimitStatements, MQTT5_3_2_2_11) {
  Limit({.maximum_qos = 1});
  Subject& subject = Join(Version::k5);
  EXPECT_EQ(Publish(subject, At(Own("t"), "x", QoS::kExactlyOnce)).status().code(),
            absl::StatusCode::kFailedPrecondition);
  Publish(subject, "x", QoS::kAtLeastOnce);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), SizeIs(1));
}

TEST_P(LimitStatements, MQTT5_3_2_2_14) {
  Limit({.retains = false});
  Subject& subject = Join(Version::k5);
  Message retained = At(Own("t"), "x", QoS::kAtLeastOnce);
  retained.retain = true;
  EXPECT_EQ(Publish(subject, retained).status().code(), absl::StatusCode::kFailedPrecondition);
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), IsEmpty());
}

// Whatever packet it is; and messages up to the limit go.
TEST_P(LimitStatements, MQTT5_3_2_2_15) {
  Limit({.packet_size_max = 200});
  Subject& subject = Join(Version::k5);
  const std::string long_one(250, 'x');
  EXPECT_EQ(Publish(subject, At(Own("t"), long_one, QoS::kAtLeastOnce)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Await(StartSubscribe(subject, {{long_one, {}}})).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Await(StartUnsubscribe(subject, {long_one})).status().code(),
            absl::StatusCode::kInvalidArgument);
  // A topic that did not go out has no alias either.
  EXPECT_FALSE(Publish(subject, At(Own("new"), long_one, QoS::kAtMostOnce)).ok());
  ASSERT_TRUE(Publish(subject, At(Own("new"), "x", QoS::kAtLeastOnce)).ok());
  EXPECT_EQ(PublishesOf(subject)[0].topic, Own("new"));
  const size_t around = subject.tap.Sent(PacketType::kPublish)[0]->frame.size() - 1;
  ASSERT_TRUE(
      Publish(subject, At(Own("ne2"), std::string(199 - around, 'x'), QoS::kAtLeastOnce)).ok());
  for (const Heard& heard : subject.tap.sent()) {
    if (heard.type != PacketType::kConnect) {
      EXPECT_LE(heard.frame.size(), 200u);
    }
  }
  EXPECT_EQ(subject.tap.connections(), 1u);
}

// ---- Topic aliases

void LimitStatements::KeepsToAliases() {
  Limit({.topic_alias_maximum = 3});
  Subject& subject = Join(Version::k5);
  PublishToTopics(subject, 6);
  PublishToTopics(subject, 6);
  EXPECT_THAT(AliasesOf(subject), Each(Le(3)));
  EXPECT_THAT(AliasesOf(subject), testing::Contains(3).Times(2));
}
TEST_P(LimitStatements, MQTT5_3_2_2_17) { KeepsToAliases(); }
TEST_P(LimitStatements, MQTT5_3_3_2_9) { KeepsToAliases(); }

// 0 stands for none: then the property is left out.
TEST_P(LimitStatements, MQTT5_3_3_2_8) {
  Limit({.topic_alias_maximum = 1});
  Subject& subject = Join(Version::k5);
  PublishToTopics(subject, 3);
  for (const Heard* heard : subject.tap.Sent(PacketType::kPublish)) {
    mqtt::Publish publish = PublishOf(subject, *heard);
    if (publish.topic_alias != 0) continue;
    EXPECT_THAT(publish.raw_properties, IsEmpty()) << "no Topic Alias 0";
  }
  EXPECT_THAT(AliasesOf(subject), ElementsAre(1, 0, 0));
}

TEST_P(LimitStatements, MQTT5_3_2_2_18) {
  Limit({.topic_alias_maximum = 0});
  Subject& subject = Join(Version::k5);
  PublishToTopics(subject, 3);
  PublishToTopics(subject, 3);
  EXPECT_THAT(AliasesOf(subject), Each(0));
}

TEST_P(LimitStatements, MQTT5_3_3_2_7) {
  Subject& subject = Join(Version::k5, Kept);
  Publish(subject, "1", QoS::kAtLeastOnce);
  Publish(subject, "2", QoS::kAtLeastOnce);
  Break(subject);
  Publish(subject, "3", QoS::kAtLeastOnce);
  std::vector<std::string> topics;
  for (const auto& publish : PublishesOf(subject)) topics.emplace_back(publish.topic);
  EXPECT_THAT(topics, ElementsAre(Own("t"), "", Own("t"))) << "said again on the new connection";
}

// mosquitto has no aliases of its own: all but what CONNECT says of them is the wiretap's.
TEST_P(LimitStatements, MQTT5_3_3_2_10) {
  Subject& subject =
      Join(Version::k5, [](Options& options) { options.session.topic_alias_maximum = 3; });
  EXPECT_EQ(ConnectOf(subject).topic_alias_maximum, 3);
  const auto publish = [&](const std::string& topic, uint32_t alias) {
    support::PublishPacket packet{.topic = topic, .payload = "x"};
    packet.properties.Number(support::PropertyId::kTopicAlias, alias);
    subject.tap.AddBeforeNext(packet.Encode(support::Version::k5));
  };
  for (uint32_t alias = 1; alias <= 3; ++alias) publish("topic" + std::to_string(alias), alias);
  for (uint32_t alias = 1; alias <= 3; ++alias) publish("", alias);
  Ping(subject);
  std::vector<std::string> topics;
  for (const ReceivedMessage& message : subject.got) topics.push_back(message.topic);
  EXPECT_THAT(topics, ElementsAre("topic1", "topic2", "topic3", "topic1", "topic2", "topic3"));
}

TEST_P(LimitStatements, MQTT5_3_3_4_6) {
  Subject& subject = Join(Version::k5);
  ASSERT_TRUE(Await(StartSubscribe(subject, {{Own("in"), {.qos = QoS::kAtLeastOnce}}},
                                   {.subscription_id = 7}))
                  .ok());
  ASSERT_TRUE(Publish(Talker(), At(Own("in"), "x", QoS::kAtLeastOnce)).ok());
  Until([&] { return subject.got.size() == 1; });
  ASSERT_THAT(subject.got[0].subscription_ids, ElementsAre(7));
  Message on = subject.got[0];  // Published on: without it.
  on.topic = Own("t");
  ASSERT_TRUE(Publish(subject, on).ok());
  EXPECT_THAT(PublishesOf(subject)[0].subscription_ids, IsEmpty());
}

// ---- Receive Maximum

// Of ten, three leave; then one for each that is acknowledged. A new connection begins anew, also
// with what it sends again.
void LimitStatements::TheWindowIsTheServers() {
  Limit({.receive_maximum = 3});
  Subject& subject = Join(Version::k5, Kept);
  subject.tap.Hold(PacketType::kPubAck);
  std::vector<Later<PublishResult>> open;
  for (int i = 0; i < 10; ++i) {
    open.push_back(StartPublish(subject, std::to_string(i), QoS::kAtLeastOnce));
  }
  UntilHeard(subject, PacketType::kPubAck, 3);
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), SizeIs(3));
  subject.tap.StopHolding();
  Break(subject);
  for (const auto& later : open) ASSERT_TRUE(Await(later).ok());
  // By what was said when: never more than three.
  size_t sent = 0;
  for (const Heard* heard : subject.tap.Sent(PacketType::kPublish)) sent += heard->connection == 2;
  EXPECT_EQ(sent, 10u);
  EXPECT_EQ(subject.tap.connections(), 2u) << "a server ends who sends too many";
}
TEST_P(LimitStatements, MQTT5_3_3_4_7) { TheWindowIsTheServers(); }
TEST_P(LimitStatements, MQTT5_4_9_0_1) { TheWindowIsTheServers(); }
TEST_P(LimitStatements, MQTT5_4_9_0_2) {
  TheWindowIsTheServers();
  LeaveAll();
  // What is in flight is more than this server's next connection takes: the wiretap says 2.
  own_.reset();
  Subject& subject = Join(Version::k5, Kept, "other");
  subject.tap.Hold(PacketType::kPubAck);
  std::vector<Later<PublishResult>> open;
  for (int i = 0; i < 10; ++i) {
    open.push_back(StartPublish(subject, std::to_string(i), QoS::kAtLeastOnce));
  }
  UntilHeard(subject, PacketType::kPubAck, 10);
  subject.tap.Change([](const Heard& heard, std::string& frame) {
    if (heard.type != PacketType::kConnAck) return;
    support::Properties two;
    two.Number(support::PropertyId::kReceiveMaximum, 2);
    frame = support::Frame(0x20, std::string("\x01\x00", 2) + two.Encode());
  });
  Break(subject);
  UntilHeard(subject, PacketType::kPubAck, 12);
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), SizeIs(12)) << "two again, and no more";
  subject.tap.StopHolding();
  Break(subject);
  for (const auto& later : open) EXPECT_TRUE(Await(later).ok());
}

void LimitStatements::AFullWindowDelaysNothingElse() {
  Limit({.receive_maximum = 1});
  Subject& subject = Join(Version::k5);
  Subscribe(subject, Own("in"), QoS::kExactlyOnce);
  subject.tap.Hold(PacketType::kPubAck);
  StartPublish(subject, "open", QoS::kAtLeastOnce);
  const auto waits = StartPublish(subject, "waits", QoS::kAtLeastOnce);
  UntilHeard(subject, PacketType::kPubAck, 1);
  Ping(subject);
  Subscribe(subject, Own("more"), QoS::kAtMostOnce);
  EXPECT_TRUE(Await(StartUnsubscribe(subject, {Own("more")})).ok());
  ASSERT_TRUE(Publish(Talker(), At(Own("in"), "2", QoS::kExactlyOnce)).ok());
  UntilSent(subject, PacketType::kPubComp, 1);  // What comes is acknowledged.
  EXPECT_FALSE(waits->has_value());
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), SizeIs(1));
}
TEST_P(LimitStatements, MQTT5_3_3_4_8) { AFullWindowDelaysNothingElse(); }
TEST_P(LimitStatements, MQTT5_4_9_0_3) { AFullWindowDelaysNothingElse(); }

// ---- Fixed headers

void LimitStatements::FlagsAre(Version version, PacketType type, uint8_t flags) {
  Subject& subject = Join(version);
  Subscribe(subject, Own("in"), QoS::kExactlyOnce);
  ASSERT_TRUE(Publish(Talker(), At(Own("in"), "1", QoS::kAtLeastOnce)).ok());
  ASSERT_TRUE(Publish(Talker(), At(Own("in"), "2", QoS::kExactlyOnce)).ok());
  UntilSent(subject, PacketType::kPubComp, 1);
  Publish(subject, "x", QoS::kExactlyOnce);
  ASSERT_TRUE(Await(StartUnsubscribe(subject, {Own("in")})).ok());
  Ping(subject);
  ASSERT_TRUE(Disconnect(subject).ok());
  const auto sent = subject.tap.Sent(type);
  ASSERT_THAT(sent, testing::Not(IsEmpty()));
  for (const Heard* heard : sent) EXPECT_EQ(heard->flags, flags);
  LeaveAll();
}
void LimitStatements::EachPacketHasItsFlags(Version version) {
  for (const PacketType type :
       {PacketType::kConnect, PacketType::kPubAck, PacketType::kPubRec, PacketType::kPubComp,
        PacketType::kPingReq, PacketType::kDisconnect}) {
    FlagsAre(version, type, 0);
  }
  for (const PacketType type :
       {PacketType::kPubRel, PacketType::kSubscribe, PacketType::kUnsubscribe}) {
    FlagsAre(version, type, 2);
  }
}
TEST_P(LimitStatements, MQTT5_2_1_3_1) { EachPacketHasItsFlags(Version::k5); }
TEST_P(LimitStatements, MQTT5_3_6_1_1) { FlagsAre(Version::k5, PacketType::kPubRel, 2); }
TEST_P(LimitStatements, MQTT5_3_8_1_1) { FlagsAre(Version::k5, PacketType::kSubscribe, 2); }
TEST_P(LimitStatements, MQTT5_3_10_1_1) { FlagsAre(Version::k5, PacketType::kUnsubscribe, 2); }
TEST_P(LimitStatements, MQTT311_2_2_2_1) { EachPacketHasItsFlags(Version::k311); }
TEST_P(LimitStatements, MQTT311_3_6_1_1) { FlagsAre(Version::k311, PacketType::kPubRel, 2); }
TEST_P(LimitStatements, MQTT311_3_8_1_1) { FlagsAre(Version::k311, PacketType::kSubscribe, 2); }
TEST_P(LimitStatements, MQTT311_3_10_1_1) { FlagsAre(Version::k311, PacketType::kUnsubscribe, 2); }

// The wiretap adds a PUBACK with a flag.
TEST_P(LimitStatements, MQTT311_2_2_2_2) {
  Subject& subject = Join(Version::k311);
  subject.tap.AddBeforeNext(support::Frame(0x41, support::U16(1)));
  subject.client.AsyncPing([](absl::StatusOr<absl::Duration>) {});
  Until([&] { return subject.tap.closed_by_client() == 1; });
}

// And a packet that no server sends.
TEST_P(LimitStatements, MQTT311_4_8_0_1) {
  Subject& subject = Join(Version::k311);
  subject.tap.AddBeforeNext(
      support::Subscribe(support::Version::k311, 1, {{.filter = "a", .options = 0}}));
  subject.client.AsyncPing([](absl::StatusOr<absl::Duration>) {});
  Until([&] { return subject.tap.closed_by_client() == 1; });
}

// The store cannot keep the identifier of what came: the connection ends, and the next one brings
// the message again.
TEST_P(LimitStatements, MQTT311_4_8_0_2) {
  class FullOnce final : public Store {
   public:
    absl::StatusOr<Contents> Load() override { return Contents(); }
    absl::Status PutOutbound(uint64_t, mqtt::PacketId, const Message&) override { return {}; }
    absl::Status MarkSent(uint64_t, mqtt::PacketId) override { return {}; }
    absl::Status MarkReleased(uint64_t) override { return {}; }
    absl::Status RemoveOutbound(uint64_t) override { return {}; }
    absl::Status PutInbound(mqtt::PacketId) override {
      return tries_++ == 0 ? absl::ResourceExhaustedError("the disk is full") : absl::OkStatus();
    }
    absl::Status RemoveInbound(mqtt::PacketId) override { return {}; }
    absl::Status RestartSession(const std::vector<uint64_t>&) override { return {}; }

   private:
    int tries_ = 0;
  };
  Subject& subject = Join(Version::k311, [](Options& options) {
    Kept(options);
    options.store = std::make_shared<FullOnce>();
  });
  Subscribe(subject, Own("in"), QoS::kExactlyOnce);
  ASSERT_TRUE(Publish(Talker(), At(Own("in"), "x", QoS::kExactlyOnce)).ok());
  UntilSent(subject, PacketType::kPubComp, 1);
  EXPECT_EQ(subject.tap.connections(), 2u);
  EXPECT_THAT(subject.payloads(), ElementsAre("x"));
}

TEST_P(LimitStatements, MQTT5_4_12_0_7) {
  Subject& subject = Join(Version::k5);
  Publish(subject, "x", QoS::kExactlyOnce);
  auto again = NewLater<Client::Done>();
  subject.client.AsyncReauthenticate(Into(again));
  EXPECT_EQ(Await(again).status().code(), absl::StatusCode::kFailedPrecondition);
  Ping(subject);
  EXPECT_FALSE(ConnectOf(subject).authentication_method.has_value());
  EXPECT_THAT(subject.tap.Sent(PacketType::kAuth), IsEmpty());
}

}  // namespace
}  // namespace mqttd::client
