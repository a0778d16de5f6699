// What binds clients about PUBLISH and what follows it: identifiers, QoS 0, 1 and 2, what is sent
// again, and in which order.
#include <set>

#include "tests/client/statements/statements_test.h"
#include "tests/support/wire.h"

namespace mqttd::client {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

PacketType FirstAnswerOf(QoS qos) {
  return qos == QoS::kExactlyOnce ? PacketType::kPubRec : PacketType::kPubAck;
}

class DeliveryStatements : public ClientStatements {
 protected:
  // Publishes and keeps what the server says first from the client.
  Later<PublishResult> LeaveOpen(Subject& subject, const std::string& payload, QoS qos) {
    const PacketType answer = FirstAnswerOf(qos);
    const size_t before = subject.tap.Received(answer).size();
    subject.tap.Hold(answer);
    auto later = StartPublish(subject, payload, qos);
    UntilHeard(subject, answer, before + 1);
    subject.tap.StopHolding();
    return later;
  }
  // Sends `count` messages to the client, which has them when this returns.
  void SendTo(Subject& subject, int count, QoS qos) {
    Subscribe(subject, Own("in"), qos);
    Subject& talker = Talker();
    for (int i = 1; i <= count; ++i) {
      StartPublish(talker, At(Own("in"), std::to_string(i), qos));
    }
    Until([&] { return subject.got.size() >= static_cast<size_t>(count); });
  }
  static support::Version Wire(Version version) {
    return version == Version::k5 ? support::Version::k5 : support::Version::k311;
  }
  static void AcksAreShort(const Subject& subject, PacketType type);
  static std::vector<uint16_t> OpenIds(const std::vector<mqtt::Publish>& publishes) {
    std::vector<uint16_t> ids;
    for (const auto& publish : publishes) ids.push_back(publish.packet_id.value);
    return ids;
  }
  // What a PUBACK or PUBREC above 0x80 says is final. Clients may not publish below $SYS.
  void RefusedByServer(QoS qos);

