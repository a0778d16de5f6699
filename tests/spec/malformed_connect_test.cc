// CONNECT packets that break a rule: none of them gets in.
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using namespace std::string_literals;

// The CONNACK to expect, by what the specification leaves open.
const std::vector<unsigned> kMalformed = {0x81};
const std::vector<unsigned> kEither = {0x81, 0x82};
const std::vector<unsigned> kTopic = {0x81, 0x82, 0x90};
const std::vector<unsigned> kVersion = {0x84};
const std::vector<unsigned> kNone = {};  // The connection is closed, and no packet comes before.

struct Row {
  std::string rule;
  std::string note;
  std::string bytes;
  std::vector<unsigned> connack;
};

std::ostream& operator<<(std::ostream& out, const Row& row) {
  return out << row.rule << ": " << row.note;
}

std::string CaseName(const testing::TestParamInfo<Row>& info) {
  return absl::StrReplaceAll(info.param.rule + "_" + info.param.note,
                             {{"-", "_"}, {".", "_"}, {" ", "_"}});
}

class RefusedConnect : public testing::TestWithParam<Row> {};

TEST_P(RefusedConnect, ClosesTheConnection) {
  const Row& row = GetParam();
  RawClient client = Dial(row.rule.starts_with("MQTT5") ? kV5 : kV311);
  client.Send(row.bytes);
  if (!row.connack.empty()) {
    const Packet packet = client.Expect(PacketType::kConnack);
    EXPECT_THAT(row.connack, testing::Contains(packet.reason)) << packet.ToString();
    EXPECT_EQ(packet.connack_flags, 0);
  }
  client.ExpectClosed();
}

const std::string kIllFormed = "a\xC3\x28"s;
const std::string kSurrogate = "\xED\xBF\xBF"s;
const std::string kNull = "a\0b"s;
const std::string kId = Text("c");
const std::string kNoProperties = "\0"s;

std::string Raw5(unsigned flags, const std::string& payload) {
  return RawConnect(kV5, flags, payload);
}
std::string Raw4(unsigned flags, const std::string& payload) {
  return RawConnect(kV311, flags, payload);
}
std::string WithName(const std::string& name, unsigned level) {
  return Frame(0x10,
               Text(name) + U8(level) + U8(2) + U16(0) + (level >= 5 ? kNoProperties : "") + kId);
}
std::string WithProperties(const std::string& properties) {
  return Frame(0x10, Text("MQTT") + U8(5) + U8(2) + U16(0) +
                         VarInt(static_cast<uint32_t>(properties.size())) + properties + kId);
}
std::string WithWill(const Will& will) {
  return ConnectPacket{.client_id = "c", .will = will}.Encode();
}

