// How `sub` prints a message: mosquitto_sub's format strings (-F).
#ifndef CMD_MQTTCTL_OUTPUT_FORMAT_H_
#define CMD_MQTTCTL_OUTPUT_FORMAT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/core/message.h"

namespace mqttctl {

class OutputFormat {
 public:
  // Errors: an unknown or unfinished sequence behind %, @ or a backslash.
  static absl::StatusOr<OutputFormat> Parse(std::string_view format, bool pretty_json);

  // Appends the message, without a line end. `now`: when it came. Error: %J of a payload that is no
  // JSON.
  absl::Status Append(const mqttd::client::ReceivedMessage& message, absl::Time now,
                      std::string& out) const;

 private:
  struct Part {
    enum class Kind { kText, kField, kTime };
    Kind kind = Kind::kText;
    std::string text;  // Of kText.
    char letter = 0;   // Behind % or @.
    bool zeros = false;
    bool left = false;
    int width_min = 0;
    int width_max = -1;
  };

  static absl::StatusOr<Part> ParseField(std::string_view& rest);
  absl::Status AppendField(const Part& part, const mqttd::client::ReceivedMessage& message,
                           absl::Time now, std::string& out) const;

  std::vector<Part> parts_;
  bool pretty_json_ = false;
};

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_OUTPUT_FORMAT_H_