  void Qos0HasNoIdentifier(Version version);
  void RequestsHaveFreeIdentifiers(Version version);
  void ARepeatIsUnderItsIdentifier(Version version);
  void AcksRepeatTheIdentifier(Version version);
  void ARepeatHasDup(Version version);
  void Qos0HasNoDup(Version version);
  void DupIsNotHandedOn(Version version);
  void ThereIsNoQos3(Version version);
  void AnswersAsQosAsks(Version version);
  void FreshIdentifierAndNoDup(Version version, QoS qos);
  void OpenUntilAnswered(Version version, QoS qos);
  void AReceiverOwnsQos1(Version version);
  void AnIdentifierIsNewAfterPuback(Version version);
  void PubrecIsAnsweredByPubrel(Version version);
  void PubrelIsOpenUntilPubcomp(Version version);
  void AReceiverAnswersPubrec(Version version);
  void ARepeatOfQos2IsNoSecondDelivery(Version version);
  void PubrelIsAnsweredByPubcomp(Version version);
  void AnIdentifierIsNewAfterPubcomp(Version version);
  void ResendsOnResumingOnly(Version version);
  void ResendsInOrder(Version version);
  void AcknowledgesWhateverComes(Version version);
  void AcknowledgesInOrder(Version version, QoS qos);
  void ReleasesInOrder(Version version);
};
MQTTD_AGAINST_BOTH_SERVERS(DeliveryStatements);

// ---- Identifiers

void DeliveryStatements::Qos0HasNoIdentifier(Version version) {
  Subject& subject = Join(version, [](Options& options) { options.session.topic_aliases_max = 0; });
  Publish(subject, "x", QoS::kAtMostOnce);
  Ping(subject);
  const Heard& heard = *subject.tap.Sent(PacketType::kPublish)[0];
  const std::string no_properties = version == Version::k5 ? std::string(1, '\0') : "";
  EXPECT_EQ(heard.body, support::Text(Own("t")) + no_properties + "x");
}
TEST_P(DeliveryStatements, MQTT5_2_2_1_2) { Qos0HasNoIdentifier(Version::k5); }
TEST_P(DeliveryStatements, MQTT5_2_2_2_1) { Qos0HasNoIdentifier(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_2_3_1_5) { Qos0HasNoIdentifier(Version::k311); }

// All that is open at once, whatever it is, has an identifier of its own.
void DeliveryStatements::RequestsHaveFreeIdentifiers(Version version) {
  Subject& subject = Join(version);
  for (const PacketType type :
       {PacketType::kPubAck, PacketType::kPubRec, PacketType::kSubAck, PacketType::kUnsubAck}) {
    subject.tap.Hold(type);
  }
  for (int i = 0; i < 5; ++i) {
    StartPublish(subject, "x", QoS::kAtLeastOnce);
    StartPublish(subject, "y", QoS::kExactlyOnce);
    StartSubscribe(subject, {{Own("t"), {}}});
    StartUnsubscribe(subject, {Own("t")});
  }
  UntilHeard(subject, PacketType::kUnsubAck, 5);
  std::set<uint16_t> ids;
  for (const mqtt::Publish& publish : PublishesOf(subject)) ids.insert(publish.packet_id.value);
  for (const PacketType type : {PacketType::kSubscribe, PacketType::kUnsubscribe}) {
    for (const Heard* heard : subject.tap.Sent(type)) {
      ids.insert(static_cast<uint16_t>(static_cast<uint8_t>(heard->body[0]) << 8 |
                                       static_cast<uint8_t>(heard->body[1])));
    }
  }
  EXPECT_THAT(ids, SizeIs(20));
  EXPECT_FALSE(ids.contains(0));
}
TEST_P(DeliveryStatements, MQTT5_2_2_1_3) { RequestsHaveFreeIdentifiers(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_2_3_1_1) { RequestsHaveFreeIdentifiers(Version::k311); }
TEST_P(DeliveryStatements, MQTT311_2_3_1_2) { RequestsHaveFreeIdentifiers(Version::k311); }

void DeliveryStatements::ARepeatIsUnderItsIdentifier(Version version) {
  Subject& subject = Join(version, Kept);
  const auto open = LeaveOpen(subject, "x", QoS::kAtLeastOnce);
  Break(subject);
  ASSERT_TRUE(Await(open).ok());
  const auto publishes = PublishesOf(subject);
  ASSERT_EQ(publishes.size(), 2u);
  EXPECT_EQ(publishes[0].packet_id, publishes[1].packet_id);
  // Acknowledged, it is free again: it comes round.
  const uint16_t id = publishes[0].packet_id.value;
  int waiting = 0;
  for (int i = 0; i < 65'535; ++i) {
    ++waiting;
    subject.client.AsyncPublish(At(Own("t"), "", QoS::kAtLeastOnce),
                                [&](absl::StatusOr<PublishResult>) { --waiting; });
    if (waiting >= 500) Until([&] { return waiting < 250; });
  }
  Until([&] { return waiting == 0; });
  EXPECT_THAT(OpenIds(PublishesOf(subject)), Contains(id).Times(3));
}
TEST_P(DeliveryStatements, MQTT311_2_3_1_3) { ARepeatIsUnderItsIdentifier(Version::k311); }

void DeliveryStatements::AcksRepeatTheIdentifier(Version version) {
  Subject& subject = Join(version);
  SendTo(subject, 5, QoS::kExactlyOnce);
  UntilHeard(subject, PacketType::kPubRel, 5);
  Ping(subject);
  const std::vector<uint16_t> ids = IdsFromServer(subject);
  EXPECT_EQ(IdsOf(subject, PacketType::kPubRec), ids);
  EXPECT_EQ(IdsOf(subject, PacketType::kPubComp), ids);
  Publish(subject, "x", QoS::kExactlyOnce);
  EXPECT_EQ(IdsOf(subject, PacketType::kPubRel), OpenIds(PublishesOf(subject)));
}
TEST_P(DeliveryStatements, MQTT5_2_2_1_5) { AcksRepeatTheIdentifier(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_2_3_1_6) { AcksRepeatTheIdentifier(Version::k311); }

// ---- DUP and QoS

void DeliveryStatements::ARepeatHasDup(Version version) {
  for (const QoS qos : {QoS::kAtLeastOnce, QoS::kExactlyOnce}) {
    Subject& subject = Join(version, Kept, qos == QoS::kAtLeastOnce ? "one" : "two");
    const auto open = LeaveOpen(subject, "x", qos);
    Break(subject);
    ASSERT_TRUE(Await(open).ok());
    const auto publishes = PublishesOf(subject);
    ASSERT_EQ(publishes.size(), 2u);
    EXPECT_FALSE(publishes[0].dup);
    EXPECT_TRUE(publishes[1].dup);
  }
}
TEST_P(DeliveryStatements, MQTT5_3_3_1_1) { ARepeatHasDup(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_3_3_1_1) { ARepeatHasDup(Version::k311); }

void DeliveryStatements::Qos0HasNoDup(Version version) {
  Subject& subject = Join(version, Kept);
  Publish(subject, "1", QoS::kAtMostOnce);
  Break(subject);
  Publish(subject, "2", QoS::kAtMostOnce);
  Ping(subject);
  for (const Heard* heard : subject.tap.Sent(PacketType::kPublish)) EXPECT_EQ(heard->flags, 0);
}
TEST_P(DeliveryStatements, MQTT5_3_3_1_2) { Qos0HasNoDup(Version::k5); }
TEST_P(DeliveryStatements, MQTT5_4_3_1_1) { Qos0HasNoDup(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_3_3_1_2) { Qos0HasNoDup(Version::k311); }
TEST_P(DeliveryStatements, MQTT311_4_3_1_1) { Qos0HasNoDup(Version::k311); }

// What came with DUP is published on as a message of the client's own.
void DeliveryStatements::DupIsNotHandedOn(Version version) {
  Subject& subject = Join(version, [](Options& options) {
    Kept(options);
    options.session.manual_acknowledgement = true;
  });
  SendTo(subject, 1, QoS::kAtLeastOnce);
  Break(subject);  // It is not acknowledged: it comes again.
  Until([&] { return subject.got.size() == 2; });
  ASSERT_TRUE(subject.got[1].dup);
  subject.client.Acknowledge(subject.got[1]);
  Message on = subject.got[1];
  on.topic = Own("t");
  ASSERT_TRUE(Publish(subject, on).ok());
  EXPECT_FALSE(PublishesOf(subject)[0].dup);
}
TEST_P(DeliveryStatements, MQTT5_3_3_1_3) { DupIsNotHandedOn(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_3_3_1_3) { DupIsNotHandedOn(Version::k311); }

// None is sent; one that comes ends the connection.
void DeliveryStatements::ThereIsNoQos3(Version version) {
  Subject& subject = Join(version);
  EXPECT_EQ(Publish(subject, At(Own("t"), "x", static_cast<QoS>(3))).status().code(),
            absl::StatusCode::kInvalidArgument);
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), IsEmpty());
  subject.tap.AddBeforeNext(
      support::Frame(0x36, support::Text("t") + support::U16(1) + std::string(1, '\0')));
  subject.client.AsyncPing([](absl::StatusOr<absl::Duration>) {});
  Until([&] { return subject.tap.closed_by_client() == 1; });
  EXPECT_THAT(subject.got, IsEmpty());
}
TEST_P(DeliveryStatements, MQTT5_3_3_1_4) { ThereIsNoQos3(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_3_3_1_4) { ThereIsNoQos3(Version::k311); }

void DeliveryStatements::AnswersAsQosAsks(Version version) {
  Subject& subject = Join(version);
  for (const QoS qos : {QoS::kAtMostOnce, QoS::kAtLeastOnce, QoS::kExactlyOnce}) {
    subject.got.clear();
    SendTo(subject, 1, qos);
    Ping(subject);
  }
  UntilSent(subject, PacketType::kPubComp, 1);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPubAck), SizeIs(1));
  EXPECT_THAT(subject.tap.Sent(PacketType::kPubRec), SizeIs(1));
}
TEST_P(DeliveryStatements, MQTT5_3_3_4_1) { AnswersAsQosAsks(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_3_3_4_1) { AnswersAsQosAsks(Version::k311); }

// ---- Acknowledgements say what they must, and not a byte more: no reason in words, no properties

void DeliveryStatements::AcksAreShort(const Subject& subject, PacketType type) {
  ASSERT_THAT(subject.tap.Sent(type), testing::Not(IsEmpty()));
  for (const Heard* heard : subject.tap.Sent(type)) EXPECT_LE(heard->frame.size(), 5u);
}
// PUBACK
TEST_P(DeliveryStatements, MQTT5_3_4_2_1) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 3, QoS::kAtLeastOnce);
  UntilSent(subject, PacketType::kPubAck, 3);
  for (const Heard* heard : subject.tap.Sent(PacketType::kPubAck)) {
    EXPECT_TRUE(mqtt::IsAllowed(AckOf(subject, *heard).reason, PacketType::kPubAck));
  }
}
TEST_P(DeliveryStatements, MQTT5_3_4_2_2) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 3, QoS::kAtLeastOnce);
  UntilSent(subject, PacketType::kPubAck, 3);
  AcksAreShort(subject, PacketType::kPubAck);
}
TEST_P(DeliveryStatements, MQTT5_3_4_2_3) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 3, QoS::kAtLeastOnce);
  UntilSent(subject, PacketType::kPubAck, 3);
  AcksAreShort(subject, PacketType::kPubAck);
}
// PUBREC
TEST_P(DeliveryStatements, MQTT5_3_5_2_1) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 3, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubRec, 3);
  for (const Heard* heard : subject.tap.Sent(PacketType::kPubRec)) {
    EXPECT_TRUE(mqtt::IsAllowed(AckOf(subject, *heard).reason, PacketType::kPubRec));
  }
}
TEST_P(DeliveryStatements, MQTT5_3_5_2_2) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 3, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubRec, 3);
  AcksAreShort(subject, PacketType::kPubRec);
}
TEST_P(DeliveryStatements, MQTT5_3_5_2_3) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 3, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubRec, 3);
  AcksAreShort(subject, PacketType::kPubRec);
}
// PUBREL: to what the client knows, and (a PUBREC that the wiretap adds) to what it does not.
TEST_P(DeliveryStatements, MQTT5_3_6_2_1) {
  Subject& subject = Join(Version::k5);
  Publish(subject, "x", QoS::kExactlyOnce);
  subject.tap.AddBeforeNext(support::Ack(support::PacketType::kPubrec, 4711));
  Ping(subject);
  UntilSent(subject, PacketType::kPubRel, 2);
  EXPECT_EQ(AckOf(subject, *subject.tap.Sent(PacketType::kPubRel)[0]).reason, ReasonCode::kSuccess);
  EXPECT_EQ(AckOf(subject, *subject.tap.Sent(PacketType::kPubRel)[1]).reason,
            ReasonCode::kPacketIdentifierNotFound);
}
TEST_P(DeliveryStatements, MQTT5_3_6_2_2) {
  Subject& subject = Join(Version::k5);
  Publish(subject, "x", QoS::kExactlyOnce);
  AcksAreShort(subject, PacketType::kPubRel);
}
TEST_P(DeliveryStatements, MQTT5_3_6_2_3) {
  Subject& subject = Join(Version::k5);
  Publish(subject, "x", QoS::kExactlyOnce);
  AcksAreShort(subject, PacketType::kPubRel);
}
// PUBCOMP: likewise.
TEST_P(DeliveryStatements, MQTT5_3_7_2_1) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 1, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubComp, 1);
  subject.tap.AddBeforeNext(support::Ack(support::PacketType::kPubrel, 4711));
  Ping(subject);
  UntilSent(subject, PacketType::kPubComp, 2);
  EXPECT_EQ(AckOf(subject, *subject.tap.Sent(PacketType::kPubComp)[0]).reason,
            ReasonCode::kSuccess);
  EXPECT_EQ(AckOf(subject, *subject.tap.Sent(PacketType::kPubComp)[1]).reason,
            ReasonCode::kPacketIdentifierNotFound);
}
TEST_P(DeliveryStatements, MQTT5_3_7_2_2) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 3, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubComp, 3);
  AcksAreShort(subject, PacketType::kPubComp);
}
TEST_P(DeliveryStatements, MQTT5_3_7_2_3) {
  Subject& subject = Join(Version::k5);
  SendTo(subject, 3, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubComp, 3);
  AcksAreShort(subject, PacketType::kPubComp);
}

