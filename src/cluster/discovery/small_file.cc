#include "cluster/discovery/small_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace cluster {
namespace {

// Closed at the end, whatever happens.
class File {
 public:
  File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

absl::Status Failed(const std::string& what) { return absl::ErrnoToStatus(errno, what); }

absl::Status WriteAll(const std::string& path, const std::string& content) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (file.fd() < 0) return Failed(absl::StrCat("making ", path));
  for (size_t at = 0; at < content.size();) {
    const ssize_t written = write(file.fd(), content.data() + at, content.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Failed(absl::StrCat("writing ", path));
    at += static_cast<size_t>(written);
  }
  if (fsync(file.fd()) != 0) return Failed(absl::StrCat("syncing ", path));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<std::string>> ReadSmallFile(const std::string& directory,
                                                         const std::string& name,
                                                         size_t bytes_max) {
  const std::string path = absl::StrCat(directory, "/", name);
  const File file(path, O_RDONLY);
  if (file.fd() < 0) {
    if (errno == ENOENT) return std::nullopt;
    return Failed(absl::StrCat("reading ", path));
  }
  std::string content;
  char buffer[4096];
  while (content.size() <= bytes_max) {
    const ssize_t got = read(file.fd(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed(absl::StrCat("reading ", path));
    if (got == 0) return content;
    content.append(buffer, static_cast<size_t>(got));
  }
  return absl::DataLossError(absl::StrCat(path, " is damaged: it is too large"));
}

absl::Status ReplaceSmallFile(const std::string& directory, const std::string& name,
                              const std::string& content) {
  const std::string path = absl::StrCat(directory, "/", name);
  RETURN_IF_ERROR(WriteAll(path + ".new", content));
  if (rename((path + ".new").c_str(), path.c_str()) != 0)
    return Failed(absl::StrCat("renaming ", path, ".new"));
  const File folder(directory, O_RDONLY | O_DIRECTORY);
  if (folder.fd() < 0 || fsync(folder.fd()) != 0)
    return Failed(absl::StrCat("syncing ", directory));
  return absl::OkStatus();
}

}  // namespace cluster
