#include "auth/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace auth {
namespace {

constexpr size_t kFileBytesMax = size_t{64} << 20;

absl::Status Failed(const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
}

}  // namespace

absl::StatusOr<FileContents> ReadFile(const std::string& path) {
  // A pipe without a writer would hold up whoever opens it, SIGTERM included.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return Failed(path);
  const auto close_file = absl::MakeCleanup([fd] { close(fd); });
  struct stat status = {};
  if (fstat(fd, &status) != 0) return Failed(path);
  if (S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a directory; name a file in it"));
  }
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " is a pipe or a device; it must be a file, which is read again at SIGHUP"));
  }
  FileContents contents;
  contents.readable_by_all = (status.st_mode & S_IROTH) != 0;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failed(path);
    if (count == 0) return contents;
    contents.text.append(buffer.data(), static_cast<size_t>(count));
    if (contents.text.size() > kFileBytesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " is larger than ", kFileBytesMax, " bytes"));
    }
  }
}

}  // namespace auth