// ---- QoS 1 and 2, the sender

void DeliveryStatements::FreshIdentifierAndNoDup(Version version, QoS qos) {
  Subject& subject = Join(version, Kept);
  std::vector<Later<PublishResult>> open;
  for (int i = 0; i < 5; ++i) open.push_back(LeaveOpen(subject, std::to_string(i), qos));
  const auto publishes = PublishesOf(subject);
  ASSERT_EQ(publishes.size(), 5u);
  std::set<uint16_t> ids;
  for (const mqtt::Publish& publish : publishes) {
    EXPECT_FALSE(publish.dup);
    EXPECT_NE(publish.packet_id.value, 0);
    ids.insert(publish.packet_id.value);
  }
  EXPECT_THAT(ids, SizeIs(5));
  Break(subject);
  for (const auto& later : open) EXPECT_TRUE(Await(later).ok());
}
TEST_P(DeliveryStatements, MQTT5_4_3_2_1) {
  FreshIdentifierAndNoDup(Version::k5, QoS::kAtLeastOnce);
}
TEST_P(DeliveryStatements, MQTT5_4_3_2_2) {
  FreshIdentifierAndNoDup(Version::k5, QoS::kAtLeastOnce);
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_1) {
  FreshIdentifierAndNoDup(Version::k5, QoS::kExactlyOnce);
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_2) {
  FreshIdentifierAndNoDup(Version::k5, QoS::kExactlyOnce);
}

