// §3.3.4, §4.9 Receive Maximum and flow control; §3.1.2.10 Keep Alive.
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;

// A subscriber with a window of `window`, and more messages than that published at `qos`.
struct Flow {
  RawClient subscriber;
  RawClient publisher;
  std::string topic;
};
Flow Begin(uint32_t window, unsigned qos, int messages, bool durable) {
  ConnectPacket connect = durable ? Durable(kV5, "durable") : Transient(kV5, "transient");
  connect.clean = true;
  connect.properties.Number(kReceiveMaximum, window);
  Flow flow{Join(connect), Join(kV5, "publisher"), Unique("t")};
  flow.subscriber.Subscribe({{flow.topic, qos}, {Unique("qos0"), 0}});
  for (int i = 1; i <= messages; ++i) {
    flow.publisher.Publish({.topic = flow.topic, .payload = std::to_string(i), .qos = qos});
  }
  return flow;
}

// Never more than the window is open, and each acknowledgement that ends an exchange lets one more
// through.
void KeepsToTheWindow() {
  for (const bool durable : {false, true}) {
    for (const unsigned qos : {1U, 2U}) {
      Flow flow = Begin(2, qos, 6, durable);
      std::vector<Packet> open;
      for (int i = 1; i <= 2; ++i)
        open.push_back(flow.subscriber.ExpectPublish(flow.topic, std::to_string(i)));
      PassSeconds(0, "a while");
      flow.subscriber.ExpectNothing();
      for (int i = 3; i <= 6; ++i) {
        const Packet first = open.front();
        open.erase(open.begin());
        if (qos == 2) {
          flow.subscriber.Send(Ack(kPubrec, first.packet_id));
          flow.subscriber.ExpectAck(kPubrel, first.packet_id);
          flow.subscriber.ExpectNothing();  // Not PUBREC but PUBCOMP gives the place back.
          flow.subscriber.Send(Ack(kPubcomp, first.packet_id));
        } else {
          flow.subscriber.Acknowledge(first);
        }
        open.push_back(flow.subscriber.ExpectPublish(flow.topic, std::to_string(i)));
        flow.subscriber.ExpectNothing();
      }
    }
  }
}
TEST(Spec, MQTT5_3_3_4_9) { KeepsToTheWindow(); }
TEST(Spec, MQTT5_4_9_0_1) { KeepsToTheWindow(); }
TEST(Spec, MQTT5_4_9_0_2) {
  KeepsToTheWindow();
  // A refusal gives the place back as well.
  Flow flow = Begin(1, 2, 2, false);
  const Packet first = flow.subscriber.ExpectPublish(flow.topic, "1");
  flow.subscriber.Send(Ack(kPubrec, first.packet_id, 0x80));
  flow.subscriber.ExpectPublish(flow.topic, "2");
}

// With the window full, everything else goes its way, in both directions.
void NothingElseWaits() {
  for (const bool durable : {false, true}) {
    Flow flow = Begin(1, 2, 3, durable);
    RawClient& subscriber = flow.subscriber;
    const Packet open = subscriber.ExpectPublish(flow.topic, "1");
    subscriber.ExpectNothing();
    flow.publisher.Publish({.topic = Unique("qos0"), .payload = "QoS 0"});
    subscriber.ExpectPublish(Unique("qos0"), "QoS 0");
    subscriber.Subscribe({{Unique("more"), 1}});
    subscriber.Unsubscribe({Unique("more")});
    subscriber.Publish({.topic = Unique("own"), .payload = "x", .qos = 1});
    subscriber.Publish({.topic = Unique("own"), .payload = "x", .qos = 2});
    subscriber.Acknowledge(open);  // PUBREL comes.
    subscriber.ExpectPublish(flow.topic, "2");
  }
}
TEST(Spec, MQTT5_3_3_4_10) { NothingElseWaits(); }
TEST(Spec, MQTT5_4_9_0_3) { NothingElseWaits(); }

// Beside the statements: retained messages are sent under the window too, a page at a time, and all
// of them come.
TEST(FlowControl, RetainedMessagesKeepToTheWindow) {
  for (const bool durable : {false, true}) {
    RawClient publisher = Join(kV5, "publisher");
    for (int i = 0; i < 40; ++i) {
      publisher.Publish(
          {.topic = Unique("t/") + std::to_string(i), .payload = "x", .qos = 1, .retain = true});
    }
    ConnectPacket connect = durable ? Durable(kV5, "durable") : Transient(kV5, "transient");
    connect.properties.Number(kReceiveMaximum, 3);
    RawClient client = Join(connect);
    client.Subscribe({{Unique("t/#"), 1}});
    std::vector<Packet> open;
    for (int received = 0; received < 40; ++received) {
      open.push_back(client.Expect(kPublish));
      ASSERT_LE(open.size(), 3U);
      if (open.size() < 3 && received < 39) continue;
      client.ExpectNothing();
      for (const Packet& packet : open) client.Send(Ack(kPuback, packet.packet_id));
      open.clear();
    }
    client.ExpectNothing();
  }
}

// §3.1.2.10: after one and a half times Keep Alive, not before, and with the will.
void ClosesWhenSilent(Version version) {
  RawClient watcher = Join(version, "watcher");
  watcher.Subscribe({{Unique("will"), 0}});
  ConnectPacket connect = Transient(version, "client");
  connect.keep_alive_s = 2;
  connect.will = Will{.topic = Unique("will"), .payload = "gone"};
  RawClient client = Join(connect);
  PassSeconds(2);
  client.ExpectNothing();  // Three seconds have not passed.
  PassSeconds(2);
  client.ExpectNothing();  // Nor since that PINGREQ.
  client.ExpectDisconnect(0x8D);
  watcher.ExpectPublish(Unique("will"), "gone");
}
TEST(Spec, MQTT5_3_1_2_22) { ClosesWhenSilent(kV5); }
TEST(Spec, MQTT5_3_2_2_22) { ClosesWhenSilent(kV5); }
TEST(Spec, MQTT311_3_1_2_24) { ClosesWhenSilent(kV311); }

// A broker with its own Keep Alive says so, and goes by that, whatever the client asked for.
void ServerKeepAliveHolds(uint16_t asked) {
  static support::BrokerProcess broker({.set = {"mqtt.server_keep_alive=1"}});
  ConnectPacket connect = Transient(kV5, "client");
  connect.keep_alive_s = asked;
  RawClient client(broker.port(), connect);
  EXPECT_EQ(client.connack().Number(kServerKeepAlive), 1U);
  client.ExpectDisconnect(0x8D);
}
TEST(Spec, MQTT5_3_1_2_21) { ServerKeepAliveHolds(1000); }
TEST(Spec, MQTT5_3_2_2_21) { ServerKeepAliveHolds(0); }

}  // namespace
}  // namespace spec
