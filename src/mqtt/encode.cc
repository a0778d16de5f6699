// All packets but PUBLISH: put together in a string, and appended with the fixed header in front.
#include "mqtt/encode.h"

#include "base/check.h"
#include "mqtt/writer.h"

namespace mqtt {
namespace {

// How much of the diagnostics goes along: less and less until the packet fits the receiver.
enum class Detail : uint8_t { kAll, kNoUserProperties, kNone };

// Appends a whole packet, unless it is larger than `packet_size_max`.
bool AppendFrame(PacketType type, unsigned flags, std::string_view body, std::string& out,
                 uint32_t packet_size_max) {
  if (body.size() > kRemainingLengthMax) return false;
  const auto remaining_length = static_cast<uint32_t>(body.size());
  if (1 + VariableByteIntegerSize(remaining_length) + body.size() > packet_size_max) return false;
  AppendByte(out, static_cast<unsigned>(type) << 4 | flags);
  AppendVariableByteInteger(out, remaining_length);
  out.append(body);
  return true;
}

void AppendBlock(std::string& out, std::string_view properties) {
  CHECK(properties.size() <= kRemainingLengthMax) << "properties of " << properties.size();
  AppendVariableByteInteger(out, static_cast<uint32_t>(properties.size()));  // [MQTT5-2.2.2-1]
  out.append(properties);
}

// Reason String and User Properties, as far as `detail` lets them.
template <typename Packet>
void AppendReasonProperties(std::string& out, const Packet& packet, Detail detail) {
  if (detail != Detail::kNone) {
    AppendTextProperty(out, PropertyId::kReasonString, packet.reason_string);
  }
  if (detail == Detail::kAll) AppendUserProperties(out, packet.user_properties);
}

// Tries `body(detail)` with less and less detail until it fits.
template <typename Body>
bool AppendFitting(PacketType type, unsigned flags, Version version, Body body, std::string& out,
                   uint32_t packet_size_max) {
  for (const Detail detail : {Detail::kAll, Detail::kNoUserProperties, Detail::kNone}) {
    if (AppendFrame(type, flags, body(detail), out, packet_size_max)) return true;
    if (version != Version::k5) return false;
  }
  return false;
}

std::string ConnectProperties(const Connect& packet) {
  std::string out;
  if (packet.session_expiry_interval != 0) {
    AppendFourByteProperty(out, PropertyId::kSessionExpiryInterval, packet.session_expiry_interval);
  }
  if (packet.receive_maximum != kReceiveMaximumDefault) {
    AppendTwoByteProperty(out, PropertyId::kReceiveMaximum, packet.receive_maximum);
  }
  AppendFourByteProperty(out, PropertyId::kMaximumPacketSize, packet.maximum_packet_size);
  if (packet.topic_alias_maximum != 0) {
    AppendTwoByteProperty(out, PropertyId::kTopicAliasMaximum, packet.topic_alias_maximum);
  }
  if (packet.request_response_information) {
    AppendByteProperty(out, PropertyId::kRequestResponseInformation, 1);
  }
  if (!packet.request_problem_information) {
    AppendByteProperty(out, PropertyId::kRequestProblemInformation, 0);
  }
  AppendUserProperties(out, packet.user_properties);
  AppendTextProperty(out, PropertyId::kAuthenticationMethod, packet.authentication_method);
  AppendTextProperty(out, PropertyId::kAuthenticationData, packet.authentication_data);
  return out;
}

void AppendWill(const Will& will, Version version, std::string& out) {
  if (version == Version::k5) {
    std::string properties;
    if (will.delay_interval != 0) {
      AppendFourByteProperty(properties, PropertyId::kWillDelayInterval, will.delay_interval);
    }
    AppendFourByteProperty(properties, PropertyId::kMessageExpiryInterval,
                           will.message_expiry_interval);
    std::string scratch;
    properties.append(ForwardProperties(will, scratch));
    AppendBlock(out, properties);
  }
  AppendString(out, will.topic);
  AppendString(out, will.payload);
}

unsigned ConnectFlags(const Connect& packet) {
  unsigned flags = packet.clean_start ? 0x02 : 0x00;
  if (packet.will.has_value()) {
    flags |= 0x04 | static_cast<unsigned>(packet.will->qos) << 3 | (packet.will->retain ? 0x20 : 0);
  }
  if (packet.password.has_value()) flags |= 0x40;
  if (packet.user_name.has_value()) flags |= 0x80;
  return flags;
}

}  // namespace

bool Encode(const Connect& packet, std::string& out, uint32_t packet_size_max) {
  CHECK(packet.version != Version::kUnknown) << "CONNECT needs a version";
  std::string body;
  AppendString(body, packet.version == Version::k31 ? "MQIsdp" : "MQTT");
  AppendByte(body, static_cast<unsigned>(packet.version));
  AppendByte(body, ConnectFlags(packet));
  AppendTwoBytes(body, packet.keep_alive);
  if (packet.version == Version::k5) AppendBlock(body, ConnectProperties(packet));
  AppendString(body, packet.client_id);
  if (packet.will.has_value()) AppendWill(*packet.will, packet.version, body);
  if (packet.user_name.has_value()) AppendString(body, *packet.user_name);
  if (packet.password.has_value()) AppendString(body, *packet.password);
  return AppendFrame(PacketType::kConnect, 0, body, out, packet_size_max);
}

namespace {

void AppendUnlessAvailable(std::string& out, PropertyId id, bool available) {
  if (!available) AppendByteProperty(out, id, 0);
}

std::string ConnAckProperties(const ConnAck& packet, Detail detail) {
  std::string out;
  AppendFourByteProperty(out, PropertyId::kSessionExpiryInterval, packet.session_expiry_interval);
  if (packet.receive_maximum != kReceiveMaximumDefault) {
    AppendTwoByteProperty(out, PropertyId::kReceiveMaximum, packet.receive_maximum);
  }
  if (packet.maximum_qos != QoS::kExactlyOnce) {
    AppendByteProperty(out, PropertyId::kMaximumQoS, static_cast<unsigned>(packet.maximum_qos));
  }
  AppendUnlessAvailable(out, PropertyId::kRetainAvailable, packet.retain_available);
  AppendFourByteProperty(out, PropertyId::kMaximumPacketSize, packet.maximum_packet_size);
  AppendTextProperty(out, PropertyId::kAssignedClientIdentifier, packet.assigned_client_identifier);
  if (packet.topic_alias_maximum != 0) {
    AppendTwoByteProperty(out, PropertyId::kTopicAliasMaximum, packet.topic_alias_maximum);
  }
  AppendReasonProperties(out, packet, detail);  // [MQTT5-3.2.2-19] [MQTT5-3.2.2-20]
  AppendUnlessAvailable(out, PropertyId::kWildcardSubscriptionAvailable,
                        packet.wildcard_subscription_available);
  AppendUnlessAvailable(out, PropertyId::kSubscriptionIdentifierAvailable,
                        packet.subscription_identifier_available);
  AppendUnlessAvailable(out, PropertyId::kSharedSubscriptionAvailable,
                        packet.shared_subscription_available);
  if (packet.server_keep_alive.has_value()) {
    AppendTwoByteProperty(out, PropertyId::kServerKeepAlive, *packet.server_keep_alive);
  }
  if (detail != Detail::kNone) {
    AppendTextProperty(out, PropertyId::kResponseInformation, packet.response_information);
  }
  AppendTextProperty(out, PropertyId::kServerReference, packet.server_reference);
  AppendTextProperty(out, PropertyId::kAuthenticationMethod, packet.authentication_method);
  AppendTextProperty(out, PropertyId::kAuthenticationData, packet.authentication_data);
  return out;
}

}  // namespace

bool Encode(const ConnAck& packet, Version version, std::string& out, uint32_t packet_size_max) {
  const bool v5 = version == Version::k5;
  const std::optional<ConnectReturnCode> return_code = ToConnectReturnCode(packet.reason);
  CHECK(v5 || return_code.has_value()) << packet.reason << " has no CONNACK in 3.1.1";
  // [MQTT5-3.2.2-6] [MQTT311-3.2.2-4]
  const bool session_present =
      packet.session_present && packet.reason == ReasonCode::kSuccess && version != Version::k31;
  const auto body = [&](Detail detail) {
    std::string text;
    AppendByte(text, session_present ? 1 : 0);
    AppendByte(text,
               v5 ? static_cast<unsigned>(packet.reason) : static_cast<unsigned>(*return_code));
    if (v5) AppendBlock(text, ConnAckProperties(packet, detail));
    return text;
  };
  return AppendFitting(PacketType::kConnAck, 0, version, body, out, packet_size_max);
}

void EncodeRefusal(Version version, ReasonCode reason, std::string_view reason_string,
                   std::string& out, uint32_t packet_size_max) {
  if (version == Version::kUnknown) return;
  if (version != Version::k5 && !ToConnectReturnCode(reason).has_value()) return;
  ConnAck packet{.reason = reason};
  if (reason_string.size() > kStringBytesMax) {
    size_t end = kStringBytesMax;  // Not in the middle of a character.
    while (end > 0 && (static_cast<unsigned char>(reason_string[end]) & 0xC0) == 0x80) --end;
    reason_string = reason_string.substr(0, end);
  }
  if (!reason_string.empty()) packet.reason_string = reason_string;
  Encode(packet, version, out, packet_size_max);
}

bool Encode(const Ack& packet, Version version, std::string& out, uint32_t packet_size_max) {
  const auto body = [&](Detail detail) {
    std::string text;
    AppendTwoBytes(text, packet.packet_id.value);
    if (version != Version::k5) return text;
    std::string properties;
    AppendReasonProperties(properties, packet, detail);
    const bool with_properties = !properties.empty();
    if (with_properties || packet.reason != ReasonCode::kSuccess) {
      AppendByte(text, static_cast<unsigned>(packet.reason));
    }
    if (with_properties) AppendBlock(text, properties);
    return text;
  };
  const unsigned flags = packet.type == PacketType::kPubRel ? 2 : 0;  // [MQTT-3.6.1-1]
  return AppendFitting(packet.type, flags, version, body, out, packet_size_max);
}

bool Encode(const Subscribe& packet, Version version, std::string& out, uint32_t packet_size_max) {
  const bool v5 = version == Version::k5;
  std::string body;
  AppendTwoBytes(body, packet.packet_id.value);
  if (v5) {
    std::string properties;
    if (packet.subscription_id != 0) {
      AppendPropertyId(properties, PropertyId::kSubscriptionIdentifier);
      AppendVariableByteInteger(properties, packet.subscription_id);
    }
    AppendUserProperties(properties, packet.user_properties);
    AppendBlock(body, properties);
  }
  for (const Subscription& subscription : packet.subscriptions) {
    AppendString(body, subscription.filter);
    const SubscriptionOptions& options = subscription.options;
    AppendByte(body, v5 ? options.ToByte() : static_cast<unsigned>(options.qos));
  }
  return AppendFrame(PacketType::kSubscribe, 2, body, out, packet_size_max);  // [MQTT-3.8.1-1]
}

bool Encode(const SubAck& packet, Version version, std::string& out, uint32_t packet_size_max) {
  const bool v5 = version == Version::k5;
  const auto body = [&](Detail detail) {
    std::string text;
    AppendTwoBytes(text, packet.packet_id.value);
    if (v5) {
      std::string properties;
      AppendReasonProperties(properties, packet, detail);
      AppendBlock(text, properties);
    }
    for (ReasonCode reason : packet.reasons) {
      if (!v5 && IsError(reason)) reason = ReasonCode::kUnspecifiedError;  // [MQTT311-3.9.3-2]
      AppendByte(text, static_cast<unsigned>(reason));
    }
    return text;
  };
  return AppendFitting(PacketType::kSubAck, 0, version, body, out, packet_size_max);
}

bool Encode(const Unsubscribe& packet, Version version, std::string& out,
            uint32_t packet_size_max) {
  std::string body;
  AppendTwoBytes(body, packet.packet_id.value);
  if (version == Version::k5) {
    std::string properties;
    AppendUserProperties(properties, packet.user_properties);
    AppendBlock(body, properties);
  }
  for (const std::string_view filter : packet.filters) AppendString(body, filter);
  return AppendFrame(PacketType::kUnsubscribe, 2, body, out, packet_size_max);  // [MQTT-3.10.1-1]
}

bool Encode(const UnsubAck& packet, Version version, std::string& out, uint32_t packet_size_max) {
  const auto body = [&](Detail detail) {
    std::string text;
    AppendTwoBytes(text, packet.packet_id.value);
    if (version != Version::k5) return text;
    std::string properties;
    AppendReasonProperties(properties, packet, detail);
    AppendBlock(text, properties);
    for (const ReasonCode reason : packet.reasons) AppendByte(text, static_cast<unsigned>(reason));
    return text;
  };
  return AppendFitting(PacketType::kUnsubAck, 0, version, body, out, packet_size_max);
}

bool Encode(const Disconnect& packet, Version version, std::string& out, uint32_t packet_size_max) {
  const auto body = [&](Detail detail) {
    std::string text;
    if (version != Version::k5) return text;
    std::string properties;
    AppendFourByteProperty(properties, PropertyId::kSessionExpiryInterval,
                           packet.session_expiry_interval);
    AppendReasonProperties(properties, packet, detail);
    AppendTextProperty(properties, PropertyId::kServerReference, packet.server_reference);
    const bool with_properties = !properties.empty();
    if (with_properties || packet.reason != ReasonCode::kNormalDisconnection) {
      AppendByte(text, static_cast<unsigned>(packet.reason));
    }
    if (with_properties) AppendBlock(text, properties);
    return text;
  };
  return AppendFitting(PacketType::kDisconnect, 0, version, body, out, packet_size_max);
}

bool Encode(const Auth& packet, std::string& out, uint32_t packet_size_max) {
  const auto body = [&](Detail detail) {
    std::string properties;
    AppendTextProperty(properties, PropertyId::kAuthenticationMethod, packet.authentication_method);
    AppendTextProperty(properties, PropertyId::kAuthenticationData, packet.authentication_data);
    AppendReasonProperties(properties, packet, detail);
    std::string text;
    if (properties.empty() && packet.reason == ReasonCode::kSuccess) return text;
    AppendByte(text, static_cast<unsigned>(packet.reason));
    AppendBlock(text, properties);
    return text;
  };
  return AppendFitting(PacketType::kAuth, 0, Version::k5, body, out, packet_size_max);
}

}  // namespace mqtt
