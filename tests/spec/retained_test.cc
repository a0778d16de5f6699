// §3.3.1.3 RETAIN, §3.8.3.1 Retain Handling and Retain As Published.
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;

void Retain(Version version, const std::string& topic, const std::string& payload,
            unsigned qos = 1) {
  Join(version, "retainer")
      .Publish({.topic = topic, .payload = payload, .qos = qos, .retain = true});
}

// What a new subscription finds at the topic: the message, or nothing.
std::optional<Packet> Retained(Version version, const std::string& topic) {
  RawClient late = Join(version, "late");
  late.Subscribe({{topic, 2}, {topic + "/end", 0}});
  PassSeconds(0, "reply");  // Longer than a reply takes.
  late.Publish({.topic = topic + "/end", .payload = "end"});
  std::optional<Packet> found;
  for (Packet packet = late.Expect(kPublish); packet.payload != "end";
       packet = late.Expect(kPublish)) {
    EXPECT_TRUE(packet.retain());
    found = std::move(packet);
  }
  return found;
}

void StoresAndReplaces(Version version) {
  const std::string topic = Unique("t");
  for (const unsigned qos : {1U, 0U, 2U}) {
    RawClient before = Join(version, "before");
    before.Subscribe({{topic, 0}});
    Retain(version, topic, "at " + std::to_string(qos), qos);
    // At QoS 2 a message is passed on a moment after its handshake.
    while (before.Expect(kPublish).payload != "at " + std::to_string(qos)) {
    }
    RawClient late = Join(version, "late");
    late.Subscribe({{topic, 2}});
    const Packet packet = late.ExpectPublish(topic, "at " + std::to_string(qos));
    EXPECT_TRUE(packet.retain());
    EXPECT_EQ(packet.qos(), qos);
    EXPECT_FALSE(packet.dup());
  }
}
TEST(Spec, MQTT5_3_3_1_5) { StoresAndReplaces(kV5); }
TEST(Spec, MQTT311_3_3_1_5) { StoresAndReplaces(kV311); }
TEST(Spec, MQTT311_3_3_1_8) { StoresAndReplaces(kV311); }

// A QoS 0 message takes the place of an earlier one at QoS 2: the earlier never comes again.
TEST(Spec, MQTT311_3_3_1_7) {
  const std::string topic = Unique("t");
  Retain(kV311, topic, "earlier", 2);
  RawClient publisher = Join(kV311, "publisher");
  RawClient watcher = Join(kV311, "watcher");
  watcher.Subscribe({{topic, 0}});
  watcher.ExpectPublish(topic, "earlier");
  publisher.Publish({.topic = topic, .payload = "newer", .retain = true});
  watcher.ExpectPublish(topic, "newer");
  publisher.Publish({.topic = Unique("other"), .qos = 1});
  RawClient late = Join(kV311, "late");
  late.Subscribe({{topic, 2}});
  late.ExpectPublish(topic, "newer");
}

// Every matching topic's last message, to transient and durable sessions.
TEST(Spec, MQTT311_3_3_1_6) {
  for (const char* name : {"t/a", "t/b/c", "t", "u"}) {
    Retain(kV311, Unique(name), "old");
    Retain(kV311, Unique(name), "new");
  }
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(kV311, "durable") : Transient(kV311, "transient"));
    client.Subscribe({{Unique("t/#"), 1}});
    std::vector<std::string> topics;
    for (int i = 0; i < 3; ++i) {
      const Packet packet = client.Expect(kPublish);
      EXPECT_EQ(packet.payload, "new");
      EXPECT_TRUE(packet.retain());
      client.Acknowledge(packet);
      topics.push_back(packet.topic);
    }
    EXPECT_THAT(topics, testing::UnorderedElementsAre(Unique("t/a"), Unique("t/b/c"), Unique("t")));
    client.ExpectNothing();
  }
}

// An empty payload is delivered to those who are there, and clears the topic.
void EmptyPayloadRemoves(Version version) {
  const std::string topic = Unique("t");
  RawClient watcher = Join(version, "watcher");
  for (const unsigned qos : {0U, 1U, 2U}) {
    Retain(version, topic, "kept", 1);
    watcher.Subscribe({{topic, 0}});
    watcher.ExpectPublish(topic, "kept");
    Retain(version, topic, "", qos);
    EXPECT_FALSE(watcher.ExpectPublish(topic, "").retain());
    EXPECT_EQ(Retained(version, topic), std::nullopt) << "after QoS " << qos;
    watcher.Unsubscribe({topic});
  }
}
TEST(Spec, MQTT5_3_3_1_6) { EmptyPayloadRemoves(kV5); }
TEST(Spec, MQTT311_3_3_1_10) { EmptyPayloadRemoves(kV311); }

