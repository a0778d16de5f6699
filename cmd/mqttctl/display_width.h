// How much room text takes on a terminal.
#ifndef CMD_MQTTCTL_DISPLAY_WIDTH_H_
#define CMD_MQTTCTL_DISPLAY_WIDTH_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace mqttctl {

// In cells, of UTF-8 without control characters: two for a character of Chinese, Japanese or Korean
// and for most emoji, none for one that joins the one before it. A byte that is no UTF-8 takes one.
size_t DisplayWidth(absl::string_view text);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_DISPLAY_WIDTH_H_
