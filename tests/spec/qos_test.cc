// §2.2.1 Packet Identifiers, §4.3 QoS levels, §4.4 redelivery, §4.6 order.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;

// §2.2.1, §2.3.1: identifiers the server assigns are not zero and free while in use.
void AssignsFreeIdentifiers(Version version, unsigned qos) {
  const std::string topic = Unique("t");
  RawClient subscriber = Join(version, "subscriber");
  RawClient publisher = Join(version, "publisher");
  subscriber.Subscribe({{topic, qos}});
  std::set<uint16_t> open;
  for (int i = 0; i < 20; ++i) {
    publisher.Publish({.topic = topic, .payload = std::to_string(i), .qos = qos});
    const Packet packet = subscriber.ExpectPublish(topic, std::to_string(i));
    EXPECT_NE(packet.packet_id, 0);
    EXPECT_FALSE(packet.dup());
    EXPECT_EQ(packet.qos(), qos);
    EXPECT_TRUE(open.insert(packet.packet_id).second) << packet.packet_id << " is still open";
  }
}
TEST(Spec, MQTT5_2_2_1_4) { AssignsFreeIdentifiers(kV5, 1); }
TEST(Spec, MQTT5_4_3_2_1) { AssignsFreeIdentifiers(kV5, 1); }
TEST(Spec, MQTT5_4_3_2_2) { AssignsFreeIdentifiers(kV5, 1); }
TEST(Spec, MQTT5_4_3_3_1) { AssignsFreeIdentifiers(kV5, 2); }
TEST(Spec, MQTT5_4_3_3_2) { AssignsFreeIdentifiers(kV5, 2); }

// An identifier is used again only after its acknowledgement, and a copy sent again has its first
// one.
void ResendsUnderTheSameIdentifier(Version version, unsigned qos) {
  const std::string topic = Unique("t");
  RawClient publisher = Join(version, "publisher");
  std::vector<uint16_t> ids;
  {
    RawClient subscriber = Join(Durable(version, "subscriber"));
    subscriber.Subscribe({{topic, qos}});
    for (int i = 0; i < 5; ++i) {
      publisher.Publish({.topic = topic, .payload = std::to_string(i), .qos = qos});
      const Packet packet = subscriber.ExpectPublish(topic, std::to_string(i));
      EXPECT_FALSE(packet.dup());
      ids.push_back(packet.packet_id);
    }
    EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), 5U);
    subscriber.socket().Reset();
  }
  RawClient subscriber = Join(Durable(version, "subscriber"));
  EXPECT_TRUE(subscriber.connack().session_present());
  for (size_t i = 0; i < 5; ++i) {
    const Packet packet = subscriber.ExpectPublish(topic, std::to_string(i));
    EXPECT_TRUE(packet.dup());
    EXPECT_EQ(packet.packet_id, ids[i]);
    subscriber.Acknowledge(packet);
  }
  subscriber.ExpectNothing();
}
TEST(Spec, MQTT311_2_3_1_4) { ResendsUnderTheSameIdentifier(kV311, 1); }
TEST(Spec, MQTT5_3_3_1_1) { ResendsUnderTheSameIdentifier(kV5, 1); }
TEST(Spec, MQTT311_3_3_1_1) { ResendsUnderTheSameIdentifier(kV311, 2); }
TEST(Spec, MQTT5_4_3_2_3) { ResendsUnderTheSameIdentifier(kV5, 1); }
TEST(Spec, MQTT5_4_3_3_3) { ResendsUnderTheSameIdentifier(kV5, 2); }
TEST(Spec, MQTT311_4_3_2_1) {
  AssignsFreeIdentifiers(kV311, 1);
  ResendsUnderTheSameIdentifier(kV311, 1);
}
// The order of the first sending is kept, also with some acknowledged in between.
TEST(Spec, MQTT311_4_6_0_1) { ResendsUnderTheSameIdentifier(kV311, 2); }

