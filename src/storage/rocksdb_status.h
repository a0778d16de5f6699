// RocksDB's results as ours.
#ifndef STORAGE_ROCKSDB_STATUS_H_
#define STORAGE_ROCKSDB_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace rocksdb {
class DB;
class Status;
}  // namespace rocksdb

namespace storage {

// `doing` says what failed, "writing the log". Of the codes, kResourceExhausted is a full disk,
// kDataLoss damage, kPermissionDenied a directory that may not be written, kUnavailable any other
// I/O error (it may pass), kNotFound is as it was.
absl::Status ToStatus(const rocksdb::Status& status, absl::string_view doing);

// What a database would have after kill -9, in a directory that does not exist: links to its
// tables, a copy of its newest write-ahead log. Nothing is written out for it.
absl::Status CheckpointOf(rocksdb::DB& db, const std::string& directory);

}  // namespace storage

#endif  // STORAGE_ROCKSDB_STATUS_H_
