// §3.3 PUBLISH: what is forwarded, and to whom. §4.7 Topic Names and Topic Filters.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using namespace std::string_literals;
using enum PropertyId;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

// A message through the broker to a transient and to a durable subscriber, which must get it alike.
std::vector<Packet> Relay(const Properties& properties, unsigned qos,
                          const std::string& payload = "x") {
  const std::string topic = Unique("t");
  RawClient transient = Join(kV5, "transient");
  RawClient durable = Join(Durable(kV5, "durable"));
  transient.Subscribe({{topic, qos}});
  durable.Subscribe({{topic, qos}});
  Join(kV5, "publisher")
      .Publish({.topic = topic, .payload = payload, .qos = qos, .properties = properties});
  std::vector<Packet> packets;
  for (RawClient* subscriber : {&transient, &durable}) {
    packets.push_back(subscriber->ExpectPublish(topic, payload));
    subscriber->Acknowledge(packets.back());
  }
  return packets;
}

TEST(Spec, MQTT5_3_3_2_4) {
  for (const uint32_t indicator : {0U, 1U}) {
    for (const Packet& packet : Relay(Number(kPayloadFormatIndicator, indicator), 1)) {
      EXPECT_EQ(packet.Number(kPayloadFormatIndicator), indicator);
    }
  }
  for (const Packet& packet : Relay({}, 1)) EXPECT_FALSE(packet.Has(kPayloadFormatIndicator));
}

TEST(Spec, MQTT5_3_3_2_15) {
  for (const Packet& packet : Relay(Properties().Text(kResponseTopic, "r/\xC3\xA9"), 1)) {
    EXPECT_EQ(packet.Text(kResponseTopic), "r/\xC3\xA9");
  }
}

TEST(Spec, MQTT5_3_3_2_16) {
  const std::string data = "\0\xFF\x01 data"s;
  for (const Packet& packet : Relay(Properties().Text(kCorrelationData, data), 2)) {
    EXPECT_EQ(packet.Text(kCorrelationData), data);
  }
}

TEST(Spec, MQTT5_3_3_2_20) {
  for (const Packet& packet : Relay(Properties().Text(kContentType, "text/plain"), 1)) {
    EXPECT_EQ(packet.Text(kContentType), "text/plain");
  }
}

void ForwardsUserProperties() {
  const Properties properties = Properties()
                                    .User("b", "1")
                                    .Text(kContentType, "between")
                                    .User("a", "2")
                                    .User("b", "3")
                                    .User("", "")
                                    .User("b", "1");
  for (const unsigned qos : {0U, 1U}) {
    const std::string topic = Unique("t");
    RawClient subscriber = Join(kV5, "subscriber");
    subscriber.Subscribe({{topic, qos}});
    subscriber.Publish({.topic = topic, .payload = "x", .qos = 0, .properties = properties});
    EXPECT_EQ(subscriber.ExpectPublish(topic, "x").UserProperties().size(), 5U);
  }
  for (const Packet& packet : Relay(properties, 2)) {
    EXPECT_THAT(packet.UserProperties(),
                ElementsAre(std::pair("b", "1"), std::pair("a", "2"), std::pair("b", "3"),
                            std::pair("", ""), std::pair("b", "1")));
  }
}
TEST(Spec, MQTT5_3_3_2_17) { ForwardsUserProperties(); }
TEST(Spec, MQTT5_3_3_2_18) { ForwardsUserProperties(); }

// §1.5.4, §1.5.3: U+FEFF is a character like others, in names, filters and properties.
void KeepsByteOrderMarks(Version version) {
  const std::string mark = "\xEF\xBB\xBF";
  const std::string topic = mark + Unique("t") + mark;
  RawClient client = Join(version, "client");
  client.Subscribe({{topic, 0}});
  client.Publish({.topic = Unique("t"), .payload = "without"});
  PublishPacket publish{.topic = topic, .payload = mark + "with"};
  if (version == kV5) publish.properties.Text(kContentType, mark);
  client.Publish(publish);
  const Packet packet = client.ExpectPublish(topic, mark + "with");
  if (version == kV5) {
    EXPECT_EQ(packet.Text(kContentType), mark);
  }
}
TEST(Spec, MQTT5_1_5_4_3) { KeepsByteOrderMarks(kV5); }
TEST(Spec, MQTT311_1_5_3_3) { KeepsByteOrderMarks(kV311); }

