// The RocksDB instance of a log: opened, written, repaired. What its keys mean is its user's.
#ifndef STORAGE_LOG_DB_H_
#define STORAGE_LOG_DB_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rocksdb {
class DB;
class Env;
class WriteBatch;
struct Options;
}  // namespace rocksdb

namespace storage {

struct StorageOptions;

// A key of a log: a letter, the number of a partition, and mostly an index; they sort as the
// numbers do.
std::string LogKey(char kind, uint16_t partition);
std::string LogKey(char kind, uint16_t partition, uint64_t index);
void AppendBigEndian(std::string& out, uint64_t value, int bytes);
uint64_t ReadBigEndian(std::string_view text);

// Belongs to one thread at a time, but for reads of `db`; whoever hands it over makes sure of that.
class LogDb {
 public:
  // `create`: the store is new. Else a missing log is damage.
  static absl::StatusOr<std::unique_ptr<LogDb>> Open(std::string path,
                                                     const StorageOptions& options,
                                                     rocksdb::Env& env, bool create);
  ~LogDb();
  LogDb(const LogDb&) = delete;
  LogDb& operator=(const LogDb&) = delete;

  // All of the batch or nothing. After an error it is not known which, and nothing may be written
  // until Repair has succeeded. With `sync` everything written before is durable too.
  absl::Status Write(rocksdb::WriteBatch& batch, bool sync);

  // Makes durable what was written without.
  absl::Status SyncWritten();

  // After an error: makes the database writable again, opening it anew if it must. When it returns
  // OK, what was written before is durable; of the write that failed all or nothing may be there,
  // and the same is to be written again. Else call it again.
  absl::Status Repair();

  // Closes cleanly; the destructor does too but cannot report.
  absl::Status Close();

  // Null after Close, and after a Repair that could not open it.
  rocksdb::DB* db() const { return db_.get(); }

 private:
  LogDb(std::string path, std::unique_ptr<rocksdb::Options> options);
  absl::Status OpenDb();
  absl::Status Reopen();

  const std::string path_;
  const std::unique_ptr<rocksdb::Options> options_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace storage

#endif  // STORAGE_LOG_DB_H_
