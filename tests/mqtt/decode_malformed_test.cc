// What each decoder refuses, with the Reason Code and the rule it must name. A row's test is called
// after the rule: Malformed/…/MQTT_3_3_1_4__both_QoS_bits_5_0; section numbers have an s before
// them.
#include <gtest/gtest.h>

#include <cctype>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/mqtt/any_packet.h"
#include "tests/mqtt/wire_text.h"

namespace mqtt {
namespace {

struct Row {
  std::string_view rule;
  ReasonCode reason;
  std::string_view what;
  Version version;
  uint8_t first_byte;
  std::string_view body;  // In the notation of wire_text.h.
  Sender sender = Sender::kClient;
};

std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.what; }

class Malformed : public testing::TestWithParam<Row> {};

TEST_P(Malformed, IsRefusedByItsRule) {
  const Row& row = GetParam();
  AnyPacket packet;
  const std::string frame = Frame(row.first_byte, row.body);
  const auto violation = Decode(AsBytes(frame), row.version, row.sender, packet);
  ASSERT_TRUE(violation.has_value()) << packet;
  EXPECT_EQ(violation->reason, row.reason);
  EXPECT_EQ(violation->rule, row.rule);
}

// Each of these takes a few bytes in a packet, and many times that in memory.
TEST(DecodeBounds, APacketListsNoMoreThanAnyClientNeeds) {
  struct Case {
    uint8_t first_byte;
    Version version;
    std::string begin;      // Of the body.
    bool properties;        // The items are of a property block.
    std::string_view item;  // As often as is to be tried.
  };
  const std::string id("\0\1", 2);
  const std::string_view user_property("\x26\0\0\0\0", 5);
  const Case cases[] = {
      {0x82, Version::k5, id + std::string(1, '\0'), false, std::string_view("\0\1a\0", 4)},
      {0x82, Version::k311, id, false, std::string_view("\0\1a\0", 4)},
      {0xA2, Version::k5, id + std::string(1, '\0'), false, std::string_view("\0\1a", 3)},
      {0xA2, Version::k311, id, false, std::string_view("\0\1a", 3)},
      {0x40, Version::k5, id + std::string(1, '\0'), true, user_property},
      {0x30, Version::k5, std::string("\0\1a", 3), true, user_property},
      {0xE0, Version::k5, std::string(1, '\0'), true, user_property},
  };
  const auto varint = [](size_t value) {
    std::string out;
    for (; value >= 128; value /= 128) out.push_back(static_cast<char>(value % 128 | 128));
    return out + static_cast<char>(value);
  };
  for (const Case& each : cases) {
    for (const size_t count : {size_t{65'536}, size_t{65'537}}) {
      std::string items;
      for (size_t i = 0; i < count; ++i) items += each.item;
      std::string body = each.begin + (each.properties ? varint(items.size()) : "") + items;
      std::string frame = std::string(1, static_cast<char>(each.first_byte)) + varint(body.size());
      frame += body;
      AnyPacket packet;
      const auto violation = Decode(AsBytes(frame), each.version, Sender::kClient, packet);
      EXPECT_EQ(violation.has_value(), count > 65'536) << int{each.first_byte};
      if (violation.has_value()) {
        EXPECT_EQ(violation->reason, ReasonCode::kQuotaExceeded);
      }
    }
  }
}

std::string Name(const testing::TestParamInfo<Row>& info) {
  std::string rule(info.param.rule);
  const bool is_section = rule.rfind('-') == rule.find('-');
  if (is_section) rule.insert(rule.find('-') + 1, "s");
  std::ostringstream text;
  text << rule << "__" << info.param.what << "_" << info.param.version;
  std::string name = text.str();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

constexpr Version k5 = Version::k5;
constexpr Version k311 = Version::k311;
constexpr Version k31 = Version::k31;
constexpr ReasonCode k81 = ReasonCode::kMalformedPacket;
constexpr ReasonCode k82 = ReasonCode::kProtocolError;
constexpr ReasonCode k84 = ReasonCode::kUnsupportedProtocolVersion;
constexpr ReasonCode k85 = ReasonCode::kClientIdentifierNotValid;
constexpr ReasonCode k94 = ReasonCode::kTopicAliasInvalid;
constexpr Sender kServer = Sender::kServer;

#define MALFORMED(suite, ...) \
  INSTANTIATE_TEST_SUITE_P(suite, Malformed, testing::Values(__VA_ARGS__), Name)

MALFORMED(AnyPacket,  //
          Row{"MQTT5-2.1.2", k82, "CONNACK from a client", k5, 0x20, "00 00 00"},
          Row{"MQTT5-2.1.2", k82, "SUBACK from a client", k5, 0x90, "0001 00 00"},
          Row{"MQTT5-2.1.2", k82, "UNSUBACK from a client", k5, 0xB0, "0001 00 00"},
          Row{"MQTT5-2.1.2", k82, "PINGRESP from a client", k5, 0xD0, ""},
          Row{"MQTT5-2.1.2", k82, "CONNECT from the server", k5, 0x10, "", kServer},
          Row{"MQTT5-2.1.2", k82, "SUBSCRIBE from the server", k5, 0x82, "", kServer},
          Row{"MQTT5-2.1.2", k82, "UNSUBSCRIBE from the server", k5, 0xA2, "", kServer},
          Row{"MQTT5-2.1.2", k82, "PINGREQ from the server", k5, 0xC0, "", kServer},
          Row{"MQTT311-2.2.1", k82, "DISCONNECT from the server", k311, 0xE0, "", kServer},
          Row{"MQTT311-2.2.1", k81, "AUTH", k311, 0xF0, ""},
          Row{"MQTT311-2.2.1", k82, "CONNACK from a client", k311, 0x20, "00 00"});

MALFORMED(ReservedFlags,  //
          Row{"MQTT5-2.1.3-1", k81, "CONNECT", k5, 0x11, "s'MQTT' 05 02 0000 p{} s''"},
          Row{"MQTT5-2.1.3-1", k81, "CONNACK", k5, 0x22, "00 00 p{}", kServer},
          Row{"MQTT5-2.1.3-1", k81, "PUBACK", k5, 0x42, "0001"},
          Row{"MQTT5-2.1.3-1", k81, "PUBREC", k5, 0x58, "0001"},
          Row{"MQTT-3.6.1-1", k81, "PUBREL without 2", k5, 0x60, "0001"},
          Row{"MQTT-3.6.1-1", k81, "PUBREL with dup", k311, 0x6A, "0001"},
          Row{"MQTT5-2.1.3-1", k81, "PUBCOMP", k5, 0x71, "0001"},
          Row{"MQTT-3.8.1-1", k81, "SUBSCRIBE without 2", k5, 0x80, "0001 p{} s'a' 00"},
          Row{"MQTT-3.8.1-1", k81, "SUBSCRIBE with dup", k311, 0x8A, "0001 s'a' 00"},
          Row{"MQTT-3.8.1-1", k81, "SUBSCRIBE with retain", k31, 0x83, "0001 s'a' 00"},
          Row{"MQTT5-2.1.3-1", k81, "SUBACK", k5, 0x92, "0001 p{} 00", kServer},
          Row{"MQTT-3.10.1-1", k81, "UNSUBSCRIBE without 2", k5, 0xA0, "0001 p{} s'a'"},
          Row{"MQTT-3.10.1-1", k81, "UNSUBSCRIBE with dup", k311, 0xAA, "0001 s'a'"},
          Row{"MQTT5-2.1.3-1", k81, "UNSUBACK", k5, 0xB2, "0001 p{} 00", kServer},
          Row{"MQTT5-2.1.3-1", k81, "PINGREQ", k5, 0xC1, ""},
          Row{"MQTT311-2.2.2-1", k81, "PINGREQ", k311, 0xC1, ""},
          Row{"MQTT5-2.1.3-1", k81, "PINGRESP", k5, 0xD4, "", kServer},
          Row{"MQTT-3.14.1-1", k81, "DISCONNECT", k5, 0xE1, ""},
          Row{"MQTT-3.14.1-1", k81, "DISCONNECT", k311, 0xE8, ""},
          Row{"MQTT5-3.15.1-1", k81, "AUTH", k5, 0xF1, "18 p{15 s'm'}"});

MALFORMED(
    ConnectHeader,  //
    Row{"MQTT-3.1.4-1", k81, "empty", k5, 0x10, ""},
    Row{"MQTT-3.1.4-1", k81, "ends in the name", k5, 0x10, "0004 'MQ'"},
    Row{"MQTT-3.1.4-1", k81, "ends before the level", k5, 0x10, "s'MQTT'"},
    Row{"MQTT-3.1.2-1", k84, "another protocol", k5, 0x10, "s'HTTP' 05 02 0000 p{} s''"},
    Row{"MQTT-3.1.2-1", k84, "lower case", k5, 0x10, "s'mqtt' 04 02 0000 s'c'"},
    Row{"MQTT-3.1.2-1", k84, "empty name", k5, 0x10, "s'' 04 02 0000 s'c'"},
    Row{"MQTT5-3.1.2-2", k84, "level 6", k5, 0x10, "s'MQTT' 06 02 0000 p{} s'c'"},
    Row{"MQTT5-3.1.2-2", k84, "bridge bit and level 6", k5, 0x10, "s'MQTT' 86 02 0000 s'c'"},
    Row{"MQTT311-3.1.2-2", k84, "level 3 under the new name", k311, 0x10,
        "s'MQTT' 03 02 0000 s'c'"},
    Row{"MQTT311-3.1.2-2", k84, "level 0", k311, 0x10, "s'MQTT' 00 02 0000 s'c'"},
    Row{"MQTT311-3.1.2-2", k84, "MQIsdp with level 4", k31, 0x10, "s'MQIsdp' 04 02 0000 s'c'"},
    Row{"MQTT-3.1.2-3", k81, "reserved flag", k5, 0x10, "s'MQTT' 05 03 0000 p{} s'c'"},
    Row{"MQTT-3.1.2-3", k81, "reserved flag", k311, 0x10, "s'MQTT' 04 03 0000 s'c'"},
    Row{"MQTT5-3.1.2-11", k81, "Will QoS without a Will", k5, 0x10, "s'MQTT' 05 0A 0000 p{} s'c'"},
    Row{"MQTT311-3.1.2-13", k81, "Will QoS without a Will", k311, 0x10, "s'MQTT' 04 12 0000 s'c'"},
    Row{"MQTT5-3.1.2-12", k81, "Will QoS 3", k5, 0x10, "s'MQTT' 05 1E 0000 p{} s'c' p{} s'w' s''"},
    Row{"MQTT311-3.1.2-14", k81, "Will QoS 3", k311, 0x10, "s'MQTT' 04 1E 0000 s'c' s'w' s''"},
    Row{"MQTT311-3.1.2-14", k81, "Will QoS 3", k31, 0x10, "s'MQIsdp' 03 1E 0000 s'c' s'w' s''"},
    Row{"MQTT5-3.1.2-13", k81, "Will Retain without a Will", k5, 0x10,
        "s'MQTT' 05 22 0000 p{} s'c'"},
    Row{"MQTT311-3.1.2-15", k81, "Will Retain without a Will", k311, 0x10,
        "s'MQTT' 04 22 0000 s'c'"},
    Row{"MQTT311-3.1.2-22", k81, "password without user name", k311, 0x10,
        "s'MQTT' 04 42 0000 s'c' s'pw'"},
    Row{"MQTT311-3.1.2-22", k81, "password without user name", k31, 0x10,
        "s'MQIsdp' 03 42 0000 s'c' s'pw'"},
    Row{"MQTT-3.1.4-1", k81, "ends before Keep Alive", k5, 0x10, "s'MQTT' 05 02 00"});

MALFORMED(ConnectProperties,  //
          Row{"MQTT5-2.2.2.1", k81, "block longer than the packet", k5, 0x10,
              "s'MQTT' 05 02 0000 05 11 0000"},
          Row{"MQTT-3.1.4-1", k81, "no Property Length", k5, 0x10, "s'MQTT' 05 02 0000"},
          Row{"MQTT5-1.5.5-1", k81, "Property Length not minimal", k5, 0x10,
              "s'MQTT' 05 02 0000 8000 s'c'"},
          Row{"MQTT5-1.5.5", k81, "Property Length of five bytes", k5, 0x10,
              "s'MQTT' 05 02 0000 8080808001 s'c'"},
          Row{"MQTT5-2.2.2.2", k81, "unknown identifier", k5, 0x10,
              "s'MQTT' 05 02 0000 p{7F 00} s'c'"},
          Row{"MQTT5-2.2.2.2", k81, "identifier 0", k5, 0x10, "s'MQTT' 05 02 0000 p{00 00} s'c'"},
          Row{"MQTT5-2.2.2.2", k81, "identifier above 127", k5, 0x10,
              "s'MQTT' 05 02 0000 p{8101 00} s'c'"},
          Row{"MQTT5-1.5.5-1", k81, "identifier not minimal", k5, 0x10,
              "s'MQTT' 05 02 0000 p{9100 00000001} s'c'"},
          Row{"MQTT5-2.2.2.2", k81, "property of another packet", k5, 0x10,
              "s'MQTT' 05 02 0000 p{23 0001} s'c'"},
          Row{"MQTT5-2.2.2.2", k81, "Will Delay outside the Will", k5, 0x10,
              "s'MQTT' 05 02 0000 p{18 00000001} s'c'"},
          Row{"MQTT5-2.2.2.2", k81, "value runs over the block", k5, 0x10,
              "s'MQTT' 05 02 0000 p{11 0000} s'c'"},
          Row{"MQTT5-2.2.2.2", k81, "string runs over the block", k5, 0x10,
              "s'MQTT' 05 02 0000 p{15 0004 'ab'} s'cdef'"},
          Row{"MQTT5-3.1.2.11.2", k82, "two Session Expiry Intervals", k5, 0x10,
              "s'MQTT' 05 02 0000 p{11 00000001 11 00000001} s'c'"},
          Row{"MQTT5-3.1.2.11.3", k82, "Receive Maximum 0", k5, 0x10,
              "s'MQTT' 05 02 0000 p{21 0000} s'c'"},
          Row{"MQTT5-3.1.2.11.3", k82, "two Receive Maximums", k5, 0x10,
              "s'MQTT' 05 02 0000 p{21 0001 21 0001} s'c'"},
          Row{"MQTT5-3.1.2.11.4", k82, "Maximum Packet Size 0", k5, 0x10,
              "s'MQTT' 05 02 0000 p{27 00000000} s'c'"},
          Row{"MQTT5-3.1.2.11.4", k82, "two Maximum Packet Sizes", k5, 0x10,
              "s'MQTT' 05 02 0000 p{27 00000100 27 00000100} s'c'"},
          Row{"MQTT5-3.1.2.11.5", k82, "two Topic Alias Maximums", k5, 0x10,
              "s'MQTT' 05 02 0000 p{22 0001 22 0002} s'c'"},
          Row{"MQTT5-3.1.2.11.6", k82, "Request Response Information 2", k5, 0x10,
              "s'MQTT' 05 02 0000 p{19 02} s'c'"},
          Row{"MQTT5-3.1.2.11.6", k82, "two Request Response Informations", k5, 0x10,
              "s'MQTT' 05 02 0000 p{19 01 19 01} s'c'"},
          Row{"MQTT5-3.1.2.11.7", k82, "Request Problem Information 2", k5, 0x10,
              "s'MQTT' 05 02 0000 p{17 02} s'c'"},
          Row{"MQTT5-3.1.2.11.7", k82, "two Request Problem Informations", k5, 0x10,
              "s'MQTT' 05 02 0000 p{17 00 17 00} s'c'"},
          Row{"MQTT5-3.1.2.11.9", k82, "two Authentication Methods", k5, 0x10,
              "s'MQTT' 05 02 0000 p{15 s'm' 15 s'm'} s'c'"},
          Row{"MQTT5-3.1.2.11.10", k82, "two Authentication Datas", k5, 0x10,
              "s'MQTT' 05 02 0000 p{15 s'm' 16 s'' 16 s''} s'c'"},
          Row{"MQTT5-3.1.2.11.10", k82, "Authentication Data without Method", k5, 0x10,
              "s'MQTT' 05 02 0000 p{16 s'd'} s'c'"},
          Row{"MQTT5-1.5.4-1", k81, "User Property with a surrogate", k5, 0x10,
              "s'MQTT' 05 02 0000 p{26 s'a' 0003 EDA080} s'c'"},
          Row{"MQTT5-1.5.4-2", k81, "User Property with U 0000", k5, 0x10,
              "s'MQTT' 05 02 0000 p{26 0001 00 s'a'} s'c'"});

MALFORMED(ConnectPayload,  //
          Row{"MQTT-3.1.4-1", k81, "no Client Identifier", k5, 0x10, "s'MQTT' 05 02 0000 p{}"},
          Row{"MQTT5-1.5.4-1", k81, "Client Identifier ill formed", k5, 0x10,
              "s'MQTT' 05 02 0000 p{} 0001 FF"},
          Row{"MQTT311-1.5.3-1", k81, "Client Identifier ill formed", k311, 0x10,
              "s'MQTT' 04 02 0000 0002 C080"},
          Row{"MQTT311-1.5.3-2", k81, "Client Identifier with U 0000", k311, 0x10,
              "s'MQTT' 04 02 0000 0002 6100"},
          Row{"MQTT311-3.1.3-8", k85, "no identifier with Clean Session 0", k311, 0x10,
              "s'MQTT' 04 00 0000 s''"},
          Row{"MQTT311-3.1.3-9", k85, "no identifier", k31, 0x10, "s'MQIsdp' 03 02 0000 s''"},
          Row{"MQTT-3.1.4-1", k81, "no identifier and bytes behind it", k311, 0x10,
              "s'MQTT' 04 00 0000 s'' 00"},
          Row{"MQTT-3.1.4-1", k81, "bytes behind the end", k5, 0x10,
              "s'MQTT' 05 02 0000 p{} s'c' 00"},
          Row{"MQTT-3.1.4-1", k81, "user name without its flag", k311, 0x10,
              "s'MQTT' 04 02 0000 s'c' s'user'"},
          Row{"MQTT-3.1.4-1", k81, "no user name", k311, 0x10, "s'MQTT' 04 82 0000 s'c'"},
          Row{"MQTT-3.1.4-1", k81, "no password", k311, 0x10, "s'MQTT' 04 C2 0000 s'c' s'user'"},
          Row{"MQTT5-1.5.4-1", k81, "user name ill formed", k5, 0x10,
              "s'MQTT' 05 82 0000 p{} s'c' 0001 C0"},
          Row{"MQTT-3.1.4-1", k81, "no Will Topic", k311, 0x10, "s'MQTT' 04 06 0000 s'c'"},
          Row{"MQTT-3.1.4-1", k81, "no Will Message", k311, 0x10, "s'MQTT' 04 06 0000 s'c' s'w'"},
          Row{"MQTT-4.7.3-1", k81, "empty Will Topic", k5, 0x10,
              "s'MQTT' 05 06 0000 p{} s'c' p{} s'' s''"},
          Row{"MQTT5-4.7.0-1", k81, "wildcard in the Will Topic", k5, 0x10,
              "s'MQTT' 05 06 0000 p{} s'c' p{} s'a/#' s''"},
          Row{"MQTT311-4.7.1-1", k81, "wildcard in the Will Topic", k311, 0x10,
              "s'MQTT' 04 06 0000 s'c' s'+' s''"},
          Row{"MQTT5-1.5.4-1", k81, "Will Topic ill formed", k5, 0x10,
              "s'MQTT' 05 06 0000 p{} s'c' p{} 0001 80 s''"},
          Row{"MQTT5-3.1.3.2.2", k82, "two Will Delay Intervals", k5, 0x10,
              "s'MQTT' 05 06 0000 p{} s'c' p{18 00000000 18 00000000} s'w' s''"},
          Row{"MQTT5-3.3.2.3.2", k82, "Will Payload Format 2", k5, 0x10,
              "s'MQTT' 05 06 0000 p{} s'c' p{01 02} s'w' s''"},
          Row{"MQTT5-3.3.2-14", k81, "wildcard in the Will's Response Topic", k5, 0x10,
              "s'MQTT' 05 06 0000 p{} s'c' p{08 s'a/+'} s'w' s''"},
          Row{"MQTT5-2.2.2.2", k81, "Topic Alias in the Will", k5, 0x10,
              "s'MQTT' 05 06 0000 p{} s'c' p{23 0001} s'w' s''"});

MALFORMED(
    Publish,  //
    Row{"MQTT-3.3.1-2", k81, "dup at QoS 0", k5, 0x38, "s'a' p{}"},
    Row{"MQTT-3.3.1-2", k81, "dup at QoS 0", k311, 0x38, "s'a'"},
    Row{"MQTT-3.3.1-4", k81, "both QoS bits", k5, 0x36, "s'a' 0001 p{}"},
    Row{"MQTT-3.3.1-4", k81, "both QoS bits", k311, 0x36, "s'a' 0001"},
    Row{"MQTT5-3.3.2", k81, "empty", k5, 0x30, ""},
    Row{"MQTT311-3.3.2", k81, "empty", k311, 0x30, ""},
    Row{"MQTT311-3.3.2", k81, "ends in the topic", k311, 0x30, "0003 'ab'"},
    Row{"MQTT-3.3.2-2", k81, "multi level wildcard", k5, 0x30, "s'#' p{}"},
    Row{"MQTT-3.3.2-2", k81, "single level wildcard", k311, 0x30, "s'a/+/b'"},
    Row{"MQTT5-1.5.4-1", k81, "topic ill formed", k5, 0x30, "0003 EDA080 p{}"},
    Row{"MQTT311-1.5.3-1", k81, "topic ill formed", k311, 0x30, "0001 FE"},
    Row{"MQTT5-1.5.4-2", k81, "topic with U 0000", k5, 0x30, "0003 610062 p{}"},
    Row{"MQTT311-1.5.3-2", k81, "topic with U 0000", k311, 0x30, "0001 00"},
    Row{"MQTT-4.7.3-1", k81, "empty topic", k311, 0x30, "s''"},
    Row{"MQTT5-3.3.2.1", k82, "neither topic nor alias", k5, 0x30, "s'' p{}"},
    Row{"MQTT5-2.2.1-3", k82, "identifier 0", k5, 0x32, "s'a' 0000 p{}"},
    Row{"MQTT311-2.3.1-1", k82, "identifier 0", k311, 0x34, "s'a' 0000"},
    Row{"MQTT5-3.3.2", k81, "ends before the identifier", k5, 0x32, "s'a' 00"},
    Row{"MQTT5-3.3.2", k81, "ends before Property Length", k5, 0x32, "s'a' 0001"},
    Row{"MQTT5-2.2.2.1", k81, "block longer than the packet", k5, 0x30, "s'a' 02 01"},
    Row{"MQTT5-2.2.2.2", k81, "property of another packet", k5, 0x30, "s'a' p{21 0001}"},
    Row{"MQTT5-3.3.2.3.2", k82, "Payload Format 2", k5, 0x30, "s'a' p{01 02}"},
    Row{"MQTT5-3.3.2.3.2", k82, "two Payload Formats", k5, 0x30, "s'a' p{01 00 01 00}"},
    Row{"MQTT5-3.3.2.3.3", k82, "two Message Expiry Intervals", k5, 0x30,
        "s'a' p{02 00000001 02 00000001}"},
    Row{"MQTT5-3.3.2-8", k94, "Topic Alias 0", k5, 0x30, "s'a' p{23 0000}"},
    Row{"MQTT5-3.3.2.3.4", k82, "two Topic Aliases", k5, 0x30, "s'a' p{23 0001 23 0001}"},
    Row{"MQTT5-3.3.2.3.5", k82, "two Response Topics", k5, 0x30, "s'a' p{08 s'r' 08 s'r'}"},
    Row{"MQTT5-3.3.2-14", k81, "wildcard in the Response Topic", k5, 0x30, "s'a' p{08 s'r/#'}"},
    Row{"MQTT-4.7.3-1", k81, "empty Response Topic", k5, 0x30, "s'a' p{08 s''}"},
    Row{"MQTT5-1.5.4-1", k81, "Response Topic ill formed", k5, 0x30, "s'a' p{08 0001 FF}"},
    Row{"MQTT5-3.3.2.3.6", k82, "two Correlation Datas", k5, 0x30, "s'a' p{09 s'' 09 s''}"},
    Row{"MQTT5-3.3.2.3.9", k82, "two Content Types", k5, 0x30, "s'a' p{03 s'' 03 s''}"},
    Row{"MQTT5-1.5.4-1", k81, "Content Type ill formed", k5, 0x30, "s'a' p{03 0001 FF}"},
    Row{"MQTT5-2.2.2.2", k81, "User Property cut off", k5, 0x30, "s'a' p{26 s'n'} 00"},
    Row{"MQTT5-3.3.4-6", k82, "Subscription Identifier from a client", k5, 0x30, "s'a' p{0B 01}"},
    Row{"MQTT5-3.3.2.3.8", k82, "Subscription Identifier 0", k5, 0x30, "s'a' p{0B 00}", kServer},
    Row{"MQTT5-1.5.5-1", k81, "Subscription Identifier not minimal", k5, 0x30, "s'a' p{0B 8100}",
        kServer},
    Row{"MQTT5-1.5.5", k81, "Subscription Identifier too large", k5, 0x30, "s'a' p{0B 8080808001}",
        kServer});

MALFORMED(Acks,  //
          Row{"MQTT5-3.4.2", k81, "PUBACK of one byte", k5, 0x40, "00"},
          Row{"MQTT311-3.4.2", k81, "PUBACK of three bytes", k311, 0x40, "0001 00"},
          Row{"MQTT5-2.2.1-5", k82, "PUBACK with identifier 0", k5, 0x40, "0000"},
          Row{"MQTT311-2.3.1-6", k82, "PUBREL with identifier 0", k311, 0x62, "0000"},
          Row{"MQTT5-3.4.2-1", k82, "PUBACK with a code of PUBREL", k5, 0x40, "0001 92"},
          Row{"MQTT5-3.4.2-1", k82, "PUBACK with no code there is", k5, 0x40, "0001 7F"},
          Row{"MQTT5-3.5.2-1", k82, "PUBREC with a code of SUBACK", k5, 0x50, "0001 01"},
          Row{"MQTT5-3.6.2-1", k82, "PUBREL with a code of PUBREC", k5, 0x62, "0001 80"},
          Row{"MQTT5-3.7.2-1", k82, "PUBCOMP with a code of PUBACK", k5, 0x70, "0001 10"},
          Row{"MQTT5-3.5.2", k81, "PUBREC with bytes behind its properties", k5, 0x50,
              "0001 00 p{} 00"},
          Row{"MQTT5-2.2.2.1", k81, "PUBREL with a block too long", k5, 0x62, "0001 00 01"},
          Row{"MQTT5-3.2.2.3.9", k82, "PUBCOMP with two Reason Strings", k5, 0x70,
              "0001 00 p{1F s'' 1F s''}"},
          Row{"MQTT5-2.2.2.2", k81, "PUBACK with a Content Type", k5, 0x40, "0001 00 p{03 s''}"});

MALFORMED(
    Subscribe,  //
    Row{"MQTT5-2.2.1-3", k82, "identifier 0", k5, 0x82, "0000 p{} s'a' 00"},
    Row{"MQTT311-2.3.1-1", k82, "identifier 0", k311, 0x82, "0000 s'a' 00"},
    Row{"MQTT5-3.8.3-2", k82, "no filter", k5, 0x82, "0001 p{}"},
    Row{"MQTT311-3.8.3-3", k82, "no filter", k311, 0x82, "0001"},
    Row{"MQTT5-3.8.3", k81, "empty", k5, 0x82, ""},
    Row{"MQTT5-3.8.3", k81, "no options", k5, 0x82, "0001 p{} s'a'"},
    Row{"MQTT5-3.8.3", k81, "second filter without options", k5, 0x82, "0001 p{} s'a' 00 s'b'"},
    Row{"MQTT5-3.8.2.1.2", k82, "two Subscription Identifiers", k5, 0x82,
        "0001 p{0B 01 0B 02} s'a' 00"},
    Row{"MQTT5-3.3.2.3.8", k82, "Subscription Identifier 0", k5, 0x82, "0001 p{0B 00} s'a' 00"},
    Row{"MQTT5-2.2.2.2", k81, "Reason String", k5, 0x82, "0001 p{1F s''} s'a' 00"},
    Row{"MQTT-4.7.3-1", k81, "empty filter", k5, 0x82, "0001 p{} s'' 00"},
    Row{"MQTT5-1.5.4-1", k81, "filter ill formed", k5, 0x82, "0001 p{} 0001 FF 00"},
    Row{"MQTT5-4.7.1-1", k81, "misplaced multi level wildcard", k5, 0x82, "0001 p{} s'a/#/b' 00"},
    Row{"MQTT311-4.7.1-3", k81, "misplaced single level wildcard", k311, 0x82, "0001 s'a+' 00"},
    Row{"MQTT5-4.8.2-1", k81, "empty ShareName", k5, 0x82, "0001 p{} s'$share//a' 00"},
    Row{"MQTT5-4.8.2-2", k81, "wildcard in the ShareName", k5, 0x82, "0001 p{} s'$share/+/a' 00"},
    Row{"MQTT5-4.8.2-2", k81, "ShareName without a filter", k5, 0x82, "0001 p{} s'$share/g' 00"},
    Row{"MQTT5-3.8.3-4", k82, "No Local on a Shared Subscription", k5, 0x82,
        "0001 p{} s'$share/g/a' 05"},
    Row{"MQTT5-3.8.3.1", k82, "QoS 3", k5, 0x82, "0001 p{} s'a' 03"},
    Row{"MQTT311-3.8.3-4", k81, "QoS 3", k311, 0x82, "0001 s'a' 03"},
    Row{"MQTT5-3.8.3.1", k82, "Retain Handling 3", k5, 0x82, "0001 p{} s'a' 30"},
    Row{"MQTT5-3.8.3-5", k81, "reserved bit 6", k5, 0x82, "0001 p{} s'a' 40"},
    Row{"MQTT5-3.8.3-5", k81, "reserved bit 7", k5, 0x82, "0001 p{} s'a' 80"},
    Row{"MQTT311-3.8.3-4", k81, "No Local", k311, 0x82, "0001 s'a' 04"},
    Row{"MQTT311-3.8.3-4", k81, "reserved bit 7", k311, 0x82, "0001 s'a' 81"});

MALFORMED(Unsubscribe,  //
          Row{"MQTT5-2.2.1-3", k82, "identifier 0", k5, 0xA2, "0000 p{} s'a'"},
          Row{"MQTT-3.10.3-2", k82, "no filter", k5, 0xA2, "0001 p{}"},
          Row{"MQTT-3.10.3-2", k82, "no filter", k311, 0xA2, "0001"},
          Row{"MQTT5-3.10.3", k81, "filter cut off", k5, 0xA2, "0001 p{} 0002 'a'"},
          Row{"MQTT-4.7.3-1", k81, "empty filter", k311, 0xA2, "0001 s''"},
          Row{"MQTT311-1.5.3-1", k81, "filter ill formed", k311, 0xA2, "0001 0001 80"},
          Row{"MQTT5-4.7.1-1", k81, "misplaced multi level wildcard", k5, 0xA2, "0001 p{} s'#/a'"},
          Row{"MQTT5-2.2.2.2", k81, "Subscription Identifier", k5, 0xA2, "0001 p{0B 01} s'a'"});

MALFORMED(Ping,  //
          Row{"MQTT5-3.12.1", k81, "PINGREQ with a body", k5, 0xC0, "00"},
          Row{"MQTT311-3.12.1", k81, "PINGREQ with a body", k311, 0xC0, "00"},
          Row{"MQTT5-3.13.1", k81, "PINGRESP with a body", k5, 0xD0, "00", kServer});

MALFORMED(Disconnect,  //
          Row{"MQTT311-3.14.1", k81, "a body", k311, 0xE0, "00"},
          Row{"MQTT5-3.14.2-1", k82, "no code there is", k5, 0xE0, "01"},
          Row{"MQTT5-3.14.2-1", k82, "a code of CONNACK", k5, 0xE0, "84"},
          Row{"MQTT5-3.14.2-1", k82, "a code of the server", k5, 0xE0, "8E"},
          Row{"MQTT5-3.14.2-1", k82, "a code of the client", k5, 0xE0, "04", kServer},
          Row{"MQTT5-3.14.2-2", k82, "Session Expiry Interval from the server", k5, 0xE0,
              "00 p{11 00000001}", kServer},
          Row{"MQTT5-3.1.2.11.2", k82, "two Session Expiry Intervals", k5, 0xE0,
              "00 p{11 00000001 11 00000001}"},
          Row{"MQTT5-3.14.2.2.5", k82, "Server Reference from a client", k5, 0xE0, "00 p{1C s'x'}"},
          Row{"MQTT5-3.2.2.3.9", k82, "two Reason Strings", k5, 0xE0, "00 p{1F s'' 1F s''}"},
          Row{"MQTT5-2.2.2.1", k81, "block too long", k5, 0xE0, "00 05 11"},
          Row{"MQTT5-3.14.2", k81, "bytes behind the properties", k5, 0xE0, "00 p{} 00"});

MALFORMED(Auth,  //
          Row{"MQTT5-3.15.2-1", k82, "success from a client", k5, 0xF0, "00 p{15 s'm'}"},
          Row{"MQTT5-3.15.2-1", k82, "empty from a client", k5, 0xF0, ""},
          Row{"MQTT5-3.15.2-1", k82, "re authenticate from the server", k5, 0xF0, "19 p{15 s'm'}",
              kServer},
          Row{"MQTT5-3.15.2-1", k82, "no code there is", k5, 0xF0, "1A p{15 s'm'}"},
          Row{"MQTT5-3.15.2", k81, "no Property Length", k5, 0xF0, "18"},
          Row{"MQTT5-3.15.2.2.2", k82, "no method", k5, 0xF0, "18 p{16 s'd'}"},
          Row{"MQTT5-3.1.2.11.9", k82, "two methods", k5, 0xF0, "18 p{15 s'm' 15 s'm'}"},
          Row{"MQTT5-2.2.2.2", k81, "Server Reference", k5, 0xF0, "18 p{15 s'm' 1C s'x'}"},
          Row{"MQTT5-3.15.2", k81, "bytes behind the properties", k5, 0xF0, "18 p{15 s'm'} 00"});

MALFORMED(
    ConnAck,  //
    Row{"MQTT5-3.2.2", k81, "empty", k5, 0x20, "", kServer},
    Row{"MQTT5-3.2.2", k81, "no Property Length", k5, 0x20, "00 00", kServer},
    Row{"MQTT5-3.2.2-1", k81, "reserved flag", k5, 0x20, "02 00 p{}", kServer},
    Row{"MQTT311-3.2.2.1", k81, "reserved flag", k311, 0x20, "80 00", kServer},
    Row{"MQTT5-3.2.2-6", k82, "Session Present with a failure", k5, 0x20, "01 87 p{}", kServer},
    Row{"MQTT311-3.2.2-4", k82, "Session Present with a failure", k311, 0x20, "01 05", kServer},
    Row{"MQTT5-3.2.2-8", k82, "a code of DISCONNECT", k5, 0x20, "00 8E p{}", kServer},
    Row{"MQTT311-3.2.2.3", k82, "return code 6", k311, 0x20, "00 06", kServer},
    Row{"MQTT311-3.2.2", k81, "properties", k311, 0x20, "00 00 00", kServer},
    Row{"MQTT5-3.2.2.3.4", k82, "Maximum QoS 2", k5, 0x20, "00 00 p{24 02}", kServer},
    Row{"MQTT5-3.2.2.3.5", k82, "Retain Available 2", k5, 0x20, "00 00 p{25 02}", kServer},
    Row{"MQTT5-3.2.2.3.11", k82, "Wildcard Available 2", k5, 0x20, "00 00 p{28 02}", kServer},
    Row{"MQTT5-3.2.2.3.12", k82, "Identifiers Available 2", k5, 0x20, "00 00 p{29 02}", kServer},
    Row{"MQTT5-3.2.2.3.13", k82, "Shared Available 2", k5, 0x20, "00 00 p{2A 02}", kServer},
    Row{"MQTT5-3.2.2.3.14", k82, "two Server Keep Alives", k5, 0x20, "00 00 p{13 0001 13 0001}",
        kServer},
    Row{"MQTT5-3.1.2.11.3", k82, "Receive Maximum 0", k5, 0x20, "00 00 p{21 0000}", kServer},
    Row{"MQTT5-3.1.2.11.4", k82, "Maximum Packet Size 0", k5, 0x20, "00 00 p{27 00000000}",
        kServer},
    Row{"MQTT5-3.2.2.3.7", k82, "two Assigned Client Identifiers", k5, 0x20,
        "00 00 p{12 s'a' 12 s'a'}", kServer});

MALFORMED(SubAckAndUnsubAck,  //
          Row{"MQTT5-3.8.4-6", k82, "SUBACK without codes", k5, 0x90, "0001 p{}", kServer},
          Row{"MQTT311-3.8.4-5", k82, "SUBACK without codes", k311, 0x90, "0001", kServer},
          Row{"MQTT-3.9.3-2", k82, "SUBACK with no code there is", k5, 0x90, "0001 p{} 03",
              kServer},
          Row{"MQTT-3.9.3-2", k82, "SUBACK with a code of 5 0", k311, 0x90, "0001 87", kServer},
          Row{"MQTT5-2.2.1-6", k82, "SUBACK with identifier 0", k5, 0x90, "0000 p{} 00", kServer},
          Row{"MQTT311-2.3.1-7", k82, "UNSUBACK with identifier 0", k311, 0xB0, "0000", kServer},
          Row{"MQTT5-3.11.3-1", k82, "UNSUBACK without codes", k5, 0xB0, "0001 p{}", kServer},
          Row{"MQTT5-3.11.3-2", k82, "UNSUBACK with a QoS", k5, 0xB0, "0001 p{} 01", kServer},
          Row{"MQTT311-3.11.2", k81, "UNSUBACK with a code", k311, 0xB0, "0001 00", kServer});

}  // namespace
}  // namespace mqtt