// §3.3.2.3.3 Message Expiry Interval.

TEST(Spec, MQTT5_3_3_2_5) {
  const std::string topic = Unique("t");
  RawClient publisher = Join(kV5, "publisher");
  SubscribeAndLeave(Durable(kV5, "away"), {{topic, 2}});
  for (const unsigned qos : {1U, 2U}) {
    publisher.Publish({.topic = topic,
                       .payload = "short",
                       .qos = qos,
                       .properties = Number(kMessageExpiryInterval, 1)});
  }
  publisher.Publish({.topic = topic,
                     .payload = "long",
                     .qos = 1,
                     .properties = Number(kMessageExpiryInterval, 1000)});
  PassSeconds(2);
  RawClient back = Join(Durable(kV5, "away"));
  back.Acknowledge(back.ExpectPublish(topic, "long"));
  ExpectEnd(publisher, back, topic, 1);
}

TEST(Spec, MQTT5_3_3_2_6) {
  const std::string topic = Unique("t");
  RawClient publisher = Join(kV5, "publisher");
  RawClient present = Join(kV5, "present");
  present.Subscribe({{topic, 1}});
  SubscribeAndLeave(Durable(kV5, "away"), {{topic, 1}});
  publisher.Publish({.topic = topic,
                     .payload = "x",
                     .qos = 1,
                     .retain = true,
                     .properties = Number(kMessageExpiryInterval, 1000)});
  EXPECT_EQ(present.ExpectPublish(topic, "x").Number(kMessageExpiryInterval), 1000U);
  PassSeconds(2);
  RawClient back = Join(Durable(kV5, "away"));
  const uint32_t left = back.ExpectPublish(topic, "x").Number(kMessageExpiryInterval).value();
  EXPECT_LE(left, 998U);
  EXPECT_GT(left, 900U);
  RawClient late = Join(kV5, "late");
  late.Subscribe({{topic, 1}});
  EXPECT_LE(late.ExpectPublish(topic, "x").Number(kMessageExpiryInterval).value(), 998U);
}

// §3.3.2.3.4 Topic Alias, towards the server.

Properties Alias(unsigned alias) { return Number(kTopicAlias, alias); }

TEST(Spec, MQTT5_3_3_2_12) {
  RawClient subscriber = Join(kV5, "subscriber");
  RawClient publisher = Join(kV5, "publisher");
  subscriber.Subscribe({{Unique("t/#"), 0}});
  const uint32_t aliases = publisher.connack().Number(kTopicAliasMaximum).value_or(0);
  ASSERT_GT(aliases, 0U);
  for (const uint32_t alias : {1U, aliases}) {
    const std::string topic = Unique("t/") + std::to_string(alias);
    publisher.Publish({.topic = topic, .payload = "named", .properties = Alias(alias)});
    publisher.Publish({.topic = "", .payload = "short", .properties = Alias(alias)});
    subscriber.ExpectPublish(topic, "named");
    subscriber.ExpectPublish(topic, "short");
  }
  for (uint32_t alias = 1; alias <= aliases; ++alias) {  // Each takes a new meaning.
    publisher.Publish({.topic = Unique("t/") + std::to_string(alias),
                       .payload = "a",
                       .properties = Alias(alias)});
    subscriber.ExpectPublish(Unique("t/") + std::to_string(alias), "a");
  }
  for (uint32_t alias = aliases; alias >= 1; --alias) {
    publisher.Publish({.topic = "", .payload = "b", .properties = Alias(alias)});
    subscriber.ExpectPublish(Unique("t/") + std::to_string(alias), "b");
  }
}