void DeliveryStatements::OpenUntilAnswered(Version version, QoS qos) {
  Subject& subject = Join(version, Kept);
  const auto open = LeaveOpen(subject, "open", qos);
  for (int i = 0; i < 3; ++i) {
    Publish(subject, "another", qos);
    EXPECT_FALSE(open->has_value());
    EXPECT_EQ(StatisticsOf(subject).in_flight, 1u);
  }
  Break(subject);
  ASSERT_TRUE(Await(open).ok());
  EXPECT_EQ(StatisticsOf(subject).in_flight, 0u);
}
TEST_P(DeliveryStatements, MQTT5_4_3_2_3) { OpenUntilAnswered(Version::k5, QoS::kAtLeastOnce); }
TEST_P(DeliveryStatements, MQTT5_4_3_3_3) { OpenUntilAnswered(Version::k5, QoS::kExactlyOnce); }
TEST_P(DeliveryStatements, MQTT311_4_3_2_1) {
  FreshIdentifierAndNoDup(Version::k311, QoS::kAtLeastOnce);
  LeaveAll();
  OpenUntilAnswered(Version::k311, QoS::kAtLeastOnce);
}

void DeliveryStatements::PubrecIsAnsweredByPubrel(Version version) {
  Subject& subject = Join(version);
  Publish(subject, "x", QoS::kExactlyOnce);
  EXPECT_EQ(IdsOf(subject, PacketType::kPubRel), OpenIds(PublishesOf(subject)));
  EXPECT_EQ(subject.tap.Sent(PacketType::kPubRel)[0]->flags, 2);
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_4) { PubrecIsAnsweredByPubrel(Version::k5); }

