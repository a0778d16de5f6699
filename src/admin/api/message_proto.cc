#include "admin/api/message_proto.h"

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "admin/api/convert.h"
#include "base/status_macros.h"
#include "mqtt/property.h"
#include "mqtt/property_reader.h"
#include "mqtt/reader.h"
#include "mqtt/topic.h"
#include "mqtt/types.h"
#include "mqtt/utf8.h"

namespace admin {
namespace {

// The properties that go with the message, as they were received. They were checked then.
void AddProperties(std::string_view raw, pb::Message& result) {
  std::string block;
  size_t rest = raw.size();
  do {  // A Variable Byte Integer.
    block.push_back(static_cast<char>(rest % 128 + (rest >= 128 ? 128 : 0)));
    rest /= 128;
  } while (rest != 0);
  block += raw;
  mqtt::Reader reader(mqtt::AsBytes(block), mqtt::Version::k5, {});
  mqtt::PropertyReader properties(reader, mqtt::PlaceOf(mqtt::PacketType::kPublish));
  while (properties.Next()) {
    switch (properties.id()) {
      case mqtt::PropertyId::kPayloadFormatIndicator:
        result.set_utf8(properties.number() == 1);
        break;
      case mqtt::PropertyId::kContentType:
        result.set_content_type(std::string(properties.text()));
        break;
      case mqtt::PropertyId::kResponseTopic:
        result.set_response_topic(std::string(properties.text()));
        break;
      case mqtt::PropertyId::kCorrelationData:
        result.set_correlation_data(std::string(properties.text()));
        break;
      case mqtt::PropertyId::kUserProperty: {
        pb::UserProperty& added = *result.add_user_properties();
        added.set_name(std::string(properties.user_property().name));
        added.set_value(std::string(properties.user_property().value));
        break;
      }
      default:
        break;
    }
  }
}

}  // namespace

pb::Message ToProto(const mqtt::Message& message, int64_t now_unix_ms, uint64_t payload_bytes_max) {
  pb::Message result;
  result.set_topic(std::string(message.topic()));
  result.set_payload(std::string(message.payload().substr(0, payload_bytes_max)));
  result.set_payload_bytes(message.payload().size());
  result.set_qos(static_cast<uint32_t>(message.qos()));
  result.set_retain(message.retain());
  if (const auto rest_s = message.remaining_expiry(now_unix_ms))
    *result.mutable_expiry() = ToDuration(absl::Seconds(*rest_s));
  if (message.created_at_unix_ms() != 0)
    *result.mutable_published() = ToTimestamp(absl::FromUnixMillis(message.created_at_unix_ms()));
  if (!message.properties().empty()) AddProperties(message.properties(), result);
  return result;
}

pb::Message ToProto(const mqttd::client::ReceivedMessage& message, uint64_t payload_bytes_max) {
  pb::Message result;
  result.set_topic(message.topic);
  result.set_payload(message.payload.substr(0, payload_bytes_max));
  result.set_payload_bytes(message.payload.size());
  result.set_qos(static_cast<uint32_t>(message.qos));
  result.set_retain(message.retain);
  if (message.message_expiry_s.has_value())
    *result.mutable_expiry() = ToDuration(absl::Seconds(*message.message_expiry_s));
  result.set_utf8(message.payload_is_utf8);
  result.set_content_type(message.content_type);
  result.set_response_topic(message.response_topic);
  result.set_correlation_data(message.correlation_data);
  for (const auto& property : message.user_properties) {
    pb::UserProperty& added = *result.add_user_properties();
    added.set_name(property.name);
    added.set_value(property.value);
  }
  return result;
}

absl::StatusOr<mqttd::client::Message> FromProto(const pb::Message& message) {
  RETURN_IF_ERROR(CheckTopic(message.topic()));
  if (message.qos() > 2) return absl::InvalidArgumentError("qos: 0, 1 or 2");
  mqttd::client::Message result;
  result.topic = message.topic();
  result.payload = message.payload();
  result.qos = static_cast<mqtt::QoS>(message.qos());
  result.retain = message.retain();
  result.payload_is_utf8 = message.utf8();
  if (message.utf8() && !mqtt::IsValidUtf8(message.payload()))
    return absl::InvalidArgumentError("payload: it is not UTF-8, although utf8 says so");
  if (message.has_expiry()) {
    const int64_t seconds = message.expiry().seconds();
    if (seconds < 0 || seconds >= 0xFFFFFFFF)
      return absl::InvalidArgumentError("expiry: 0 to 4,294,967,294 seconds");
    result.message_expiry_s = static_cast<uint32_t>(seconds);
  }
  result.content_type = message.content_type();
  if (!message.response_topic().empty() && !mqtt::IsValidTopicName(message.response_topic()))
    return absl::InvalidArgumentError("response_topic: no Topic Name");
  result.response_topic = message.response_topic();
  result.correlation_data = message.correlation_data();
  for (const pb::UserProperty& property : message.user_properties())
    result.user_properties.push_back({property.name(), property.value()});
  return result;
}

absl::Status CheckFilter(const std::string& filter) {
  if (mqtt::IsShared(filter))
    return absl::InvalidArgumentError("filter: not a shared one ($share/…)");
  if (mqtt::IsValidTopicFilter(filter)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("filter: \"", filter, "\" is no Topic Filter such as house/+/temperature"));
}

absl::Status CheckTopic(const std::string& topic) {
  if (mqtt::IsValidTopicName(topic)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("topic: \"", topic, "\" is no topic: it is empty, or has a wildcard"));
}

}  // namespace admin
