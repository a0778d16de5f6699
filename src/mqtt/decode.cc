// All packets but CONNECT, CONNACK and PUBLISH.
#include "mqtt/decode.h"

#include "mqtt/property_reader.h"
#include "mqtt/reader.h"
#include "mqtt/topic.h"

namespace mqtt {
namespace {

constexpr uint8_t kDupFlag = 0x08;

// Bits 3-0 of the fixed header where they are reserved (§2.1.3, Table 2-2). Where they are 2, 3.1
// calls them QoS 1 and lets a sender that repeats the packet set DUP; where they are 0, it calls
// them unused and lets them be anything.
void CheckFlags(uint8_t flags, uint8_t expected, RuleNames rule, Reader& in) {
  if (flags == expected) return;
  if (in.version() == Version::k31 && (expected == 0 || flags == (expected | kDupFlag))) return;
  in.FailMalformed(rule);
}

constexpr RuleNames kReservedFlags = {"MQTT5-2.1.3-1", "MQTT311-2.2.2-1"};
constexpr RuleNames kNewIdNotZero = {"MQTT5-2.2.1-3", "MQTT311-2.3.1-1"};
constexpr RuleNames kSameIdAsPublish = {"MQTT5-2.2.1-5", "MQTT311-2.3.1-6"};
constexpr RuleNames kSameIdAsRequest = {"MQTT5-2.2.1-6", "MQTT311-2.3.1-7"};

constexpr RuleNames Same(std::string_view rule) { return {rule, rule}; }

// The properties that SUBACK, UNSUBACK and the four PUBLISH acknowledgements share.
template <typename Packet>
void DecodeReasonProperties(PacketType type, Reader& in, Packet& out) {
  PropertyReader properties(in, PlaceOf(type));
  while (properties.Next()) {
    if (properties.id() == PropertyId::kReasonString) {
      out.reason_string = properties.text();
    } else {
      out.user_properties.push_back(properties.user_property());
    }
  }
}

struct AckRules {
  uint8_t flags;
  RuleNames reserved;  // For the fixed header.
  RuleNames form;      // For a body that is too short or too long.
  std::string_view reason_code;
};

AckRules RulesOf(PacketType type) {
  switch (type) {
    case PacketType::kPubRec:
      return {0, kReservedFlags, {"MQTT5-3.5.2", "MQTT311-3.5.2"}, "MQTT5-3.5.2-1"};
    case PacketType::kPubRel:
      return {2, Same("MQTT-3.6.1-1"), {"MQTT5-3.6.2", "MQTT311-3.6.2"}, "MQTT5-3.6.2-1"};
    case PacketType::kPubComp:
      return {0, kReservedFlags, {"MQTT5-3.7.2", "MQTT311-3.7.2"}, "MQTT5-3.7.2-1"};
    default:
      return {0, kReservedFlags, {"MQTT5-3.4.2", "MQTT311-3.4.2"}, "MQTT5-3.4.2-1"};
  }
}

}  // namespace

std::optional<Violation> DecodeAck(PacketType type, uint8_t flags, Bytes body, Version version,
                                   Ack& out) {
  out.type = type;  // Field by field, as PUBLISH is cleared.
  out.packet_id = PacketId();
  out.reason = ReasonCode::kSuccess;
  out.reason_string.reset();
  out.user_properties.clear();
  const AckRules rules = RulesOf(type);
  Reader in(body, version, rules.form);
  CheckFlags(flags, rules.flags, rules.reserved, in);
  out.packet_id = in.NonZeroId(kSameIdAsPublish);
  if (in.v5() && !in.empty()) {
    out.reason = static_cast<ReasonCode>(in.Byte());
    if (!IsAllowed(out.reason, type)) in.Fail(ReasonCode::kProtocolError, rules.reason_code);
    if (!in.empty()) DecodeReasonProperties(type, in, out);
  }
  in.ExpectEnd();
  return in.fault();
}

namespace {

void DecodeSubscribeProperties(Reader& in, Subscribe& out) {
  PropertyReader properties(in, PlaceOf(PacketType::kSubscribe));
  while (properties.Next()) {
    if (properties.id() == PropertyId::kSubscriptionIdentifier) {
      if (out.subscription_id != 0) {
        return in.Fail(ReasonCode::kProtocolError, "MQTT5-3.8.2.1.2");
      }
      out.subscription_id = properties.number();
    } else {
      out.user_properties.push_back(properties.user_property());
    }
  }
}

// §3.8.3.1. In 3.1.1 all bits but the QoS are reserved, and QoS 3 is malformed by the same
// statement.
SubscriptionOptions DecodeOptions(std::string_view filter, Reader& in) {
  const uint8_t byte = in.Byte();
  const bool qos_is_3 = (byte & 0x03) == 3;
  if (!in.v5()) {
    if (qos_is_3 || byte > 3) in.Fail(ReasonCode::kMalformedPacket, "MQTT311-3.8.3-4");
    return {.qos = static_cast<QoS>(byte & 0x03)};
  }
  if ((byte & 0xC0) != 0) in.Fail(ReasonCode::kMalformedPacket, "MQTT5-3.8.3-5");
  const bool handling_is_3 = (byte & 0x30) == 0x30;
  if (qos_is_3 || handling_is_3) in.Fail(ReasonCode::kProtocolError, "MQTT5-3.8.3.1");
  const SubscriptionOptions options = SubscriptionOptions::FromByte(byte);
  if (options.no_local && IsShared(filter)) in.Fail(ReasonCode::kProtocolError, "MQTT5-3.8.3-4");
  return options;
}

// `listed` before it.
std::string_view DecodeFilter(size_t listed, Reader& in) {
  if (listed >= kListedMax) in.Fail(ReasonCode::kQuotaExceeded, kListedMaxRule);
  const std::string_view filter = in.Text();
  in.Fail(CheckTopicFilter(filter, in.version()));
  return filter;
}

}  // namespace

std::optional<Violation> DecodeSubscribe(uint8_t flags, Bytes body, Version version,
                                         Subscribe& out) {
  out = Subscribe();
  Reader in(body, version, {"MQTT5-3.8.3", "MQTT311-3.8.3"});
  CheckFlags(flags, 2, Same("MQTT-3.8.1-1"), in);
  out.packet_id = in.NonZeroId(kNewIdNotZero);
  if (in.v5()) DecodeSubscribeProperties(in, out);
  if (in.empty()) in.FailProtocol({"MQTT5-3.8.3-2", "MQTT311-3.8.3-3"});
  while (!in.empty()) {
    const std::string_view filter = DecodeFilter(out.subscriptions.size(), in);
    out.subscriptions.push_back({filter, DecodeOptions(filter, in)});
  }
  return in.fault();
}

std::optional<Violation> DecodeUnsubscribe(uint8_t flags, Bytes body, Version version,
                                           Unsubscribe& out) {
  out = Unsubscribe();
  Reader in(body, version, {"MQTT5-3.10.3", "MQTT311-3.10.3"});
  CheckFlags(flags, 2, Same("MQTT-3.10.1-1"), in);
  out.packet_id = in.NonZeroId(kNewIdNotZero);
  if (in.v5()) {
    PropertyReader properties(in, PlaceOf(PacketType::kUnsubscribe));
    while (properties.Next()) out.user_properties.push_back(properties.user_property());
  }
  if (in.empty()) in.FailProtocol(Same("MQTT-3.10.3-2"));
  while (!in.empty()) out.filters.push_back(DecodeFilter(out.filters.size(), in));
  return in.fault();
}

std::optional<Violation> DecodeSubAck(uint8_t flags, Bytes body, Version version, SubAck& out) {
  out = SubAck();
  Reader in(body, version, {"MQTT5-3.9.3", "MQTT311-3.9.3"});
  CheckFlags(flags, 0, kReservedFlags, in);
  out.packet_id = in.NonZeroId(kSameIdAsRequest);
  if (in.v5()) DecodeReasonProperties(PacketType::kSubAck, in, out);
  if (in.empty()) in.FailProtocol({"MQTT5-3.8.4-6", "MQTT311-3.8.4-5"});
  while (!in.empty()) {
    const auto reason = static_cast<ReasonCode>(in.Byte());
    const bool allowed =
        in.v5() ? IsAllowed(reason, PacketType::kSubAck)
                : reason <= ReasonCode::kGrantedQos2 || reason == ReasonCode::kUnspecifiedError;
    if (!allowed) in.FailProtocol(Same("MQTT-3.9.3-2"));
    out.reasons.push_back(reason);
  }
  return in.fault();
}

std::optional<Violation> DecodeUnsubAck(uint8_t flags, Bytes body, Version version, UnsubAck& out) {
  out = UnsubAck();
  Reader in(body, version, {"MQTT5-3.11.3", "MQTT311-3.11.2"});
  CheckFlags(flags, 0, kReservedFlags, in);
  out.packet_id = in.NonZeroId(kSameIdAsRequest);
  if (!in.v5()) {
    in.ExpectEnd();
    return in.fault();
  }
  DecodeReasonProperties(PacketType::kUnsubAck, in, out);
  if (in.empty()) in.Fail(ReasonCode::kProtocolError, "MQTT5-3.11.3-1");
  while (!in.empty()) {
    const auto reason = static_cast<ReasonCode>(in.Byte());
    if (!IsAllowed(reason, PacketType::kUnsubAck)) {
      in.Fail(ReasonCode::kProtocolError, "MQTT5-3.11.3-2");
    }
    out.reasons.push_back(reason);
  }
  return in.fault();
}

std::optional<Violation> DecodePingReq(uint8_t flags, Bytes body, Version version) {
  Reader in(body, version, {"MQTT5-3.12.1", "MQTT311-3.12.1"});
  CheckFlags(flags, 0, kReservedFlags, in);
  in.ExpectEnd();
  return in.fault();
}

std::optional<Violation> DecodePingResp(uint8_t flags, Bytes body, Version version) {
  Reader in(body, version, {"MQTT5-3.13.1", "MQTT311-3.13.1"});
  CheckFlags(flags, 0, kReservedFlags, in);
  in.ExpectEnd();
  return in.fault();
}

namespace {

// §3.14.2.1, Table 3-10, column "Sent by".
bool IsAllowedInDisconnect(ReasonCode reason, Sender sender) {
  if (!IsAllowed(reason, PacketType::kDisconnect)) return false;
  switch (reason) {
    case ReasonCode::kNormalDisconnection:
    case ReasonCode::kUnspecifiedError:
    case ReasonCode::kMalformedPacket:
    case ReasonCode::kProtocolError:
    case ReasonCode::kImplementationSpecificError:
    case ReasonCode::kTopicNameInvalid:
    case ReasonCode::kReceiveMaximumExceeded:
    case ReasonCode::kTopicAliasInvalid:
    case ReasonCode::kPacketTooLarge:
    case ReasonCode::kMessageRateTooHigh:
    case ReasonCode::kQuotaExceeded:
    case ReasonCode::kAdministrativeAction:
    case ReasonCode::kPayloadFormatInvalid:
    case ReasonCode::kBadAuthenticationMethod:  // Not in the table; §4.12.1 lets either side fail.
      return true;
    case ReasonCode::kDisconnectWithWill:
      return sender == Sender::kClient;
    default:
      return sender == Sender::kServer;
  }
}

// §3.15.2.1, Table 3-11, column "Sent by".
bool IsAllowedInAuth(ReasonCode reason, Sender sender) {
  switch (reason) {
    case ReasonCode::kSuccess:
      return sender == Sender::kServer;
    case ReasonCode::kContinueAuthentication:
      return true;
    case ReasonCode::kReauthenticate:
      return sender == Sender::kClient;
    default:
      return false;
  }
}

void DecodeDisconnectProperties(Sender sender, Reader& in, Disconnect& out) {
  PropertyReader properties(in, PlaceOf(PacketType::kDisconnect));
  while (properties.Next()) {
    switch (properties.id()) {
      case PropertyId::kSessionExpiryInterval:
        if (sender == Sender::kServer) {
          return in.Fail(ReasonCode::kProtocolError, "MQTT5-3.14.2-2");
        }
        out.session_expiry_interval = properties.number();
        break;
      case PropertyId::kServerReference:
        if (sender == Sender::kClient) {
          return in.Fail(ReasonCode::kProtocolError, "MQTT5-3.14.2.2.5");
        }
        out.server_reference = properties.text();
        break;
      case PropertyId::kReasonString:
        out.reason_string = properties.text();
        break;
      default:
        out.user_properties.push_back(properties.user_property());
        break;
    }
  }
}

void DecodeAuthProperties(Reader& in, Auth& out) {
  PropertyReader properties(in, PlaceOf(PacketType::kAuth));
  while (properties.Next()) {
    switch (properties.id()) {
      case PropertyId::kAuthenticationMethod:
        out.authentication_method = properties.text();
        break;
      case PropertyId::kAuthenticationData:
        out.authentication_data = properties.text();
        break;
      case PropertyId::kReasonString:
        out.reason_string = properties.text();
        break;
      default:
        out.user_properties.push_back(properties.user_property());
        break;
    }
  }
  if (!out.authentication_method.has_value()) {
    in.Fail(ReasonCode::kProtocolError, "MQTT5-3.15.2.2.2");
  }
}

}  // namespace

std::optional<Violation> DecodeDisconnect(uint8_t flags, Bytes body, Version version, Sender sender,
                                          Disconnect& out) {
  out = Disconnect();
  Reader in(body, version, {"MQTT5-3.14.2", "MQTT311-3.14.1"});
  CheckFlags(flags, 0, Same("MQTT-3.14.1-1"), in);
  if (in.v5() && !in.empty()) {
    out.reason = static_cast<ReasonCode>(in.Byte());
    if (!IsAllowedInDisconnect(out.reason, sender)) {
      in.Fail(ReasonCode::kProtocolError, "MQTT5-3.14.2-1");
    }
    if (!in.empty()) DecodeDisconnectProperties(sender, in, out);
  }
  in.ExpectEnd();
  return in.fault();
}

std::optional<Violation> DecodeAuth(uint8_t flags, Bytes body, Version version, Sender sender,
                                    Auth& out) {
  out = Auth();
  Reader in(body, version, {"MQTT5-3.15.2", "MQTT311-2.2.1"});
  if (!in.v5()) in.Fail(ReasonCode::kMalformedPacket, "MQTT311-2.2.1");
  CheckFlags(flags, 0, {"MQTT5-3.15.1-1", "MQTT311-2.2.1"}, in);
  const bool is_short_form = body.empty();  // Success, without a method.
  if (!is_short_form) out.reason = static_cast<ReasonCode>(in.Byte());
  if (!IsAllowedInAuth(out.reason, sender)) in.Fail(ReasonCode::kProtocolError, "MQTT5-3.15.2-1");
  if (!is_short_form) DecodeAuthProperties(in, out);
  in.ExpectEnd();
  return in.fault();
}

std::optional<Violation> CheckDirection(PacketType type, Version version, Sender sender) {
  const bool v5 = version == Version::k5;
  const auto violation = [v5](ReasonCode reason) {
    return Violation{reason, v5 ? "MQTT5-2.1.2" : "MQTT311-2.2.1"};
  };
  bool allowed = true;
  switch (type) {
    case PacketType::kReserved:
      return violation(ReasonCode::kMalformedPacket);
    case PacketType::kConnect:
    case PacketType::kSubscribe:
    case PacketType::kUnsubscribe:
    case PacketType::kPingReq:
      allowed = sender == Sender::kClient;
      break;
    case PacketType::kConnAck:
    case PacketType::kSubAck:
    case PacketType::kUnsubAck:
    case PacketType::kPingResp:
      allowed = sender == Sender::kServer;
      break;
    case PacketType::kDisconnect:
      allowed = v5 || sender == Sender::kClient;
      break;
    case PacketType::kAuth:
      if (!v5) return violation(ReasonCode::kMalformedPacket);
      break;
    default:
      break;
  }
  if (allowed) return std::nullopt;
  return violation(ReasonCode::kProtocolError);
}

}  // namespace mqtt
