// Reads the small files of access control.
#ifndef AUTH_FILE_H_
#define AUTH_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace auth {

struct FileContents {
  std::string text;
  bool readable_by_all = false;  // The mode lets every user of the machine read it.
};

// Blocks on the disk: not on a shard. Errors name the path: kNotFound, kPermissionDenied,
// kInvalidArgument for a directory, kResourceExhausted above 64 MiB.
absl::StatusOr<FileContents> ReadFile(const std::string& path);

}  // namespace auth

#endif  // AUTH_FILE_H_
