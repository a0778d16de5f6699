#include "input.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace mqttctl {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kAllBytesMax = size_t{256} << 20;
constexpr char kStandardInput[] = "standard input";

absl::Status Failed(const std::string& name) {
  return absl::InvalidArgumentError(absl::StrCat("cannot read ", name, ": ", std::strerror(errno)));
}

absl::StatusOr<int> OpenFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return Failed(path);
  return file;
}

// Appends what is there. False: that was the end.
absl::StatusOr<bool> ReadMore(int file, const std::string& name, std::string& text) {
  const size_t before = text.size();
  text.resize(before + kReadBytes);
  ssize_t count = 0;
  do {
    count = read(file, text.data() + before, kReadBytes);
  } while (count < 0 && errno == EINTR);
  text.resize(before + static_cast<size_t>(count < 0 ? 0 : count));
  if (count < 0) return Failed(name);
  return count > 0;
}

absl::StatusOr<std::string> ReadAll(int file, const std::string& name) {
  std::string text;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, ReadMore(file, name, text));
    if (!more) return text;
    if (text.size() > kAllBytesMax)
      return absl::InvalidArgumentError(absl::StrCat(name, " has more than 256 MiB"));
  }
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(const int file, OpenFile(path));
  const absl::Cleanup close_it = [file] { close(file); };
  return ReadAll(file, path);
}

absl::StatusOr<std::string> ReadStandardInput() { return ReadAll(STDIN_FILENO, kStandardInput); }

LineReader::LineReader(int file, bool owned, std::string name)
    : file_(file), owned_(owned), name_(std::move(name)) {}

LineReader::LineReader(LineReader&& other) noexcept
    : file_(other.file_),
      owned_(std::exchange(other.owned_, false)),
      name_(std::move(other.name_)),
      buffer_(std::move(other.buffer_)),
      from_(other.from_),
      ended_(other.ended_) {}

LineReader::~LineReader() {
  if (owned_) close(file_);
}

absl::StatusOr<LineReader> LineReader::Open(const std::string& path) {
  ASSIGN_OR_RETURN(const int file, OpenFile(path));
  return LineReader(file, true, path);
}

LineReader LineReader::OfStandardInput() { return LineReader(STDIN_FILENO, false, kStandardInput); }

absl::StatusOr<bool> LineReader::Next(std::string& line) {
  size_t looked_at = from_;
  for (;;) {
    const size_t end = buffer_.find('\n', looked_at);
    if (end != std::string::npos) {
      line.assign(buffer_, from_, end - from_);
      from_ = end + 1;
      return true;
    }
    if (ended_) {  // The last line may have no end.
      line.assign(buffer_, from_);
      from_ = buffer_.size();
      return !line.empty();
    }
    buffer_.erase(0, std::exchange(from_, 0));
    looked_at = buffer_.size();
    ASSIGN_OR_RETURN(const bool more, ReadMore(file_, name_, buffer_));
    ended_ = !more;
  }
}

}  // namespace mqttctl
