// Packets that break a rule by themselves, sent on a good connection: each ends it, with the right
// reason in 5.0.
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using namespace std::string_literals;

// Where the specification names no code of its own, either of the two is right (§4.13.1).
const std::vector<unsigned> kMalformed = {0x81};
const std::vector<unsigned> kProtocol = {0x82};
const std::vector<unsigned> kEither = {0x81, 0x82};
const std::vector<unsigned> kFilter = {0x81, 0x82, 0x8F};
const std::vector<unsigned> kTopic = {0x81, 0x82, 0x90};
const std::vector<unsigned> kAlias = {0x94};

struct Row {
  std::string rule;
  std::string note;
  Version version;
  std::string bytes;
  std::vector<unsigned> reasons = kEither;
};

std::ostream& operator<<(std::ostream& out, const Row& row) {
  return out << row.rule << ": " << row.note;
}

std::string CaseName(const testing::TestParamInfo<Row>& info) {
  return absl::StrReplaceAll(info.param.rule + "_" + info.param.note,
                             {{"-", "_"}, {".", "_"}, {" ", "_"}});
}

class Malformed : public testing::TestWithParam<Row> {};

TEST_P(Malformed, EndsTheConnection) {
  const Row& row = GetParam();
  RawClient client = Join(row.version, "client");
  client.Send(row.bytes);
  if (row.version == kV5) {
    const Packet packet = client.Expect(PacketType::kDisconnect);
    EXPECT_THAT(row.reasons, testing::Contains(packet.reason)) << packet.ToString();
  }
  client.ExpectClosed();
}

// PUBLISH with QoS 0.
std::string Pub(const std::string& topic, const Properties& properties = {}) {
  return PublishPacket{.topic = topic, .payload = "x", .properties = properties}.Encode(kV5);
}
std::string Pub311(const std::string& topic) { return Frame(0x30, Text(topic) + "x"); }
std::string Sub(const std::string& filter, unsigned options = 0) {
  return support::Subscribe(kV5, 1, {{filter, options}});
}
std::string Sub311(const std::string& filter, unsigned options = 0) {
  return support::Subscribe(kV311, 1, {{filter, options}});
}
std::string Unsub(const std::string& filter) { return support::Unsubscribe(kV5, 1, {filter}); }
std::string Unsub311(const std::string& filter) { return support::Unsubscribe(kV311, 1, {filter}); }
Properties With(PropertyId id, const std::string& text) { return Properties().Text(id, text); }

const std::string kIllFormed = "a\xC3\x28"s;
const std::string kSurrogate = "a\xED\xA0\x80"s;
const std::string kOverlong = "a\xC0\xAF"s;
const std::string kTooHigh = "a\xF4\x90\x80\x80"s;
const std::string kNull = "a\0b"s;

