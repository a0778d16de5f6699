#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/config.h"
#include "config/resolve.h"
#include "config/sources.h"

namespace config {
namespace {

constexpr size_t kFileBytesMax = 16 * 1024 * 1024;

// By system calls: the streams of the standard library throw where a directory is read.
absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  const auto close_file = absl::MakeCleanup([fd] { close(fd); });
  std::string text;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(count));
    if (text.size() > kFileBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is too large for a configuration"));
    }
  }
}

std::string FileOf(const CommandLine& line, absl::Span<const std::string> environment) {
  constexpr absl::string_view kVariable = "MQTTD_CONFIG=";
  if (!line.file.empty()) return line.file;
  for (const std::string& entry : environment) {
    if (absl::StartsWith(entry, kVariable)) return entry.substr(kVariable.size());
  }
  return {};
}

}  // namespace

absl::StatusOr<Loaded> Load(absl::Span<const std::string> args,
                            absl::Span<const std::string> environment) {
  Errors errors;
  Loaded loaded;
  CommandLine line = ReadFlags(args, errors);
  loaded.action = line.action;
  loaded.backup = line.backup;
  if (!errors.empty()) return errors.ToStatus();
  const bool needs_values = line.action == Action::kRun || line.action == Action::kCheck ||
                            line.action == Action::kPrint || line.action == Action::kRestore;
  if (!needs_values) return loaded;

  std::vector<Assignment> assignments;
  const std::string file = FileOf(line, environment);
  if (!file.empty()) {
    absl::StatusOr<std::string> text = ReadFile(file);
    if (!text.ok()) return text.status();
    assignments = ReadYaml(*text, file, errors);
  }
  for (std::vector<Assignment> more :
       {ReadEnvironment(environment, errors, loaded.warnings), std::move(line.assignments)}) {
    assignments.insert(assignments.end(), std::make_move_iterator(more.begin()),
                       std::make_move_iterator(more.end()));
  }
  loaded.config = Resolve(assignments, errors, loaded.warnings);
  loaded.config.file = file;
  if (!errors.empty()) return errors.ToStatus();
  return loaded;
}

absl::StatusOr<Config> Parse(absl::string_view yaml, absl::string_view file_name) {
  Errors errors;
  std::vector<std::string> warnings;
  Config config = Resolve(ReadYaml(yaml, file_name, errors), errors, warnings);
  config.file = std::string(file_name);
  if (!errors.empty()) return errors.ToStatus();
  return config;
}

}  // namespace config
