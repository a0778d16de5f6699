#include "config/sources.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "config/named_key.h"
#include "config/schema.h"

namespace config {
namespace {

constexpr absl::string_view kListenersPrefix = "listeners.";

// "0.cert_file" → "cert_file", true.
bool TakeIndex(absl::string_view& rest) {
  const size_t dot = rest.find('.');
  uint32_t index = 0;
  if (!absl::SimpleAtoi(rest.substr(0, dot), &index)) return false;
  rest = dot == absl::string_view::npos ? absl::string_view() : rest.substr(dot + 1);
  return true;
}

// Every path that is a key or a section, as far as it has no index.
template <typename Root>
std::vector<std::string> KnownPaths(const Keys<Root>& keys) {
  std::vector<std::string> paths;
  for (const Key<Root>& key : keys) {
    paths.push_back(key.path);
    const size_t dot = key.path.find('.');
    if (dot == std::string::npos) continue;
    std::string section = key.path.substr(0, dot);
    if (paths.size() < 2 || !absl::StartsWith(paths[paths.size() - 2], section + ".")) {
      paths.push_back(std::move(section));
    }
  }
  return paths;
}

// A flag as it stands on the command line: its name, and its value if it has one.
struct Flag {
  std::string name;
  std::string value;
  bool has_value = false;
};

class FlagReader {
 public:
  FlagReader(absl::Span<const std::string> args, Errors& errors) : args_(args), errors_(errors) {}

  CommandLine Read() {
    while (at_ < args_.size()) ReadOne();
    CommandLine line{.action = action_,
                     .file = std::move(file_),
                     .backup = std::move(backup_),
                     .assignments = std::move(sets_)};
    line.assignments.insert(line.assignments.end(), std::make_move_iterator(flags_.begin()),
                            std::make_move_iterator(flags_.end()));
    return line;
  }

 private:
  void ReadOne() {
    const std::string& arg = args_[at_++];
    if (!absl::StartsWith(arg, "-") || arg == "-" || arg == "--") {
      errors_.Add("command line", absl::StrCat("unexpected argument ", arg,
                                               "; a configuration file is given with --config"));
      return;
    }
    Flag flag;
    const size_t equals = arg.find('=');
    flag.name = arg.substr(0, equals);
    flag.has_value = equals != std::string::npos;
    if (flag.has_value) flag.value = arg.substr(equals + 1);
    if (!ReadAction(flag) && !ReadSpecial(flag)) ReadKeyFlag(flag);
  }

  bool ReadAction(const Flag& flag) {
    static constexpr std::pair<absl::string_view, Action> kActions[] = {
        {"--check-config", Action::kCheck}, {"--print-config", Action::kPrint},
        {"--version", Action::kVersion},    {"-V", Action::kVersion},
        {"--help", Action::kHelp},          {"-h", Action::kHelp},
        {"--help-all", Action::kHelpAll}};
    for (const auto& [name, action] : kActions) {
      if (flag.name != name) continue;
      if (flag.has_value) errors_.Add(flag.name, "takes no value");
      action_ = action;
      return true;
    }
    return false;
  }

  bool ReadSpecial(Flag& flag) {
    if (flag.name == "--config" || flag.name == "-c") {
      if (TakeValue(flag)) file_ = flag.value;
    } else if (flag.name == "--restore") {
      if (TakeValue(flag)) backup_ = flag.value;
      action_ = Action::kRestore;
    } else if (flag.name == "--set") {
      if (TakeValue(flag)) ReadSet(flag.value);
    } else if (flag.name == "--listen") {
      if (TakeValue(flag)) AddFlag("listeners", flag);
    } else {
      return false;
    }
    return true;
  }

  void ReadSet(absl::string_view text) {
    const size_t equals = text.find('=');
    if (equals == absl::string_view::npos || equals == 0) {
      errors_.Add("--set", absl::StrCat("expects key=value, not ", text));
      return;
    }
    std::string path = CanonicalName(text.substr(0, equals));
    sets_.push_back({std::move(path),
                     std::string(text.substr(equals + 1)),
                     {Source::kSet, absl::StrCat("--set ", text.substr(0, equals))}});
  }

