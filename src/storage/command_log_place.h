// Where the partitions' log is to be, for whoever makes one.
#ifndef STORAGE_COMMAND_LOG_PLACE_H_
#define STORAGE_COMMAND_LOG_PLACE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "storage/core/command_log.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"

namespace rocksdb {
class Env;
}

namespace storage {

// `env`, `clock` and `metrics` outlive the log.
struct CommandLogPlace {
  std::string path;
  std::string end_path;  // How far it reaches is claimed there: see log_end.h.
  bool create = false;   // Else a missing log is damage.
  const StorageOptions& options;
  rocksdb::Env& env;
  const base::Clock& clock;
  HostMetrics& metrics;
};
using CommandLogOpener =
    std::function<absl::StatusOr<std::unique_ptr<CommandLog>>(const CommandLogPlace&)>;

}  // namespace storage

#endif  // STORAGE_COMMAND_LOG_PLACE_H_
