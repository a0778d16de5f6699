// What a broker with limits says in CONNACK, and what it does when a client does not keep to them:
// §3.2.2.3, §3.1.2.10.
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;

constexpr uint32_t kPacketSize = 3000;

// A broker with nearly everything turned down. One for the whole program.
uint16_t RestrictedPort() {
  static support::BrokerProcess broker(
      {.set = {"mqtt.maximum_qos=1", "mqtt.retain_available=false",
               "mqtt.wildcard_subscription_available=false",
               "mqtt.subscription_identifier_available=false",
               "mqtt.shared_subscription_available=false", "mqtt.topic_alias_maximum=0",
               "mqtt.receive_maximum=3", "mqtt.client_id_bytes_max=100",
               "mqtt.maximum_packet_size=" + std::to_string(kPacketSize),
               "broker.response_information_prefix=reply/"}});
  return broker.port();
}

RawClient Restricted(const ConnectPacket& connect, Where where = Where::current()) {
  return RawClient(RestrictedPort(), connect, where);
}
RawClient Restricted(Version version, Where where = Where::current()) {
  return Restricted(Transient(version, "client"), where);
}

// CONNECT is refused: with that code, and closed.
void ExpectRefused(const ConnectPacket& connect, unsigned code) {
  RawClient client(RestrictedPort(), connect.version);
  client.Send(connect.Encode());
  client.ExpectConnack(code);
  client.ExpectClosed();
}

TEST(Spec, MQTT5_3_2_2_9) {
  EXPECT_EQ(Restricted(kV5).connack().Number(kMaximumQos), 1U);
  EXPECT_FALSE(Join(kV5, "client").connack().Has(kMaximumQos));
}

TEST(Spec, MQTT5_3_2_2_10) {
  RawClient client = Restricted(kV5);
  client.Send(support::Subscribe(kV5, 1, {{Unique("a"), 0}, {Unique("b"), 1}, {Unique("c"), 2}}));
  const Packet suback = client.ExpectAck(kSuback, 1);
  ASSERT_EQ(suback.reasons.size(), 3U);
  for (size_t i = 0; i < 3; ++i) EXPECT_LE(suback.reasons[i], i);
}

TEST(Spec, MQTT5_3_2_2_11) {
  RawClient client = Restricted(kV5);
  client.Send(PublishPacket{.topic = Unique("t"), .qos = 2, .packet_id = 1});
  client.ExpectDisconnect(0x9B);
}

TEST(Spec, MQTT5_3_2_2_12) {
  ConnectPacket connect = Transient(kV5, "client");
  connect.will = Will{.topic = Unique("t"), .qos = 2};
  ExpectRefused(connect, 0x9B);
  connect.will->qos = 1;
  Restricted(connect).ExpectNothing();
}

TEST(Spec, MQTT5_3_2_2_13) {
  ConnectPacket connect = Transient(kV5, "client");
  connect.will = Will{.topic = Unique("t"), .retain = true};
  ExpectRefused(connect, 0x9A);
}

TEST(Spec, MQTT5_3_2_2_14) {
  RawClient client = Restricted(kV5);
  EXPECT_EQ(client.connack().Number(kRetainAvailable), 0U);
  client.Send(PublishPacket{.topic = Unique("t"), .retain = true});
  client.ExpectDisconnect(0x9A);
}

TEST(Spec, MQTT5_3_2_2_15) {
  RawClient client = Restricted(kV5);
  EXPECT_EQ(client.connack().Number(kMaximumPacketSize), kPacketSize);
  PublishPacket publish{.topic = Unique("t"), .qos = 1, .packet_id = 1};
  publish.payload.assign(kPacketSize - publish.Encode(kV5).size() - 1,
                         'x');  // One more byte of length.
  ASSERT_EQ(publish.Encode(kV5).size(), kPacketSize);
  client.Send(publish);
  EXPECT_LT(client.Expect(kPuback).reason, 0x80);
  publish.payload += 'x';
  client.Send(publish);
  client.ExpectDisconnect(0x95);
}

