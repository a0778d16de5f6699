// Small files of a node's directory that are replaced as a whole.
#ifndef CLUSTER_DISCOVERY_SMALL_FILE_H_
#define CLUSTER_DISCOVERY_SMALL_FILE_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cluster {

// Nothing: there is none. kDataLoss: it has more than `bytes_max`.
absl::StatusOr<std::optional<std::string>> ReadSmallFile(const std::string& directory,
                                                         const std::string& name, size_t bytes_max);

// Synced when it returns, and in one piece: after a crash there is this one or the last. For one
// thread at a time.
absl::Status ReplaceSmallFile(const std::string& directory, const std::string& name,
                              const std::string& content);

}  // namespace cluster

#endif  // CLUSTER_DISCOVERY_SMALL_FILE_H_
