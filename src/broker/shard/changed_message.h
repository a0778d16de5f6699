// A message that a hook has made of a client's.
#ifndef BROKER_SHARD_CHANGED_MESSAGE_H_
#define BROKER_SHARD_CHANGED_MESSAGE_H_

#include <optional>
#include <string_view>

#include "broker/core/limits.h"
#include "broker/core/publish_right.h"
#include "mqtt/message.h"
#include "mqtt/property.h"
#include "mqtt/reason_code.h"
#include "mqtt/topic.h"
#include "mqtt/utf8.h"

namespace broker {

struct MessageFault {
  mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess;  // One that PUBACK and PUBREC have.
  std::string_view why;
};

// Whether the client could not have sent it: limits, access rules and `$SYS` hold for what a hook
// makes of a message as for the message itself. That it is well-formed was looked at before.
inline std::optional<MessageFault> FaultOf(const mqtt::MessageParts& message, const Limits& limits,
                                           PublishRight right) {
  using mqtt::ReasonCode;
  if (!mqtt::IsWithin({limits.topic_bytes_max, limits.topic_levels_max}, message.topic)) {
    return MessageFault{ReasonCode::kTopicNameInvalid,
                        "the hook's topic is above topic_bytes_max or topic_levels_max"};
  }
  if (message.topic.size() + message.payload.size() + message.properties.size() >
      limits.maximum_packet_size) {
    return MessageFault{ReasonCode::kQuotaExceeded,
                        "the hook's message is larger than maximum_packet_size"};
  }
  if (message.retain && !limits.retain_available) {
    return MessageFault{ReasonCode::kImplementationSpecificError,
                        "the hook's message is retained, against retain_available"};
  }
  if (mqtt::ParseMessageProperties(message.properties).payload_format.value_or(0) == 1 &&
      !mqtt::IsValidUtf8(message.payload)) {
    return MessageFault{ReasonCode::kPayloadFormatInvalid,
                        "the hook says that its payload is UTF-8, and it is not"};
  }
  if (!IsEnough(right, message.retain, message.payload)) {
    return MessageFault{ReasonCode::kNotAuthorized,
                        "the client may not publish to the hook's topic"};
  }
  return std::nullopt;
}

}  // namespace broker
#endif  // BROKER_SHARD_CHANGED_MESSAGE_H_
