// Passwords from whoever sits there.
#ifndef CMD_MQTTCTL_ADMIN_ASK_PASSWORD_H_
#define CMD_MQTTCTL_ADMIN_ASK_PASSWORD_H_

#include <string>

#include "absl/status/statusor.h"

namespace mqttctl {

// From the terminal, unseen, twice; or a line of standard input. Errors: it is empty, or they are
// two.
absl::StatusOr<std::string> AskPassword();

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_ADMIN_ASK_PASSWORD_H_