// And what is sent again from PUBREC on is PUBREL, never PUBLISH.
void DeliveryStatements::PubrelIsOpenUntilPubcomp(Version version) {
  Subject& subject = Join(version, Kept);
  subject.tap.Hold(PacketType::kPubComp);
  const auto open = StartPublish(subject, "x", QoS::kExactlyOnce);
  UntilHeard(subject, PacketType::kPubComp, 1);
  EXPECT_FALSE(open->has_value());
  subject.tap.StopHolding();
  Break(subject);
  ASSERT_TRUE(Await(open).ok());
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), SizeIs(1));
  const std::vector<uint16_t> released = IdsOf(subject, PacketType::kPubRel);
  ASSERT_THAT(released, SizeIs(2));
  EXPECT_EQ(released[0], released[1]);
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_5) { PubrelIsOpenUntilPubcomp(Version::k5); }
TEST_P(DeliveryStatements, MQTT5_4_3_3_6) { PubrelIsOpenUntilPubcomp(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_4_3_3_1) {
  FreshIdentifierAndNoDup(Version::k311, QoS::kExactlyOnce);
  LeaveAll();
  PubrelIsOpenUntilPubcomp(Version::k311);
}

// Two seconds go by; the message lived for one.
TEST_P(DeliveryStatements, MQTT5_4_3_3_7) {
  Subject& subject = Join(Version::k5, Kept);
  Message message = At(Own("t"), "x", QoS::kExactlyOnce);
  message.message_expiry_s = 1;
  subject.tap.Hold(PacketType::kPubRec);
  const auto open = StartPublish(subject, message);
  LetSecondsPass(2);
  subject.tap.StopHolding();
  Break(subject);
  EXPECT_TRUE(Await(open).ok());
  EXPECT_THAT(PublishesOf(subject), SizeIs(2));
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_13) {
  Subject& subject = Join(Version::k5, Kept);
  Message message = At(Own("t"), "x", QoS::kExactlyOnce);
  message.message_expiry_s = 1;
  subject.tap.Hold(PacketType::kPubComp);
  const auto open = StartPublish(subject, message);
  LetSecondsPass(2);
  subject.tap.StopHolding();
  Break(subject);
  EXPECT_TRUE(Await(open).ok());
  EXPECT_THAT(subject.tap.Sent(PacketType::kPubRel), SizeIs(2));
}

void DeliveryStatements::RefusedByServer(QoS qos) {
  Subject& subject = Join(Version::k5, Kept);
  const auto refused = Publish(subject, At("$SYS/" + Own("t"), "x", qos));
  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_EQ(refused->reason, ReasonCode::kNotAuthorized);
  EXPECT_EQ(StatisticsOf(subject).in_flight, 0u);
  Break(subject);
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), SizeIs(1)) << "it is not repeated";
  EXPECT_THAT(subject.tap.Sent(PacketType::kPubRel), IsEmpty());
}
TEST_P(DeliveryStatements, MQTT5_4_4_0_2) {
  RefusedByServer(QoS::kAtLeastOnce);
  LeaveAll();
  RefusedByServer(QoS::kExactlyOnce);
}

