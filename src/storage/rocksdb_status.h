// RocksDB's results as ours.
#ifndef STORAGE_ROCKSDB_STATUS_H_
#define STORAGE_ROCKSDB_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace rocksdb {
class Status;
}  // namespace rocksdb

namespace storage {

// `doing` says what failed, "writing the log". Of the codes, kResourceExhausted is a full disk,
// kDataLoss damage, kPermissionDenied a directory that may not be written, kUnavailable any other
// I/O error (it may pass), kNotFound is as it was.
absl::Status ToStatus(const rocksdb::Status& status, absl::string_view doing);

}  // namespace storage

#endif  // STORAGE_ROCKSDB_STATUS_H_