// Nothing is sent again while the connection lives: not for time, not for other acknowledgements.
TEST(Spec, MQTT5_4_4_0_1) {
  ResendsUnderTheSameIdentifier(kV5, 2);
  const std::string topic = Unique("other");
  RawClient publisher = Join(kV5, "publisher");
  RawClient subscriber = Join(kV5, "stays");
  subscriber.Subscribe({{topic, 1}});
  for (const char* payload : {"1", "2", "3"})
    publisher.Publish({.topic = topic, .payload = payload, .qos = 1});
  subscriber.ExpectPublish(topic, "1");
  subscriber.Acknowledge(subscriber.ExpectPublish(topic, "2"));
  subscriber.ExpectPublish(topic, "3");
  ExpectEnd(publisher, subscriber, topic, 1);
  subscriber.ExpectNothing();
}

// §2.2.1: acknowledgements in both directions name the PUBLISH they belong to, whatever the
// identifier.
void AcknowledgesByIdentifier(Version version) {
  RawClient client = Join(version, "client");
  const std::string topic = Unique("t");
  for (const int number : {1, 255, 256, 32768, 65535}) {
    const auto id = static_cast<uint16_t>(number);
    client.Send(PublishPacket{.topic = topic, .qos = 1, .packet_id = id});
    EXPECT_EQ(client.Expect(kPuback).packet_id, id);
    client.Send(PublishPacket{.topic = topic, .qos = 2, .packet_id = id});
    EXPECT_EQ(client.Expect(kPubrec).packet_id, id);
    client.Send(Ack(kPubrel, id));
    client.ExpectAck(kPubcomp, id);
  }
  client.Subscribe({{topic, 2}});
  client.Publish({.topic = topic, .qos = 2});
  const Packet packet = client.Expect(kPublish);
  client.Send(Ack(kPubrec, packet.packet_id));
  client.ExpectAck(kPubrel, packet.packet_id);
}
TEST(Spec, MQTT5_2_2_1_5) { AcknowledgesByIdentifier(kV5); }
TEST(Spec, MQTT311_2_3_1_6) { AcknowledgesByIdentifier(kV311); }
TEST(Spec, MQTT5_3_3_4_1) { AcknowledgesByIdentifier(kV5); }
TEST(Spec, MQTT311_3_3_4_1) { AcknowledgesByIdentifier(kV311); }
TEST(Spec, MQTT5_4_3_3_4) { AcknowledgesByIdentifier(kV5); }
TEST(Spec, MQTT5_4_3_3_8) { AcknowledgesByIdentifier(kV5); }
TEST(Spec, MQTT5_4_3_3_11) { AcknowledgesByIdentifier(kV5); }

void SubackAndUnsubackByIdentifier(Version version) {
  RawClient client = Join(version, "client");
  for (const int number : {1, 256, 65535}) {
    const auto id = static_cast<uint16_t>(number);
    client.Send(support::Subscribe(version, id, {{Unique("t"), 0}}));
    client.ExpectAck(kSuback, id);
    client.Send(support::Unsubscribe(version, id, {Unique("t")}));
    client.ExpectAck(kUnsuback, id);
  }
}
TEST(Spec, MQTT5_2_2_1_6) { SubackAndUnsubackByIdentifier(kV5); }
TEST(Spec, MQTT311_2_3_1_7) { SubackAndUnsubackByIdentifier(kV311); }

// QoS 0 towards a subscriber: no identifier, DUP 0; the packet has not one byte more.
void SendsQos0Bare(Version version) {
  RawClient client = Join(version, "client");
  const std::string topic = Unique("t");
  client.Subscribe({{topic, 0}});
  client.Publish({.topic = topic, .payload = "x", .qos = 2});
  const Packet packet = client.ExpectPublish(topic, "x");
  EXPECT_EQ(packet.flags, 0);
  EXPECT_EQ(packet.bytes, 2 + 2 + topic.size() + (version == kV5 ? 1 : 0) + 1);
}
TEST(Spec, MQTT5_2_2_1_2) { SendsQos0Bare(kV5); }
TEST(Spec, MQTT311_2_3_1_5) { SendsQos0Bare(kV311); }