  void ReadKeyFlag(Flag& flag) {
    for (const Key<Config>& key : ConfigKeys()) {
      if (flag.name != key.flag && flag.name != FlagName(key.path)) continue;
      if (key.domain.type == Type::kBool && !flag.has_value) {
        flag.value = "true";
        flag.has_value = true;
      }
      if (TakeValue(flag)) AddFlag(key.path, flag);
      return;
    }
    std::vector<std::string> known = {"--config",       "--set",          "--listen",
                                      "--check-config", "--print-config", "--version",
                                      "--help",         "--help-all",     "--restore"};
    for (const Key<Config>& key : ConfigKeys()) {
      known.push_back(FlagName(key.path));
      if (!key.flag.empty()) known.push_back(key.flag);
    }
    const std::vector<absl::string_view> views(known.begin(), known.end());
    const absl::string_view nearest = Nearest(flag.name, views);
    errors_.Add(flag.name, nearest.empty()
                               ? std::string("no such flag; --help-all lists them")
                               : absl::StrCat("no such flag; did you mean ", nearest, "?"));
  }

  bool TakeValue(Flag& flag) {
    if (flag.has_value) return true;
    if (at_ == args_.size()) {
      errors_.Add(flag.name, "needs a value");
      return false;
    }
    flag.value = args_[at_++];
    return flag.has_value = true;
  }

  void AddFlag(absl::string_view path, const Flag& flag) {
    flags_.push_back({std::string(path), flag.value, {Source::kFlag, flag.name}});
  }

  absl::Span<const std::string> args_;
  Errors& errors_;
  size_t at_ = 0;
  Action action_ = Action::kRun;
  std::string file_;
  std::string backup_;
  std::vector<Assignment> sets_;
  std::vector<Assignment> flags_;
};

// "LISTENERS_0_CERT_FILE" → "listeners.0.cert_file"; empty if it names no key of a listener.
std::string ListenerPathOf(absl::string_view variable) {
  if (!absl::ConsumePrefix(&variable, "LISTENERS_")) return {};
  const size_t underscore = variable.find('_');
  uint32_t index = 0;
  if (underscore == absl::string_view::npos ||
      !absl::SimpleAtoi(variable.substr(0, underscore), &index)) {
    return {};
  }
  const std::string name = absl::StrCat("MQTTD_", variable.substr(underscore + 1));
  for (const Key<broker::ListenerSettings>& key : ListenerKeys()) {
    if (VariableName(key.path) == name) return absl::StrCat(kListenersPrefix, index, ".", key.path);
  }
  return {};
}

// Of a variable: whether the same key has another one.
void CompareWithOthers(const Assignment& given, const std::vector<Assignment>& others,
                       Errors& errors, std::vector<std::string>& warnings) {
  const auto other = std::find_if(others.begin(), others.end(), [&given](const Assignment& it) {
    return it.path == given.path && it.origin.where != given.origin.where;
  });
  if (other == others.end()) return;
  if (other->text == given.text) {
    warnings.push_back(absl::StrCat("environment variables ", other->origin.where, " and ",
                                    given.origin.where, " are both ", given.path,
                                    ": one of them is enough"));
  } else {
    errors.Add(given.origin.where, absl::StrCat(given.path, " has another value by ",
                                                other->origin.where, ": set one of them"));
  }
}

}  // namespace

void Errors::Add(absl::string_view where, absl::string_view what) {
  if (lines_.size() == kLinesMax) {
    ++more_;
    return;
  }
  lines_.push_back(absl::StrCat(where, ": ", what));
}

absl::Status Errors::ToStatus() const {
  if (lines_.empty()) return absl::OkStatus();
  std::string text = absl::StrJoin(lines_, "\n");
  if (more_ > 0) absl::StrAppend(&text, "\n(and ", more_, " more)");
  return absl::InvalidArgumentError(text);
}

PathKind Classify(absl::string_view path) {
  if (path == "listeners") return PathKind::kListeners;
  const auto classify = [](const auto& keys, absl::string_view inner) {
    if (FindKey(keys, inner) != nullptr) return PathKind::kKey;
    return IsSection(keys, inner) ? PathKind::kSection : PathKind::kUnknown;
  };
  if (!absl::ConsumePrefix(&path, kListenersPrefix)) return classify(ConfigKeys(), path);
  if (!TakeIndex(path)) return PathKind::kUnknown;
  return path.empty() ? PathKind::kListener : classify(ListenerKeys(), path);
}

std::string Unknown(absl::string_view path) {
  absl::string_view inner = path;
  std::string suggestion;
  if (absl::ConsumePrefix(&inner, kListenersPrefix) && TakeIndex(inner)) {
    suggestion = SuggestPath(KnownPaths(ListenerKeys()), inner);
  } else {
    std::vector<std::string> known = KnownPaths(ConfigKeys());
    known.emplace_back("listeners");
    suggestion = SuggestPath(known, path);
  }
  return suggestion.empty() ? std::string("no such key")
                            : absl::StrCat("no such key; did you mean ", suggestion, "?");
}

absl::StatusOr<NamedKey> FindNamedKey(absl::string_view name) {
  std::string path = CanonicalName(name);
  if (path == "listeners") return NamedKey{std::move(path), Effect::kRestart};
  const KeyInfo* key = FindKey(ConfigKeys(), path);
  absl::string_view inner = path;
  if (absl::ConsumePrefix(&inner, kListenersPrefix)) {
    uint32_t index = 0;
    if (absl::SimpleAtoi(inner.substr(0, inner.find('.')), &index) && TakeIndex(inner)) {
      key = FindKey(ListenerKeys(), inner);
      path = absl::StrCat(kListenersPrefix, index, inner.empty() ? "" : ".", inner);
    }
  }
  if (key != nullptr) return NamedKey{std::move(path), key->effect};
  const PathKind kind = Classify(path);
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": ",
      kind == PathKind::kUnknown ? Unknown(path) : std::string("is a section of keys, not a key")));
}

