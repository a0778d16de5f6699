// Brokers that mqttctl knows by name: ~/.config/mqttctl/contexts.json.
#ifndef CMD_MQTTCTL_ADMIN_CONTEXTS_H_
#define CMD_MQTTCTL_ADMIN_CONTEXTS_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mqttctl {

// What a context gives: the long options of EndpointArguments by name, "endpoint", "token-file" …
using ContextOptions = std::map<std::string, std::string>;

class Contexts {
 public:
  // Of MQTTCTL_CONTEXTS, or below XDG_CONFIG_HOME, or HOME. No file, or none that this user may
  // see, is no contexts. Errors: it cannot be read.
  static absl::StatusOr<Contexts> Load();
  // For this user alone. Errors: it cannot be written.
  absl::Status Save() const;

  std::string current;  // Empty: none.
  std::map<std::string, ContextOptions> by_name;
  const std::string& file() const { return file_; }

 private:
  std::string file_;
};

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_ADMIN_CONTEXTS_H_