// §3.3.1.1: DUP of the publisher is not passed on.
void DupIsNotPassedOn(Version version) {
  RawClient publisher = Join(version, "publisher");
  RawClient subscriber = Join(version, "subscriber");
  const std::string topic = Unique("t");
  subscriber.Subscribe({{topic, 2}});
  for (const unsigned qos : {1U, 2U}) {
    publisher.Send(
        PublishPacket{.topic = topic, .payload = "x", .qos = qos, .packet_id = 7, .dup = true});
    publisher.ExpectAck(qos == 1 ? kPuback : kPubrec, 7);
    if (qos == 2) publisher.Send(Ack(kPubrel, 7));
    const Packet packet = subscriber.ExpectPublish(topic, "x");
    EXPECT_FALSE(packet.dup());
    EXPECT_EQ(packet.qos(), qos);
  }
}
TEST(Spec, MQTT5_3_3_1_3) { DupIsNotPassedOn(kV5); }
TEST(Spec, MQTT311_3_3_1_3) { DupIsNotPassedOn(kV311); }

// §4.3.2: after PUBACK the identifier is free, and DUP does not make the next message a repeat.
void AfterPubackTheIdentifierIsNew(Version version) {
  RawClient publisher = Join(version, "publisher");
  RawClient subscriber = Join(version, "subscriber");
  const std::string topic = Unique("t");
  subscriber.Subscribe({{topic, 1}});
  for (const bool dup : {false, true, true}) {
    publisher.Send(
        PublishPacket{.topic = topic, .payload = "x", .qos = 1, .packet_id = 9, .dup = dup});
    publisher.ExpectAck(kPuback, 9);
    subscriber.Acknowledge(subscriber.ExpectPublish(topic, "x"));
  }
  subscriber.ExpectNothing();
}
TEST(Spec, MQTT5_4_3_2_4) { AfterPubackTheIdentifierIsNew(kV5); }
TEST(Spec, MQTT5_4_3_2_5) { AfterPubackTheIdentifierIsNew(kV5); }
TEST(Spec, MQTT311_4_3_2_2) { AfterPubackTheIdentifierIsNew(kV311); }

// §4.3.3, receiver: PUBLISH repeated before PUBREL gets PUBREC and is delivered once, on the same
// connection and, for a session that stays, on the next.
void Qos2OnceUntilPubrel(Version version) {
  RawClient subscriber = Join(version, "subscriber");
  const std::string topic = Unique("t");
  subscriber.Subscribe({{topic, 2}});
  const PublishPacket first{.topic = topic, .payload = "first", .qos = 2, .packet_id = 5};
  PublishPacket repeat = first;
  repeat.dup = true;
  {
    RawClient publisher = Join(Durable(version, "publisher"));
    publisher.Send(first);
    publisher.ExpectAck(kPubrec, 5);
    publisher.Send(repeat);
    publisher.ExpectAck(kPubrec, 5);
    publisher.socket().Reset();
  }
  RawClient publisher = Join(Durable(version, "publisher"));
  publisher.Send(repeat);
  publisher.ExpectAck(kPubrec, 5);
  publisher.Send(Ack(kPubrel, 5));
  publisher.ExpectAck(kPubcomp, 5);
  subscriber.Acknowledge(subscriber.ExpectPublish(topic, "first"));
  // The identifier is new again, whatever DUP says.
  publisher.Send(
      PublishPacket{.topic = topic, .payload = "second", .qos = 2, .packet_id = 5, .dup = true});
  publisher.ExpectAck(kPubrec, 5);
  publisher.Send(Ack(kPubrel, 5));
  publisher.ExpectAck(kPubcomp, 5);
  subscriber.Acknowledge(subscriber.ExpectPublish(topic, "second"));
  ExpectEnd(publisher, subscriber, topic, 2);
}
TEST(Spec, MQTT5_4_3_3_10) { Qos2OnceUntilPubrel(kV5); }
TEST(Spec, MQTT5_4_3_3_12) { Qos2OnceUntilPubrel(kV5); }
TEST(Spec, MQTT311_4_3_3_2) { Qos2OnceUntilPubrel(kV311); }

