// What RocksDB has to say, in our log.
#ifndef STORAGE_ROCKSDB_LOGGER_H_
#define STORAGE_ROCKSDB_LOGGER_H_

#include <memory>

#include "absl/strings/string_view.h"

namespace rocksdb {
class Logger;
}

namespace storage {

// For Options::info_log. `database` is a field of each line, "log" or "state". Its warnings and
// errors are debug events of ours: what matters of them comes back as a status.
//
// Without it RocksDB would keep a file of its own in the database's directory. A full disk then
// fails that file's writes too, and a library that was built with assertions, as Debian's is, dies
// at the next line.
std::shared_ptr<rocksdb::Logger> MakeRocksDbLogger(absl::string_view database);

}  // namespace storage

#endif  // STORAGE_ROCKSDB_LOGGER_H_