// 3.1.1 has no way to say that a packet is beyond what the broker can take now.
TEST(Spec, MQTT311_4_8_0_2) {
  RawClient client = Restricted(kV311);
  client.Send(PublishPacket{
      .topic = Unique("t"), .payload = std::string(kPacketSize, 'x'), .qos = 1, .packet_id = 1});
  client.ExpectClosed();
}

TEST(Spec, MQTT5_3_2_2_18) {
  RawClient client = Restricted(kV5);
  EXPECT_EQ(client.connack().Number(kTopicAliasMaximum).value_or(0), 0U);
  client.Send(PublishPacket{.topic = Unique("t"), .properties = Number(kTopicAlias, 1)});
  client.ExpectDisconnect(0x94);
}

// QoS 2 publications stay open until PUBREL was answered: the one above Receive Maximum ends the
// connection. QoS 1 in a row is no breach, since each is acknowledged.
TEST(Spec, MQTT5_3_3_4_7) {
  {
    RawClient client = Restricted(kV5);
    EXPECT_EQ(client.connack().Number(kReceiveMaximum), 3U);
    for (uint16_t id = 1; id <= 20; ++id) {
      client.Send(PublishPacket{.topic = Unique("t"), .qos = 1, .packet_id = id});
      client.Expect(kPuback);
    }
  }
  static support::BrokerProcess narrow({.set = {"mqtt.receive_maximum=3"}});
  RawClient client(narrow.port(), Transient(kV5, "client"));
  for (uint16_t id = 1; id <= 3; ++id) {
    client.Send(PublishPacket{.topic = Unique("t"), .qos = 2, .packet_id = id});
    client.Expect(kPubrec);
  }
  client.Send(PublishPacket{.topic = Unique("t"), .qos = 2, .packet_id = 4});
  client.ExpectDisconnect(0x93);
}

void RefusesTheIdentifier(Version version, unsigned code) {
  ConnectPacket connect = Transient(version, "");
  connect.client_id.assign(100, 'x');
  Restricted(connect).ExpectNothing();
  connect.client_id.assign(101, 'x');
  ExpectRefused(connect, code);
}
TEST(Spec, MQTT5_3_1_3_8) { RefusesTheIdentifier(kV5, 0x85); }
TEST(Connect, RefusesALongIdentifierV311) { RefusesTheIdentifier(kV311, 0x02); }

TEST(Spec, MQTT311_3_8_3_2) {
  RawClient client = Restricted(kV311);
  client.Send(
      support::Subscribe(kV311, 1, {{Unique("t/#"), 0}, {Unique("t"), 1}, {Unique("+"), 2}}));
  EXPECT_THAT(client.ExpectAck(kSuback, 1).reasons, testing::ElementsAre(0x80, 1, 0x80));
  client.Publish({.topic = Unique("t/a"), .payload = "no"});
  ExpectEnd(client, client, Unique("t"), 0);
}

// Beside the statements: what is not available is said, and using it is a Protocol Error with its
// own code.
TEST(Limits, SubscriptionFeaturesThatAreOff) {
  const Packet connack = Restricted(kV5).connack();
  EXPECT_EQ(connack.Number(kWildcardSubscriptionAvailable), 0U);
  EXPECT_EQ(connack.Number(kSharedSubscriptionAvailable), 0U);
  EXPECT_EQ(connack.Number(kSubscriptionIdentifierAvailable), 0U);
  const std::pair<std::string, unsigned> rows[] = {
      {support::Subscribe(kV5, 1, {{Unique("#"), 0}}), 0xA2},
      {support::Subscribe(kV5, 1, {{"$share/g/" + Unique("t"), 0}}), 0x9E},
      {support::Subscribe(kV5, 1, {{Unique("t"), 0}}, Number(kSubscriptionIdentifier, 1)), 0xA1}};
  for (const auto& [bytes, code] : rows) {
    RawClient client = Restricted(kV5);
    client.Send(bytes);
    client.ExpectDisconnect(code);
  }
}

TEST(Spec, MQTT5_3_1_2_28) {
  ConnectPacket connect = Transient(kV5, "client");
  EXPECT_FALSE(Restricted(connect).connack().Has(kResponseInformation));
  connect.properties.Number(kRequestResponseInformation, 0);
  EXPECT_FALSE(Restricted(connect).connack().Has(kResponseInformation));
  connect.properties = Number(kRequestResponseInformation, 1);
  EXPECT_THAT(Restricted(connect).connack().Text(kResponseInformation).value_or(""),
              testing::StartsWith("reply/"));
}