// Where nothing was retained an empty payload leaves nothing either.
void EmptyPayloadIsNotStored(Version version) {
  Retain(version, Unique("t"), "");
  EXPECT_EQ(Retained(version, Unique("t")), std::nullopt);
  RawClient late = Join(version, "late");
  late.Subscribe({{Unique("t"), 1}});
  ExpectEnd(late, late, Unique("t"), 0);
}
TEST(Spec, MQTT5_3_3_1_7) { EmptyPayloadIsNotStored(kV5); }
TEST(Spec, MQTT311_3_3_1_11) { EmptyPayloadIsNotStored(kV311); }

void PlainMessagesLeaveItAlone(Version version) {
  const std::string topic = Unique("t");
  RawClient publisher = Join(version, "publisher");
  publisher.Publish({.topic = topic, .payload = "plain", .qos = 1});
  EXPECT_EQ(Retained(version, topic), std::nullopt);
  Retain(version, topic, "kept");
  publisher.Publish({.topic = topic, .payload = "plain", .qos = 2});
  publisher.Publish({.topic = topic, .payload = "", .qos = 1});
  const std::optional<Packet> found = Retained(version, topic);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->payload, "kept");
}
TEST(Spec, MQTT5_3_3_1_8) { PlainMessagesLeaveItAlone(kV5); }
TEST(Spec, MQTT311_3_3_1_12) { PlainMessagesLeaveItAlone(kV311); }

// An established subscription gets RETAIN 0.
TEST(Spec, MQTT311_3_3_1_9) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(kV311, "durable") : Transient(kV311, "transient"));
    client.Subscribe({{Unique("t"), 1}});
    for (const unsigned qos : {0U, 1U}) {
      Retain(kV311, Unique("t"), "x", qos);
      const Packet packet = client.ExpectPublish(Unique("t"), "x");
      EXPECT_FALSE(packet.retain());
      client.Acknowledge(packet);
    }
    Retain(kV311, Unique("t"), "");
  }
}

// How many retained copies three SUBSCRIBEs to the same filter bring: the first is new.
std::vector<int> CopiesAtEachSubscribe(unsigned handling, bool durable) {
  const std::string topic = Unique("t");
  Retain(kV5, topic, "kept");
  ConnectPacket connect = durable ? Durable(kV5, "durable") : Transient(kV5, "transient");
  connect.clean = true;
  RawClient client = Join(connect);
  client.Subscribe({{topic + "/end", 1}});
  std::vector<int> copies;
  for (int i = 0; i < 3; ++i) {
    client.Subscribe({{topic, 1 | handling}});
    PassSeconds(0);  // Time enough for a reply to come.
    client.Publish({.topic = topic + "/end", .payload = "end"});
    copies.push_back(0);
    for (Packet packet = client.Expect(kPublish); packet.payload != "end";
         packet = client.Expect(kPublish)) {
      EXPECT_TRUE(packet.retain());
      client.Acknowledge(packet);
      ++copies.back();
    }
  }
  client.Disconnect();
  return copies;
}
TEST(Spec, MQTT5_3_3_1_9) {
  for (const bool durable : {false, true})
    EXPECT_EQ(CopiesAtEachSubscribe(0, durable), (std::vector{1, 1, 1}));
}
TEST(Spec, MQTT5_3_3_1_10) {
  for (const bool durable : {false, true})
    EXPECT_EQ(CopiesAtEachSubscribe(kRetainIfNew, durable), (std::vector{1, 0, 0}));
}
TEST(Spec, MQTT5_3_3_1_11) {
  for (const bool durable : {false, true})
    EXPECT_EQ(CopiesAtEachSubscribe(kRetainNever, durable), (std::vector{0, 0, 0}));
}

// Retain As Published, with both flags side by side.
void ForwardsRetain(unsigned option, bool expected_when_set) {
  for (const bool durable : {false, true}) {
    RawClient client = Join(durable ? Durable(kV5, "durable") : Transient(kV5, "transient"));
    RawClient publisher = Join(kV5, "publisher");
    const std::string topic = Unique("t");
    client.Subscribe({{topic, 2 | option | kRetainNever}});
    for (const unsigned qos : {0U, 1U, 2U}) {
      for (const bool retain : {true, false}) {
        publisher.Publish({.topic = topic, .payload = "x", .qos = qos, .retain = retain});
        const Packet packet = client.ExpectPublish(topic, "x");
        EXPECT_EQ(packet.retain(), retain && expected_when_set) << "QoS " << qos;
        client.Acknowledge(packet);
      }
    }
    client.Disconnect();
  }
}
TEST(Spec, MQTT5_3_3_1_12) { ForwardsRetain(0, false); }
TEST(Spec, MQTT5_3_3_1_13) { ForwardsRetain(kRetainAsPublished, true); }

}  // namespace
}  // namespace spec
