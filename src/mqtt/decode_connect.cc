// CONNECT (§3.1) and CONNACK (§3.2).
#include "mqtt/decode.h"
#include "mqtt/property_reader.h"
#include "mqtt/reader.h"
#include "mqtt/topic.h"

namespace mqtt {
namespace {

// Connect Flags, §3.1.2.3.
constexpr unsigned kReservedFlag = 0x01;
constexpr unsigned kCleanStartFlag = 0x02;
constexpr unsigned kWillFlag = 0x04;
constexpr unsigned kWillQosShift = 3;
constexpr unsigned kWillRetainFlag = 0x20;
constexpr unsigned kPasswordFlag = 0x40;
constexpr unsigned kUserNameFlag = 0x80;

// Every way in which a CONNECT does not conform, if no rule of its own says so.
constexpr RuleNames kConnectConforms = {"MQTT-3.1.4-1", "MQTT-3.1.4-1"};

// Set in the Protocol Version byte by the bridges of mosquitto and RSMB (`try_private`).
constexpr unsigned kBridgeBit = 0x80;

// Protocol Name and Protocol Version (§3.1.2.1, §3.1.2.2), the latter without the bridge bit.
Version DecodeVersion(Reader& in, bool& bridge) {
  const std::string_view name = in.Binary();
  const uint8_t byte = in.Byte();
  if (!in.ok()) return Version::kUnknown;
  const unsigned level = byte & ~kBridgeBit;
  bridge = (byte & kBridgeBit) != 0;
  if (name == "MQTT") {
    if (level == 5) return Version::k5;
    if (level == 4) return Version::k311;
    const bool newer = level > 5;
    in.Fail(ReasonCode::kUnsupportedProtocolVersion, newer ? "MQTT5-3.1.2-2" : "MQTT311-3.1.2-2");
    return newer ? Version::k5 : Version::k311;
  }
  if (name == "MQIsdp") {
    if (level == 3) return Version::k31;
    in.Fail(ReasonCode::kUnsupportedProtocolVersion, "MQTT311-3.1.2-2");
    return Version::k311;
  }
  in.Fail(ReasonCode::kUnsupportedProtocolVersion, "MQTT-3.1.2-1");
  return Version::kUnknown;
}

// 3.1 leaves the reserved bit alone and ignores Will QoS and Will Retain without a Will.
void CheckConnectFlags(unsigned flags, Reader& in) {
  const unsigned will_qos = flags >> kWillQosShift & 0x03;
  const bool v31 = in.version() == Version::k31;
  if ((flags & kReservedFlag) != 0 && !v31) in.FailMalformed({"MQTT-3.1.2-3", "MQTT-3.1.2-3"});
  if ((flags & kWillFlag) != 0) {
    if (will_qos == 3) in.FailMalformed({"MQTT5-3.1.2-12", "MQTT311-3.1.2-14"});
  } else if (!v31) {
    if (will_qos != 0) in.FailMalformed({"MQTT5-3.1.2-11", "MQTT311-3.1.2-13"});
    if ((flags & kWillRetainFlag) != 0) in.FailMalformed({"MQTT5-3.1.2-13", "MQTT311-3.1.2-15"});
  }
  if (!in.v5() && (flags & kPasswordFlag) != 0 && (flags & kUserNameFlag) == 0) {
    in.Fail(ReasonCode::kMalformedPacket, "MQTT311-3.1.2-22");
  }
}

void DecodeConnectProperties(Reader& in, Connect& out) {
  PropertyReader properties(in, PlaceOf(PacketType::kConnect));
  while (properties.Next()) {
    switch (properties.id()) {
      case PropertyId::kSessionExpiryInterval:
        out.session_expiry_interval = properties.number();
        break;
      case PropertyId::kReceiveMaximum:
        out.receive_maximum = static_cast<uint16_t>(properties.number());
        break;
      case PropertyId::kMaximumPacketSize:
        out.maximum_packet_size = properties.number();
        break;
      case PropertyId::kTopicAliasMaximum:
        out.topic_alias_maximum = static_cast<uint16_t>(properties.number());
        break;
      case PropertyId::kRequestResponseInformation:
        out.request_response_information = properties.flag();
        break;
      case PropertyId::kRequestProblemInformation:
        out.request_problem_information = properties.flag();
        break;
      case PropertyId::kAuthenticationMethod:
        out.authentication_method = properties.text();
        break;
      case PropertyId::kAuthenticationData:
        out.authentication_data = properties.text();
        break;
      default:
        out.user_properties.push_back(properties.user_property());
        break;
    }
  }
  if (out.authentication_data.has_value() && !out.authentication_method.has_value()) {
    in.Fail(ReasonCode::kProtocolError, "MQTT5-3.1.2.11.10");
  }
}

void DecodeWillProperties(Reader& in, Will& out) {
  PropertyReader properties(in, PropertyPlace::kWill);
  while (properties.Next()) {
    switch (properties.id()) {
      case PropertyId::kWillDelayInterval:
        out.delay_interval = properties.number();
        out.properties_need_filter = true;
        break;
      case PropertyId::kMessageExpiryInterval:
        out.message_expiry_interval = properties.number();
        out.properties_need_filter = true;
        break;
      default:  // Goes on with the message.
        break;
    }
  }
  out.raw_properties = properties.raw();
}

void DecodeWill(unsigned flags, Reader& in, Will& out) {
  out.qos = static_cast<QoS>(flags >> kWillQosShift & 0x03);
  out.retain = (flags & kWillRetainFlag) != 0;
  if (in.v5()) DecodeWillProperties(in, out);
  out.topic = in.Text();
  in.Fail(CheckTopicName(out.topic, in.version()));
  out.payload = in.Binary();
}

// 3.1 lets a Client set the flags and leave the fields out at the packet's end.
bool IsPresent(unsigned flag, const Reader& in) {
  return flag != 0 && !(in.version() == Version::k31 && in.empty());
}

void CheckClientId(const Connect& out, Reader& in) {
  if (!out.client_id.empty() || in.v5()) return;
  if (in.version() == Version::k31 || !out.clean_start) {
    in.Fail(ReasonCode::kClientIdentifierNotValid,
            in.version() == Version::k31 ? "MQTT311-3.1.3-9" : "MQTT311-3.1.3-8");
  }
}

}  // namespace

std::optional<Violation> DecodeConnect(const FrameHeader& header, Bytes body, Connect& out) {
  out = Connect();
  Reader in(body, Version::kUnknown, kConnectConforms);
  out.version = DecodeVersion(in, out.bridge);
  in.set_version(out.version);
  if (header.flags != 0 && out.version != Version::k31) {  // 3.1 calls them unused.
    in.FailMalformed({"MQTT5-2.1.3-1", "MQTT311-2.2.2-1"});
  }
  if (in.v5() && !header.length_is_minimal) {
    in.Fail(ReasonCode::kMalformedPacket, "MQTT5-1.5.5-1");
  }

  const unsigned flags = in.Byte();
  CheckConnectFlags(flags, in);
  out.clean_start = (flags & kCleanStartFlag) != 0;
  out.keep_alive = in.TwoBytes();
  if (in.v5()) DecodeConnectProperties(in, out);

  out.client_id = in.Text();
  if ((flags & kWillFlag) != 0) DecodeWill(flags, in, out.will.emplace());
  if (IsPresent(flags & kUserNameFlag, in)) out.user_name = in.Text();
  if (IsPresent(flags & kPasswordFlag, in)) out.password = in.Binary();
  in.ExpectEnd();
  CheckClientId(out, in);  // Last: a packet that does not parse gets no CONNACK in 3.1.1.
  return in.fault();
}

namespace {

void DecodeConnAckProperties(Reader& in, ConnAck& out) {
  PropertyReader properties(in, PlaceOf(PacketType::kConnAck));
  while (properties.Next()) {
    switch (properties.id()) {
      case PropertyId::kSessionExpiryInterval:
        out.session_expiry_interval = properties.number();
        break;
      case PropertyId::kReceiveMaximum:
        out.receive_maximum = static_cast<uint16_t>(properties.number());
        break;
      case PropertyId::kMaximumQoS:
        out.maximum_qos = static_cast<QoS>(properties.number());
        break;
      case PropertyId::kRetainAvailable:
        out.retain_available = properties.flag();
        break;
      case PropertyId::kMaximumPacketSize:
        out.maximum_packet_size = properties.number();
        break;
      case PropertyId::kAssignedClientIdentifier:
        out.assigned_client_identifier = properties.text();
        break;
      case PropertyId::kTopicAliasMaximum:
        out.topic_alias_maximum = static_cast<uint16_t>(properties.number());
        break;
      case PropertyId::kReasonString:
        out.reason_string = properties.text();
        break;
      case PropertyId::kWildcardSubscriptionAvailable:
        out.wildcard_subscription_available = properties.flag();
        break;
      case PropertyId::kSubscriptionIdentifierAvailable:
        out.subscription_identifier_available = properties.flag();
        break;
      case PropertyId::kSharedSubscriptionAvailable:
        out.shared_subscription_available = properties.flag();
        break;
      case PropertyId::kServerKeepAlive:
        out.server_keep_alive = static_cast<uint16_t>(properties.number());
        break;
      case PropertyId::kResponseInformation:
        out.response_information = properties.text();
        break;
      case PropertyId::kServerReference:
        out.server_reference = properties.text();
        break;
      case PropertyId::kAuthenticationMethod:
        out.authentication_method = properties.text();
        break;
      case PropertyId::kAuthenticationData:
        out.authentication_data = properties.text();
        break;
      default:
        out.user_properties.push_back(properties.user_property());
        break;
    }
  }
}

void DecodeReturnCode(uint8_t code, Reader& in, ConnAck& out) {
  const std::optional<ReasonCode> reason = FromConnectReturnCode(code);
  if (!reason.has_value()) {
    return in.Fail(ReasonCode::kProtocolError, "MQTT311-3.2.2.3");
  }
  out.reason = *reason;
}

}  // namespace

std::optional<Violation> DecodeConnAck(uint8_t flags, Bytes body, Version version, ConnAck& out) {
  out = ConnAck();
  Reader in(body, version, {"MQTT5-3.2.2", "MQTT311-3.2.2"});
  if (flags != 0) in.FailMalformed({"MQTT5-2.1.3-1", "MQTT311-2.2.2-1"});
  const uint8_t acknowledge_flags = in.Byte();
  if (version != Version::k31) {  // Where the whole byte is reserved and unused.
    if (acknowledge_flags > 1) in.FailMalformed({"MQTT5-3.2.2-1", "MQTT311-3.2.2.1"});
    out.session_present = acknowledge_flags == 1;
  }
  const uint8_t code = in.Byte();
  if (in.v5()) {
    out.reason = static_cast<ReasonCode>(code);
    if (!IsAllowed(out.reason, PacketType::kConnAck)) {
      in.Fail(ReasonCode::kProtocolError, "MQTT5-3.2.2-8");
    }
    DecodeConnAckProperties(in, out);
  } else {
    DecodeReturnCode(code, in, out);
  }
  if (out.session_present && out.reason != ReasonCode::kSuccess) {
    in.FailProtocol({"MQTT5-3.2.2-6", "MQTT311-3.2.2-4"});
  }
  in.ExpectEnd();
  return in.fault();
}

}  // namespace mqtt
