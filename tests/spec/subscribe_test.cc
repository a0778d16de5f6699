// §3.8 SUBSCRIBE, §3.9 SUBACK, §3.10 UNSUBSCRIBE, §3.11 UNSUBACK.
#include <set>
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;
using testing::ElementsAre;

// Each filter of one packet is answered, in order, in one packet with the identifier of the
// request.
void AnswersEachFilterInOrder(Version version) {
  RawClient client = Join(version, "client");
  client.Send(support::Subscribe(
      version, 77, {{Unique("a"), 2}, {Unique("b"), 0}, {Unique("#"), 1}, {Unique("a"), 1}}));
  const Packet suback = client.Expect(kSuback);
  EXPECT_EQ(suback.packet_id, 77);
  EXPECT_THAT(suback.reasons, ElementsAre(2, 0, 1, 1));
  client.ExpectNothing();
}
TEST(Spec, MQTT5_3_8_4_1) { AnswersEachFilterInOrder(kV5); }
TEST(Spec, MQTT5_3_8_4_2) { AnswersEachFilterInOrder(kV5); }
TEST(Spec, MQTT5_3_8_4_6) { AnswersEachFilterInOrder(kV5); }
TEST(Spec, MQTT5_3_9_3_1) { AnswersEachFilterInOrder(kV5); }
TEST(Spec, MQTT311_3_8_4_1) { AnswersEachFilterInOrder(kV311); }
TEST(Spec, MQTT311_3_8_4_2) { AnswersEachFilterInOrder(kV311); }
TEST(Spec, MQTT311_3_9_3_1) { AnswersEachFilterInOrder(kV311); }

// Several filters in one packet are as good as several packets: all deliver, the last of two equal
// ones holds.
void SeveralFiltersAreSeveralRequests(Version version) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(version, "client") : Transient(version, "client"));
    RawClient publisher = Join(version, "publisher");
    client.Subscribe({{Unique("a"), 0}, {Unique("b"), 1}, {Unique("a"), 2}});
    for (const char* name : {"a", "b"})
      publisher.Publish({.topic = Unique(name), .payload = "x", .qos = 2});
    std::vector<unsigned> qos(2);
    for (int received = 0; received < 2;) {
      const Packet packet = *client.Read();
      if (packet.type != kPublish) continue;
      ++received;
      qos[packet.topic == Unique("a") ? 0 : 1] = packet.qos();
      client.Send(Ack(packet.qos() == 1 ? kPuback : kPubrec, packet.packet_id));
    }
    EXPECT_THAT(qos, ElementsAre(2U, 1U));
    client.Send(support::Disconnect(version));
  }
}
TEST(Spec, MQTT5_3_8_4_5) { SeveralFiltersAreSeveralRequests(kV5); }
TEST(Spec, MQTT311_3_8_4_4) { SeveralFiltersAreSeveralRequests(kV311); }

// The granted QoS is never above the one asked for, and what was granted is what is delivered.
void GrantsAQos(Version version) {
  RawClient client = Join(version, "client");
  RawClient publisher = Join(version, "publisher");
  for (const unsigned asked : {0U, 1U, 2U}) {
    const std::string topic = Unique(std::to_string(asked));
    client.Send(support::Subscribe(version, 5, {{topic, asked}}));
    const Packet suback = client.ExpectAck(kSuback, 5);
    ASSERT_EQ(suback.reasons.size(), 1U);
    EXPECT_LE(suback.reasons[0], asked);
    publisher.Publish({.topic = topic, .payload = "x", .qos = 2});
    const Packet packet = client.ExpectPublish(topic, "x");
    EXPECT_EQ(packet.qos(), suback.reasons[0]);
    client.Acknowledge(packet);
  }
}
TEST(Spec, MQTT5_3_8_4_7) { GrantsAQos(kV5); }
TEST(Spec, MQTT311_3_8_4_5) { GrantsAQos(kV311); }

