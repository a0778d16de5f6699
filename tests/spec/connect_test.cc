// §3.1 CONNECT and §3.2 CONNACK: who gets in, under which name, and what is said.
#include <set>
#include <string>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using namespace std::string_literals;
using enum PropertyId;

// §3.1.3.1 Client Identifier.

constexpr std::string_view kAlphabet =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

void AcceptsPlainIdentifiers(Version version) {
  for (const size_t length : {1, 22, 23}) {
    for (size_t at = 0; at + length <= kAlphabet.size(); at += length) {
      RawClient client =
          Join({.version = version, .client_id = std::string(kAlphabet.substr(at, length))});
      client.ExpectNothing();
    }
  }
}
TEST(Spec, MQTT5_3_1_3_5) { AcceptsPlainIdentifiers(kV5); }
TEST(Spec, MQTT311_3_1_3_5) { AcceptsPlainIdentifiers(kV311); }

// Two names are two sessions, the same name is one, and case counts.
void IdentifierNamesTheSession(Version version) {
  ConnectPacket connect = Durable(version, "a");
  Join(connect).Disconnect();
  EXPECT_TRUE(Join(connect).connack().session_present());
  connect.client_id = Unique("A");
  EXPECT_FALSE(Join(connect).connack().session_present());
}
TEST(Spec, MQTT5_3_1_3_2) { IdentifierNamesTheSession(kV5); }
TEST(Spec, MQTT311_3_1_3_2) { IdentifierNamesTheSession(kV311); }

TEST(Spec, MQTT5_3_1_3_6) {
  RawClient first = Join({.client_id = ""});
  RawClient second = Join({.client_id = ""});
  const auto id = first.connack().Text(kAssignedClientIdentifier);
  ASSERT_TRUE(id.has_value());
  EXPECT_NE(*id, "");
  EXPECT_NE(id, second.connack().Text(kAssignedClientIdentifier));
  first.ExpectNothing();  // The second did not take over.
}

TEST(Spec, MQTT5_3_1_3_7) {
  ConnectPacket connect = Durable(kV5, "");
  connect.client_id.clear();
  RawClient client = Join(connect);
  connect.client_id = client.connack().Text(kAssignedClientIdentifier).value();
  client.Subscribe({{Unique("topic"), 1}});
  client.Disconnect();
  RawClient back = Join(connect);  // Under the name that was assigned.
  EXPECT_TRUE(back.connack().session_present());
  EXPECT_FALSE(back.connack().Has(kAssignedClientIdentifier));
}

TEST(Spec, MQTT5_3_2_2_16) {
  std::set<std::string> names;
  std::vector<RawClient> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(Join({.client_id = ""}));
    names.insert(clients.back().connack().Text(kAssignedClientIdentifier).value());
  }
  EXPECT_EQ(names.size(), 50U);
  for (RawClient& client : clients) client.ExpectNothing();
}

TEST(Spec, MQTT311_3_1_3_6) {
  RawClient first = Join({.version = kV311, .client_id = ""});
  RawClient second = Join({.version = kV311, .client_id = ""});
  first.Subscribe({{Unique("a"), 0}});
  second.Subscribe({{Unique("b"), 0}});
  first.Publish({.topic = Unique("b"), .payload = "x"});
  second.ExpectPublish(Unique("b"), "x");
  first.ExpectNothing();
}

// §3.1.2: the protocol level decides what is spoken.
TEST(Connect, Mqtt31IsServed) {
  RawClient client = Join({.version = Version::k31, .client_id = Unique("c")});
  client.Subscribe({{Unique("t"), 1}});
  client.Publish({.topic = Unique("t"), .payload = "x", .qos = 1});
  client.Acknowledge(client.ExpectPublish(Unique("t"), "x"));
}

// §3.1.3: Client Identifier, will, user name and password are each taken from their place.
void TakesFieldsInOrder(Version version) {
  const std::string topic = Unique("will");
  RawClient watcher = Join(version, "watcher");
  watcher.Subscribe({{topic, 0}});
  ConnectPacket connect = Transient(version, "client");
  connect.will = Will{.topic = topic, .payload = "payload"};
  connect.user_name = "user";
  connect.password = "password";
  RawClient client = Join(connect);
  RawClient(SharedBroker().port(), Transient(version, "client"))
      .ExpectNothing();  // The same identifier.
  watcher.ExpectPublish(topic, "payload");
}
TEST(Spec, MQTT5_3_1_3_1) { TakesFieldsInOrder(kV5); }
TEST(Spec, MQTT311_3_1_3_1) { TakesFieldsInOrder(kV311); }

