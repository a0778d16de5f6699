// --check-config beyond the configuration's own text: the files that it names.
#ifndef CMD_MQTTD_CHECK_FILES_H_
#define CMD_MQTTD_CHECK_FILES_H_

#include <string>
#include <vector>

#include "config/config.h"

namespace mqttd {

// Loads certificates, keys, password and ACL files as a start would. One line for each thing that
// is wrong; `warnings` of what is allowed but probably not meant.
std::vector<std::string> CheckFiles(const config::Config& config,
                                    std::vector<std::string>& warnings);

}  // namespace mqttd

#endif  // CMD_MQTTD_CHECK_FILES_H_
