// What the process's controlling thread does for the API.
#ifndef ADMIN_API_MAIN_THREAD_H_
#define ADMIN_API_MAIN_THREAD_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/log.h"
#include "config/config.h"

namespace admin {

// Main implements it. Used on its thread only: see BrokerAccess::OnMain.
class MainThread {
 public:
  virtual ~MainThread() = default;

  // In force.
  virtual const config::Config& config() const = 0;
  // What the command line, the environment, the file and `SetConfig` say now.
  virtual absl::StatusOr<config::Loaded> Load() const = 0;
  // Of the files that a configuration names: a line for each mistake.
  virtual std::vector<std::string> CheckFiles(const config::Config& config,
                                              std::vector<std::string>& warnings) const = 0;
  // As SIGHUP. Returns in what the configuration differed.
  virtual absl::StatusOr<std::vector<config::Change>> Reload() = 0;
  // A key that a reload can change, by its path; after restarts too. Absent: as the configuration
  // says. All of that is read again, as Reload does. `done` is called here, when the disk has it.
  // Errors: kInvalidArgument, kFailedPrecondition, kNotFound (absent, and it was not set),
  // kUnavailable (it cannot be written, or the setting before is still being), in words.
  virtual void SetConfig(const std::string& path, std::optional<std::string> value,
                         std::function<void(absl::StatusOr<std::vector<config::Change>>)> done) = 0;
  // What was set so and does not hold since the rest was changed, by path.
  struct LeftOut {
    std::string value;
    std::string why;
  };
  virtual std::map<std::string, LeftOut> left_out() const = 0;
  // Only the files that the configuration in force names.
  virtual absl::Status ReloadFiles() = 0;
  // By the name in the configuration; until it is started again or the process is. Errors:
  // kNotFound, kFailedPrecondition, in words.
  virtual absl::Status StopListener(const std::string& name) = 0;
  // Returns its URL, with the real port. Errors: likewise, and those of the address.
  virtual absl::StatusOr<std::string> StartListener(const std::string& name) = 0;
  // Whatever the configuration says, after restarts too; absent: as it says. It is in force at
  // once; `done` is called here, when the disk has it. Errors: kUnavailable, likewise, and those of
  // files.
  virtual void SetLogLevel(std::optional<base::LogLevel> level,
                           std::function<void(absl::Status)> done) = 0;
  // What the configuration says.
  virtual base::LogLevel configured_log_level() const = 0;
};

}  // namespace admin

#endif  // ADMIN_API_MAIN_THREAD_H_