// §3.1.2.6: fields whose flags are set are taken, at each will QoS.
void TakesEachWillQos(Version version) {
  for (const unsigned qos : {0U, 1U, 2U}) {
    const std::string topic = Unique("will");
    RawClient watcher = Join(version, "watcher");
    watcher.Subscribe({{topic, 2}});
    ConnectPacket connect = Transient(version, "client");
    connect.will = Will{.topic = topic, .payload = "gone", .qos = qos};
    Join(connect).socket().Reset();
    EXPECT_EQ(watcher.ExpectPublish(topic, "gone").qos(), qos);
  }
}
TEST(Spec, MQTT5_3_1_2_12) { TakesEachWillQos(kV5); }
TEST(Spec, MQTT311_3_1_2_14) { TakesEachWillQos(kV311); }

// §3.1.4 CONNECT actions.

void Takeover(Version version) {
  RawClient first = Join(version, "client");
  RawClient second = Join(version, "client");
  first.ExpectDisconnect(0x8E);
  second.ExpectNothing();
}
TEST(Spec, MQTT5_3_1_4_3) { Takeover(kV5); }
TEST(Spec, MQTT311_3_1_4_2) { Takeover(kV311); }

TEST(Spec, MQTT5_3_1_4_5) { EXPECT_EQ(Join(kV5, "client").connack().reason, 0); }
TEST(Spec, MQTT311_3_1_4_4) { EXPECT_EQ(Join(kV311, "client").connack().reason, 0); }

// What comes with a CONNECT that is refused, in the same segment, is not done.
void IgnoresWhatFollowsARefusal(Version version, const std::string& refused, unsigned connack) {
  const std::string topic = Unique("topic");
  RawClient watcher = Join(version, "watcher");
  watcher.Subscribe({{topic, 0}});
  RawClient client = Dial(version);
  client.Send(refused + PublishPacket{.topic = topic, .payload = "no"}.Encode(version));
  client.ExpectConnack(connack);
  client.ExpectClosed();
  RawClient publisher = Join(version, "publisher");
  ExpectEnd(publisher, watcher, topic, 0);
}
TEST(Spec, MQTT5_3_1_4_6) {
  IgnoresWhatFollowsARefusal(kV5, RawConnect(kV5, 0x03, Text("c")), 0x81);
}
TEST(Spec, MQTT311_3_1_4_5) {
  IgnoresWhatFollowsARefusal(kV311, RawConnect(kV311, 0, Text("")), 0x02);
}

// §3.2 CONNACK.

// Many packets are sent before CONNACK was read: it comes first all the same, and once.
void ConnackComesFirst(Version version) {
  const std::string topic = Unique("topic");
  RawClient client = Dial(version);
  client.Send(Transient(version, "client").Encode() + support::Subscribe(version, 1, {{topic, 0}}) +
              PublishPacket{.topic = topic, .payload = "x"}.Encode(version) +
              std::string(support::kPingreq));
  client.ExpectConnack();
  std::multiset<PacketType> rest;
  for (int i = 0; i < 3; ++i) rest.insert(client.Read().value().type);
  EXPECT_EQ(rest,
            (std::multiset{PacketType::kSuback, PacketType::kPublish, PacketType::kPingresp}));
}
TEST(Spec, MQTT5_3_2_0_1) { ConnackComesFirst(kV5); }
TEST(Spec, MQTT311_3_2_0_1) { ConnackComesFirst(kV311); }

TEST(Spec, MQTT5_3_2_0_2) {
  RawClient client = Join(kV5, "client");
  client.Send(Transient(kV5, "client").Encode());
  client.ExpectDisconnect(0x82);  // And no second CONNACK.
}

TEST(Spec, MQTT5_3_2_2_1) {
  EXPECT_EQ(Join(kV5, "clean").connack().connack_flags, 0);
  const ConnectPacket durable = Durable(kV5, "durable");
  EXPECT_EQ(Join(durable).connack().connack_flags, 0);
  EXPECT_EQ(Join(durable).connack().connack_flags, 1);
}

// Refusals of several kinds: Session Present is 0, the connection ends, and the code is one of
// CONNACK's own, also where the Client Identifier has a session.
void RefusalsAreWellFormed() {
  const ConnectPacket durable = Durable(kV5, "client");
  Join(durable).Disconnect();
  ConnectPacket with_method = durable;
  with_method.properties.Text(kAuthenticationMethod, "NO-SUCH-METHOD");
  ConnectPacket bad_will = durable;
  bad_will.will = Will{.topic = "a/#"};
  const std::set<unsigned> codes = {0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86,
                                    0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95,
                                    0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F};
  for (const std::string& bytes :
       {with_method.Encode(), bad_will.Encode(), RawConnect(kV5, 1, Text(durable.client_id)),
        Frame(0x10, Text("MQTT") + "\6\0\0\0\0"s + Text(durable.client_id))}) {
    RawClient client = Dial();
    client.Send(bytes);
    const Packet connack = client.Expect(PacketType::kConnack);
    EXPECT_EQ(connack.connack_flags, 0) << connack.ToString();
    EXPECT_TRUE(codes.contains(connack.reason)) << connack.ToString();
    client.ExpectClosed();
  }
}
TEST(Spec, MQTT5_3_2_2_6) { RefusalsAreWellFormed(); }
TEST(Spec, MQTT5_3_2_2_7) { RefusalsAreWellFormed(); }
TEST(Spec, MQTT5_3_2_2_8) { RefusalsAreWellFormed(); }
// The client stays silent and keeps its side open: it is the server that ends the connection.
TEST(Spec, MQTT5_4_13_2_1) {
  RefusalsAreWellFormed();
  RawClient client = Join(kV5, "client");
  client.Send(Frame(0x00, ""));
  client.ExpectDisconnect(0x81);
}

