// §3.1.2.4 Clean Start, §3.1.2.11.2 Session Expiry, §4.1 Session state, §3.14 DISCONNECT.
#include <set>
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;

// Clean: the session that was there is gone, with its subscriptions, queue, and open exchanges.
void CleanBeginsAnew(Version version) {
  const std::string topic = Unique("t");
  RawClient publisher = Join(version, "publisher");
  SubscribeAndLeave(Durable(version, "client"), {{topic, 2}});
  publisher.Publish({.topic = topic, .payload = "queued", .qos = 1});
  ConnectPacket clean = Durable(version, "client");
  clean.clean = true;
  {
    RawClient client = Join(clean);
    EXPECT_FALSE(client.connack().session_present());
    publisher.Publish({.topic = topic, .payload = "no", .qos = 1});
    client.Subscribe({{Unique("end"), 1}});
    ExpectEnd(publisher, client, Unique("end"), 1);
    client.Disconnect();
  }
  RawClient client = Join(Durable(version, "client"));
  client.ExpectNothing();  // What was discarded does not come back.
}
TEST(Spec, MQTT5_3_1_2_4) { CleanBeginsAnew(kV5); }
TEST(Spec, MQTT5_3_1_4_4) { CleanBeginsAnew(kV5); }
TEST(Spec, MQTT5_3_2_2_2) { CleanBeginsAnew(kV5); }
TEST(Spec, MQTT311_3_1_4_3) { CleanBeginsAnew(kV311); }
TEST(Spec, MQTT311_3_2_2_1) { CleanBeginsAnew(kV311); }
TEST(Spec, MQTT311_3_1_2_6) {
  CleanBeginsAnew(kV311);
  // A clean session leaves nothing for the next.
  SubscribeAndLeave(Transient(kV311, "clean"), {{Unique("t"), 1}});
  RawClient back = Join(Durable(kV311, "clean"));
  EXPECT_FALSE(back.connack().session_present());
  back.Subscribe({{Unique("end"), 1}});
  RawClient publisher = Join(kV311, "publisher2");
  publisher.Publish({.topic = Unique("t"), .payload = "no", .qos = 1});
  ExpectEnd(publisher, back, Unique("end"), 1);
}

// Not clean: made when absent, resumed when there, with subscriptions and queue; stored at each end
// of a connection.
void ResumesOrBegins(Version version) {
  const std::string topic = Unique("t");
  RawClient publisher = Join(version, "publisher");
  {
    RawClient client = Join(Durable(version, "client"));
    EXPECT_FALSE(client.connack().session_present());
    client.Subscribe({{topic, 1}});
    client.Disconnect();
  }
  publisher.Publish({.topic = topic, .payload = "1", .qos = 1});
  publisher.Publish({.topic = topic, .payload = "2", .qos = 2});
  {
    RawClient client = Join(Durable(version, "client"));
    EXPECT_TRUE(client.connack().session_present());
    client.Acknowledge(client.ExpectPublish(topic, "1"));
    client.Acknowledge(client.ExpectPublish(topic, "2"));
    ExpectEnd(publisher, client, topic, 1);  // The subscription lives on.
    client.socket().Reset();
  }
  RawClient client = Join(Durable(version, "client"));
  EXPECT_TRUE(client.connack().session_present());
  ExpectEnd(publisher, client, topic, 1);
}
TEST(Spec, MQTT5_3_1_2_5) { ResumesOrBegins(kV5); }
TEST(Spec, MQTT5_3_1_2_6) { ResumesOrBegins(kV5); }
TEST(Spec, MQTT5_3_1_2_23) { ResumesOrBegins(kV5); }
TEST(Spec, MQTT5_3_2_2_3) { ResumesOrBegins(kV5); }
TEST(Spec, MQTT311_3_1_2_4) { ResumesOrBegins(kV311); }
TEST(Spec, MQTT311_3_1_2_5) { ResumesOrBegins(kV311); }
TEST(Spec, MQTT311_3_2_2_2) { ResumesOrBegins(kV311); }
TEST(Spec, MQTT311_3_2_2_3) { ResumesOrBegins(kV311); }
TEST(Spec, MQTT311_4_1_0_1) { ResumesOrBegins(kV311); }

// While the connection is open the state stays, however short the session was asked to be, and
// while nothing happens.
void LastsWithTheConnection(Version version) {
  const std::string topic = Unique("t");
  RawClient client = Join(version, "client");
  RawClient publisher = Join(version, "publisher");
  client.Subscribe({{topic, 2}});
  publisher.Publish({.topic = topic, .payload = "open", .qos = 2});
  const Packet open = client.ExpectPublish(topic, "open");
  PassSeconds(1);
  ExpectEnd(publisher, client, topic, 1);
  client.Acknowledge(open);  // Its exchange is not forgotten.
}
TEST(Spec, MQTT5_4_1_0_1) { LastsWithTheConnection(kV5); }
TEST(Spec, MQTT311_4_1_0_2) { LastsWithTheConnection(kV311); }

