#include "config_settings.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "config/named_key.h"

namespace mqttd {
namespace {

constexpr char kFile[] = "config";  // KEY=VALUE in each line.

// Why a key cannot be set at run time at all, whatever its value.
absl::Status CheckKey(const std::string& path) {
  ASSIGN_OR_RETURN(const config::NamedKey key, config::FindNamedKey(path));
  if (key.path == "log.level")
    return absl::FailedPreconditionError(absl::StrCat(path, ": mqttctl log set sets it"));
  if (key.effect == config::Effect::kRestart)
    return absl::FailedPreconditionError(absl::StrCat(path, ": needs a restart"));
  return absl::OkStatus();
}

absl::Status CheckFlag(const config::Config& config, const std::string& path) {
  const auto origin = config.origins.find(path);
  if (origin == config.origins.end() || origin->second.source != config::Source::kFlag)
    return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": the command line says what it is (", origin->second.where, ")"));
}

// Whether the key says who is let in, so that without its value somebody may be whom it keeps out.
bool SaysWho(absl::string_view path) {
  constexpr absl::string_view kKeys[] = {
      "access_file", "acl_file",           "allow_anonymous", "ca_file",
      "crl_file",    "client_certificate", "password_file",   "use_identity_as_username"};
  return absl::c_linear_search(kKeys, path.substr(path.rfind('.') + 1));
}

// The lines of an error that are about this key's value, by the place with which they begin.
std::string LinesAbout(const absl::Status& error, const std::string& path) {
  std::string about;
  for (const absl::string_view line : absl::StrSplit(error.message(), '\n')) {
    if (absl::StartsWith(line, absl::StrCat("--set ", path, ":")))
      absl::StrAppend(&about, about.empty() ? "" : "; ", line);
  }
  return about;
}

}  // namespace

absl::Status ConfigSettings::Read() {
  constexpr char kWhatToDo[] =
      ": it has what was set by mqttctl config set, and without it the broker does not start. Mend "
      "it, or remove it: then the configuration alone counts";
  const absl::StatusOr<std::string> text = files_.Read(kFile);
  if (!text.ok())
    return absl::Status(text.status().code(), absl::StrCat(text.status().message(), kWhatToDo));
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    ++number;
    if (line.empty()) continue;
    const std::pair<std::string, std::string> setting =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    if (setting.first.empty() || !absl::StrContains(line, '=')) {
      return absl::InvalidArgumentError(
          absl::StrCat(files_.PathOf(kFile), ":", number, " is not KEY=VALUE", kWhatToDo));
    }
    // Earlier releases kept the spelling in which a key was set.
    const absl::StatusOr<config::NamedKey> key = config::FindNamedKey(setting.first);
    values_[key.ok() ? key->path : setting.first] = setting.second;
  }
  return absl::OkStatus();
}

absl::Status ConfigSettings::Write(const Values& values) const {
  std::string text;
  for (const auto& [path, value] : values) absl::StrAppend(&text, path, "=", value, "\n");
  return files_.Write(kFile, text);
}

absl::StatusOr<config::Loaded> ConfigSettings::Load(const std::vector<std::string>& args,
                                                    const std::vector<std::string>& environment,
                                                    const Values& values) {
  std::vector<std::string> with = args;
  for (const auto& [path, value] : values) {
    RETURN_IF_ERROR(CheckKey(path));
    with.emplace_back("--set");
    with.push_back(absl::StrCat(path, "=", value));
  }
  ASSIGN_OR_RETURN(config::Loaded loaded, config::Load(with, environment));
  for (const auto& [path, value] : values) {
    RETURN_IF_ERROR(CheckFlag(loaded.config, path));
    loaded.config.origins[path] = {config::Source::kRunTime, "mqttctl config"};
  }
  return loaded;
}

absl::StatusOr<ConfigSettings::Holding> ConfigSettings::LoadWhatHolds(
    const std::vector<std::string>& args, const std::vector<std::string>& environment,
    const Values& values) {
  ASSIGN_OR_RETURN(const config::Loaded rest, config::Load(args, environment));
  Holding holding;
  holding.values = values;
  const auto leave_out = [&](const std::string& path, absl::string_view why) {
    holding.left_out[path] = absl::StrReplaceAll(why, {{"\n", "; "}});
    holding.values.erase(path);
  };
  for (const auto& [path, value] : values) {
    absl::Status status = CheckKey(path);
    if (status.ok()) status = CheckFlag(rest.config, path);
    if (!status.ok()) leave_out(path, status.message());
  }
  absl::StatusOr<config::Loaded> loaded = Load(args, environment, holding.values);
  while (!loaded.ok()) {
    const size_t before = holding.values.size();
    for (const auto& [path, value] : Values(holding.values)) {
      const std::string why = LinesAbout(loaded.status(), path);
      if (!why.empty()) leave_out(path, why);
    }
    if (holding.values.size() == before) break;
    loaded = Load(args, environment, holding.values);
  }
  if (!loaded.ok()) {  // What does not go together: each that goes with those before it.
    for (const auto& [path, value] : std::exchange(holding.values, {})) {
      holding.values[path] = value;
      const auto with = Load(args, environment, holding.values);
      if (!with.ok()) leave_out(path, with.status().message());
    }
    ASSIGN_OR_RETURN(loaded, Load(args, environment, holding.values));
  }
  for (const auto& [path, why] : holding.left_out) {
    // Of one whose listener is not there it is not known that it is gone: when those before it are
    // taken out it has another number.
    const bool had_no_effect = !CheckKey(path).ok() || !CheckFlag(rest.config, path).ok();
    if (had_no_effect || !SaysWho(path)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(path, " was set at run time and does not hold (", why,
                     "). It says who is let in, so it is not left out: make it hold, or give it up "
                     "(mqttctl config reset ",
                     path, "; or remove its line from DATA_DIR/admin/config)"));
  }
  holding.loaded = *std::move(loaded);
  for (const auto& [path, why] : holding.left_out) {
    holding.loaded.warnings.push_back(absl::StrCat(
        path, " was set at run time, and does not hold (", why, "): mqttctl config reset ", path));
  }
  return holding;
}

}  // namespace mqttd
