// §3.1.2.5 Will Flag, §3.1.3.2 Will Properties, §3.14.4.
#include <string>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using testing::ElementsAre;

RawClient Watch(Version version, const std::string& topic) {
  RawClient watcher = Join(version, "watcher");
  watcher.Subscribe({{topic, 2 | (version == kV5 ? kRetainAsPublished : 0)}});
  return watcher;
}

ConnectPacket WithWill(ConnectPacket connect, Will will) {
  connect.will = std::move(will);
  return connect;
}

// Published when the connection is cut, closed without DISCONNECT, or closed by the server for
// cause; by transient and durable sessions.
void PublishesTheWill(Version version) {
  const std::string topic = Unique("t");
  RawClient watcher = Watch(version, topic);
  for (const bool durable : {false, true}) {
    const ConnectPacket connect =
        WithWill(durable ? Durable(version, "durable") : Transient(version, "transient"),
                 {.topic = topic, .payload = "gone", .qos = 1});
    Join(connect).socket().Reset();
    watcher.Acknowledge(watcher.ExpectPublish(topic, "gone"));
    Join(connect).socket().Close();
    watcher.Acknowledge(watcher.ExpectPublish(topic, "gone"));
    RawClient broken = Join(connect);
    broken.Send(Frame(0x00, ""));
    broken.ExpectDisconnect(0x81);
    watcher.Acknowledge(watcher.ExpectPublish(topic, "gone"));
  }
  watcher.ExpectNothing();
}
TEST(Spec, MQTT5_3_1_2_7) { PublishesTheWill(kV5); }
TEST(Spec, MQTT311_3_1_2_8) { PublishesTheWill(kV311); }

// Will Delay: at its end, or with the session if that is earlier; not when DISCONNECT 0x00 or a
// reconnect came before.
TEST(Spec, MQTT5_3_1_2_8) {
  PublishesTheWill(kV5);
  const std::string topic = Unique("delay");
  RawClient watcher = Join(kV5, "delay-watcher");
  watcher.Subscribe({{topic, 0}});
  const auto delayed = [&](std::string_view name, uint32_t delay, uint32_t expiry) {
    return ConnectPacket{.client_id = Unique(name),
                         .properties = Number(kSessionExpiryInterval, expiry),
                         .will = Will{.topic = topic,
                                      .payload = std::string(name),
                                      .properties = Number(kWillDelayInterval, delay)}};
  };
  Join(delayed("removed", 1, kHour)).Disconnect();
  Join(delayed("late", 3, kHour)).socket().Reset();
  Join(delayed("session ends", kHour, 2)).socket().Reset();
  Join(delayed("early", 1, kHour)).socket().Reset();
  Join(delayed("at once", kHour, 0)).socket().Reset();
  for (const char* name : {"at once", "early", "session ends", "late"})
    watcher.ExpectPublish(topic, name);
  // DISCONNECT 0x04 asks for the will.
  Join(delayed("asked for", 0, kHour)).Disconnect(0x04);
  watcher.ExpectPublish(topic, "asked for");
}

TEST(Spec, MQTT5_3_1_3_9) {
  const std::string topic = Unique("t");
  RawClient watcher = Watch(kV5, topic);
  ConnectPacket connect =
      WithWill(Durable(kV5, "client"),
               {.topic = topic, .payload = "no", .properties = Number(kWillDelayInterval, 2)});
  Join(connect).socket().Reset();
  connect.will.reset();
  RawClient back = Join(connect);
  EXPECT_TRUE(back.connack().session_present());
  PassSeconds(3);
  RawClient publisher = Join(kV5, "publisher");
  ExpectEnd(publisher, watcher, topic, 0);
}

// A will is published once: not again at the end of the session, nor with the next connection.
void PublishesOnce(Version version) {
  const std::string topic = Unique("t");
  RawClient watcher = Watch(version, topic);
  RawClient publisher = Join(version, "publisher");
  ConnectPacket connect =
      WithWill(Durable(version, "client"), {.topic = topic, .payload = "gone", .qos = 1});
  Join(connect).socket().Reset();
  watcher.Acknowledge(watcher.ExpectPublish(topic, "gone"));
  connect.will.reset();
  Join(connect).socket().Reset();  // No will this time: the old one is not in the session any more.
  RawClient clean = Join(version, "client");
  clean.ExpectNothing();
  ExpectEnd(publisher, watcher, topic, 1);
  // And one that DISCONNECT removed does not come with the next end either.
  connect.will = Will{.topic = topic, .payload = "removed", .qos = 1};
  Join(connect).Disconnect();
  connect.will.reset();
  Join(connect).socket().Reset();
  Join(connect).Disconnect();
  ExpectEnd(publisher, watcher, topic, 1);
}
TEST(Spec, MQTT5_3_1_2_10) { PublishesOnce(kV5); }
TEST(Spec, MQTT311_3_1_2_10) { PublishesOnce(kV311); }