// Session Expiry Interval: the session is there before it has passed, and gone after, also when
// DISCONNECT changed it.
TEST(Spec, MQTT5_4_1_0_2) {
  ConnectPacket brief{.client_id = Unique("brief"),
                      .clean = false,
                      .properties = Number(kSessionExpiryInterval, 1)};
  Join(brief).Disconnect();
  ConnectPacket changed = Durable(kV5, "changed");
  Join(changed).Disconnect(0, Number(kSessionExpiryInterval, 1));
  ConnectPacket none{.client_id = Unique("none"), .clean = false};
  Join(none).Disconnect();
  Join(Durable(kV5, "long")).Disconnect();
  EXPECT_FALSE(Join(none).connack().session_present());
  PassSeconds(3);
  EXPECT_FALSE(Join(brief).connack().session_present());
  EXPECT_FALSE(Join(changed).connack().session_present());
  EXPECT_TRUE(Join(Durable(kV5, "long")).connack().session_present());
}

// Retained messages are no part of the session (printed as 3.1.2.7).
TEST(Spec, MQTT311_3_1_2_7) {
  const std::string topic = Unique("t");
  {
    RawClient client = Join(kV311, "client");
    client.Publish({.topic = topic, .payload = "kept", .qos = 1, .retain = true});
    client.Disconnect();
  }
  RawClient client = Join(kV311, "client");
  client.Subscribe({{topic, 0}});
  client.ExpectPublish(topic, "kept");
}

// §3.14: nothing after DISCONNECT is processed, and the server closes.
void NothingAfterDisconnect(Version version) {
  const std::string topic = Unique("t");
  RawClient watcher = Join(version, "watcher");
  RawClient client = Join(version, "client");
  watcher.Subscribe({{topic, 0}});
  client.Send(support::Disconnect(version) +
              PublishPacket{.topic = topic, .payload = "no"}.Encode(version) +
              std::string(support::kPingreq));
  client.ExpectClosed();
  RawClient publisher = Join(version, "publisher");
  ExpectEnd(publisher, watcher, topic, 0);
}
TEST(Spec, MQTT311_3_14_4_2) { NothingAfterDisconnect(kV311); }

// The server's own DISCONNECT is its last packet, though much was on its way, and it closes.
void ServerDisconnectIsLast() {
  RawClient first = Join(kV5, "client");
  first.Subscribe({{Unique("t"), 0}});
  RawClient publisher = Join(kV5, "publisher");
  for (int i = 0; i < 50; ++i) publisher.Publish({.topic = Unique("t"), .payload = "x"});
  RawClient second = Join(kV5, "client");
  std::optional<Packet> packet = first.Read();
  while (packet && packet->type == kPublish) packet = first.Read();
  ASSERT_TRUE(packet.has_value());
  EXPECT_EQ(packet->type, kDisconnect);
  EXPECT_EQ(packet->reason, 0x8E);
  first.ExpectClosed();
}
TEST(Spec, MQTT5_3_14_4_1) {
  NothingAfterDisconnect(kV5);
  ServerDisconnectIsLast();
}
TEST(Spec, MQTT5_3_14_4_2) { ServerDisconnectIsLast(); }

// §3.14.2: each DISCONNECT that the server sends has one of its codes, and no Session Expiry
// Interval.
std::vector<Packet> ServerDisconnects() {
  std::vector<Packet> packets;
  for (const std::string& bytes :
       {Frame(0x00, ""), support::Subscribe(kV5, 1, {}),
        PublishPacket{.topic = "a", .properties = Number(kTopicAlias, 0)}.Encode(kV5),
        Transient(kV5, "again").Encode()}) {
    RawClient client = Join(Durable(kV5, "client"));
    client.Send(bytes);
    packets.push_back(client.Expect(kDisconnect));
    client.ExpectClosed();
  }
  RawClient first = Join(Durable(kV5, "client"));
  RawClient second = Join(Durable(kV5, "client"));
  packets.push_back(first.Expect(kDisconnect));
  first.ExpectClosed();
  return packets;
}
TEST(Spec, MQTT5_3_14_2_1) {
  const std::set<unsigned> codes = {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E,
                                    0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A,
                                    0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2};
  for (const Packet& packet : ServerDisconnects())
    EXPECT_TRUE(codes.contains(packet.reason)) << packet.ToString();
}
TEST(Spec, MQTT5_3_14_2_2) {
  for (const Packet& packet : ServerDisconnects()) EXPECT_FALSE(packet.Has(kSessionExpiryInterval));
}

// §3.14.2.2.2: 0 at CONNECT cannot become more at DISCONNECT.
TEST(Disconnect, CannotLengthenASessionThatEndsWithTheConnection) {
  RawClient client = Join(kV5, "client");
  client.Send(support::Disconnect(kV5, 0, Number(kSessionExpiryInterval, 5)));
  client.ExpectDisconnect(0x82);
}

}  // namespace
}  // namespace spec
