// The files of a database as they are at one moment, while it goes on.
#ifndef STORAGE_CHECKPOINT_H_
#define STORAGE_CHECKPOINT_H_

#include <string>

#include "absl/status/status.h"

namespace rocksdb {
class DB;
}

namespace storage {

// A file in such a directory: of those that the database goes on writing, how many of their bytes
// count. A line for each: "000017.log 123456". It is no file of the database.
inline constexpr char kLengthsFile[] = "LENGTHS";

// What a database would have after kill -9, in a directory that does not exist: links to its files,
// on the same file system. Next to nothing is written or synced for it. Any thread, beside all that
// uses the database; CopyBackup makes of it what can be opened, and nothing else may.
absl::Status CheckpointOf(rocksdb::DB& db, const std::string& directory);

}  // namespace storage

#endif  // STORAGE_CHECKPOINT_H_
