#include "new_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace mqttctl {
namespace {

constexpr size_t kAtOnce = 256 << 10;

absl::Status Failed(absl::string_view what, const std::string& path) {
  return absl::InvalidArgumentError(
      absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

// The file itself, where the path is that of a link to it.
std::string Followed(const std::string& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

// Who writes it has it locked, until it is in its place; then that is no longer its name.
bool IsWrittenByAnother(int file, const std::string& name) {
  if (flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return true;
  struct stat opened {};
  struct stat named {};
  return fstat(file, &opened) == 0 && stat(name.c_str(), &named) == 0 &&
         opened.st_ino != named.st_ino;
}

}  // namespace

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      next_(std::move(other.next_)),
      file_(std::exchange(other.file_, -1)),
      waiting_(std::move(other.waiting_)) {}

NewFile::~NewFile() {
  if (file_ < 0) return;
  if (!next_.empty()) unlink(next_.c_str());
  close(file_);
}

absl::StatusOr<NewFile> NewFile::Create(const std::string& path, Mode mode) {
  NewFile file(Followed(path));
  RETURN_IF_ERROR(file.Open(mode));
  return file;
}

absl::Status NewFile::Open(Mode mode) {
  struct stat earlier {};
  const bool there = stat(path_.c_str(), &earlier) == 0;
  if (there && !S_ISREG(earlier.st_mode)) {
    file_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    return file_ < 0 ? Failed("write", path_) : absl::OkStatus();
  }
  const std::string next = path_ + ".new";
  const bool usual = mode == Mode::kEarlierOrUsual && !there;
  // Not through a link that somebody else may have laid there.
  file_ = open(next.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, usual ? 0666 : 0600);
  if (file_ < 0) return Failed("write", next);
  if (IsWrittenByAnother(file_, next)) {
    close(std::exchange(file_, -1));
    return absl::InvalidArgumentError(absl::StrCat("another program is writing ", next));
  }
  next_ = next;
  if (there && mode != Mode::kPrivate) {
    [[maybe_unused]] const int kept = fchown(file_, earlier.st_uid, earlier.st_gid);
    (void)fchmod(file_, earlier.st_mode & 07777);
  } else if (!usual && fchmod(file_, 0600) != 0) {
    return Failed("write", next);
  }
  return ftruncate(file_, 0) == 0 ? absl::OkStatus() : Failed("write", next);
}

absl::Status NewFile::Write(absl::string_view text) {
  absl::StrAppend(&waiting_, text);
  return waiting_.size() < kAtOnce ? absl::OkStatus() : Flush();
}

absl::Status NewFile::Flush() {
  for (absl::string_view rest = waiting_; !rest.empty();) {
    const ssize_t count = write(file_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failed("write", next_.empty() ? path_ : next_);
    rest.remove_prefix(static_cast<size_t>(count));
  }
  waiting_.clear();
  return absl::OkStatus();
}

absl::Status NewFile::Finish() {
  RETURN_IF_ERROR(Flush());
  if (!next_.empty()) {
    if (fsync(file_) != 0) return Failed("sync", next_);
    if (std::rename(next_.c_str(), path_.c_str()) != 0) return Failed("replace", path_);
    next_.clear();
  }
  close(std::exchange(file_, -1));
  return absl::OkStatus();
}

}  // namespace mqttctl
