#include "config_settings.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace mqttd {
namespace {

constexpr char kFile[] = "config";  // KEY=VALUE in each line.

}  // namespace

ConfigSettings::ConfigSettings(const std::string& data_dir) : files_(data_dir) {
  const absl::StatusOr<std::string> text = files_.Read(kFile);
  if (!text.ok()) {
    base::Log(base::LogLevel::kWarning,
              "what was set of the configuration at run time is not known",
              {{"error", text.status()}});
    return;
  }
  for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    std::pair<std::string, std::string> setting = absl::StrSplit(line, absl::MaxSplits('=', 1));
    values_.insert(std::move(setting));
  }
}

absl::Status ConfigSettings::Keep(Values values) {
  std::string text;
  for (const auto& [path, value] : values) absl::StrAppend(&text, path, "=", value, "\n");
  RETURN_IF_ERROR(files_.Write(kFile, text));
  values_ = std::move(values);
  return absl::OkStatus();
}

absl::StatusOr<config::Loaded> ConfigSettings::Load(const std::vector<std::string>& args,
                                                    const std::vector<std::string>& environment,
                                                    const Values& values) {
  std::vector<std::string> with = args;
  for (const auto& [path, value] : values) {
    with.emplace_back("--set");
    with.push_back(absl::StrCat(path, "=", value));
  }
  ASSIGN_OR_RETURN(config::Loaded loaded, config::Load(with, environment));
  for (const auto& [path, value] : values) {
    config::Origin& origin = loaded.config.origins[path];
    if (origin.source == config::Source::kFlag) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": the command line says what it is (", origin.where, ")"));
    }
    origin = {config::Source::kRunTime, "mqttctl config"};
  }
  return loaded;
}

}  // namespace mqttd
