#include "client/core/checks.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/status_macros.h"
#include "mqtt/topic.h"
#include "mqtt/utf8.h"

namespace mqttd::client {
namespace {

using mqtt::ReasonCode;
using mqtt::Version;

constexpr size_t kFieldBytesMax = 65'535;  // Of text and binary data (§1.5.4, §1.5.6).
constexpr uint32_t kSubscriptionIdMax = 268'435'455;

// [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] [MQTT311-1.5.3-1] [MQTT311-1.5.3-2]
absl::Status CheckText(std::string_view what, std::string_view text) {
  if (text.size() > kFieldBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(base::AbslView(what), " has ", text.size(), " bytes: 65,535 at most"));
  }
  switch (mqtt::CheckUtf8(text)) {
    case mqtt::Utf8Result::kIllFormed:
      return absl::InvalidArgumentError(
          absl::StrCat(base::AbslView(what), " is not well-formed UTF-8"));
    case mqtt::Utf8Result::kNull:
      return absl::InvalidArgumentError(absl::StrCat(base::AbslView(what), " holds U+0000"));
    default:
      return absl::OkStatus();
  }
}

absl::Status CheckBinary(std::string_view what, std::string_view bytes) {
  if (bytes.size() <= kFieldBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(base::AbslView(what), " has ", bytes.size(), " bytes: 65,535 at most"));
}

// [MQTT5-1.5.7-1]
absl::Status CheckUserProperties(const std::vector<UserProperty>& properties) {
  for (const UserProperty& property : properties) {
    RETURN_IF_ERROR(CheckText("the name of a User Property", property.name));
    RETURN_IF_ERROR(CheckText("the value of a User Property", property.value));
  }
  return absl::OkStatus();
}

absl::Status CheckTopicName(std::string_view what, std::string_view name) {
  if (!mqtt::IsValidTopicName(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat(base::AbslView(what), " \"", base::AbslView(name),
                     "\" is not a Topic Name: it must not be empty, have wildcards or U+0000, or "
                     "be longer than 65,535 bytes"));
  }
  return CheckText(what, name);
}

absl::Status CheckFilter(std::string_view filter, Version version) {
  if (mqtt::CheckTopicFilter(filter, version).has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", base::AbslView(filter), "\" is not a Topic Filter"));
  }
  return CheckText("a Topic Filter", filter);
}

// What a client may give as its reason to leave (§3.14.2.1, Table 3-13) [MQTT5-3.14.2-1].
bool MayLeaveWith(ReasonCode reason) {
  using enum ReasonCode;
  switch (reason) {
    case kNormalDisconnection:
    case kDisconnectWithWill:
    case kUnspecifiedError:
    case kMalformedPacket:
    case kProtocolError:
    case kImplementationSpecificError:
    case kTopicNameInvalid:
    case kReceiveMaximumExceeded:
    case kTopicAliasInvalid:
    case kPacketTooLarge:
    case kMessageRateTooHigh:
    case kQuotaExceeded:
    case kAdministrativeAction:
    case kPayloadFormatInvalid:
      return true;
    default:
      return false;
  }
}

absl::Status CheckCredentials(const SessionOptions& options) {
  if (options.user_name.has_value()) {
    RETURN_IF_ERROR(CheckText("the user name", *options.user_name));
  }
  if (!options.password.has_value()) return absl::OkStatus();
  // [MQTT311-3.1.2-22]
  if (options.version != Version::k5 && !options.user_name.has_value()) {
    return absl::InvalidArgumentError("before MQTT 5.0 there is no password without a user name");
  }
  return CheckBinary("the password", *options.password);
}

}  // namespace

