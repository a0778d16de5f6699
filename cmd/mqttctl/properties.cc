#include "properties.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace mqttctl {
namespace {

using mqttd::client::Message;
using mqttd::client::UserProperty;

absl::Status Wrong(const PropertyArgument& property, const std::string& words) {
  return absl::InvalidArgumentError(
      absl::StrCat("-D ", property.command, " ", property.name, ": ", words));
}

template <typename Number>
absl::Status ToNumber(const PropertyArgument& property, Number& out) {
  uint64_t value = 0;
  constexpr uint64_t kMost = std::numeric_limits<Number>::max();
  if (!absl::SimpleAtoi(property.values.front(), &value) || value > kMost) {
    return Wrong(property,
                 absl::StrCat("\"", property.values.front(), "\" is no number up to ", kMost));
  }
  out = static_cast<Number>(value);
  return absl::OkStatus();
}

absl::Status ToFlag(const PropertyArgument& property, bool& out) {
  const std::string& value = property.values.front();
  if (value != "0" && value != "1") return Wrong(property, "the value is 0 or 1");
  out = value == "1";
  return absl::OkStatus();
}

absl::Status NotHere(const PropertyArgument& property) {
  return Wrong(property, absl::StrCat("there is no such property in ", property.command));
}

UserProperty ToUserProperty(const PropertyArgument& property) {
  return {property.values[0], property.values[1]};
}

absl::Status ApplyToMessage(const PropertyArgument& property, Message& message) {
  const std::string& name = property.name;
  const std::string& value = property.values.front();
  if (name == "payload-format-indicator") return ToFlag(property, message.payload_is_utf8);
  if (name == "message-expiry-interval") {
    return ToNumber(property, message.message_expiry_s.emplace());
  }
  if (name == "content-type") {
    message.content_type = value;
  } else if (name == "response-topic") {
    message.response_topic = value;
  } else if (name == "correlation-data") {
    message.correlation_data = value;
  } else if (name == "user-property") {
    message.user_properties.push_back(ToUserProperty(property));
  } else if (name == "topic-alias" && property.command == "PUBLISH") {
    return absl::OkStatus();  // Aliases are used where the broker takes them, unasked.
  } else {
    return NotHere(property);
  }
  return absl::OkStatus();
}

absl::Status ApplyToWill(const PropertyArgument& property, Prepared& prepared) {
  auto& will = prepared.options.session.will;
  if (!will.has_value()) return Wrong(property, "there is no will (--will-topic)");
  if (property.name == "will-delay-interval") return ToNumber(property, will->delay_s);
  return ApplyToMessage(property, will->message);
}

absl::Status ApplyToConnect(const PropertyArgument& property, Prepared& prepared) {
  auto& session = prepared.options.session;
  const std::string& name = property.name;
  if (name == "session-expiry-interval") return ToNumber(property, session.session_expiry_s);
  if (name == "receive-maximum") {
    RETURN_IF_ERROR(ToNumber(property, session.receive_maximum));
    return session.receive_maximum > 0 ? absl::OkStatus() : Wrong(property, "not 0");
  }
  if (name == "maximum-packet-size") {
    RETURN_IF_ERROR(ToNumber(property, session.maximum_packet_size));
    return session.maximum_packet_size > 0 ? absl::OkStatus() : Wrong(property, "not 0");
  }
  if (name == "topic-alias-maximum") return ToNumber(property, session.topic_alias_maximum);
  if (name == "request-response-information") {
    return ToFlag(property, session.request_response_information);
  }
  if (name == "request-problem-information") {
    return ToFlag(property, session.request_problem_information);
  }
  if (name == "user-property") {
    session.user_properties.push_back(ToUserProperty(property));
  } else if (name == "authentication-method") {
    session.authentication_method = property.values.front();
  } else if (name == "authentication-data") {
    session.authentication_data = property.values.front();
  } else {
    return NotHere(property);
  }
  return absl::OkStatus();
}

absl::Status ApplyToSubscribe(const PropertyArgument& property, Prepared& prepared) {
  if (property.name == "user-property") {
    prepared.subscribe.user_properties.push_back(ToUserProperty(property));
    return absl::OkStatus();
  }
  if (property.name != "subscription-identifier") return NotHere(property);
  RETURN_IF_ERROR(ToNumber(property, prepared.subscribe.subscription_id));
  constexpr uint32_t kMost = 268'435'455;
  if (prepared.subscribe.subscription_id == 0 || prepared.subscribe.subscription_id > kMost) {
    return Wrong(property, absl::StrCat("a number from 1 to ", kMost));
  }
  return absl::OkStatus();
}

absl::Status ApplyToDisconnect(const PropertyArgument& property, Prepared& prepared) {
  auto& disconnect = prepared.disconnect;
  if (property.name == "session-expiry-interval") {
    return ToNumber(property, disconnect.session_expiry_s.emplace());
  }
  if (property.name == "user-property") {
    disconnect.user_properties.push_back(ToUserProperty(property));
  } else if (property.name == "reason-string") {
    disconnect.reason_string = property.values.front();
  } else {
    return NotHere(property);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyProperty(const PropertyArgument& given, Prepared& prepared) {
  PropertyArgument property = given;
  absl::AsciiStrToUpper(&property.command);
  if (property.command == "CONNECT") return ApplyToConnect(property, prepared);
  if (property.command == "PUBLISH") return ApplyToMessage(property, prepared.message);
  if (property.command == "WILL") return ApplyToWill(property, prepared);
  if (property.command == "SUBSCRIBE") return ApplyToSubscribe(property, prepared);
  if (property.command == "DISCONNECT") return ApplyToDisconnect(property, prepared);
  if (property.command == "UNSUBSCRIBE") {
    if (property.name != "user-property") return NotHere(property);
    prepared.unsubscribe.push_back(ToUserProperty(property));
    return absl::OkStatus();
  }
  return Wrong(property,
               "the commands are CONNECT, WILL, PUBLISH, SUBSCRIBE, UNSUBSCRIBE and "
               "DISCONNECT");
}

}  // namespace mqttctl
