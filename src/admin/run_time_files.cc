#include "admin/run_time_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace admin {
namespace {

absl::Status Failed(absl::string_view what, const std::string& path) {
  const int error = errno;
  const std::string words = absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(error));
  return error == ENOSPC || error == EDQUOT ? absl::ResourceExhaustedError(words)
                                            : absl::UnavailableError(words);
}

absl::Status WriteTo(int file, const std::string& path, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failed("write", path);
    text.remove_prefix(static_cast<size_t>(count));
  }
  return fsync(file) == 0 ? absl::OkStatus() : Failed("sync", path);
}

absl::Status WriteAll(const std::string& path, absl::string_view text) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return Failed("write", path);
  const absl::Cleanup close_it = [file] { close(file); };
  return WriteTo(file, path, text);
}

// Behind the last whole line of the file.
absl::StatusOr<off_t> EndOfLines(int file, const std::string& path) {
  struct stat about = {};
  if (fstat(file, &about) != 0) return Failed("read", path);
  std::array<char, 16384> buffer;
  for (off_t end = about.st_size; end > 0;) {
    const auto wanted = std::min(end, static_cast<off_t>(buffer.size()));
    const ssize_t count = pread(file, buffer.data(), static_cast<size_t>(wanted), end - wanted);
    if (count < 0 && errno == EINTR) continue;
    if (count != wanted) return Failed("read", path);
    const size_t found = absl::string_view(buffer.data(), static_cast<size_t>(count)).rfind('\n');
    if (found != absl::string_view::npos) return end - wanted + static_cast<off_t>(found) + 1;
    end -= wanted;
  }
  return 0;
}

absl::Status SyncDirectory(const std::string& path) {
  const int directory = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return Failed("open", path);
  const absl::Cleanup close_it = [directory] { close(directory); };
  return fsync(directory) == 0 ? absl::OkStatus() : Failed("sync", path);
}

}  // namespace

std::string RunTimeFiles::PathOf(absl::string_view name) const {
  return absl::StrCat(directory_, "/", name);
}

absl::StatusOr<std::string> RunTimeFiles::Read(absl::string_view name) const {
  const std::string path = PathOf(name);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 && (errno == ENOENT || errno == ENOTDIR)) return std::string();
  if (file < 0) return Failed("read", path);
  const absl::Cleanup close_it = [file] { close(file); };
  std::string text;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t count = read(file, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failed("read", path);
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(count));
  }
}

absl::Status RunTimeFiles::Write(absl::string_view name, absl::string_view text) const {
  const std::string path = PathOf(name);
  if (mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return Failed("make", directory_);
  if (text.empty()) {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return Failed("remove", path);
    return SyncDirectory(directory_);
  }
  const std::string next = path + ".new";
  RETURN_IF_ERROR(WriteAll(next, text));
  if (rename(next.c_str(), path.c_str()) != 0) return Failed("replace", path);
  return SyncDirectory(directory_);
}

absl::Status RunTimeFiles::Append(absl::string_view name, absl::string_view text) const {
  const std::string path = PathOf(name);
  if (mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return Failed("make", directory_);
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return Failed("write", path);
  const absl::Cleanup close_it = [file] { close(file); };
  // Nothing is written behind a piece of a line.
  ASSIGN_OR_RETURN(const off_t end, EndOfLines(file, path));
  if (ftruncate(file, end) != 0) return Failed("shorten", path);
  const absl::Status written = WriteTo(file, path, text);
  if (!written.ok()) {
    if (ftruncate(file, end) != 0) return Failed("shorten", path);
    return written;
  }
  return end == 0 ? SyncDirectory(directory_) : absl::OkStatus();
}

}  // namespace admin
