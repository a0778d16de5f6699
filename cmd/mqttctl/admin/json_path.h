// JSONPath templates as kubectl has them: text with paths in braces.
//
//   {.members[0].node}        a field of an element
//   {.members[*].node}        of all elements, with a space between them
//   {range [*]}{.client_id}{"\n"}{end}     a part for each element
//
// A path begins with a point or a bracket; the root may be written as $.
#ifndef CMD_MQTTCTL_ADMIN_JSON_PATH_H_
#define CMD_MQTTCTL_ADMIN_JSON_PATH_H_

#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace mqttctl {

// Errors: kInvalidArgument, in words.
absl::Status CheckJsonPath(const std::string& text);

// Of a template that CheckJsonPath has passed. What is not there is empty.
std::string EvaluateJsonPath(const std::string& text, const nlohmann::ordered_json& value);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_ADMIN_JSON_PATH_H_