// The lower of published and granted QoS, for every pair.
void DeliversTheLowerQos(Version version) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(version, "client") : Transient(version, "client"));
    RawClient publisher = Join(version, "publisher");
    for (const unsigned granted : {0U, 1U, 2U}) {
      const std::string topic = Unique(std::to_string(granted));
      client.Subscribe({{topic, granted}});
      for (const unsigned published : {0U, 1U, 2U}) {
        publisher.Publish({.topic = topic, .payload = "x", .qos = published});
        const Packet packet = client.ExpectPublish(topic, "x");
        EXPECT_EQ(packet.qos(), std::min(granted, published));
        client.Acknowledge(packet);
      }
    }
    client.Disconnect();
  }
}
TEST(Spec, MQTT5_3_8_4_8) { DeliversTheLowerQos(kV5); }
TEST(Spec, MQTT311_3_8_4_6) { DeliversTheLowerQos(kV311); }

// The same filter again replaces the options: one copy, at the new QoS.
void Replaces(Version version) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(version, "client") : Transient(version, "client"));
    RawClient publisher = Join(version, "publisher");
    const std::string topic = Unique("t");
    client.Subscribe({{topic, 2}});
    client.Subscribe({{topic, 1}});
    publisher.Publish({.topic = topic, .payload = "x", .qos = 2});
    const Packet packet = client.ExpectPublish(topic, "x");
    EXPECT_EQ(packet.qos(), 1U);
    client.Acknowledge(packet);
    ExpectEnd(publisher, client, topic, 2);
    client.Disconnect();
  }
}
TEST(Spec, MQTT5_3_8_4_3) { Replaces(kV5); }

// Replacing sends retained messages again, and a stream of messages across it arrives whole.
void ReplacingLosesNothing(Version version) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(version, "client") : Transient(version, "client"));
    RawClient publisher = Join(version, "publisher");
    const std::string topic = Unique("t");
    const std::string kept = Unique("t/kept");
    publisher.Publish({.topic = kept, .payload = "retained", .qos = 1, .retain = true});
    client.Subscribe({{Unique("t/#"), 1}});
    client.Acknowledge(client.ExpectPublish(kept, "retained"));
    for (uint16_t i = 1; i <= 50; ++i) {
      publisher.Send(
          PublishPacket{.topic = topic, .payload = std::to_string(i), .qos = 1, .packet_id = i});
      if (i == 25) client.Send(support::Subscribe(version, 9, {{Unique("t/#"), 1}}));
    }
    int next = 1;
    int retained = 0;
    bool suback = false;
    while (next <= 50 || retained < 1 || !suback) {
      const Packet packet = *client.Read();
      if (packet.type == kSuback) {
        suback = true;
        continue;
      }
      ASSERT_EQ(packet.type, kPublish) << packet.ToString();
      client.Acknowledge(packet);
      if (packet.topic == kept) {
        ++retained;
      } else {
        EXPECT_EQ(packet.payload, std::to_string(next++));
      }
    }
    EXPECT_EQ(retained, 1);
    client.Disconnect();
  }
}
TEST(Spec, MQTT5_3_8_4_4) { ReplacingLosesNothing(kV5); }
TEST(Spec, MQTT311_3_8_4_3) {
  Replaces(kV311);
  ReplacingLosesNothing(kV311);
}

// §3.9.3: codes that mean something. 5.0 has more than the four of 3.1.1.
TEST(Spec, MQTT311_3_9_3_2) {
  RawClient client = Join(kV311, "client");
  client.Send(support::Subscribe(
      kV311, 1,
      {{Unique("a"), 0}, {Unique("b"), 1}, {Unique("c"), 2}, {"$share/g/" + Unique("d"), 1}}));
  for (const uint8_t code : client.ExpectAck(kSuback, 1).reasons) {
    EXPECT_TRUE(code <= 2 || code == 0x80) << unsigned{code};
  }
}
TEST(Spec, MQTT5_3_9_3_2) {
  RawClient client = Join(kV5, "client");
  client.Send(support::Subscribe(
      kV5, 1,
      {{Unique("a"), 0}, {Unique("b"), 1}, {Unique("c"), 2}, {"$share/g/" + Unique("d"), 1}}));
  const std::set<unsigned> codes = {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2};
  const Packet suback = client.ExpectAck(kSuback, 1);
  EXPECT_EQ(suback.reasons.size(), 4U);
  for (const uint8_t code : suback.reasons) EXPECT_TRUE(codes.contains(code)) << unsigned{code};
}

