// What others have written, as a terminal may be given it.
#ifndef CMD_MQTTCTL_TERMINAL_H_
#define CMD_MQTTCTL_TERMINAL_H_

#include <string>

#include "absl/strings/string_view.h"

namespace mqttctl {

// As it is, but for characters that steer a terminal, which are shown as \x1b. Newlines and tabs
// stay.
std::string Harmless(absl::string_view text);
// One line of it: newlines and tabs too are shown as \n and \t, what steers as \033, and as \u202e
// what turns the direction of the rest of the line. All else is as it is, backslashes too: a name
// without such characters can be copied.
std::string OneLine(absl::string_view text);
// Whether standard output is a terminal.
bool PrintsToTerminal();

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_TERMINAL_H_