// §4.3.3, sender: each half of the exchange is open until answered, and PUBLISH is not repeated
// after PUBREC.
void ResendsPubrelUntilPubcomp(Version version) {
  RawClient publisher = Join(version, "publisher");
  const std::string topic = Unique("t");
  uint16_t id = 0;
  {
    RawClient subscriber = Join(Durable(version, "subscriber"));
    subscriber.Subscribe({{topic, 2}});
    publisher.Publish({.topic = topic, .payload = "x", .qos = 2});
    id = subscriber.ExpectPublish(topic, "x").packet_id;
    subscriber.Send(Ack(kPubrec, id));
    subscriber.ExpectAck(kPubrel, id);
    subscriber.socket().Reset();
  }
  for (int i = 0; i < 2; ++i) {
    RawClient subscriber = Join(Durable(version, "subscriber"));
    subscriber.ExpectAck(kPubrel, id);  // And not the PUBLISH.
    subscriber.ExpectNothing();
    subscriber.socket().Reset();
  }
  {
    RawClient subscriber = Join(Durable(version, "subscriber"));
    subscriber.ExpectAck(kPubrel, id);
    subscriber.Send(Ack(kPubcomp, id));
    ExpectEnd(publisher, subscriber, topic, 2);
    subscriber.Disconnect();
  }
  Join(Durable(version, "subscriber")).ExpectNothing();
}
TEST(Spec, MQTT5_4_3_3_5) { ResendsPubrelUntilPubcomp(kV5); }
TEST(Spec, MQTT5_4_3_3_6) { ResendsPubrelUntilPubcomp(kV5); }
TEST(Spec, MQTT311_4_3_3_1) {
  AssignsFreeIdentifiers(kV311, 2);
  ResendsUnderTheSameIdentifier(kV311, 2);
  ResendsPubrelUntilPubcomp(kV311);
}
TEST(Spec, MQTT311_4_4_0_1) {
  ResendsUnderTheSameIdentifier(kV311, 1);
  ResendsPubrelUntilPubcomp(kV311);
}

// PUBREC in another order than PUBLISH: PUBRELs follow the PUBRECs.
TEST(Spec, MQTT311_4_6_0_4) {
  RawClient publisher = Join(kV311, "publisher");
  RawClient subscriber = Join(kV311, "subscriber");
  const std::string topic = Unique("t");
  subscriber.Subscribe({{topic, 2}});
  std::vector<uint16_t> ids;
  for (int i = 0; i < 4; ++i) {
    publisher.Publish({.topic = topic, .payload = "x", .qos = 2});
    ids.push_back(subscriber.ExpectPublish(topic, "x").packet_id);
  }
  std::string recs;
  for (const size_t i : {2, 0, 3, 1}) recs += Ack(kPubrec, ids[i]);
  subscriber.Send(recs);
  for (const size_t i : {2, 0, 3, 1}) subscriber.ExpectAck(kPubrel, ids[i]);
}

// §4.3.3 [MQTT5-4.3.3-9]: 0x97 or 0x87 in PUBREC leaves the identifier free; the next PUBLISH with
// it is a new message. A PUBREC from a client that refuses ends the delivery.
void RefusedDeliveryIsDone(unsigned qos) {
  RawClient publisher = Join(kV5, "publisher");
  const std::string topic = Unique("t");
  {
    RawClient subscriber = Join(Durable(kV5, "subscriber"));
    subscriber.Subscribe({{topic, qos}});
    publisher.Publish({.topic = topic, .payload = "refused", .qos = qos});
    const Packet packet = subscriber.ExpectPublish(topic, "refused");
    subscriber.Send(Ack(qos == 1 ? kPuback : kPubrec, packet.packet_id, 0x83));
    ExpectEnd(publisher, subscriber, topic, qos);  // No PUBREL comes.
    subscriber.Disconnect();
  }
  RawClient subscriber = Join(Durable(kV5, "subscriber"));
  EXPECT_TRUE(subscriber.connack().session_present());
  subscriber.ExpectNothing();
}
TEST(Spec, MQTT5_4_4_0_2) {
  RefusedDeliveryIsDone(1);
  RefusedDeliveryIsDone(2);
}