absl::Status CheckOptions(const SessionOptions& options) {
  RETURN_IF_ERROR(CheckText("the Client Identifier", options.client_id));
  // [MQTT311-3.1.3-7]
  if (options.version == Version::k311 && options.client_id.empty() &&
      options.session_expiry_s != 0) {
    return absl::InvalidArgumentError(
        "in MQTT 3.1.1 a session that outlives its connection needs a Client Identifier");
  }
  RETURN_IF_ERROR(CheckCredentials(options));
  if (options.will.has_value()) {
    const Message& will = options.will->message;
    RETURN_IF_ERROR(CheckTopicName("the will's topic", will.topic));
    RETURN_IF_ERROR(CheckBinary("the will's payload", will.payload));
    RETURN_IF_ERROR(CheckMessage(will, options.version));
  }
  if (options.version != Version::k5) return absl::OkStatus();
  if (options.receive_maximum == 0 || options.maximum_packet_size == 0) {
    return absl::InvalidArgumentError("receive_maximum and maximum_packet_size are at least 1");
  }
  RETURN_IF_ERROR(CheckUserProperties(options.user_properties));
  RETURN_IF_ERROR(CheckText("the Authentication Method", options.authentication_method));
  return CheckBinary("the Authentication Data", options.authentication_data);
}

absl::Status CheckMessage(const Message& message, Version version) {
  RETURN_IF_ERROR(CheckTopicName("the topic", message.topic));
  if (message.qos > mqtt::QoS::kExactlyOnce) {  // [MQTT-3.3.1-4]
    return absl::InvalidArgumentError("there is no QoS above 2");
  }
  if (version != Version::k5) return absl::OkStatus();
  if (message.payload_is_utf8 && !mqtt::IsValidUtf8(message.payload)) {
    return absl::InvalidArgumentError("the payload is said to be UTF-8 and is not");
  }
  RETURN_IF_ERROR(CheckText("the Content Type", message.content_type));
  if (!message.response_topic.empty()) {
    RETURN_IF_ERROR(CheckTopicName("the Response Topic", message.response_topic));
  }
  RETURN_IF_ERROR(CheckBinary("the Correlation Data", message.correlation_data));
  return CheckUserProperties(message.user_properties);
}

absl::Status CheckSubscribe(const std::vector<Subscription>& subscriptions,
                            const SubscribeOptions& options, Version version) {
  if (subscriptions.empty()) return absl::InvalidArgumentError("no Topic Filter to subscribe to");
  for (const Subscription& subscription : subscriptions) {
    RETURN_IF_ERROR(CheckFilter(subscription.filter, version));
    if (subscription.options.qos > mqtt::QoS::kExactlyOnce) {  // [MQTT5-3.8.3-5]
      return absl::InvalidArgumentError("there is no QoS above 2");
    }
    // [MQTT5-3.8.3-4]
    if (version == Version::k5 && subscription.options.no_local &&
        mqtt::IsShared(subscription.filter)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", subscription.filter, "\": a shared subscription has no No Local"));
    }
  }
  if (version != Version::k5) return absl::OkStatus();
  if (options.subscription_id > kSubscriptionIdMax) {
    return absl::InvalidArgumentError("a Subscription Identifier is 268,435,455 at most");
  }
  return CheckUserProperties(options.user_properties);
}

absl::Status CheckUnsubscribe(const std::vector<std::string>& filters,
                              const std::vector<UserProperty>& user_properties, Version version) {
  if (filters.empty()) return absl::InvalidArgumentError("no Topic Filter to unsubscribe from");
  for (const std::string& filter : filters) RETURN_IF_ERROR(CheckFilter(filter, version));
  return version == Version::k5 ? CheckUserProperties(user_properties) : absl::OkStatus();
}

absl::Status CheckDisconnect(const DisconnectOptions& options, bool expires, Version version) {
  if (version != Version::k5) return absl::OkStatus();
  if (!MayLeaveWith(options.reason)) {
    return absl::InvalidArgumentError(
        absl::StrCat("no client disconnects with \"",
                     base::AbslView(mqtt::ReasonCodeName(options.reason)), "\""));
  }
  if (!expires && options.session_expiry_s.value_or(0) != 0) {
    return absl::InvalidArgumentError(
        "a session that was to end with its connection cannot be kept when it ends");
  }
  RETURN_IF_ERROR(CheckText("the Reason String", options.reason_string));
  return CheckUserProperties(options.user_properties);
}

}  // namespace mqttd::client
