#include "base/log_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace base {

absl::Status CheckLogFile(const std::string& file) {
  struct stat status = {};
  std::string place = file;
  if (stat(file.c_str(), &status) != 0) {
    if (errno != ENOENT) return absl::ErrnoToStatus(errno, absl::StrCat("log.file: ", file));
    // It is made at the start; a directory is not, or a typing mistake would make one.
    const size_t slash = file.rfind('/');
    place = slash == std::string::npos ? "." : file.substr(0, std::max<size_t>(slash, 1));
    if (stat(place.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
      return absl::FailedPreconditionError(
          absl::StrCat("log.file: ", file, ": there is no directory ", place));
    }
  } else if (S_ISDIR(status.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("log.file: ", file, " is a directory; name a file in it"));
  }
  if (access(place.c_str(), W_OK) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("log.file: ", place, " cannot be written"));
  }
  return absl::OkStatus();
}

}  // namespace base