// The mapping ends with the connection, in both directions, though the session goes on.
TEST(Spec, MQTT5_3_3_2_7) {
  const std::string topic = Unique("t");
  ConnectPacket connect = Durable(kV5, "client");
  connect.properties.Number(kTopicAliasMaximum, 5);
  for (int i = 0; i < 2; ++i) {
    RawClient client = Join(connect);
    client.Subscribe({{topic, 0}});
    client.Publish({.topic = topic, .payload = "1", .properties = Alias(1)});
    client.Publish({.topic = topic, .payload = "2"});
    EXPECT_EQ(client.Expect(PacketType::kPublish).topic,
              topic);  // The first of this connection is named.
    const Packet second = client.Expect(PacketType::kPublish);
    EXPECT_EQ(second.payload, "2");
    client.socket().Reset();
  }
  RawClient client = Join(connect);
  client.Send(PublishPacket{.topic = "", .payload = "3", .properties = Alias(1)});
  client.ExpectDisconnect(0x82);
}

// Towards the client: reads messages on several topics, resolves aliases as a client would, and
// returns the aliases.
std::set<uint32_t> AliasesSent(uint32_t maximum) {
  ConnectPacket connect = Transient(kV5, "client");
  if (maximum > 0) connect.properties.Number(kTopicAliasMaximum, maximum);
  RawClient client = Join(connect);
  client.Subscribe({{Unique("t/+"), 0}});
  std::map<uint32_t, std::string> meaning;
  std::set<uint32_t> aliases;
  for (int round = 0; round < 4; ++round) {
    for (const char* name : {"a", "b", "c", "d"}) {
      const std::string topic = Unique("t/") + name;
      client.Publish({.topic = topic, .payload = name});
      const Packet packet = client.Expect(PacketType::kPublish);
      EXPECT_EQ(packet.payload, name);
      const auto alias = packet.Number(kTopicAlias);
      if (alias) aliases.insert(*alias);
      if (alias && !packet.topic.empty()) meaning[*alias] = packet.topic;
      EXPECT_EQ(packet.topic.empty() ? meaning[alias.value()] : packet.topic, topic);
    }
  }
  return aliases;
}
void KeepsToTheClientsMaximum() {
  for (const uint32_t maximum : {1U, 3U, 65535U}) {
    const std::set<uint32_t> aliases = AliasesSent(maximum);
    ASSERT_FALSE(aliases.empty()) << "no alias was used, nothing was shown";
    EXPECT_GE(*aliases.begin(), 1U);
    EXPECT_LE(*aliases.rbegin(), maximum);
  }
}
TEST(Spec, MQTT5_3_1_2_26) { KeepsToTheClientsMaximum(); }
TEST(Spec, MQTT5_3_3_2_11) { KeepsToTheClientsMaximum(); }
TEST(Spec, MQTT5_3_1_2_27) {
  EXPECT_TRUE(AliasesSent(0).empty());
  ConnectPacket connect = Transient(kV5, "zero");
  connect.properties.Number(kTopicAliasMaximum, 0);
  RawClient client = Join(connect);
  client.Subscribe({{Unique("t"), 0}});
  for (int i = 0; i < 3; ++i) {
    client.Publish({.topic = Unique("t"), .payload = "x"});
    EXPECT_FALSE(client.ExpectPublish(Unique("t"), "x").Has(kTopicAlias));
  }
}

// §3.3.4 Overlapping subscriptions.

void DeliversAtTheHighestQos(Version version) {
  for (const bool durable : {false, true}) {
    RawClient subscriber =
        Join(durable ? Durable(version, "subscriber") : Transient(version, "subscriber"));
    RawClient publisher = Join(version, "publisher");
    subscriber.Subscribe({{Unique("t/+"), 0}, {Unique("t/a"), 2}, {Unique("t/#"), 1}});
    publisher.Publish({.topic = Unique("t/a"), .payload = "x", .qos = 2});
    publisher.Publish({.topic = Unique("t/b"), .payload = "end", .qos = 2});
    unsigned highest = 0;
    for (;;) {  // One copy at the highest QoS, or one for each subscription at its own.
      const Packet packet = *subscriber.Read();
      if (packet.type != PacketType::kPublish) continue;
      if (packet.payload == "end") break;
      highest = std::max(highest, packet.qos());
      if (packet.qos() > 0)
        subscriber.Send(
            Ack(packet.qos() == 1 ? PacketType::kPuback : PacketType::kPubrec, packet.packet_id));
    }
    EXPECT_EQ(highest, 2U);
    subscriber.Send(support::Disconnect(version));
  }
}
TEST(Spec, MQTT5_3_3_4_2) { DeliversAtTheHighestQos(kV5); }
TEST(Spec, MQTT311_3_3_5_1) { DeliversAtTheHighestQos(kV311); }