INSTANTIATE_TEST_SUITE_P(
    V5Data, Malformed,
    testing::Values(
        Row{"MQTT5-1.5.4-1", "ill formed text", kV5, Pub(kIllFormed), kMalformed},
        Row{"MQTT5-1.5.4-1", "surrogate", kV5, Pub(kSurrogate), kMalformed},
        Row{"MQTT5-1.5.4-1", "overlong form", kV5, Pub(kOverlong), kMalformed},
        Row{"MQTT5-1.5.4-1", "above U 10FFFF", kV5, Pub(kTooHigh), kMalformed},
        Row{"MQTT5-1.5.4-1", "cut in a character", kV5, Pub("a\xE2\x82"), kMalformed},
        Row{"MQTT5-1.5.4-2", "null in a topic name", kV5, Pub(kNull), kMalformed},
        Row{"MQTT5-1.5.5-1", "remaining length", kV5, "\xC0\x80\x00"s, kMalformed},
        Row{"MQTT5-1.5.5-1", "property length", kV5, Frame(0x30, Text("a") + "\x80\x00"s),
            kMalformed},
        Row{"MQTT5-1.5.5-1", "five bytes", kV5, "\xC0\x80\x80\x80\x80\x01"s, kMalformed},
        Row{"MQTT5-1.5.7-1", "name of a pair", kV5, Pub("a", Properties().User(kIllFormed, "v")),
            kMalformed},
        Row{"MQTT5-1.5.7-1", "value of a pair", kV5, Pub("a", Properties().User("n", kSurrogate)),
            kMalformed},
        Row{"MQTT5-1.5.7-1", "null in a value", kV5, Pub("a", Properties().User("n", kNull)),
            kMalformed},
        Row{"MQTT5-2.1.3-1", "PINGREQ flags", kV5, "\xC1\x00"s, kMalformed},
        Row{"MQTT5-2.1.3-1", "PUBACK flags", kV5, Frame(0x41, U16(1)), kMalformed},
        Row{"MQTT5-2.1.3-1", "PUBREC flags", kV5, Frame(0x52, U16(1)), kMalformed},
        Row{"MQTT5-2.1.3-1", "PUBCOMP flags", kV5, Frame(0x74, U16(1)), kMalformed},
        Row{"MQTT5-2.2.1-3", "PUBLISH", kV5,
            PublishPacket{.topic = "a", .qos = 1, .packet_id = 0}.Encode(kV5), kEither},
        Row{"MQTT5-2.2.1-3", "PUBLISH QoS 2", kV5,
            PublishPacket{.topic = "a", .qos = 2, .packet_id = 0}.Encode(kV5), kEither},
        Row{"MQTT5-2.2.1-3", "SUBSCRIBE", kV5, support::Subscribe(kV5, 0, {{"a", 0}}), kEither},
        Row{"MQTT5-2.2.1-3", "UNSUBSCRIBE", kV5, support::Unsubscribe(kV5, 0, {"a"}), kEither},
        Row{"MQTT5-2.2.2-1", "PUBLISH without property length", kV5, Frame(0x30, Text("a")),
            kMalformed},
        Row{"MQTT5-2.2.2-1", "property length past the end", kV5, Frame(0x30, Text("a") + "\x05"),
            kMalformed},
        Row{"MQTT5-3.1.0-2", "second CONNECT", kV5, ConnectPacket{.client_id = "second"}.Encode(),
            kProtocol}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    V5Publish, Malformed,
    testing::Values(
        Row{"MQTT5-3.3.1-2", "DUP with QoS 0", kV5, Frame(0x38, Text("a") + "\0"s), kEither},
        Row{"MQTT5-4.3.1-1", "DUP with QoS 0", kV5, Frame(0x39, Text("a") + "\0"s), kEither},
        Row{"MQTT5-3.3.1-4", "QoS 3", kV5, Frame(0x36, Text("a") + U16(1) + "\0"s), kMalformed},
        Row{"MQTT5-3.3.2-1", "ill formed", kV5, Pub(kIllFormed), kMalformed},
        Row{"MQTT5-3.3.2-1", "cut", kV5, Frame(0x30, U16(9) + "a"), kMalformed},
        Row{"MQTT5-3.3.2-1", "empty", kV5, Frame(0x30, ""), kMalformed},
        Row{"MQTT5-3.3.2-2", "hash", kV5, Pub("a/#"), kTopic},
        Row{"MQTT5-3.3.2-2", "plus", kV5, Pub("a/+/b"), kTopic},
        Row{"MQTT5-4.7.0-1", "hash in a level", kV5, Pub("a#b"), kTopic},
        Row{"MQTT5-4.7.0-1", "plus in a level", kV5, Pub("a+b"), kTopic},
        Row{"MQTT5-4.7.3-1", "empty name without alias", kV5, Pub(""), kProtocol},
        Row{"MQTT5-4.7.3-2", "name", kV5, Pub(kNull), kMalformed},
        Row{"MQTT5-3.3.2-7", "alias of no meaning here", kV5,
            Pub("", Number(PropertyId::kTopicAlias, 1)), kProtocol},
        Row{"MQTT5-3.3.2-8", "alias 0", kV5, Pub("a", Number(PropertyId::kTopicAlias, 0)), kAlias},
        Row{"MQTT5-3.3.2-9", "alias above the maximum", kV5,
            Pub("a", Number(PropertyId::kTopicAlias, 65535)), kAlias},
        Row{"MQTT5-3.2.2-17", "alias above the maximum", kV5,
            Pub("a", Number(PropertyId::kTopicAlias, 65535)), kAlias},
        Row{"MQTT5-3.3.2-13", "ill formed response topic", kV5,
            Pub("a", With(PropertyId::kResponseTopic, kIllFormed)), kMalformed},
        Row{"MQTT5-3.3.2-14", "hash in response topic", kV5,
            Pub("a", With(PropertyId::kResponseTopic, "r/#")), kTopic},
        Row{"MQTT5-3.3.2-14", "plus in response topic", kV5,
            Pub("a", With(PropertyId::kResponseTopic, "+")), kTopic},
        Row{"MQTT5-3.3.2-19", "ill formed content type", kV5,
            Pub("a", With(PropertyId::kContentType, kIllFormed)), kMalformed},
        Row{"MQTT5-3.3.4-6", "subscription identifier", kV5,
            Pub("a", Number(PropertyId::kSubscriptionIdentifier, 1)), kProtocol}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    V5Acks, Malformed,
    testing::Values(Row{"MQTT5-3.4.2-1", "PUBCOMP code in PUBACK", kV5,
                        Ack(PacketType::kPuback, 1, 0x92), kEither},
                    Row{"MQTT5-3.5.2-1", "unknown code in PUBREC", kV5,
                        Ack(PacketType::kPubrec, 1, 0x01), kEither},
                    Row{"MQTT5-3.6.1-1", "flags 0", kV5, Frame(0x60, U16(1)), kMalformed},
                    Row{"MQTT5-3.6.1-1", "flags 3", kV5, Frame(0x63, U16(1)), kMalformed},
                    Row{"MQTT5-3.6.2-1", "PUBACK code in PUBREL", kV5,
                        Ack(PacketType::kPubrel, 1, 0x10), kEither},
                    Row{"MQTT5-3.7.2-1", "PUBACK code in PUBCOMP", kV5,
                        Ack(PacketType::kPubcomp, 1, 0x97), kEither}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    V5Subscribe, Malformed,
    testing::Values(
        Row{"MQTT5-3.8.1-1", "flags 0", kV5, Frame(0x80, U16(1) + "\0"s + Text("a") + "\0"s),
            kMalformed},
        Row{"MQTT5-3.8.1-1", "flags 10", kV5, Frame(0x8A, U16(1) + "\0"s + Text("a") + "\0"s),
            kMalformed},
        Row{"MQTT5-3.8.3-1", "ill formed", kV5, Sub(kIllFormed), kMalformed},
        Row{"MQTT5-3.8.3-1", "null", kV5, Sub(kNull), kMalformed},
        Row{"MQTT5-3.8.3-2", "no filter", kV5, support::Subscribe(kV5, 1, {}), kProtocol},
        Row{"MQTT5-3.8.3-2", "no options", kV5, Frame(0x82, U16(1) + "\0"s + Text("a")), kEither},
        Row{"MQTT5-3.8.3-4", "no local", kV5, Sub("$share/g/a", kNoLocal), kProtocol},
        Row{"MQTT5-3.8.3-5", "bit 6", kV5, Sub("a", 0x40), kMalformed},
        Row{"MQTT5-3.8.3-5", "bit 7", kV5, Sub("a", 0x80), kMalformed},
        Row{"MQTT5-4.13.1-1", "QoS 3", kV5, Sub("a", 3), kEither},
        Row{"MQTT5-4.13.1-1", "retain handling 3", kV5, Sub("a", 0x30), kEither},
        Row{"MQTT5-4.7.1-1", "hash not last", kV5, Sub("a/#/b"), kFilter},
        Row{"MQTT5-4.7.1-1", "hash in a level", kV5, Sub("a#"), kFilter},
        Row{"MQTT5-4.7.1-2", "plus in a level", kV5, Sub("a/b+/c"), kFilter},
        Row{"MQTT5-4.7.1-2", "plus before text", kV5, Sub("+b"), kFilter},
        Row{"MQTT5-4.7.3-1", "empty filter", kV5, Sub(""), kFilter},
        Row{"MQTT5-4.7.3-1", "empty filter in UNSUBSCRIBE", kV5, Unsub(""), kFilter},
        Row{"MQTT5-4.7.3-2", "filter", kV5, Sub(kNull), kMalformed},
        Row{"MQTT5-4.8.2-1", "empty share name", kV5, Sub("$share//a"), kFilter},
        Row{"MQTT5-4.8.2-1", "nothing after the prefix", kV5, Sub("$share/"), kFilter},
        Row{"MQTT5-4.8.2-2", "plus in the share name", kV5, Sub("$share/g+/a"), kFilter},
        Row{"MQTT5-4.8.2-2", "hash in the share name", kV5, Sub("$share/#/a"), kFilter},
        Row{"MQTT5-4.8.2-2", "no slash after the share name", kV5, Sub("$share/g"), kFilter},
        Row{"MQTT5-4.8.2-2", "no filter after the share name", kV5, Sub("$share/g/"), kFilter},
        Row{"MQTT5-3.10.1-1", "flags 0", kV5, Frame(0xA0, U16(1) + "\0"s + Text("a")), kMalformed},
        Row{"MQTT5-3.10.3-1", "ill formed", kV5, Unsub(kSurrogate), kMalformed},
        Row{"MQTT5-3.10.3-2", "no filter", kV5, support::Unsubscribe(kV5, 1, {}), kProtocol}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    V5End, Malformed,
    testing::Values(
        Row{"MQTT5-3.14.1-1", "flags 1", kV5, Frame(0xE1, ""), kMalformed},
        Row{"MQTT5-3.14.1-1", "flags 8", kV5, Frame(0xE8, U8(0)), kMalformed},
        Row{"MQTT5-3.14.2-1", "unknown code", kV5, Frame(0xE0, U8(0x01)), kEither},
        Row{"MQTT5-3.14.2-1", "code of the server", kV5, Frame(0xE0, U8(0x8E)), kEither},
        Row{"MQTT5-3.15.1-1", "flags 1", kV5, Frame(0xF1, ""), kMalformed},
        Row{"MQTT5-3.15.2-1", "unknown code", kV5, Frame(0xF0, U8(0x05) + "\0"s), kEither},
        Row{"MQTT5-4.12.0-7", "AUTH", kV5,
            support::Auth(0x18, Properties().Text(PropertyId::kAuthenticationMethod, "M")),
            kProtocol},
        Row{"MQTT5-4.12.0-7", "AUTH to authenticate again", kV5,
            support::Auth(0x19, Properties().Text(PropertyId::kAuthenticationMethod, "M")),
            kProtocol},
        Row{"MQTT5-4.13.1-1", "CONNACK from a client", kV5, Frame(0x20, "\0\0\0"s), kProtocol},
        Row{"MQTT5-4.13.1-1", "SUBACK from a client", kV5, Frame(0x90, U16(1) + "\0\0"s),
            kProtocol},
        Row{"MQTT5-4.13.1-1", "PINGRESP from a client", kV5, Frame(0xD0, ""), kProtocol},
        Row{"MQTT5-4.13.1-1", "packet type 0", kV5, Frame(0x00, ""), kMalformed},
        Row{"MQTT5-4.13.1-1", "body of PINGREQ", kV5, Frame(0xC0, "x"), kMalformed}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    V311Data, Malformed,
    testing::Values(
        Row{"MQTT311-1.5.3-1", "ill formed text", kV311, Pub311(kIllFormed)},
        Row{"MQTT311-1.5.3-1", "surrogate", kV311, Pub311(kSurrogate)},
        Row{"MQTT311-1.5.3-2", "null", kV311, Pub311(kNull)},
        Row{"MQTT311-2.2.2-1", "PINGREQ flags", kV311, "\xC1\x00"s},
        Row{"MQTT311-2.2.2-1", "PUBCOMP flags", kV311, Frame(0x74, U16(1))},
        Row{"MQTT311-2.2.2-2", "PUBACK flags", kV311, Frame(0x41, U16(1))},
        Row{"MQTT311-2.2.2-2", "PUBREC flags", kV311, Frame(0x52, U16(1))},
        Row{"MQTT311-2.3.1-1", "PUBLISH", kV311,
            PublishPacket{.topic = "a", .qos = 1, .packet_id = 0}.Encode(kV311)},
        Row{"MQTT311-2.3.1-1", "SUBSCRIBE", kV311, support::Subscribe(kV311, 0, {{"a", 0}})},
        Row{"MQTT311-2.3.1-1", "UNSUBSCRIBE", kV311, support::Unsubscribe(kV311, 0, {"a"})},
        Row{"MQTT311-3.1.0-2", "second CONNECT", kV311,
            ConnectPacket{.version = kV311, .client_id = "second"}.Encode()},
        Row{"MQTT311-4.8.0-1", "CONNACK from a client", kV311, Frame(0x20, "\0\0"s)},
        Row{"MQTT311-4.8.0-1", "packet type 0", kV311, Frame(0x00, "")},
        Row{"MQTT311-4.8.0-1", "packet type 15", kV311, Frame(0xF0, "")},
        Row{"MQTT311-4.8.0-1", "body of PINGREQ", kV311, Frame(0xC0, "x")},
        Row{"MQTT311-4.8.0-1", "remaining length of five bytes", kV311,
            "\xC0\x80\x80\x80\x80\x01"s}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    V311Packets, Malformed,
    testing::Values(Row{"MQTT311-3.3.1-2", "DUP with QoS 0", kV311, Frame(0x38, Text("a"))},
                    Row{"MQTT311-4.3.1-1", "DUP with QoS 0", kV311, Frame(0x39, Text("a"))},
                    Row{"MQTT311-3.3.1-4", "QoS 3", kV311, Frame(0x36, Text("a") + U16(1))},
                    Row{"MQTT311-3.3.2-1", "ill formed", kV311, Pub311(kIllFormed)},
                    Row{"MQTT311-3.3.2-1", "cut", kV311, Frame(0x30, U16(9) + "a")},
                    Row{"MQTT311-3.3.2-2", "hash", kV311, Pub311("a/#")},
                    Row{"MQTT311-3.3.2-2", "plus", kV311, Pub311("a/+")},
                    Row{"MQTT311-4.7.1-1", "wildcard in a level", kV311, Pub311("a+b")},
                    Row{"MQTT311-4.7.1-2", "hash not last", kV311, Sub311("a/#/b")},
                    Row{"MQTT311-4.7.1-2", "hash in a level", kV311, Sub311("a#")},
                    Row{"MQTT311-4.7.1-3", "plus in a level", kV311, Sub311("a/b+/c")},
                    Row{"MQTT311-4.7.3-1", "name", kV311, Pub311("")},
                    Row{"MQTT311-4.7.3-1", "filter", kV311, Sub311("")},
                    Row{"MQTT311-4.7.3-1", "filter in UNSUBSCRIBE", kV311, Unsub311("")},
                    Row{"MQTT311-4.7.3-2", "name", kV311, Pub311(kNull)},
                    Row{"MQTT311-4.7.3-2", "filter", kV311, Sub311(kNull)},
                    Row{"MQTT311-3.6.1-1", "flags 0", kV311, Frame(0x60, U16(1))},
                    Row{"MQTT311-3.8.1-1", "flags 0", kV311,
                        Frame(0x80, U16(1) + Text("a") + "\0"s)},
                    Row{"MQTT311-3.8.3-1", "ill formed", kV311, Sub311(kIllFormed)},
                    Row{"MQTT311-3.8.3-3", "no filter", kV311, support::Subscribe(kV311, 1, {})},
                    Row{"MQTT311-3.8.3-4", "QoS 3", kV311, Sub311("a", 3)},
                    Row{"MQTT311-3.8.3-4", "reserved bits", kV311, Sub311("a", 0x04)},
                    Row{"MQTT311-3.10.1-1", "flags 0", kV311, Frame(0xA0, U16(1) + Text("a"))},
                    Row{"MQTT311-3.10.3-1", "ill formed", kV311, Unsub311(kIllFormed)},
                    Row{"MQTT311-3.10.3-1", "cut", kV311, Frame(0xA2, U16(1) + U16(3) + "ab")},
                    Row{"MQTT311-3.10.3-2", "no filter", kV311, support::Unsubscribe(kV311, 1, {})},
                    Row{"MQTT311-3.14.1-1", "flags 1", kV311, Frame(0xE1, "")}),
    CaseName);

}  // namespace
}  // namespace spec
