// What binds clients about text, Topic Names, Topic Filters and the requests that carry them.
#include "tests/client/statements/statements_test.h"
#include "tests/support/wire.h"

namespace mqttd::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const std::string& IllFormed() {
  static const std::string* const text = new std::string("a\xC0\x80z");
  return *text;
}
const std::string& WithNull() {
  static const std::string* const text = new std::string("a\0z", 3);
  return *text;
}
const std::string& Surrogate() {
  static const std::string* const text = new std::string("\xED\xA0\x80");
  return *text;
}

class TextStatements : public ClientStatements {
 protected:
  using Fill = std::function<void(Message&)>;

  // The message is refused, nothing is sent, and the connection stands.
  void Refuses(Subject& subject, const Fill& fill) {
    Message message = At(Own("t"), "x", QoS::kAtLeastOnce);
    fill(message);
    EXPECT_EQ(Publish(subject, message).status().code(), absl::StatusCode::kInvalidArgument);
    Ping(subject);
    EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), IsEmpty());
  }
  void RefusesTopic(Subject& subject, const std::string& topic) {
    Refuses(subject, [&](Message& message) { message.topic = topic; });
  }
  void RefusesFilter(Subject& subject, const std::string& filter) {
    EXPECT_EQ(Await(StartSubscribe(subject, {{filter, {}}})).status().code(),
              absl::StatusCode::kInvalidArgument)
        << filter;
    EXPECT_EQ(Await(StartUnsubscribe(subject, {filter})).status().code(),
              absl::StatusCode::kInvalidArgument)
        << filter;
    Ping(subject);
    EXPECT_THAT(subject.tap.Sent(PacketType::kSubscribe), IsEmpty());
    EXPECT_THAT(subject.tap.Sent(PacketType::kUnsubscribe), IsEmpty());
  }
  void RefusesText(Version version, const std::string& text) {
    Subject& subject = Join(version);
    RefusesTopic(subject, text);
    RefusesFilter(subject, text);
    if (version != Version::k5) return;
    Refuses(subject, [&](Message& message) { message.content_type = text; });
    Refuses(subject, [&](Message& message) { message.response_topic = text; });
  }
  void KeepsTheByteOrderMark(Version version);
  void TopicComesFirst(Version version);
  void NamesHaveNoWildcards(Version version);
  void HashIsLast(Version version);
  void PlusFillsALevel(Version version);
  void NamesAreNotEmpty(Version version);
  void NamesAreShort(Version version);
  void SubscribesByText(Version version);
  void UnsubscribesByText(Version version);
  void SubscribeHasAFilter(Version version);
  void UnsubscribeHasAFilter(Version version);
};
MQTTD_AGAINST_BOTH_SERVERS(TextStatements);

TEST_P(TextStatements, MQTT5_1_5_4_1) {
  RefusesText(Version::k5, IllFormed());
  LeaveAll();
  RefusesText(Version::k5, Surrogate());
}
TEST_P(TextStatements, MQTT5_1_5_4_2) { RefusesText(Version::k5, WithNull()); }
TEST_P(TextStatements, MQTT311_1_5_3_1) {
  RefusesText(Version::k311, IllFormed());
  LeaveAll();
  RefusesText(Version::k311, Surrogate());
}
TEST_P(TextStatements, MQTT311_1_5_3_2) { RefusesText(Version::k311, WithNull()); }

// Both ways, wherever it stands.
void TextStatements::KeepsTheByteOrderMark(Version version) {
  const std::string topic = "\xEF\xBB\xBF" + Own("t") + "\xEF\xBB\xBF/a\xEF\xBB\xBF" + "b";
  Subject& subject = Join(version);
  Subscribe(subject, topic, QoS::kAtLeastOnce);
  ASSERT_TRUE(Publish(subject, At(topic, "x", QoS::kAtLeastOnce)).ok());
  Until([&] { return subject.got.size() == 1; });
  EXPECT_EQ(subject.got[0].topic, topic);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish)[0]->body, HasSubstr(support::Text(topic)));
}
TEST_P(TextStatements, MQTT5_1_5_4_3) { KeepsTheByteOrderMark(Version::k5); }
TEST_P(TextStatements, MQTT311_1_5_3_3) { KeepsTheByteOrderMark(Version::k311); }