// A PUBREC above 0x80 that the wiretap makes of a server's own; as receiver: the identifier that
// this client never refuses with is taken for new once it is free.
TEST_P(DeliveryStatements, MQTT5_4_3_3_9) {
  Subject& subject = Join(Version::k5);
  subject.tap.Change([](const Heard& heard, std::string& frame) {
    if (heard.type == PacketType::kPubRec) {
      frame = support::Ack(support::PacketType::kPubrec,
                           static_cast<uint16_t>(static_cast<uint8_t>(heard.body[0]) << 8 |
                                                 static_cast<uint8_t>(heard.body[1])),
                           0x97);
    }
  });
  const auto refused = Publish(subject, At(Own("t"), "x", QoS::kExactlyOnce));
  ASSERT_TRUE(refused.ok());
  EXPECT_EQ(refused->reason, ReasonCode::kQuotaExceeded);
  EXPECT_EQ(StatisticsOf(subject).in_flight, 0u) << "the identifier is free";
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPubRel), IsEmpty());
}

// ---- QoS 1 and 2, the receiver

void DeliveryStatements::AReceiverOwnsQos1(Version version) {
  Subject& subject = Join(version);
  // The application has it before the acknowledgement leaves.
  size_t acknowledged = 99;
  subject.client.OnMessage([&](const ReceivedMessage& message) {
    acknowledged = subject.tap.Sent(PacketType::kPubAck).size();
    subject.got.push_back(message);
  });
  SendTo(subject, 1, QoS::kAtLeastOnce);
  EXPECT_EQ(acknowledged, 0u);
  UntilSent(subject, PacketType::kPubAck, 1);
  EXPECT_EQ(IdsOf(subject, PacketType::kPubAck), IdsFromServer(subject));
}
TEST_P(DeliveryStatements, MQTT5_4_3_2_4) { AReceiverOwnsQos1(Version::k5); }

