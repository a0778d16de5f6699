// The log of all partitions: one RocksDB instance, synced by the group commit.
#ifndef STORAGE_LOG_H_
#define STORAGE_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/core/log_entry.h"
#include "storage/core/partition_api.h"

namespace rocksdb {
class Env;
class WriteBatch;
}  // namespace rocksdb

namespace storage {

class LogDb;
struct StorageOptions;

// Keys: 'l' partition index -> term data; 't' partition -> the index up to which it was cut.
// Belongs to one thread at a time; whoever hands it over makes sure of that.
class Log {
 public:
  // `create`: the store is new. Else a missing log is damage.
  static absl::StatusOr<std::unique_ptr<Log>> Open(std::string path, const StorageOptions& options,
                                                   rocksdb::Env& env, bool create);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  enum class Sync { kNo, kYes };

  // All entries or none. After an error it is not known which, and nothing may be appended until
  // Repair has succeeded. With kYes everything appended before is durable too.
  absl::Status Append(const std::vector<LogEntry>& entries, Sync sync);

  // Makes durable what was appended without.
  absl::Status SyncAppended();

  // After an error: makes the database writable again, opening it anew if it must. When it returns
  // OK, what was appended before is durable; of the append that failed all or nothing may be there,
  // and the same entries are to be appended again. Else call it again.
  absl::Status Repair();

  // Forgets the partition's entries up to `index`, which a flush of the state holds. Not synced:
  // a cut that is lost is made again.
  absl::Status Cut(PartitionId partition, uint64_t index);

  // Calls `visit` for the partition's entries above `after`, in order; stops at its first error.
  // kDataLoss: an entry is missing between, or was cut although the state does not have it.
  absl::Status ReadAfter(PartitionId partition, uint64_t after,
                         const std::function<absl::Status(const LogEntry&)>& visit) const;

  // A copy in a directory that does not exist.
  absl::Status Checkpoint(const std::string& directory) const;

  // Closes cleanly; the destructor does too but cannot report.
  absl::Status Close();

 private:
  explicit Log(std::unique_ptr<LogDb> db);

  const std::unique_ptr<LogDb> db_;
  std::unique_ptr<rocksdb::WriteBatch> batch_;  // Keeps its room.
};

}  // namespace storage

#endif  // STORAGE_LOG_H_