// §4.6 Order of one publisher's messages, by topic and QoS, with others between.
void KeepsOrder(Version version, bool durable) {
  RawClient publisher = Join(version, "publisher");
  RawClient subscriber =
      Join(durable ? Durable(version, "subscriber") : Transient(version, "subscriber"));
  subscriber.Subscribe({{Unique("t/#"), 2}});
  std::string bytes;
  for (uint16_t i = 1; i <= 20; ++i) {
    for (const unsigned qos : {0U, 1U, 2U}) {
      bytes += PublishPacket{.topic = Unique("t/") + std::to_string(i % 2),
                             .payload = std::to_string(i),
                             .qos = qos,
                             .packet_id = static_cast<uint16_t>(i * 3 + qos)}
                   .Encode(version);
    }
  }
  publisher.Send(bytes);
  for (int answers = 0; answers < 60; ++answers) {  // 20 PUBACK, PUBREC and PUBCOMP.
    const Packet answer = publisher.Read().value();
    if (answer.type == kPubrec) publisher.Send(Ack(kPubrel, answer.packet_id));
  }
  std::map<std::pair<std::string, unsigned>, int> last;
  int received = 0;
  while (received < 60) {
    const Packet packet = subscriber.Read().value();
    if (packet.type == kPubrel) {
      subscriber.Send(Ack(kPubcomp, packet.packet_id));
      continue;
    }
    ++received;
    if (packet.qos() > 0)
      subscriber.Send(Ack(packet.qos() == 1 ? kPuback : kPubrec, packet.packet_id));
    int& before = last[{packet.topic, packet.qos()}];
    const int number = std::stoi(packet.payload);
    EXPECT_GT(number, before);
    before = number;
  }
  EXPECT_EQ(last.size(), 6U);
}
TEST(Spec, MQTT5_4_6_0_5) { KeepsOrder(kV5, false); }
TEST(Spec, MQTT5_4_6_0_6) { KeepsOrder(kV5, true); }
TEST(Spec, MQTT311_4_6_0_5) { KeepsOrder(kV311, false); }
TEST(Spec, MQTT311_4_6_0_6) { KeepsOrder(kV311, true); }

// §4.3.3: expiry does not touch an exchange that has begun.
TEST(Spec, MQTT5_4_3_3_7) {
  RawClient publisher = Join(kV5, "publisher");
  const std::string topic = Unique("t");
  uint16_t id = 0;
  {
    RawClient subscriber = Join(Durable(kV5, "subscriber"));
    subscriber.Subscribe({{topic, 2}});
    publisher.Publish({.topic = topic,
                       .payload = "x",
                       .qos = 2,
                       .properties = Number(kMessageExpiryInterval, 1)});
    id = subscriber.ExpectPublish(topic, "x").packet_id;
    subscriber.socket().Reset();
  }
  PassSeconds(2);
  RawClient subscriber = Join(Durable(kV5, "subscriber"));
  const Packet again = subscriber.ExpectPublish(topic, "x");
  EXPECT_EQ(again.packet_id, id);
  EXPECT_TRUE(again.dup());
  subscriber.Acknowledge(again);
}

// The receiver's half: the message has expired by the time of PUBREL, and PUBCOMP comes all the
// same.
TEST(Spec, MQTT5_4_3_3_13) {
  RawClient publisher = Join(kV5, "publisher");
  publisher.Send(PublishPacket{.topic = Unique("t"),
                               .payload = "x",
                               .qos = 2,
                               .packet_id = 3,
                               .properties = Number(kMessageExpiryInterval, 1)});
  EXPECT_LT(publisher.Expect(kPubrec).reason, 0x80);
  PassSeconds(2);
  publisher.Send(Ack(kPubrel, 3));
  publisher.ExpectAck(kPubcomp, 3);
}

}  // namespace
}  // namespace spec
