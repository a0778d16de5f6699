// What §4 promises for the life of a session holds when the broker is killed (-9) in it and started
// again: beside the statements, each of which has its own case, here they hold across the death of
// the process.
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;

class Restart : public testing::TestWithParam<Version> {
 protected:
  Version version() const { return GetParam(); }
  RawClient Meet(const ConnectPacket& connect, Where where = Where::current()) {
    return RawClient(broker_.port(), connect, where);
  }
  RawClient Meet(std::string_view name, Where where = Where::current()) {
    return Meet(Transient(version(), name), where);
  }

  support::BrokerProcess broker_;
};

INSTANTIATE_TEST_SUITE_P(Versions, Restart, testing::Values(kV311, kV5),
                         [](const auto& test) { return test.param == kV5 ? "V5" : "V311"; });

// PUBREC was read: the message is ours once, whatever comes between. A repeat before PUBREL is
// recognised.
TEST_P(Restart, Qos2RepeatedBeforePubrelIsDeliveredOnce) {
  const std::string topic = "t";
  {
    RawClient subscriber = Meet(Durable(version(), "subscriber"));
    subscriber.Subscribe({{topic, 2}});
    subscriber.Disconnect();
  }
  PublishPacket publish{.topic = topic, .payload = "once", .qos = 2, .packet_id = 5};
  {
    RawClient publisher = Meet(Durable(version(), "publisher"));
    publisher.Send(publish);
    publisher.ExpectAck(kPubrec, 5);
    broker_.Restart();
  }
  publish.dup = true;
  RawClient publisher = Meet(Durable(version(), "publisher"));
  EXPECT_TRUE(publisher.connack().session_present());
  publisher.Send(publish);
  publisher.ExpectAck(kPubrec, 5);
  publisher.Send(Ack(kPubrel, 5));
  publisher.ExpectAck(kPubcomp, 5);
  publisher.Publish({.topic = topic, .payload = "last", .qos = 2});
  RawClient subscriber = Meet(Durable(version(), "subscriber"));
  subscriber.Acknowledge(subscriber.ExpectPublish(topic, "once"));
  subscriber.Acknowledge(subscriber.ExpectPublish(topic, "last"));
}

// After PUBCOMP the identifier is free, also for a broker that was killed right then.
TEST_P(Restart, AnIdentifierReleasedBeforeIsNewAfter) {
  {
    RawClient publisher = Meet(Durable(version(), "publisher"));
    publisher.Send(PublishPacket{.topic = "t", .qos = 2, .packet_id = 5});
    publisher.ExpectAck(kPubrec, 5);
    publisher.Send(Ack(kPubrel, 5));
    publisher.ExpectAck(kPubcomp, 5);
    broker_.Restart();
  }
  RawClient subscriber = Meet("subscriber");
  subscriber.Subscribe({{"t", 2}});
  RawClient publisher = Meet(Durable(version(), "publisher"));
  publisher.Send(
      PublishPacket{.topic = "t", .payload = "new", .qos = 2, .packet_id = 5, .dup = true});
  publisher.ExpectAck(kPubrec, 5);
  publisher.Send(Ack(kPubrel, 5));
  publisher.ExpectAck(kPubcomp, 5);
  subscriber.Acknowledge(subscriber.ExpectPublish("t", "new"));
}

// PUBREL was read: it is owed again after the restart, under its identifier, and PUBLISH is not.
TEST_P(Restart, AnOwedPubrelIsSentAgain) {
  uint16_t id = 0;
  {
    RawClient subscriber = Meet(Durable(version(), "subscriber"));
    subscriber.Subscribe({{"t", 2}});
    Meet("publisher").Publish({.topic = "t", .payload = "x", .qos = 2});
    id = subscriber.ExpectPublish("t", "x").packet_id;
    subscriber.Send(Ack(kPubrec, id));
    subscriber.ExpectAck(kPubrel, id);
    broker_.Restart();
  }
  RawClient subscriber = Meet(Durable(version(), "subscriber"));
  subscriber.ExpectAck(kPubrel, id);
  subscriber.Send(Ack(kPubcomp, id));
  subscriber.ExpectNothing();
}

// What was acknowledged to the publisher is there, in order; what was delivered and not
// acknowledged comes again under its identifier; what the subscriber acknowledged may come again,
// since its word may not have been stored.
TEST_P(Restart, QueueAndFlightAreKept) {
  std::vector<uint16_t> ids;
  {
    RawClient subscriber = Meet(Durable(version(), "subscriber"));
    subscriber.Subscribe({{"t/#", 2}});
    RawClient publisher = Meet("publisher");
    for (int i = 0; i < 3; ++i) {
      publisher.Publish({.topic = "t/a", .payload = std::to_string(i), .qos = 1});
      ids.push_back(subscriber.ExpectPublish("t/a", std::to_string(i)).packet_id);
    }
    subscriber.Disconnect();
    for (int i = 3; i < 50; ++i) {
      publisher.Publish(
          {.topic = "t/a", .payload = std::to_string(i), .qos = 1U + static_cast<unsigned>(i) % 2});
    }
    broker_.Restart();
  }
  RawClient subscriber = Meet(Durable(version(), "subscriber"));
  EXPECT_TRUE(subscriber.connack().session_present());
  for (int i = 0; i < 50; ++i) {
    const Packet packet = subscriber.ExpectPublish("t/a", std::to_string(i));
    if (i < 3) {
      EXPECT_TRUE(packet.dup());
      EXPECT_EQ(packet.packet_id, ids[static_cast<size_t>(i)]);
    } else {
      EXPECT_FALSE(packet.dup());
    }
    subscriber.Acknowledge(packet);
  }
  subscriber.ExpectNothing();
}