// Three subscriptions match, two have identifiers: every identifier comes, whether on one copy or
// on several.
std::vector<Packet> Overlap(bool durable) {
  RawClient subscriber = Join(durable ? Durable(kV5, "subscriber") : Transient(kV5, "subscriber"));
  subscriber.Subscribe({{Unique("t/a"), 1}}, Number(kSubscriptionIdentifier, 7));
  subscriber.Subscribe({{Unique("t/+"), 1}}, Number(kSubscriptionIdentifier, 268'435'455));
  subscriber.Subscribe({{Unique("t/#"), 1}});
  subscriber.Subscribe({{Unique("other"), 1}}, Number(kSubscriptionIdentifier, 9));
  RawClient publisher = Join(kV5, "publisher");
  publisher.Publish({.topic = Unique("t/a"), .payload = "x", .qos = 1});
  publisher.Publish({.topic = Unique("other"), .payload = "end", .qos = 1});
  std::vector<Packet> copies;
  for (;;) {
    const Packet packet = subscriber.Expect(PacketType::kPublish);
    subscriber.Acknowledge(packet);
    if (packet.payload == "end") {
      EXPECT_THAT(packet.Numbers(kSubscriptionIdentifier), ElementsAre(9U));
      subscriber.Disconnect();
      return copies;
    }
    copies.push_back(packet);
  }
}
TEST(Spec, MQTT5_3_3_4_3) {
  for (const bool durable : {false, true}) {
    std::vector<uint32_t> ids;
    for (const Packet& copy : Overlap(durable)) {
      for (const uint32_t id : copy.Numbers(kSubscriptionIdentifier)) ids.push_back(id);
    }
    EXPECT_THAT(ids, UnorderedElementsAre(7U, 268'435'455U));
  }
}
// The broker sends a single copy; were it to send several, each would have at most its own
// identifier.
void OneCopyWithAllOrOneEach() {
  for (const bool durable : {false, true}) {
    const std::vector<Packet> copies = Overlap(durable);
    if (copies.size() == 1) {
      EXPECT_THAT(copies[0].Numbers(kSubscriptionIdentifier),
                  UnorderedElementsAre(7U, 268'435'455U));
    } else {
      ASSERT_EQ(copies.size(), 3U);
      for (const Packet& copy : copies) EXPECT_LE(copy.Numbers(kSubscriptionIdentifier).size(), 1U);
    }
  }
}
TEST(Spec, MQTT5_3_3_4_4) { OneCopyWithAllOrOneEach(); }
TEST(Spec, MQTT5_3_3_4_5) { OneCopyWithAllOrOneEach(); }

// §4.5 Message delivery.

void ReachesEverySession(Version version) {
  const std::string topic = Unique("t");
  RawClient present = Join(Durable(version, "present"));
  RawClient transient = Join(version, "transient");
  present.Subscribe({{topic, 1}});
  transient.Subscribe({{topic, 2}});
  SubscribeAndLeave(Durable(version, "away"), {{topic, 1}});
  Join(version, "publisher").Publish({.topic = topic, .payload = "x", .qos = 1});
  RawClient back = Join(Durable(version, "away"));
  EXPECT_TRUE(back.connack().session_present());
  for (RawClient* client : {&present, &transient, &back})
    client->Acknowledge(client->ExpectPublish(topic, "x"));
}
TEST(Spec, MQTT5_4_5_0_1) { ReachesEverySession(kV5); }
TEST(Spec, MQTT311_4_5_0_1) { ReachesEverySession(kV311); }

// §4.7 Matching: each filter against each topic, by what the specification says.

struct Match {
  std::string filter;
  std::string topic;
  bool matches = false;
};
void Matches(Version version, const std::vector<Match>& rows) {
  RawClient publisher = Join(version, "publisher");
  for (const Match& row : rows) {
    RawClient subscriber = Join(version, "subscriber");
    subscriber.Subscribe({{row.filter, 1}, {Unique("end"), 1}});
    publisher.Publish({.topic = row.topic, .payload = "x", .qos = 1});
    if (row.matches) {
      const Packet packet = subscriber.Expect(PacketType::kPublish);
      EXPECT_EQ(packet.topic, row.topic) << row.filter;
      subscriber.Acknowledge(packet);
    }
    ExpectEnd(publisher, subscriber, Unique("end"), 1);
  }
}

