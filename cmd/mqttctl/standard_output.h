// Standard output: what is printed there is written, or the command says that it was not.
#ifndef CMD_MQTTCTL_STANDARD_OUTPUT_H_
#define CMD_MQTTCTL_STANDARD_OUTPUT_H_

#include "absl/strings/string_view.h"

namespace mqttctl {

// At once. False: it cannot be written (a full disk, a pipe without a reader), and what goes on
// printing had better end.
bool PrintOut(absl::string_view text);

// At the end of the command: whether all was written, whoever printed it. Says so if not.
bool AllIsPrinted();

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_STANDARD_OUTPUT_H_