TEST_P(Restart, RetainedMessagesAndSubscriptionsAreKept) {
  {
    RawClient client = Meet(Durable(version(), "client"));
    client.Subscribe({{"a", 1}, {"b", 2}, {"c", 0}});
    client.Unsubscribe({"b"});
    client.Publish({.topic = "kept", .payload = "x", .qos = 1, .retain = true});
    client.Publish({.topic = "removed", .payload = "x", .qos = 1, .retain = true});
    client.Publish({.topic = "removed", .payload = "", .qos = 1, .retain = true});
    broker_.Restart();
  }
  RawClient client = Meet(Durable(version(), "client"));
  for (const char* topic : {"a", "b", "c"})
    client.Publish({.topic = topic, .payload = topic, .qos = 1});
  EXPECT_EQ(client.ExpectPublish("a", "a").qos(), 1U);
  EXPECT_EQ(client.ExpectPublish("c", "c").qos(), 0U);
  RawClient late = Meet("late");
  late.Subscribe({{"#", 0}});
  EXPECT_TRUE(late.ExpectPublish("kept", "x").retain());
  ExpectEnd(late, late, "t", 0);
}

// A will fires though the broker died with its client, once; and none fires that DISCONNECT
// removed.
TEST_P(Restart, WillsFireOnce) {
  {
    RawClient watcher = Meet(Durable(version(), "watcher"));
    watcher.Subscribe({{"will/#", 1}});
    watcher.Disconnect();
    ConnectPacket transient = Transient(version(), "transient");
    transient.will = Will{.topic = "will/transient", .payload = "gone", .qos = 1};
    ConnectPacket durable = Durable(version(), "durable");
    durable.will = Will{.topic = "will/durable", .payload = "gone", .qos = 1};
    ConnectPacket removed = Durable(version(), "removed");
    removed.will = Will{.topic = "will/removed", .payload = "no", .qos = 1};
    RawClient a = Meet(transient);
    RawClient b = Meet(durable);
    Meet(removed).Disconnect();
    // DISCONNECT has no answer, so nobody knows when it is stored; this CONNACK comes after it.
    Meet(Durable(version(), "removed")).ExpectNothing();
    broker_.Restart();
  }
  std::vector<std::string> topics;
  RawClient watcher = Meet(Durable(version(), "watcher"));
  for (int i = 0; i < 2; ++i) {
    const Packet will = watcher.Expect(kPublish);
    topics.push_back(will.topic);
    watcher.Acknowledge(will);
  }
  EXPECT_THAT(topics, testing::UnorderedElementsAre("will/transient", "will/durable"));
  watcher.ExpectNothing();
  watcher.Disconnect();
  broker_.Restart();
  // The last PUBACK may not have been stored, so a copy may come again; a will may not.
  RawClient again = Meet(Durable(version(), "watcher"));
  again.Send(support::kPingreq);
  for (Packet packet = *again.Read(); packet.type != kPingresp; packet = *again.Read()) {
    EXPECT_TRUE(packet.dup()) << packet.ToString();
  }
}

// Message Expiry Interval runs on while nothing runs.
TEST(RestartV5, ExpiryCountsTheTimeBetween) {
  support::BrokerProcess broker;
  {
    RawClient client(broker.port(), Durable(kV5, "client"));
    client.Subscribe({{"t", 1}});
    client.Disconnect();
    RawClient publisher(broker.port(), Transient(kV5, "publisher"));
    publisher.Publish({.topic = "t",
                       .payload = "short",
                       .qos = 1,
                       .properties = Number(kMessageExpiryInterval, 1)});
    publisher.Publish({.topic = "t",
                       .payload = "long",
                       .qos = 1,
                       .properties = Number(kMessageExpiryInterval, 1000)});
  }
  broker.Kill();
  PassSeconds(2);  // On another broker's clock.
  broker.Start();
  RawClient client(broker.port(), Durable(kV5, "client"));
  EXPECT_LE(client.ExpectPublish("t", "long").Number(kMessageExpiryInterval).value(), 998U);
}

// SIGTERM: 5.0 clients are told, sessions stay, the exit code is 0, and wills stand.
TEST_P(Restart, ShutsDownInOrder) {
  RawClient watcher = Meet(Durable(version(), "watcher"));
  watcher.Subscribe({{"t", 1}});
  broker_.Signal(SIGTERM);
  watcher.ExpectDisconnect(0x8B);
  watcher.socket().Close();
  EXPECT_EQ(broker_.Wait(), 0);
  broker_.Start();
  EXPECT_TRUE(Meet(Durable(version(), "watcher")).connack().session_present());
}

}  // namespace
}  // namespace spec
