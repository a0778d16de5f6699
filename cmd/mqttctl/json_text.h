// A message as JSON, as mosquitto_sub prints it (%j, %J).
#ifndef CMD_MQTTCTL_JSON_TEXT_H_
#define CMD_MQTTCTL_JSON_TEXT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/core/message.h"

namespace mqttctl {

// A quoted JSON string. Bytes that are no UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);

// `raw`: the payload stands in it as the JSON that it is; an error if it is none.
absl::Status AppendJson(const mqttd::client::ReceivedMessage& message, absl::Time now, bool raw,
                        bool pretty, std::string& out);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_JSON_TEXT_H_
