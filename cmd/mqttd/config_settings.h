// Keys of the configuration that were set at run time, and hold after restarts too.
#ifndef CMD_MQTTD_CONFIG_SETTINGS_H_
#define CMD_MQTTD_CONFIG_SETTINGS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "admin/run_time_files.h"
#include "config/config.h"

namespace mqttd {

class ConfigSettings {
 public:
  using Values = std::map<std::string, std::string>;  // By key.

  // Reads them; a file that cannot be read is as none, with a warning in the log.
  explicit ConfigSettings(const std::string& data_dir);

  const Values& values() const { return values_; }
  absl::Status Keep(Values values);

  // As config::Load, with these in place of what the environment, the file and --set say. What the
  // command line has a flag of its own for stays: kFailedPrecondition.
  static absl::StatusOr<config::Loaded> Load(const std::vector<std::string>& args,
                                             const std::vector<std::string>& environment,
                                             const Values& values);

 private:
  const ::admin::RunTimeFiles files_;
  Values values_;
};

}  // namespace mqttd

#endif  // CMD_MQTTD_CONFIG_SETTINGS_H_