// §3.8.3.1 No Local.
TEST(Spec, MQTT5_3_8_3_3) {
  for (const bool durable : {false, true}) {
    const ConnectPacket connect = durable ? Durable(kV5, "client") : Transient(kV5, "client");
    RawClient client = Join(connect);
    RawClient other = Join(kV5, "other");
    const std::string topic = Unique("t");
    client.Subscribe({{topic, 2 | kNoLocal}});
    for (const unsigned qos : {0U, 1U, 2U}) {
      client.Publish({.topic = topic, .payload = "own", .qos = qos});
      other.Publish({.topic = topic, .payload = "other", .qos = qos});
      client.Acknowledge(client.ExpectPublish(topic, "other"));
    }
    client.Disconnect();
    if (!durable) continue;
    // It goes by Client Identifier, not by connection.
    RawClient back = Join(connect);
    back.Publish({.topic = topic, .payload = "own", .qos = 1});
    ExpectEnd(other, back, topic, 1);
    back.Disconnect();
  }
}

// §3.10 UNSUBSCRIBE.

// Only the filter that is the same byte by byte goes.
void UnsubscribesTheSameFilterOnly(Version version) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(version, "client") : Transient(version, "client"));
    RawClient publisher = Join(version, "publisher");
    client.Subscribe({{Unique("t/+"), 0}, {Unique("u/a"), 0}});
    client.Unsubscribe(
        {Unique("t/#"), Unique("t/a"), Unique("u/A"), Unique("u/a/"), Unique("u/+")});
    for (const char* name : {"t/a", "u/a"}) {
      publisher.Publish({.topic = Unique(name), .payload = "both"});
      client.ExpectPublish(Unique(name), "both");
    }
    client.Unsubscribe({Unique("t/+")});
    publisher.Publish({.topic = Unique("t/a"), .payload = "no"});
    publisher.Publish({.topic = Unique("u/a"), .payload = "one"});
    client.ExpectPublish(Unique("u/a"), "one");
    client.Disconnect();
  }
}
TEST(Spec, MQTT5_3_10_4_1) { UnsubscribesTheSameFilterOnly(kV5); }
TEST(Spec, MQTT311_3_10_4_1) { UnsubscribesTheSameFilterOnly(kV311); }

void StopsAfterUnsubscribe(Version version) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(version, "client") : Transient(version, "client"));
    RawClient publisher = Join(version, "publisher");
    client.Subscribe({{Unique("t"), 2}, {Unique("end"), 2}});
    client.Unsubscribe({Unique("t")});
    for (const unsigned qos : {0U, 1U, 2U}) {
      publisher.Publish({.topic = Unique("t"), .payload = "no", .qos = qos});
      ExpectEnd(publisher, client, Unique("end"), qos);
    }
    // From when it is received on, not from UNSUBACK on.
    for (const unsigned qos : {0U, 1U, 2U}) {
      client.Subscribe({{Unique("t"), 2}});
      const PublishPacket publish{
          .topic = Unique("t"), .payload = "no", .qos = qos, .packet_id = 2};
      client.Send(support::Unsubscribe(version, 1, {Unique("t")}) + publish.Encode(version));
      client.ExpectAck(PacketType::kUnsuback, 1);
      if (qos != 0) client.Expect(qos == 1 ? PacketType::kPuback : PacketType::kPubrec);
      if (qos == 2) client.Send(Ack(PacketType::kPubrel, 2)).ExpectAck(PacketType::kPubcomp, 2);
      ExpectEnd(publisher, client, Unique("end"), qos);
    }
    client.Disconnect();
  }
}
TEST(Spec, MQTT5_3_10_4_2) { StopsAfterUnsubscribe(kV5); }
TEST(Spec, MQTT311_3_10_4_2) { StopsAfterUnsubscribe(kV311); }

