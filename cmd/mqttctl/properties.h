// MQTT 5 properties by their names in the specification, as -D gives them.
#ifndef CMD_MQTTCTL_PROPERTIES_H_
#define CMD_MQTTCTL_PROPERTIES_H_

#include "absl/status/status.h"
#include "arguments.h"

namespace mqttctl {

// Puts one property where its command wants it. Errors: no such command or property, a property
// that does not belong there, a value that is no number or too large.
absl::Status ApplyProperty(const PropertyArgument& property, Prepared& prepared);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_PROPERTIES_H_