// It consists of a prefix and the Client Identifier, which may be as long as a string at all.
TEST(Limits, ResponseInformationThatDoesNotFitIsLeftOut) {
  static support::BrokerProcess broker({.set = {"broker.response_information_prefix=reply/"}});
  const auto information = [&](size_t bytes, uint32_t packet_size) {
    ConnectPacket connect{.client_id = std::string(bytes, 'c')};
    connect.properties.Number(kRequestResponseInformation, 1)
        .Number(kMaximumPacketSize, packet_size);
    return RawClient(broker.port(), connect)
        .connack()
        .Text(kResponseInformation)
        .value_or("")
        .size();
  };
  EXPECT_EQ(information(65'529, 100'000), 65'535u);
  EXPECT_EQ(information(65'530, 100'000), 0u);
  EXPECT_EQ(information(65'535, 100'000), 0u);
  EXPECT_EQ(information(100, 150), 106u);
  EXPECT_EQ(information(100, 100), 0u) << "the client takes less";
}

// §3.1.2.11.4 Maximum Packet Size of the client.

// A message that is too large counts as sent: it takes no place in the window and does not come
// later.
void DropsWhatIsTooLarge() {
  for (const bool durable : {false, true}) {
    const std::string topic = Unique("t");
    ConnectPacket connect = durable ? Durable(kV5, "durable") : Transient(kV5, "transient");
    connect.properties.Number(kMaximumPacketSize, 200).Number(kReceiveMaximum, 1);
    RawClient client = Join(connect);
    RawClient publisher = Join(kV5, "publisher");
    client.Subscribe({{topic, 2}});
    const size_t overhead = PublishPacket{.topic = topic, .qos = 1}.Encode(kV5).size();
    for (const unsigned qos : {0U, 1U, 2U}) {
      publisher.Publish({.topic = topic, .payload = std::string(500, 'x'), .qos = qos});
      publisher.Publish({.topic = topic, .payload = "small", .qos = qos});
      client.Acknowledge(client.ExpectPublish(topic, "small"));
    }
    const std::string fits(200 - overhead - 1,
                           'y');  // Remaining Length takes two bytes from 128 on.
    publisher.Publish({.topic = topic, .payload = fits + 'y' + 'y', .qos = 1});
    publisher.Publish({.topic = topic, .payload = fits, .qos = 1});
    const Packet packet = client.Expect(kPublish);
    EXPECT_LE(packet.bytes, 200U);
    EXPECT_EQ(packet.payload, fits);
    client.Acknowledge(packet);
    client.Disconnect();
    if (!durable) continue;
    connect.properties = Number(kSessionExpiryInterval, kHour);
    RawClient back = Join(connect);  // With no maximum now.
    ExpectEnd(publisher, back, topic, 1);
  }
}
TEST(Spec, MQTT5_3_1_2_24) { DropsWhatIsTooLarge(); }
TEST(Spec, MQTT5_3_1_2_25) { DropsWhatIsTooLarge(); }

// Reason String and User Properties never push a packet past the client's maximum. `provoke` makes
// the broker send an acknowledgement or refusal; a client that takes little gets it too, with the
// same code.
template <typename Provoke>
void FitsTheClient(PacketType type, Provoke provoke) {
  constexpr uint32_t kSmall = 24;
  unsigned reason = 0;
  for (const bool small : {false, true}) {
    ConnectPacket connect = Transient(kV5, "client");
    if (small) connect.properties.Number(kMaximumPacketSize, kSmall);
    RawClient client = Dial();
    const Packet packet = provoke(client, connect);
    ASSERT_EQ(packet.type, type) << packet.ToString();
    if (!small) reason = packet.reason;
    if (small) {
      EXPECT_EQ(packet.reason, reason);
      EXPECT_LE(packet.bytes, kSmall) << packet.ToString();
    }
  }
}

// Connects, sends, and returns the answer.
auto Answer(std::string bytes) {
  return [bytes = std::move(bytes)](RawClient& client, const ConnectPacket& connect) {
    client.Send(connect.Encode());
    client.ExpectConnack();
    client.Send(bytes);
    return client.Read().value();
  };
}
void ConnackFits() {
  const auto answer = [](RawClient& client, const ConnectPacket& connect) {
    client.Send(connect.Encode());
    return client.Read().value();
  };
  FitsTheClient(kConnack, answer);
  FitsTheClient(kConnack, [&](RawClient& client, ConnectPacket connect) {
    connect.properties.Text(kAuthenticationMethod, "no such method");
    return answer(client, connect);
  });
  // Refusals with a Reason String: it is there with room for it, and gone without.
  for (const uint32_t maximum : {200U, 10U, 5U}) {
    ConnectPacket connect = Transient(kV5, "client");
    connect.properties.Number(kMaximumPacketSize, maximum);
    connect.will = Will{.topic = Unique("t"), .qos = 2};
    RawClient client(RestrictedPort());
    const Packet packet = answer(client, connect);
    ASSERT_EQ(packet.type, kConnack);
    EXPECT_EQ(packet.reason, 0x9B);
    EXPECT_LE(packet.bytes, maximum);
    EXPECT_EQ(packet.Has(kReasonString), maximum == 200);
    client.ExpectClosed();
  }
  // No CONNACK is small enough: none is sent, nor anything else.
  ConnectPacket connect = Transient(kV5, "client");
  connect.properties.Number(kMaximumPacketSize, 4);
  RawClient client = Dial();
  client.Send(connect.Encode());
  client.ExpectClosed();
}
TEST(Spec, MQTT5_3_2_2_19) { ConnackFits(); }
TEST(Spec, MQTT5_3_2_2_20) { ConnackFits(); }

void PubackFits() {
  FitsTheClient(kPuback,
                Answer(PublishPacket{.topic = Unique("t"), .qos = 1, .packet_id = 1}.Encode(kV5)));
}
TEST(Spec, MQTT5_3_4_2_2) { PubackFits(); }
TEST(Spec, MQTT5_3_4_2_3) { PubackFits(); }

void PubrecFits() {
  FitsTheClient(kPubrec,
                Answer(PublishPacket{.topic = Unique("t"), .qos = 2, .packet_id = 1}.Encode(kV5)));
}
TEST(Spec, MQTT5_3_5_2_2) { PubrecFits(); }
TEST(Spec, MQTT5_3_5_2_3) { PubrecFits(); }

// PUBREC for a message that is not known: PUBREL 0x92.
void PubrelFits() { FitsTheClient(kPubrel, Answer(Ack(kPubrec, 77))); }
TEST(Spec, MQTT5_3_6_2_2) { PubrelFits(); }
TEST(Spec, MQTT5_3_6_2_3) { PubrelFits(); }

void PubcompFits() { FitsTheClient(kPubcomp, Answer(Ack(kPubrel, 77))); }
TEST(Spec, MQTT5_3_7_2_2) { PubcompFits(); }
TEST(Spec, MQTT5_3_7_2_3) { PubcompFits(); }

void SubackFits() {
  FitsTheClient(kSuback, Answer(support::Subscribe(kV5, 1, {{Unique("t"), 0}})));
}
TEST(Spec, MQTT5_3_9_2_1) { SubackFits(); }
TEST(Spec, MQTT5_3_9_2_2) { SubackFits(); }

void UnsubackFits() {
  FitsTheClient(kUnsuback, Answer(support::Unsubscribe(kV5, 1, {Unique("t")})));
}
TEST(Spec, MQTT5_3_11_2_1) { UnsubackFits(); }
TEST(Spec, MQTT5_3_11_2_2) { UnsubackFits(); }

void DisconnectFits() {
  FitsTheClient(kDisconnect, Answer(support::Subscribe(kV5, 1, {})));
  FitsTheClient(
      kDisconnect,
      Answer(PublishPacket{.topic = "a", .properties = Number(kTopicAlias, 65535)}.Encode(kV5)));
}
TEST(Spec, MQTT5_3_14_2_3) { DisconnectFits(); }
TEST(Spec, MQTT5_3_14_2_4) { DisconnectFits(); }

}  // namespace
}  // namespace spec