// The server's next message goes under the last one's identifier, with DUP: the wiretap sees to it.
void DeliveryStatements::AnIdentifierIsNewAfterPuback(Version version) {
  Subject& subject = Join(version);
  SendTo(subject, 1, QoS::kAtLeastOnce);
  UntilSent(subject, PacketType::kPubAck, 1);
  const uint16_t id = IdsFromServer(subject)[0];
  subject.tap.AddBeforeNext(support::PublishPacket{
      .topic = Own("in"), .payload = "new", .qos = 1, .packet_id = id, .dup = true}
                                .Encode(Wire(version)));
  Ping(subject);
  EXPECT_THAT(subject.payloads(), ElementsAre("1", "new"));
  UntilSent(subject, PacketType::kPubAck, 2);
  EXPECT_THAT(IdsOf(subject, PacketType::kPubAck), ElementsAre(id, id));
}
TEST_P(DeliveryStatements, MQTT5_4_3_2_5) { AnIdentifierIsNewAfterPuback(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_4_3_2_2) {
  AReceiverOwnsQos1(Version::k311);
  LeaveAll();
  AnIdentifierIsNewAfterPuback(Version::k311);
}

void DeliveryStatements::AReceiverAnswersPubrec(Version version) {
  Subject& subject = Join(version);
  SendTo(subject, 3, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubRec, 3);
  EXPECT_EQ(IdsOf(subject, PacketType::kPubRec), IdsFromServer(subject));
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_8) { AReceiverAnswersPubrec(Version::k5); }

// The repeat that the wiretap makes, while the server's PUBREL is held back.
void DeliveryStatements::ARepeatOfQos2IsNoSecondDelivery(Version version) {
  Subject& subject = Join(version, Kept);
  subject.tap.Hold(PacketType::kPubRel);
  SendTo(subject, 1, QoS::kExactlyOnce);
  UntilHeard(subject, PacketType::kPubRel, 1);
  const uint16_t id = IdsFromServer(subject)[0];
  subject.tap.AddBeforeNext(support::PublishPacket{
      .topic = Own("in"), .payload = "1", .qos = 2, .packet_id = id, .dup = true}
                                .Encode(Wire(version)));
  Ping(subject);
  EXPECT_THAT(subject.payloads(), ElementsAre("1"));
  EXPECT_THAT(IdsOf(subject, PacketType::kPubRec), ElementsAre(id, id));
  subject.tap.StopHolding();
  Break(subject);  // The server sends PUBREL again.
  UntilSent(subject, PacketType::kPubComp, 1);
  EXPECT_THAT(subject.payloads(), ElementsAre("1"));
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_10) { ARepeatOfQos2IsNoSecondDelivery(Version::k5); }

void DeliveryStatements::PubrelIsAnsweredByPubcomp(Version version) {
  Subject& subject = Join(version);
  SendTo(subject, 3, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubComp, 3);
  EXPECT_EQ(IdsOf(subject, PacketType::kPubComp), IdsFromServer(subject));
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_11) { PubrelIsAnsweredByPubcomp(Version::k5); }

void DeliveryStatements::AnIdentifierIsNewAfterPubcomp(Version version) {
  Subject& subject = Join(version);
  SendTo(subject, 1, QoS::kExactlyOnce);
  UntilSent(subject, PacketType::kPubComp, 1);
  subject.tap.AddBeforeNext(support::PublishPacket{.topic = Own("in"),
                                                   .payload = "new",
                                                   .qos = 2,
                                                   .packet_id = IdsFromServer(subject)[0],
                                                   .dup = true}
                                .Encode(Wire(version)));
  Ping(subject);
  EXPECT_THAT(subject.payloads(), ElementsAre("1", "new"));
}
TEST_P(DeliveryStatements, MQTT5_4_3_3_12) { AnIdentifierIsNewAfterPubcomp(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_4_3_3_2) {
  ARepeatOfQos2IsNoSecondDelivery(Version::k311);
  LeaveAll();
  AnIdentifierIsNewAfterPubcomp(Version::k311);
}

// ---- Sent again

// And only then: while the connection stands, nothing is.
void DeliveryStatements::ResendsOnResumingOnly(Version version) {
  Subject& subject = Join(version, Kept);
  const auto first = LeaveOpen(subject, "publish", QoS::kAtLeastOnce);
  subject.tap.Hold(PacketType::kPubComp);
  const auto second = StartPublish(subject, "pubrel", QoS::kExactlyOnce);
  UntilHeard(subject, PacketType::kPubComp, 1);
  LetSecondsPass(2);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), SizeIs(2));
  EXPECT_THAT(subject.tap.Sent(PacketType::kPubRel), SizeIs(1));
  subject.tap.StopHolding();
  Break(subject);
  EXPECT_TRUE(Await(first).ok() && Await(second).ok());
  const auto publishes = PublishesOf(subject);
  ASSERT_EQ(publishes.size(), 3u);
  EXPECT_EQ(publishes[2].payload, "publish");
  EXPECT_EQ(publishes[2].packet_id, publishes[0].packet_id);
  EXPECT_THAT(IdsOf(subject, PacketType::kPubRel),
              ElementsAre(publishes[1].packet_id.value, publishes[1].packet_id.value));
}
TEST_P(DeliveryStatements, MQTT5_4_4_0_1) { ResendsOnResumingOnly(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_4_4_0_1) { ResendsOnResumingOnly(Version::k311); }

void DeliveryStatements::ResendsInOrder(Version version) {
  Subject& subject = Join(version, Kept);
  subject.tap.Hold(PacketType::kPubAck);
  subject.tap.Hold(PacketType::kPubRec);
  std::vector<Later<PublishResult>> open;
  for (int i = 0; i < 10; ++i) {
    open.push_back(StartPublish(subject, std::to_string(i),
                                i % 3 == 0 ? QoS::kExactlyOnce : QoS::kAtLeastOnce));
  }
  UntilHeard(subject, PacketType::kPubAck, 6);
  subject.tap.StopHolding();
  Break(subject);
  for (const auto& later : open) ASSERT_TRUE(Await(later).ok());
  std::vector<std::string> sent;
  for (const auto& publish : PublishesOf(subject)) sent.emplace_back(publish.payload);
  EXPECT_THAT(sent, ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "1", "2",
                                "3", "4", "5", "6", "7", "8", "9"));
}
TEST_P(DeliveryStatements, MQTT5_4_6_0_1) { ResendsInOrder(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_4_6_0_1) { ResendsInOrder(Version::k311); }

// ---- What comes

// The server sends what a subscription asked for that the application has no handler for.
void DeliveryStatements::AcknowledgesWhateverComes(Version version) {
  Subject& subject = Join(version);
  subject.client.OnMessage(nullptr);
  Subscribe(subject, Own("in"), QoS::kExactlyOnce);
  Subject& talker = Talker();
  ASSERT_TRUE(Publish(talker, At(Own("in"), "1", QoS::kAtLeastOnce)).ok());
  ASSERT_TRUE(Publish(talker, At(Own("in"), "2", QoS::kExactlyOnce)).ok());
  UntilSent(subject, PacketType::kPubAck, 1);
  UntilSent(subject, PacketType::kPubComp, 1);
  EXPECT_THAT(subject.got, IsEmpty());
}
TEST_P(DeliveryStatements, MQTT5_4_5_0_2) { AcknowledgesWhateverComes(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_4_5_0_2) { AcknowledgesWhateverComes(Version::k311); }

// Also where the application is done with them in another order.
void DeliveryStatements::AcknowledgesInOrder(Version version, QoS qos) {
  const PacketType type = FirstAnswerOf(qos);
  Subject& subject = Join(version);
  SendTo(subject, 15, qos);
  UntilSent(subject, type, 15);
  EXPECT_EQ(IdsOf(subject, type), IdsFromServer(subject));
  Subject& manual = Join(
      version, [](Options& options) { options.session.manual_acknowledgement = true; }, "manual");
  Subscribe(manual, Own("t"), qos);
  Subject& talker = Talker();
  for (int i = 0; i < 5; ++i) StartPublish(talker, std::to_string(i), qos);
  Until([&] { return manual.got.size() == 5; });
  for (const size_t i : {4u, 2u, 0u, 3u, 1u}) manual.client.Acknowledge(manual.got[i]);
  UntilSent(manual, type, 5);
  EXPECT_EQ(IdsOf(manual, type), IdsFromServer(manual));
}
TEST_P(DeliveryStatements, MQTT5_4_6_0_2) { AcknowledgesInOrder(Version::k5, QoS::kAtLeastOnce); }
TEST_P(DeliveryStatements, MQTT5_4_6_0_3) { AcknowledgesInOrder(Version::k5, QoS::kExactlyOnce); }
TEST_P(DeliveryStatements, MQTT311_4_6_0_2) {
  AcknowledgesInOrder(Version::k311, QoS::kAtLeastOnce);
}
TEST_P(DeliveryStatements, MQTT311_4_6_0_3) {
  AcknowledgesInOrder(Version::k311, QoS::kExactlyOnce);
}

void DeliveryStatements::ReleasesInOrder(Version version) {
  Subject& subject = Join(version);
  std::vector<Later<PublishResult>> open;
  for (int i = 0; i < 20; ++i) {
    open.push_back(StartPublish(subject, std::to_string(i), QoS::kExactlyOnce));
  }
  for (const auto& later : open) ASSERT_TRUE(Await(later).ok());
  std::vector<uint16_t> received;
  for (const Heard* heard : subject.tap.Received(PacketType::kPubRec)) {
    received.push_back(AckOf(subject, *heard).packet_id.value);
  }
  EXPECT_EQ(IdsOf(subject, PacketType::kPubRel), received);
}
TEST_P(DeliveryStatements, MQTT5_4_6_0_4) { ReleasesInOrder(Version::k5); }
TEST_P(DeliveryStatements, MQTT311_4_6_0_4) { ReleasesInOrder(Version::k311); }

}  // namespace
}  // namespace mqttd::client
