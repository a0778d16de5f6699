// A log level that was set at run time, and holds after restarts too.
#ifndef CMD_MQTTD_LOG_LEVEL_H_
#define CMD_MQTTD_LOG_LEVEL_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "admin/run_time_files.h"
#include "base/log.h"
#include "config/config.h"

namespace mqttd {

class LogLevelSetting {
 public:
  // Reads it; a file that cannot be read is as none, with a warning in the log.
  explicit LogLevelSetting(const std::string& data_dir);

  // Absent: there is none any more.
  void Use(std::optional<base::LogLevel> level) { level_ = level; }
  // Of the file alone; one thread at a time, which may be another.
  absl::Status Write(std::optional<base::LogLevel> level) const;
  // What the configuration says, as it was read.
  void Learn(const config::Config& read);
  // What holds instead, if it was set. The configuration has what was learnt, or is yet to be.
  void ApplyTo(config::Config& config) const;
  // Puts what was learnt into a configuration to which something was applied.
  void TakeFrom(config::Config& config) const;

  base::LogLevel configured() const { return configured_; }

 private:
  const ::admin::RunTimeFiles files_;
  std::optional<base::LogLevel> level_;
  base::LogLevel configured_ = base::LogLevel::kInfo;
  config::Origin configured_origin_;
};

}  // namespace mqttd

#endif  // CMD_MQTTD_LOG_LEVEL_H_
