// Keys of the configuration that were set at run time, and hold after restarts too.
#ifndef CMD_MQTTD_CONFIG_SETTINGS_H_
#define CMD_MQTTD_CONFIG_SETTINGS_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "admin/run_time_files.h"
#include "config/config.h"

namespace mqttd {

class ConfigSettings {
 public:
  using Values = std::map<std::string, std::string>;  // By key.

  explicit ConfigSettings(const std::string& data_dir) : files_(data_dir) {}

  // Errors, in words that name the file: kUnavailable; kInvalidArgument, it is damaged. Without it
  // nobody knows what an operator forbade: that is no reason to allow it.
  absl::Status Read();

  const Values& values() const { return values_; }
  // Of the file alone; one thread at a time, which may be another.
  absl::Status Write(const Values& values) const;
  void Use(Values values) { values_ = std::move(values); }

  // As config::Load, with these in place of what the environment, the file and --set say. All of
  // them hold, or it is an error: what can only be set by a restart, and what the command line has
  // a flag of its own for, is kFailedPrecondition.
  static absl::StatusOr<config::Loaded> Load(const std::vector<std::string>& args,
                                             const std::vector<std::string>& environment,
                                             const Values& values);

  struct Holding {
    config::Loaded loaded;  // Its warnings have a line for each that is left out.
    Values values;          // In force.
    std::map<std::string, std::string> left_out;  // Keys whose values do not hold, and why.
  };
  // The same, without those that do not hold any more since the rest has changed. Errors: of the
  // rest; kFailedPrecondition, one that does not hold says who is let in.
  static absl::StatusOr<Holding> LoadWhatHolds(const std::vector<std::string>& args,
                                               const std::vector<std::string>& environment,
                                               const Values& values);

 private:
  const ::admin::RunTimeFiles files_;
  Values values_;
};

}  // namespace mqttd

#endif  // CMD_MQTTD_CONFIG_SETTINGS_H_