// Deliveries that began are completed: QoS 2 goes on to PUBCOMP, and both are sent again after a
// reconnect.
void CompletesWhatItBegan(Version version) {
  const std::string topic = Unique("t");
  uint16_t one = 0;
  uint16_t two = 0;
  {
    RawClient client = Join(Durable(version, "client"));
    RawClient publisher = Join(version, "publisher");
    client.Subscribe({{topic, 2}});
    publisher.Publish({.topic = topic, .payload = "1", .qos = 1});
    publisher.Publish({.topic = topic, .payload = "2", .qos = 2});
    publisher.Publish({.topic = topic, .payload = "3", .qos = 2});
    one = client.ExpectPublish(topic, "1").packet_id;
    two = client.ExpectPublish(topic, "2").packet_id;
    const Packet three = client.ExpectPublish(topic, "3");
    client.Unsubscribe({topic});
    client.Acknowledge(three);
    client.ExpectNothing();
    client.socket().Reset();
  }
  RawClient client = Join(Durable(version, "client"));
  const Packet first = client.ExpectPublish(topic, "1");
  EXPECT_EQ(first.packet_id, one);
  client.Acknowledge(first);
  const Packet second = client.ExpectPublish(topic, "2");
  EXPECT_EQ(second.packet_id, two);
  client.Acknowledge(second);
  client.ExpectNothing();
}
TEST(Spec, MQTT5_3_10_4_3) { CompletesWhatItBegan(kV5); }
TEST(Spec, MQTT311_3_10_4_3) { CompletesWhatItBegan(kV311); }

// One UNSUBACK with the identifier of the request, also when there was nothing to delete.
void AnswersUnsubscribe(Version version) {
  RawClient client = Join(version, "client");
  client.Send(support::Unsubscribe(version, 65535, {Unique("none")}));
  client.ExpectAck(kUnsuback, 65535);
  client.ExpectNothing();
}
TEST(Spec, MQTT5_3_10_4_4) { AnswersUnsubscribe(kV5); }
TEST(Spec, MQTT5_3_10_4_5) { AnswersUnsubscribe(kV5); }
TEST(Spec, MQTT311_3_10_4_4) { AnswersUnsubscribe(kV311); }
TEST(Spec, MQTT311_3_10_4_5) { AnswersUnsubscribe(kV311); }

void UnsubscribesSeveral(Version version) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(version, "client") : Transient(version, "client"));
    RawClient publisher = Join(version, "publisher");
    client.Subscribe({{Unique("a"), 0}, {Unique("b"), 0}, {Unique("c"), 0}});
    client.Send(
        support::Unsubscribe(version, 4, {Unique("a"), Unique("none"), Unique("c"), Unique("a")}));
    const Packet unsuback = client.ExpectAck(kUnsuback, 4);
    if (version == kV5) {
      EXPECT_THAT(unsuback.reasons, ElementsAre(0x00, 0x11, 0x00, 0x11));
    }
    for (const char* name : {"a", "c", "b"})
      publisher.Publish({.topic = Unique(name), .payload = name});
    client.ExpectPublish(Unique("b"), "b");
    client.Disconnect();
  }
}
TEST(Spec, MQTT5_3_10_4_6) { UnsubscribesSeveral(kV5); }
TEST(Spec, MQTT5_3_11_3_1) { UnsubscribesSeveral(kV5); }
TEST(Spec, MQTT5_3_11_3_2) { UnsubscribesSeveral(kV5); }
TEST(Spec, MQTT311_3_10_4_6) { UnsubscribesSeveral(kV311); }

}  // namespace
}  // namespace spec
