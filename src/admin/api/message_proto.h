// An Application Message as the API has it.
#ifndef ADMIN_API_MESSAGE_PROTO_H_
#define ADMIN_API_MESSAGE_PROTO_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/core/message.h"
#include "mqtt/message.h"
#include "mqttd/admin/v1/messages.pb.h"

namespace admin {

namespace pb = ::mqttd::admin::v1;

// Of the payload at most `payload_bytes_max` bytes.
pb::Message ToProto(const mqtt::Message& message, int64_t now_unix_ms, uint64_t payload_bytes_max);
pb::Message ToProto(const mqttd::client::ReceivedMessage& message, uint64_t payload_bytes_max);

// Errors: kInvalidArgument, in words that name the field.
absl::StatusOr<mqttd::client::Message> FromProto(const pb::Message& message);

// A Topic Filter, not a shared one. Errors: kInvalidArgument.
absl::Status CheckFilter(const std::string& filter);
// A Topic Name. Errors: kInvalidArgument.
absl::Status CheckTopic(const std::string& topic);

}  // namespace admin

#endif  // ADMIN_API_MESSAGE_PROTO_H_