// Around each size at which a length takes one byte more.
TEST_P(TextStatements, MQTT5_1_5_5_1) {
  Subject& subject =
      Join(Version::k5, [](Options& options) { options.session.topic_aliases_max = 0; });
  const size_t around = 2 + Own("t").size() + 2 + 1;
  for (const size_t size : {size_t{127}, size_t{128}, size_t{16'383}, size_t{16'384}}) {
    Publish(subject, std::string(size - around, 'x'), QoS::kAtLeastOnce);
    const Heard& heard = *subject.tap.Sent(PacketType::kPublish).back();
    ASSERT_EQ(heard.body.size(), size);
    EXPECT_EQ(heard.frame.size() - size - 1, size < 128 ? 1u : size < 16'384 ? 2u : 3u);
  }
}

TEST_P(TextStatements, MQTT5_1_5_7_1) {
  Subject& subject = Join(Version::k5);
  for (const std::string& text : {IllFormed(), WithNull(), Surrogate()}) {
    Refuses(subject, [&](Message& message) { message.user_properties = {{text, "value"}}; });
    Refuses(subject, [&](Message& message) { message.user_properties = {{"name", text}}; });
  }
}

// ---- PUBLISH

void TextStatements::TopicComesFirst(Version version) {
  Subject& subject = Join(version);
  ASSERT_TRUE(Publish(subject, At(Own("\xC3\xBC"), "x", QoS::kAtLeastOnce)).ok());
  EXPECT_TRUE(
      subject.tap.Sent(PacketType::kPublish)[0]->body.starts_with(support::Text(Own("\xC3\xBC"))));
  Subject& other = Join(version, {}, "other");
  RefusesTopic(other, IllFormed());
}
TEST_P(TextStatements, MQTT5_3_3_2_1) { TopicComesFirst(Version::k5); }
TEST_P(TextStatements, MQTT311_3_3_2_1) { TopicComesFirst(Version::k311); }

void TextStatements::NamesHaveNoWildcards(Version version) {
  Subject& subject = Join(version);
  for (const std::string topic : {"#", "a/+", "a/+/b", "a#", "+a"}) RefusesTopic(subject, topic);
}
TEST_P(TextStatements, MQTT5_3_3_2_2) { NamesHaveNoWildcards(Version::k5); }
TEST_P(TextStatements, MQTT5_4_7_0_1) { NamesHaveNoWildcards(Version::k5); }
TEST_P(TextStatements, MQTT311_3_3_2_2) { NamesHaveNoWildcards(Version::k311); }
TEST_P(TextStatements, MQTT311_4_7_1_1) { NamesHaveNoWildcards(Version::k311); }

TEST_P(TextStatements, MQTT5_3_3_2_13) {
  Subject& subject = Join(Version::k5);
  for (const std::string& text : {IllFormed(), WithNull(), Surrogate()}) {
    Refuses(subject, [&](Message& message) { message.response_topic = text; });
  }
}
TEST_P(TextStatements, MQTT5_3_3_2_14) {
  Subject& subject = Join(Version::k5);
  for (const std::string topic : {"#", "answers/+"}) {
    Refuses(subject, [&](Message& message) { message.response_topic = topic; });
  }
}
TEST_P(TextStatements, MQTT5_3_3_2_19) {
  Subject& subject = Join(Version::k5);
  for (const std::string& text : {IllFormed(), WithNull(), Surrogate()}) {
    Refuses(subject, [&](Message& message) { message.content_type = text; });
  }
}

// ---- Topic Names and Topic Filters

void TextStatements::HashIsLast(Version version) {
  Subject& subject = Join(version);
  for (const std::string filter : {"a#", "#/a", "a/#/b", "##"}) RefusesFilter(subject, filter);
  Subscribe(subject, Own("t") + "/#", QoS::kAtMostOnce);
}
TEST_P(TextStatements, MQTT5_4_7_1_1) { HashIsLast(Version::k5); }
TEST_P(TextStatements, MQTT311_4_7_1_2) { HashIsLast(Version::k311); }

void TextStatements::PlusFillsALevel(Version version) {
  Subject& subject = Join(version);
  for (const std::string filter : {"a+", "+a", "a/b+/c", "++"}) RefusesFilter(subject, filter);
  Subscribe(subject, Own("t") + "/+/x/+", QoS::kAtMostOnce);
}
TEST_P(TextStatements, MQTT5_4_7_1_2) { PlusFillsALevel(Version::k5); }
TEST_P(TextStatements, MQTT311_4_7_1_3) { PlusFillsALevel(Version::k311); }

void TextStatements::NamesAreNotEmpty(Version version) {
  Subject& subject = Join(version);
  RefusesTopic(subject, "");
  RefusesFilter(subject, "");
}
TEST_P(TextStatements, MQTT5_4_7_3_1) { NamesAreNotEmpty(Version::k5); }
TEST_P(TextStatements, MQTT311_4_7_3_1) { NamesAreNotEmpty(Version::k311); }

TEST_P(TextStatements, MQTT5_4_7_3_2) { RefusesText(Version::k5, WithNull()); }
TEST_P(TextStatements, MQTT311_4_7_3_2) { RefusesText(Version::k311, WithNull()); }

void TextStatements::NamesAreShort(Version version) {
  Subject& subject = Join(version);
  RefusesTopic(subject, std::string(65'536, 'x'));
  RefusesFilter(subject, std::string(65'536, 'x'));
}
TEST_P(TextStatements, MQTT5_4_7_3_3) { NamesAreShort(Version::k5); }
TEST_P(TextStatements, MQTT311_4_7_3_3) { NamesAreShort(Version::k311); }

TEST_P(TextStatements, MQTT5_4_8_2_1) {
  Subject& subject = Join(Version::k5);
  for (const std::string filter : {"$share//t", "$share/", "$share/g"}) {
    RefusesFilter(subject, filter);
  }
  Subscribe(subject, "$share/g/" + Own("t"), QoS::kAtLeastOnce);
  Publish(subject, "x", QoS::kAtLeastOnce);
  Until([&] { return subject.got.size() == 1; });
}
TEST_P(TextStatements, MQTT5_4_8_2_2) {
  Subject& subject = Join(Version::k5);
  for (const std::string filter : {"$share/g+/t", "$share/#/t", "$share/g/", "$share/g/a#"}) {
    RefusesFilter(subject, filter);
  }
}

// ---- SUBSCRIBE and UNSUBSCRIBE

void TextStatements::SubscribesByText(Version version) {
  Subject& subject = Join(version);
  for (const std::string& text : {IllFormed(), WithNull(), Surrogate()}) {
    RefusesFilter(subject, text);
  }
  Subscribe(subject, Own("\xC3\xBC") + "/+", QoS::kAtMostOnce);
  EXPECT_THAT(subject.tap.Sent(PacketType::kSubscribe)[0]->body,
              HasSubstr(support::Text(Own("\xC3\xBC") + "/+")));
}
TEST_P(TextStatements, MQTT5_3_8_3_1) { SubscribesByText(Version::k5); }
TEST_P(TextStatements, MQTT311_3_8_3_1) { SubscribesByText(Version::k311); }

void TextStatements::UnsubscribesByText(Version version) {
  Subject& subject = Join(version);
  for (const std::string& text : {IllFormed(), WithNull(), Surrogate()}) {
    RefusesFilter(subject, text);
  }
  ASSERT_TRUE(Await(StartUnsubscribe(subject, {Own("\xC3\xBC"), Own("b")})).ok());
  EXPECT_TRUE(subject.tap.Sent(PacketType::kUnsubscribe)[0]->body.ends_with(
      support::Text(Own("\xC3\xBC")) + support::Text(Own("b"))))
      << "one after the other";
}
TEST_P(TextStatements, MQTT5_3_10_3_1) { UnsubscribesByText(Version::k5); }
TEST_P(TextStatements, MQTT311_3_10_3_1) { UnsubscribesByText(Version::k311); }

void TextStatements::SubscribeHasAFilter(Version version) {
  Subject& subject = Join(version);
  EXPECT_EQ(Await(StartSubscribe(subject, {})).status().code(), absl::StatusCode::kInvalidArgument);
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kSubscribe), IsEmpty());
  Subscribe(subject, Own("t"), QoS::kExactlyOnce);
  EXPECT_TRUE(subject.tap.Sent(PacketType::kSubscribe)[0]->body.ends_with(support::Text(Own("t")) +
                                                                          '\x02'));
}
TEST_P(TextStatements, MQTT5_3_8_3_2) { SubscribeHasAFilter(Version::k5); }
TEST_P(TextStatements, MQTT311_3_8_3_3) { SubscribeHasAFilter(Version::k311); }

void TextStatements::UnsubscribeHasAFilter(Version version) {
  Subject& subject = Join(version);
  EXPECT_EQ(Await(StartUnsubscribe(subject, {})).status().code(),
            absl::StatusCode::kInvalidArgument);
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kUnsubscribe), IsEmpty());
}
TEST_P(TextStatements, MQTT5_3_10_3_2) { UnsubscribeHasAFilter(Version::k5); }
TEST_P(TextStatements, MQTT311_3_10_3_2) { UnsubscribeHasAFilter(Version::k311); }

TEST_P(TextStatements, MQTT5_3_8_3_4) {
  Subject& subject = Join(Version::k5);
  EXPECT_EQ(Await(StartSubscribe(subject, {{"$share/g/t", {.no_local = true}}})).status().code(),
            absl::StatusCode::kInvalidArgument);
  Ping(subject);
  EXPECT_THAT(subject.tap.Sent(PacketType::kSubscribe), IsEmpty());
}

// Each option there is, and none of the two upper bits.
TEST_P(TextStatements, MQTT5_3_8_3_5) {
  Subject& subject = Join(Version::k5);
  for (const bool no_local : {false, true}) {
    for (const bool as_published : {false, true}) {
      for (const auto handling : {mqtt::RetainHandling::kSend, mqtt::RetainHandling::kSendIfNew,
                                  mqtt::RetainHandling::kDoNotSend}) {
        const mqtt::SubscriptionOptions options{.qos = QoS::kExactlyOnce,
                                                .no_local = no_local,
                                                .retain_as_published = as_published,
                                                .retain_handling = handling};
        const auto result = Await(StartSubscribe(subject, {{Own("t"), options}}));
        ASSERT_TRUE(result.ok() && result->ok()) << result.status();
        const auto byte =
            static_cast<uint8_t>(subject.tap.Sent(PacketType::kSubscribe).back()->body.back());
        EXPECT_EQ(byte & 0xC0, 0);
        EXPECT_EQ(byte, options.ToByte());
      }
    }
  }
  const auto result = Await(StartSubscribe(subject, {{Own("t"), {.qos = static_cast<QoS>(3)}}}));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mqttd::client