// Connect Flags: 0x80 user name, 0x40 password, 0x20 will retain, 0x18 will QoS, 0x04 will, 0x02
// clean.
INSTANTIATE_TEST_SUITE_P(
    V5, RefusedConnect,
    testing::Values(
        Row{"MQTT5-3.1.0-1", "PINGREQ first", std::string(support::kPingreq), kNone},
        Row{"MQTT5-3.1.0-1", "PUBLISH first", PublishPacket{.topic = "a"}.Encode(kV5), kNone},
        Row{"MQTT5-3.14.0-1", "SUBSCRIBE first", support::Subscribe(kV5, 1, {{"a", 0}}), kNone},
        Row{"MQTT5-3.2.0-1", "PINGREQ before CONNECT", std::string(support::kPingreq), kNone},
        Row{"MQTT5-3.1.2-1", "other name", WithName("MQTx", 5), kNone},
        Row{"MQTT5-3.1.2-1", "lower case", WithName("mqtt", 5), kNone},
        Row{"MQTT5-3.1.2-1", "HTTP",
            "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + std::string(100, 'x') + "\r\n\r\n",
            kNone},
        Row{"MQTT5-3.1.2-2", "version 6", WithName("MQTT", 6), kVersion},
        Row{"MQTT5-3.1.2-2", "version 255", WithName("MQTT", 255), kVersion},
        Row{"MQTT5-3.1.2-3", "reserved flag", Raw5(0x03, kId), kMalformed},
        Row{"MQTT5-3.1.2-9", "no will fields", Raw5(0x06, kId), kMalformed},
        Row{"MQTT5-3.1.2-9", "no will payload", Raw5(0x06, kId + kNoProperties + Text("t")),
            kMalformed},
        Row{"MQTT5-3.1.2-11", "will QoS 1", Raw5(0x0A, kId), kEither},
        Row{"MQTT5-3.1.2-11", "will QoS 2", Raw5(0x12, kId), kEither},
        Row{"MQTT5-3.1.2-12", "will QoS 3", Raw5(0x1E, kId + kNoProperties + Text("t") + Text("p")),
            kMalformed},
        Row{"MQTT5-3.1.2-13", "will retain", Raw5(0x22, kId), kEither},
        Row{"MQTT5-3.1.2-16", "user name without flag", Raw5(0x02, kId + Text("u")), kMalformed},
        Row{"MQTT5-3.1.2-17", "flag without user name", Raw5(0x82, kId), kMalformed},
        Row{"MQTT5-3.1.2-18", "password without flag", Raw5(0x82, kId + Text("u") + Text("p")),
            kMalformed},
        Row{"MQTT5-3.1.2-19", "flag without password", Raw5(0xC2, kId + Text("u")), kMalformed},
        Row{"MQTT5-3.1.3-1", "client identifier after the user name is cut",
            Raw5(0x82, U16(5) + "c"), kMalformed},
        Row{"MQTT5-3.1.3-3", "empty payload", Raw5(0x02, ""), kMalformed},
        Row{"MQTT5-3.1.3-4", "ill formed", Raw5(0x02, Text(kIllFormed)), kMalformed},
        Row{"MQTT5-3.1.3-4", "null", Raw5(0x02, Text(kNull)), kMalformed},
        Row{"MQTT5-3.1.3-11", "ill formed", WithWill({.topic = kSurrogate}), kMalformed},
        Row{"MQTT5-3.1.3-11", "null", WithWill({.topic = kNull}), kMalformed},
        Row{"MQTT5-4.7.0-1", "wildcard in the will topic", WithWill({.topic = "a/#"}), kTopic},
        Row{"MQTT5-4.7.3-1", "empty will topic", WithWill({.topic = ""}), kTopic},
        Row{"MQTT5-3.1.3-12", "ill formed", Raw5(0x82, kId + Text(kIllFormed)), kMalformed},
        Row{"MQTT5-3.1.4-1", "bytes after the payload", Raw5(0x02, kId + "x"), kMalformed},
        Row{"MQTT5-3.1.4-1", "fixed header flags", Frame(0x11, Text("MQTT") + "\5\2\0\0\0"s + kId),
            kMalformed},
        Row{"MQTT5-3.1.4-1", "property of PUBLISH", WithProperties("\x23\0\1"s), kEither},
        Row{"MQTT5-3.1.4-1", "unknown property", WithProperties("\x7E\0"s), kEither},
        Row{"MQTT5-3.1.4-1", "session expiry twice", WithProperties("\x11\0\0\0\1\x11\0\0\0\1"s),
            kEither},
        Row{"MQTT5-3.1.4-1", "receive maximum 0", WithProperties("\x21\0\0"s), kEither},
        Row{"MQTT5-3.1.4-1", "maximum packet size 0", WithProperties("\x27\0\0\0\0"s), kEither},
        Row{"MQTT5-3.1.4-1", "request problem information 2", WithProperties("\x17\2"s), kEither},
        Row{"MQTT5-3.1.4-1", "request response information 2", WithProperties("\x19\2"s), kEither},
        Row{"MQTT5-3.1.4-1", "authentication data without method", WithProperties("\x16\0\1a"s),
            kEither},
        Row{"MQTT5-3.1.4-1", "property list past the end",
            Frame(0x10, Text("MQTT") + "\5\2\0\0\x7F"s + kId), kMalformed},
        Row{"MQTT5-3.1.4-1", "cut in the header", Frame(0x10, Text("MQTT") + "\5\2"s), kMalformed}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    V311, RefusedConnect,
    testing::Values(
        Row{"MQTT311-3.1.0-1", "PINGREQ first", std::string(support::kPingreq), kNone},
        Row{"MQTT311-3.1.0-1", "DISCONNECT first", Frame(0xE0, ""), kNone},
        Row{"MQTT311-3.2.0-1", "SUBSCRIBE first", support::Subscribe(kV311, 1, {{"a", 0}}), kNone},
        Row{"MQTT311-3.1.2-1", "other name", WithName("MQTx", 4), kNone},
        Row{"MQTT311-3.1.2-2", "level 2", WithName("MQTT", 2), {0x01}},
        Row{"MQTT311-3.1.2-2", "level 0", WithName("MQTT", 0), {0x01}},
        Row{"MQTT311-3.1.2-2", "level 4 of MQIsdp", WithName("MQIsdp", 4), {0x01}},
        Row{"MQTT311-3.1.2-3", "reserved flag", Raw4(0x03, kId), kNone},
        Row{"MQTT311-3.1.2-9", "no will fields", Raw4(0x06, kId), kNone},
        Row{"MQTT311-3.1.2-11", "will QoS", Raw4(0x0A, kId), kNone},
        Row{"MQTT311-3.1.2-11", "will retain", Raw4(0x22, kId), kNone},
        Row{"MQTT311-3.1.2-11", "will fields", Raw4(0x02, kId + Text("t") + Text("p")), kNone},
        Row{"MQTT311-3.1.2-13", "will QoS 2", Raw4(0x12, kId), kNone},
        Row{"MQTT311-3.1.2-14", "will QoS 3", Raw4(0x1E, kId + Text("t") + Text("p")), kNone},
        Row{"MQTT311-3.1.2-15", "will retain", Raw4(0x22, kId), kNone},
        Row{"MQTT311-3.1.2-18", "user name without flag", Raw4(0x02, kId + Text("u")), kNone},
        Row{"MQTT311-3.1.2-19", "flag without user name", Raw4(0x82, kId), kNone},
        Row{"MQTT311-3.1.2-20", "password without flag", Raw4(0x82, kId + Text("u") + Text("p")),
            kNone},
        Row{"MQTT311-3.1.2-21", "flag without password", Raw4(0xC2, kId + Text("u")), kNone},
        Row{"MQTT311-3.1.2-22", "password flag alone", Raw4(0x42, kId + Text("p")), kNone},
        Row{"MQTT311-3.1.3-1", "client identifier cut", Raw4(0x82, U16(5) + "c"), kNone},
        Row{"MQTT311-3.1.3-3", "empty payload", Raw4(0x02, ""), kNone},
        Row{"MQTT311-3.1.3-4", "ill formed", Raw4(0x02, Text(kIllFormed)), kNone},
        Row{"MQTT311-3.1.3-7", "empty with CleanSession 0", Raw4(0x00, Text("")), {0x02}},
        Row{"MQTT311-3.1.3-8", "empty with CleanSession 0", Raw4(0x00, Text("")), {0x02}},
        Row{"MQTT311-3.1.3-9", "empty with CleanSession 0", Raw4(0x00, Text("")), {0x02}},
        Row{"MQTT311-3.2.2-4", "empty identifier", Raw4(0x00, Text("")), {0x02}},
        Row{"MQTT311-3.2.2-5", "level 2", WithName("MQTT", 2), {0x01}},
        Row{"MQTT311-3.2.2-6", "no code for a broken packet", Raw4(0x03, kId), kNone},
        Row{"MQTT311-3.1.3-10", "ill formed", Raw4(0x06, kId + Text(kSurrogate) + Text("p")),
            kNone},
        Row{"MQTT311-3.1.3-11", "ill formed", Raw4(0x82, kId + Text(kIllFormed)), kNone},
        Row{"MQTT311-3.1.4-1", "bytes after the payload", Raw4(0x02, kId + "x"), kNone},
        Row{"MQTT311-3.1.4-1", "fixed header flags", Frame(0x14, Text("MQTT") + "\4\2\0\0"s + kId),
            kNone},
        Row{"MQTT311-4.7.1-1", "wildcard in the will topic",
            Raw4(0x06, kId + Text("a/+") + Text("p")), kNone},
        Row{"MQTT311-4.7.3-1", "empty will topic", Raw4(0x06, kId + Text("") + Text("p")), kNone}),
    CaseName);

}  // namespace
}  // namespace spec