// All that the will's fields and flags say is used.
TEST(Spec, MQTT5_3_1_2_9) {
  const std::string topic = Unique("t");
  RawClient watcher = Watch(kV5, topic);
  const Properties properties = Properties()
                                    .Number(kPayloadFormatIndicator, 1)
                                    .Number(kMessageExpiryInterval, 1000)
                                    .Text(kContentType, "type")
                                    .Text(kResponseTopic, "response")
                                    .Text(kCorrelationData, "data");
  Join(WithWill(
           Transient(kV5, "client"),
           {.topic = topic, .payload = "gone", .qos = 2, .retain = true, .properties = properties}))
      .socket()
      .Reset();
  const Packet will = watcher.ExpectPublish(topic, "gone");
  EXPECT_EQ(will.qos(), 2U);
  EXPECT_TRUE(will.retain());
  EXPECT_EQ(will.Number(kPayloadFormatIndicator), 1U);
  EXPECT_GE(will.Number(kMessageExpiryInterval).value(), 990U);
  EXPECT_EQ(will.Text(kContentType), "type");
  EXPECT_EQ(will.Text(kResponseTopic), "response");
  EXPECT_EQ(will.Text(kCorrelationData), "data");
  EXPECT_FALSE(will.Has(kWillDelayInterval));
}
TEST(Spec, MQTT311_3_1_2_9) {
  const std::string topic = Unique("t");
  RawClient watcher = Watch(kV311, topic);
  Join(WithWill(Transient(kV311, "client"),
                {.topic = topic, .payload = "gone", .qos = 2, .retain = true}))
      .socket()
      .Reset();
  EXPECT_EQ(watcher.ExpectPublish(topic, "gone").qos(), 2U);
  RawClient late = Join(kV311, "late");
  late.Subscribe({{topic, 2}});
  EXPECT_TRUE(late.ExpectPublish(topic, "gone").retain());
}

TEST(Spec, MQTT5_3_1_3_10) {
  const std::string topic = Unique("t");
  RawClient watcher = Watch(kV5, topic);
  Join(WithWill(Transient(kV5, "client"),
                {.topic = topic,
                 .payload = "gone",
                 .properties = Properties().User("b", "1").User("a", "2").User("b", "3")}))
      .socket()
      .Reset();
  EXPECT_THAT(watcher.ExpectPublish(topic, "gone").UserProperties(),
              ElementsAre(std::pair("b", "1"), std::pair("a", "2"), std::pair("b", "3")));
}

// Will Retain: what a later subscriber finds.
void RetainsTheWillOnlyIfAsked(Version version, bool retain) {
  const std::string topic = Unique("t");
  RawClient watcher = Watch(version, topic);
  for (const bool durable : {false, true}) {
    Join(WithWill(durable ? Durable(version, "durable") : Transient(version, "transient"),
                  {.topic = topic, .payload = "gone", .qos = 1, .retain = retain}))
        .socket()
        .Reset();
    const Packet will = watcher.ExpectPublish(topic, "gone");
    if (version == kV5) {
      EXPECT_EQ(will.retain(), retain);
    }
    watcher.Acknowledge(will);
    RawClient late = Join(version, "late");
    late.Subscribe({{topic, 0}});
    if (retain) late.ExpectPublish(topic, "gone");
    ExpectEnd(late, late, topic, 0);
    watcher.ExpectPublish(topic, "end");
    late.Publish({.topic = topic, .qos = 1, .retain = true});  // Clears it for the next round.
    watcher.Acknowledge(watcher.ExpectPublish(topic, ""));
  }
}
TEST(Spec, MQTT5_3_1_2_14) { RetainsTheWillOnlyIfAsked(kV5, false); }
TEST(Spec, MQTT5_3_1_2_15) { RetainsTheWillOnlyIfAsked(kV5, true); }
TEST(Spec, MQTT311_3_1_2_16) { RetainsTheWillOnlyIfAsked(kV311, false); }
TEST(Spec, MQTT311_3_1_2_17) { RetainsTheWillOnlyIfAsked(kV311, true); }

// No Will Flag, no will.
TEST(Spec, MQTT311_3_1_2_12) {
  RawClient watcher = Join(kV311, "watcher");
  watcher.Subscribe({{Unique("#"), 0}, {Unique("t"), 0}});
  Join(kV311, "client").socket().Reset();
  Join(Durable(kV311, "durable")).socket().Reset();
  RawClient again = Join(kV311, "client");  // The ends were noticed.
  RawClient durable = Join(Durable(kV311, "durable"));
  RawClient publisher = Join(kV311, "publisher");
  ExpectEnd(publisher, watcher, Unique("t"), 0);
}

// §3.14.4: DISCONNECT removes the will.
void DisconnectRemovesTheWill(Version version) {
  const std::string topic = Unique("t");
  RawClient watcher = Watch(version, topic);
  for (const bool durable : {false, true}) {
    const ConnectPacket connect =
        durable ? Durable(version, "durable") : Transient(version, "transient");
    Join(WithWill(connect, {.topic = topic, .payload = "no"})).Disconnect();
    Join(connect).Disconnect();
  }
  RawClient publisher = Join(version, "publisher");
  ExpectEnd(publisher, watcher, topic, 0);
}
TEST(Spec, MQTT5_3_14_4_3) { DisconnectRemovesTheWill(kV5); }
TEST(Spec, MQTT311_3_14_4_3) { DisconnectRemovesTheWill(kV311); }

}  // namespace
}  // namespace spec
