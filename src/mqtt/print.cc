// Packets in one line of text, for test failures, traces and logs.
#include <ostream>
#include <string>

#include "absl/strings/escaping.h"
#include "mqtt/message.h"
#include "mqtt/packets.h"

namespace mqtt {
namespace {

// Quoted, with everything but printable UTF-8 escaped: a line stays a line whatever a peer sent.
struct Quoted {
  std::string_view text;
};
std::ostream& operator<<(std::ostream& out, Quoted quoted) {
  const absl::string_view text(quoted.text.data(), quoted.text.size());
  return out << '"' << absl::Utf8SafeCHexEscape(text) << '"';
}

template <typename T>
void PrintNumber(std::ostream& out, std::string_view name, const std::optional<T>& value) {
  if (value.has_value()) out << " " << name << "=" << +*value;
}

void PrintText(std::ostream& out, std::string_view name,
               const std::optional<std::string_view>& value) {
  if (value.has_value()) out << " " << name << "=" << Quoted{*value};
}

void PrintSize(std::ostream& out, std::string_view name,
               const std::optional<std::string_view>& value) {
  if (value.has_value()) out << " " << name << "=" << value->size() << "B";
}

void PrintUserProperties(std::ostream& out, const UserProperties& properties) {
  for (const UserProperty& property : properties) out << " user:" << property;
}

template <typename Packet>
void PrintReasonProperties(std::ostream& out, const Packet& packet) {
  PrintText(out, "reason-string", packet.reason_string);
  PrintUserProperties(out, packet.user_properties);
}

template <typename Reasons>
void PrintReasons(std::ostream& out, const Reasons& reasons) {
  out << " reasons=[";
  std::string_view separator;
  for (const ReasonCode reason : reasons) {
    out << separator << reason;
    separator = ", ";
  }
  out << "]";
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const UserProperty& property) {
  return out << Quoted{property.name} << "=" << Quoted{property.value};
}

std::ostream& operator<<(std::ostream& out, const MessageProperties& properties) {
  PrintNumber(out, "payload-format", properties.payload_format);
  PrintText(out, "content-type", properties.content_type);
  PrintText(out, "response-topic", properties.response_topic);
  PrintSize(out, "correlation-data", properties.correlation_data);
  PrintUserProperties(out, properties.user_properties);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Will& will) {
  out << "topic=" << Quoted{will.topic} << " payload=" << will.payload.size()
      << "B qos=" << will.qos;
  if (will.retain) out << " retain";
  if (will.delay_interval != 0) out << " delay=" << will.delay_interval;
  PrintNumber(out, "message-expiry", will.message_expiry_interval);
  return out << ParseMessageProperties(will.raw_properties);
}

std::ostream& operator<<(std::ostream& out, const Connect& packet) {
  out << "CONNECT version=" << packet.version << " client=" << Quoted{packet.client_id}
      << (packet.clean_start ? " clean" : "") << " keep-alive=" << packet.keep_alive;
  if (packet.will.has_value()) out << " will={" << *packet.will << "}";
  PrintText(out, "user-name", packet.user_name);
  PrintSize(out, "password", packet.password);
  if (packet.session_expiry_interval != 0) {
    out << " session-expiry=" << packet.session_expiry_interval;
  }
  if (packet.receive_maximum != kReceiveMaximumDefault) {
    out << " receive-maximum=" << packet.receive_maximum;
  }
  PrintNumber(out, "maximum-packet-size", packet.maximum_packet_size);
  if (packet.topic_alias_maximum != 0) {
    out << " topic-alias-maximum=" << packet.topic_alias_maximum;
  }
  if (packet.request_response_information) out << " request-response-information";
  if (!packet.request_problem_information) out << " no-problem-information";
  PrintText(out, "authentication-method", packet.authentication_method);
  PrintSize(out, "authentication-data", packet.authentication_data);
  PrintUserProperties(out, packet.user_properties);
  return out;
}

std::ostream& operator<<(std::ostream& out, const ConnAck& packet) {
  out << "CONNACK session-present=" << packet.session_present << " reason=" << packet.reason;
  PrintNumber(out, "session-expiry", packet.session_expiry_interval);
  if (packet.receive_maximum != kReceiveMaximumDefault) {
    out << " receive-maximum=" << packet.receive_maximum;
  }
  if (packet.maximum_qos != QoS::kExactlyOnce) out << " maximum-qos=" << packet.maximum_qos;
  if (!packet.retain_available) out << " no-retain";
  PrintNumber(out, "maximum-packet-size", packet.maximum_packet_size);
  PrintText(out, "assigned-client", packet.assigned_client_identifier);
  if (packet.topic_alias_maximum != 0) {
    out << " topic-alias-maximum=" << packet.topic_alias_maximum;
  }
  if (!packet.wildcard_subscription_available) out << " no-wildcard-subscriptions";
  if (!packet.subscription_identifier_available) out << " no-subscription-identifiers";
  if (!packet.shared_subscription_available) out << " no-shared-subscriptions";
  PrintNumber(out, "server-keep-alive", packet.server_keep_alive);
  PrintText(out, "response-information", packet.response_information);
  PrintText(out, "server-reference", packet.server_reference);
  PrintText(out, "authentication-method", packet.authentication_method);
  PrintSize(out, "authentication-data", packet.authentication_data);
  PrintReasonProperties(out, packet);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Publish& packet) {
  out << "PUBLISH qos=" << packet.qos;
  if (packet.packet_id) out << " id=" << packet.packet_id;
  out << " topic=" << Quoted{packet.topic} << " payload=" << packet.payload.size() << "B";
  if (packet.dup) out << " dup";
  if (packet.retain) out << " retain";
  if (packet.topic_alias != 0) out << " topic-alias=" << packet.topic_alias;
  PrintNumber(out, "message-expiry", packet.message_expiry_interval);
  for (const uint32_t id : packet.subscription_ids) out << " subscription-id=" << id;
  return out << ParseMessageProperties(packet.raw_properties);
}

std::ostream& operator<<(std::ostream& out, const Ack& packet) {
  out << packet.type << " id=" << packet.packet_id;
  if (packet.reason != ReasonCode::kSuccess) out << " reason=" << packet.reason;
  PrintReasonProperties(out, packet);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Subscribe& packet) {
  out << "SUBSCRIBE id=" << packet.packet_id;
  for (const Subscription& subscription : packet.subscriptions) {
    out << " (" << Quoted{subscription.filter} << " " << subscription.options << ")";
  }
  if (packet.subscription_id != 0) out << " subscription-id=" << packet.subscription_id;
  PrintUserProperties(out, packet.user_properties);
  return out;
}

std::ostream& operator<<(std::ostream& out, const SubAck& packet) {
  out << "SUBACK id=" << packet.packet_id;
  PrintReasons(out, packet.reasons);
  PrintReasonProperties(out, packet);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Unsubscribe& packet) {
  out << "UNSUBSCRIBE id=" << packet.packet_id;
  for (const std::string_view filter : packet.filters) out << " " << Quoted{filter};
  PrintUserProperties(out, packet.user_properties);
  return out;
}

std::ostream& operator<<(std::ostream& out, const UnsubAck& packet) {
  out << "UNSUBACK id=" << packet.packet_id;
  PrintReasons(out, packet.reasons);
  PrintReasonProperties(out, packet);
  return out;
}

std::ostream& operator<<(std::ostream& out, const PingReq&) { return out << "PINGREQ"; }
std::ostream& operator<<(std::ostream& out, const PingResp&) { return out << "PINGRESP"; }

std::ostream& operator<<(std::ostream& out, const Disconnect& packet) {
  out << "DISCONNECT reason=" << packet.reason;
  PrintNumber(out, "session-expiry", packet.session_expiry_interval);
  PrintText(out, "server-reference", packet.server_reference);
  PrintReasonProperties(out, packet);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Auth& packet) {
  out << "AUTH reason=" << packet.reason;
  PrintText(out, "authentication-method", packet.authentication_method);
  PrintSize(out, "authentication-data", packet.authentication_data);
  PrintReasonProperties(out, packet);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Message& message) {
  out << "Message topic=" << Quoted{message.topic()} << " payload=" << message.payload().size()
      << "B qos=" << message.qos();
  if (message.retain()) out << " retain";
  if (message.expires_at_unix_ms() != 0) out << " expires-at=" << message.expires_at_unix_ms();
  if (!message.publisher().empty()) out << " publisher=" << Quoted{message.publisher()};
  return out << ParseMessageProperties(message.properties());
}

}  // namespace mqtt
