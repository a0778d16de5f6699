// A mosquitto.conf given where mqttd's own configuration is expected: recognised, and told apart.
#ifndef CONFIG_MOSQUITTO_CONF_H_
#define CONFIG_MOSQUITTO_CONF_H_

#include "absl/strings/string_view.h"
#include "config/sources.h"

namespace config {

// True if the text is a configuration of mosquitto. Then `errors` has that as its first line, and a
// line for each of its settings that says what mqttd has instead.
bool RefuseMosquittoConf(absl::string_view text, absl::string_view file_name, Errors& errors);

}  // namespace config

#endif  // CONFIG_MOSQUITTO_CONF_H_
