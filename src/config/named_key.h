// Which key somebody means.
#ifndef CONFIG_NAMED_KEY_H_
#define CONFIG_NAMED_KEY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/key.h"

namespace config {

struct NamedKey {
  std::string path;  // As the schema has it: "mqtt.receive_maximum", "listeners.0.name".
  Effect effect = Effect::kRestart;
};

// A key by its name, in either style ("mqtt.receiveMaximum"); or "listeners". Errors:
// kInvalidArgument, in words.
absl::StatusOr<NamedKey> FindNamedKey(absl::string_view name);

}  // namespace config

#endif  // CONFIG_NAMED_KEY_H_
