// The log of data directories of formats 1 and 2: read to its end once, then emptied.
#ifndef STORAGE_FORMER_LOG_H_
#define STORAGE_FORMER_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/core/log_entry.h"
#include "storage/core/partition_api.h"

namespace rocksdb {
class Env;
}

namespace storage {

class LogDb;
struct StorageOptions;

// Keys: 'l' partition index -> term data; 't' partition -> the index up to which it was cut. The
// log of today lies in the same database, under other keys.
class FormerLog {
 public:
  static absl::StatusOr<std::unique_ptr<FormerLog>> Open(std::string path,
                                                         const StorageOptions& options,
                                                         rocksdb::Env& env);
  ~FormerLog();
  FormerLog(const FormerLog&) = delete;
  FormerLog& operator=(const FormerLog&) = delete;

  // Calls `visit` for the partition's entries above `after`, in order; stops at its first error.
  // kDataLoss: an entry is missing between, or was cut although the state does not have it.
  absl::Status ReadAfter(PartitionId partition, uint64_t after,
                         const std::function<absl::Status(const LogEntry&)>& visit) const;

  // Once the state has all of it on the disk.
  absl::Status Empty();
  absl::Status Close();

 private:
  explicit FormerLog(std::unique_ptr<LogDb> db);
  const std::unique_ptr<LogDb> db_;
};

}  // namespace storage

#endif  // STORAGE_FORMER_LOG_H_
