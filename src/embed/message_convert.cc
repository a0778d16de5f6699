#include "embed/message_convert.h"

#include <string>
#include <string_view>
#include <utility>

#include "base/by_name.h"
#include "base/log.h"
#include "mqtt/property.h"
#include "mqtt/topic.h"
#include "mqtt/utf8.h"

namespace mqttd {
namespace {

using broker::HookAnswer;
using mqtt::ReasonCode;

constexpr size_t kStringBytesMax = 65'535;

bool IsText(const std::string& text) {
  return text.size() <= kStringBytesMax && mqtt::IsValidUtf8(text);
}

// [MQTT5-1.5.4-1] [MQTT-3.3.2-1]
bool IsTopic(const std::string& topic) { return IsText(topic) && mqtt::IsValidTopicName(topic); }

bool IsSendable(const Message& message) {
  if (!IsTopic(message.topic) || !IsText(message.content_type)) return false;
  if (!message.response_topic.empty() && !IsTopic(message.response_topic)) return false;
  if (message.correlation_data.size() > kStringBytesMax) return false;
  for (const client::UserProperty& each : message.user_properties) {
    if (!IsText(each.name) || !IsText(each.value)) return false;
  }
  return true;
}

std::string PropertiesOf(const Message& message) {
  mqtt::MessageProperties properties;
  if (message.payload_is_utf8) properties.payload_format = uint8_t{1};
  if (!message.content_type.empty()) properties.content_type = message.content_type;
  if (!message.response_topic.empty()) properties.response_topic = message.response_topic;
  if (!message.correlation_data.empty()) properties.correlation_data = message.correlation_data;
  for (const client::UserProperty& each : message.user_properties)
    properties.user_properties.push_back({each.name, each.value});
  std::string raw;
  mqtt::AppendMessageProperties(properties, raw);
  return raw;
}

}  // namespace

Message ToMessage(const mqtt::Message& message) {
  Message out;
  out.topic = message.topic();
  out.payload = message.payload();
  out.qos = message.qos();
  out.retain = message.retain();
  out.message_expiry_s = message.remaining_expiry(message.created_at_unix_ms());
  const mqtt::MessageProperties properties = mqtt::ParseMessageProperties(message.properties());
  out.payload_is_utf8 = properties.payload_format == uint8_t{1};
  out.content_type = properties.content_type.value_or(std::string_view());
  out.response_topic = properties.response_topic.value_or(std::string_view());
  out.correlation_data = properties.correlation_data.value_or(std::string_view());
  for (const mqtt::UserProperty& each : properties.user_properties)
    out.user_properties.push_back({std::string(each.name), std::string(each.value)});
  return out;
}

HookAnswer ToAnswer(PublishDecision decision, const mqtt::Message& original) {
  switch (decision.kind) {
    case PublishDecision::Kind::kPass:
      return {};
    case PublishDecision::Kind::kRefuse:
      return {
          .kind = HookAnswer::Kind::kRefuse,
          .reason = mqtt::IsError(decision.reason) ? decision.reason : ReasonCode::kNotAuthorized};
    case PublishDecision::Kind::kDisconnect:
      return {
          .kind = HookAnswer::Kind::kClose,
          .reason = mqtt::IsError(decision.reason) ? decision.reason : ReasonCode::kNotAuthorized};
    case PublishDecision::Kind::kChange:
      break;
  }
  const Message& changed = decision.message;
  if (!IsSendable(changed)) {
    base::LogLimited(base::LogLevel::kError, "hook failed", "no PUBLISH can hold what it made",
                     {{"topic", base::Shortened(changed.topic)}});
    return {.kind = HookAnswer::Kind::kClose, .reason = ReasonCode::kImplementationSpecificError};
  }
  const std::string properties = PropertiesOf(changed);
  mqtt::MessageParts parts = original.parts();
  parts.topic = changed.topic;
  parts.payload = changed.payload;
  parts.properties = properties;
  parts.retain = changed.retain;
  parts.expires_at_unix_ms =
      changed.message_expiry_s.has_value()
          ? original.created_at_unix_ms() + int64_t{*changed.message_expiry_s} * 1000
          : 0;
  return {.message = mqtt::Message::Create(parts)};
}

auth::AuthCode ToAuthCode(ReasonCode reason) {
  switch (reason) {
    case ReasonCode::kClientIdentifierNotValid:
    case ReasonCode::kBadUserNameOrPassword:
    case ReasonCode::kServerBusy:
    case ReasonCode::kBanned:
      return static_cast<auth::AuthCode>(reason);
    default:
      return auth::AuthCode::kNotAuthorized;
  }
}

}  // namespace mqttd