std::vector<Assignment> ReadEnvironment(absl::Span<const std::string> environment, Errors& errors,
                                        std::vector<std::string>& warnings) {
  std::vector<std::string> known = {"MQTTD_CONFIG", "MQTTD_LISTENERS"};
  for (const Key<Config>& key : ConfigKeys()) {
    known.push_back(VariableName(key.path));
    if (!key.flag.empty()) known.push_back(ShortVariableName(key.flag));
  }
  // What all have in common says nothing of which one was meant.
  std::vector<absl::string_view> known_views(known.begin(), known.end());
  for (absl::string_view& view : known_views) absl::ConsumePrefix(&view, "MQTTD_");

  std::vector<Assignment> assignments;
  for (const std::string& entry : environment) {
    absl::string_view rest = entry;
    if (!absl::ConsumePrefix(&rest, "MQTTD_")) continue;
    const size_t equals = entry.find('=');
    if (equals == std::string::npos) continue;
    const std::string name = entry.substr(0, equals);
    if (name == "MQTTD_CONFIG") continue;
    std::string path =
        name == "MQTTD_LISTENERS" ? "listeners" : ListenerPathOf(rest.substr(0, rest.find('=')));
    for (const Key<Config>& key : ConfigKeys()) {
      if (VariableName(key.path) == name || ShortVariableName(key.flag) == name) path = key.path;
    }
    if (!path.empty()) {
      Assignment given{path, entry.substr(equals + 1), {Source::kEnvironment, name}};
      CompareWithOthers(given, assignments, errors, warnings);
      assignments.push_back(std::move(given));
      continue;
    }
    const absl::string_view nearest = Nearest(rest.substr(0, rest.find('=')), known_views);
    if (!nearest.empty()) {
      warnings.push_back(absl::StrCat("environment variable ", name,
                                      " names no key; did you mean MQTTD_", nearest, "?"));
    }
  }
  return assignments;
}

CommandLine ReadFlags(absl::Span<const std::string> args, Errors& errors) {
  return FlagReader(args, errors).Read();
}

}  // namespace config
