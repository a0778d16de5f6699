// Bridges of other brokers, as mosquitto makes them. No specification has them: these are the
// customs.
#include <string>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PacketType;

// CONNECT with the bridge bit in its protocol level, Clean Session.
std::string BridgeConnect(Version version, const std::string& client_id, unsigned bit = 0x80) {
  const bool v31 = version == Version::k31;
  return Frame(0x10, Text(v31 ? "MQIsdp" : "MQTT") + U8(static_cast<unsigned>(version) | bit) +
                         U8(2) + U16(0) + (version == kV5 ? U8(0) : "") + Text(client_id));
}

RawClient JoinAsBridge(Version version, std::string_view name, Where where = Where::current()) {
  RawClient client = Dial(version);
  client.Send(BridgeConnect(version, Unique(name)));
  client.ExpectConnack(0, where);
  return client;
}

std::string StateOf(std::string_view name) {
  return "$SYS/broker/connection/" + Unique(name) + "/state";
}

TEST(Bridge, IsServedWithTheBitInItsProtocolLevelInItsOwnVersionsFormat) {
  for (const Version version : {Version::k31, kV311, kV5}) {
    RawClient client = JoinAsBridge(version, "bridge");
    client.Subscribe({{Unique("t"), 1}});
    client.ExpectNothing();
  }
  // The bit makes no other level known, and is no reason to answer in another format.
  RawClient old = Dial(kV311);
  old.Send(BridgeConnect(static_cast<Version>(2), "b"));
  old.ExpectConnack(0x01);
  RawClient newer = Dial(kV5);
  newer.Send(BridgeConnect(static_cast<Version>(6), "b"));
  newer.ExpectConnack(0x84);
}

// 3.1 and 3.1.1 have no subscription options; a bridge has No Local and Retain As Published.
TEST(Bridge, GetsRetainAsItWasPublishedAndNothingOfItsOwn) {
  for (const Version version : {Version::k31, kV311}) {
    const std::string topic = Unique(version == kV311 ? "t311" : "t31");
    RawClient bridge = JoinAsBridge(version, "bridge");
    RawClient ordinary = Join(kV311, "ordinary");
    bridge.Subscribe({{topic, 1}});
    ordinary.Subscribe({{topic, 1}});
    bridge.Publish({.topic = topic, .payload = "own", .qos = 1, .retain = true});
    ordinary.Acknowledge(ordinary.ExpectPublish(topic, "own"));
    RawClient other = Join(kV5, "other");
    other.Publish({.topic = topic, .payload = "kept", .qos = 1, .retain = true});
    other.Publish({.topic = topic, .payload = "passing", .qos = 1});
    for (const bool retained : {true, false}) {
      const char* payload = retained ? "kept" : "passing";
      const Packet to_bridge = bridge.ExpectPublish(topic, payload);
      EXPECT_EQ(to_bridge.retain(), retained);
      bridge.Acknowledge(to_bridge);
      const Packet to_ordinary = ordinary.ExpectPublish(topic, payload);
      EXPECT_FALSE(to_ordinary.retain());  // [MQTT311-3.3.1-9]
      ordinary.Acknowledge(to_ordinary);
    }
    bridge.ExpectNothing();
  }
}

// Without the bit a 3.1.1 client is none, under whatever name.
TEST(Bridge, IsOnlyWhoSaysSo) {
  RawClient client = Dial(kV311);
  client.Send(BridgeConnect(kV311, Unique("client"), 0));
  client.ExpectConnack(0);
  client.Subscribe({{Unique("t"), 0}});
  client.Publish({.topic = Unique("t"), .payload = "own"});
  EXPECT_FALSE(client.ExpectPublish(Unique("t"), "own").retain());
}

// `notifications`: "1" after CONNACK, "0" by the will.
TEST(Bridge, SaysOnItsTopicOfSysThatItIsUpAndDown) {
  for (const Version version : {kV311, kV5}) {
    const std::string name = version == kV5 ? "b5" : "b311";
    RawClient watcher = Join(version, "watcher");
    watcher.Subscribe({{"$SYS/broker/connection/#", version == kV5 ? 1 | kRetainNever : 1U}});
    ConnectPacket connect = Transient(version, name);
    connect.will = Will{.topic = StateOf(name), .payload = "0", .qos = 1, .retain = true};
    RawClient bridge = Join(connect);
    bridge.Publish({.topic = StateOf(name), .payload = "1", .qos = 1, .retain = true});
    watcher.Acknowledge(watcher.ExpectPublish(StateOf(name), "1"));
    bridge.socket().Reset();
    watcher.Acknowledge(watcher.ExpectPublish(StateOf(name), "0"));
    RawClient late = Join(version, "late");
    late.Subscribe({{StateOf(name), 1}});
    late.Acknowledge(late.ExpectPublish(StateOf(name), "0"));
    // It is gone for good: who may write there clears it, and that is all.
    Join(kV5, "operator").Publish({.topic = StateOf(name), .qos = 1, .retain = true});
    late.ExpectNothing();
    RawClient later = Join(version, "later");
    later.Subscribe({{StateOf(name), 1}});
    later.ExpectNothing();
  }
}

TEST(Bridge, NobodyElseWritesBelowSys) {
  RawClient watcher = Join(kV5, "watcher");
  watcher.Subscribe({{"$SYS/#", 2 | kRetainNever}});
  RawClient client = Join(kV5, "client");
  for (const std::string& topic : {std::string("$SYS"), std::string("$SYS/broker/uptime"),
                                   StateOf("other"), StateOf("client") + "/x"}) {
    for (const unsigned qos : {1U, 2U}) {
      client.Send(PublishPacket{.topic = topic, .payload = "no", .qos = qos, .packet_id = 5});
      client.ExpectAck(qos == 1 ? kPuback : kPubrec, 5, 0x87);
      // What is not retained clears nothing.
      client.Send(PublishPacket{.topic = topic, .qos = qos, .packet_id = 5});
      client.ExpectAck(qos == 1 ? kPuback : kPubrec, 5, 0x87);
      client.Publish({.topic = topic, .qos = qos, .retain = true});
    }
    for (const Version version : {kV311, kV5}) {
      RawClient leaving = Dial(version);
      ConnectPacket connect = Transient(version, "leaving");
      connect.will = Will{.topic = topic, .payload = "no"};
      leaving.Send(connect.Encode());
      leaving.ExpectConnack(version == kV5 ? 0x87 : 0x05);
    }
  }
  // What others see there is the server's alone.
  client.Publish({.topic = StateOf("client"), .payload = "end", .qos = 1});
  for (;;) {
    const Packet packet = watcher.Expect(kPublish);
    if (packet.topic == StateOf("client")) break;
    EXPECT_TRUE(packet.topic.starts_with("$SYS/broker/")) << packet.ToString();
    EXPECT_NE(packet.payload, "no");
    EXPECT_FALSE(packet.payload.empty()) << packet.ToString();
  }
}

}  // namespace
}  // namespace spec