std::vector<Match> Rows() {
  const std::string t = Unique("");
  return {{t + "/sport/#", t + "/sport", true},
          {t + "/sport/#", t + "/sport/a/b", true},
          {t + "/sport/#", t + "/sports", false},
          {t + "/+", t + "/", true},
          {t + "/+", t + "/a/b", false},
          {t + "/+/c", t + "/a/c", true},
          {t + "/+/c", t + "/a/d", false},
          {t + "/a", t + "/a/", false},
          {"+/" + t, "x/" + t, true},
          {"/+/" + t, "/x/" + t, true},
          {"+/+/" + t, "/x/" + t, true},
          {"+/" + t, "/x/" + t, false},
          {t + "/+/+/#", t + "/a//c", true},
          {t + "/#", t + "/$SYS", true}};
}
TEST(Spec, MQTT5_3_3_2_3) { Matches(kV5, Rows()); }
TEST(Spec, MQTT311_3_3_2_3) { Matches(kV311, Rows()); }
// What stands at a place that is allowed is a wildcard and works as one.
TEST(Wildcards, WorkAtEveryAllowedPlaceV5) { Matches(kV5, Rows()); }

std::vector<Match> DollarRows() {
  const std::string t = Unique("");
  return {{"#", "$" + t, false},
          {"+/" + t, "$a/" + t, false},
          {"+/#", "$" + t + "/a", false},
          {"$" + t + "/#", "$" + t + "/a", true},
          {"$a/+/" + t, "$a/b/" + t, true}};
}
// A subscriber to # gets all that other cases publish too: only what it must not get is looked for.
void DollarIsApart(Version version) {
  RawClient publisher = Join(version, "publisher");
  for (const Match& row : DollarRows()) {
    RawClient subscriber = Join(version, "subscriber");
    subscriber.Subscribe({{row.filter, 0}, {Unique("end"), 0}});
    publisher.Publish({.topic = row.topic, .payload = "x"});
    publisher.Publish({.topic = Unique("end"), .payload = "end"});
    bool received = false;
    for (Packet packet = *subscriber.Read(); packet.topic != Unique("end");
         packet = *subscriber.Read()) {
      received |= packet.topic == row.topic;
    }
    EXPECT_EQ(received, row.matches) << row.filter << " " << row.topic;
  }
}
TEST(Spec, MQTT5_4_7_2_1) { DollarIsApart(kV5); }
TEST(Spec, MQTT311_4_7_2_1) { DollarIsApart(kV311); }

std::vector<Match> ExactRows() {
  const std::string t = Unique("");
  return {{t + "/ACCOUNTS", t + "/Accounts", false},
          {t + "/\xC3\xA9", t + "/e\xCC\x81", false},  // é as one character and as two.
          {t + "/a b", t + "/a b", true},
          {t + "/a", t + "/a ", false},
          {t + "//a", t + "/a", false},
          {t + "/a/", t + "/a", false},
          {t + "/\xEF\xBF\xBD", t + "/\xEF\xBF\xBD", true},
          {t + "/\xEF\xBF\xBD", t + "/?", false}};
}
TEST(Spec, MQTT5_4_7_3_4) { Matches(kV5, ExactRows()); }
TEST(Spec, MQTT311_4_7_3_4) { Matches(kV311, ExactRows()); }

// 65,535 bytes are allowed; more cannot be written down in two bytes of length.
void TakesTheLongestTopic(Version version) {
  RawClient client = Join(version, "client");
  std::string topic = Unique("");
  topic.resize(65535, 'x');
  client.Subscribe({{topic, 0}});
  client.Publish({.topic = topic, .payload = "x"});
  client.ExpectPublish(topic, "x");
}
TEST(Spec, MQTT5_4_7_3_3) { TakesTheLongestTopic(kV5); }
TEST(Spec, MQTT311_4_7_3_3) { TakesTheLongestTopic(kV311); }

}  // namespace
}  // namespace spec