TEST(Spec, MQTT5_3_14_0_1) {
  RawClient client = Dial();
  client.Send(RawConnect(kV5, 0x03, Text("c")));
  client.ExpectConnack(0x81);
  client.ExpectClosed();  // No DISCONNECT after a CONNACK that refuses.
}

// §3.1.2.11.7: what is returned only when asked for.
TEST(Spec, MQTT5_3_1_2_29) {
  ConnectPacket connect = Transient(kV5, "client");
  connect.properties.Number(kRequestProblemInformation, 0);
  RawClient client = Join(connect);
  std::vector<Packet> answers;
  client.Send(support::Subscribe(kV5, 1, {{"$share/g/" + Unique("t"), 1}, {Unique("t"), 0}}));
  answers.push_back(client.Expect(PacketType::kSuback));
  client.Send(support::Unsubscribe(kV5, 2, {Unique("none"), Unique("t")}));
  answers.push_back(client.Expect(PacketType::kUnsuback));
  client.Send(PublishPacket{.topic = Unique("other"), .qos = 1, .packet_id = 3});
  answers.push_back(client.Expect(PacketType::kPuback));
  client.Send(PublishPacket{.topic = Unique("other"), .qos = 2, .packet_id = 4});
  answers.push_back(client.Expect(PacketType::kPubrec));
  client.Send(Ack(PacketType::kPubrel, 4));
  answers.push_back(client.Expect(PacketType::kPubcomp));
  client.Send(Ack(PacketType::kPubrel, 5));  // 0x92: here a broker likes to explain.
  answers.push_back(client.ExpectAck(PacketType::kPubcomp, 5, 0x92));
  for (const Packet& packet : answers) {
    EXPECT_FALSE(packet.Has(kReasonString)) << packet.ToString();
    EXPECT_FALSE(packet.Has(kUserProperty)) << packet.ToString();
  }
}

// A packet with no properties has a Property Length of 0, which the client's parser insists on.
TEST(Spec, MQTT5_2_2_2_1) {
  RawClient client = Join(kV5, "client");
  const std::string topic = Unique("t");
  client.Subscribe({{topic, 0}});
  client.Publish({.topic = topic, .payload = "x"});
  const Packet packet = client.ExpectPublish(topic, "x");
  EXPECT_TRUE(packet.properties.empty());
  EXPECT_EQ(packet.bytes, 2 + 2 + topic.size() + 1 + 1);
}

// Nothing but the bytes of the specification: a CONNECT, SUBSCRIBE, PUBLISH and DISCONNECT written
// out.
TEST(Spec, MQTT311_7_0_0_2) {
  RawClient client = Dial(kV311);
  client.Send("\x10\x0D\0\4MQTT\4\2\0\0\0\1z"s + "\x82\x06\0\1\0\1q\1"s + "\x32\x06\0\1q\0\7x"s);
  client.ExpectConnack();
  std::multiset<PacketType> answers;
  for (int i = 0; i < 3; ++i) answers.insert(client.Read().value().type);
  EXPECT_EQ(answers,
            (std::multiset{PacketType::kPublish, PacketType::kPuback, PacketType::kSuback}));
  client.Send("\xE0\0"s);
  client.ExpectClosed();
}

void ServesTcp(Version version) {
  RawClient client = Join(version, "client");
  const std::string topic = Unique("t");
  client.Subscribe({{topic, 0}});
  const std::string bytes =
      PublishPacket{.topic = topic, .payload = std::string(5000, 'x')}.Encode(version);
  for (const char byte : bytes)
    client.Send(std::string_view(&byte, 1));  // A stream has no packets.
  client.ExpectPublish(topic, std::string(5000, 'x'));
}
TEST(Spec, MQTT5_4_2_0_1) { ServesTcp(kV5); }
TEST(Spec, MQTT311_7_1_1_1) { ServesTcp(kV311); }

void AnswersPing(Version version) {
  RawClient client = Join(version, "client");
  client.Send(support::kPingreq).Send(support::kPingreq);
  client.Expect(PacketType::kPingresp);
  client.Expect(PacketType::kPingresp);
  client.Send(support::Disconnect(version));
  client.ExpectClosed();
}
TEST(Spec, MQTT5_3_12_4_1) { AnswersPing(kV5); }
TEST(Spec, MQTT311_3_12_4_1) { AnswersPing(kV311); }

}  // namespace
}  // namespace spec
