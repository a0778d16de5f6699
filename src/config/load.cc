#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/config.h"
#include "config/resolve.h"
#include "config/sources.h"

namespace config {
namespace {

constexpr size_t kFileBytesMax = 16 * 1024 * 1024;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  if (text.size() > kFileBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is too large for a configuration"));
  }
  return text;
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
  if (!errors.empty()) return errors.ToStatus();
  const bool needs_values =
      line.action == Action::kRun || line.action == Action::kCheck || line.action == Action::kPrint;
  if (!needs_values) return loaded;

  std::vector<Assignment> assignments;
  const std::string file = FileOf(line, environment);
  if (!file.empty()) {
    absl::StatusOr<std::string> text = ReadFile(file);
    if (!text.ok()) return text.status();
    assignments = ReadYaml(*text, file, errors);
  }
  for (std::vector<Assignment> more :
       {ReadEnvironment(environment, loaded.warnings), std::move(line.assignments)}) {
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
