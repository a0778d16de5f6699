#include "log_level.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace mqttd {
namespace {

constexpr char kFile[] = "log_level";

constexpr std::pair<base::LogLevel, const char*> kNames[] = {{base::LogLevel::kDebug, "debug"},
                                                             {base::LogLevel::kInfo, "info"},
                                                             {base::LogLevel::kWarning, "warning"},
                                                             {base::LogLevel::kError, "error"},
                                                             {base::LogLevel::kOff, "off"}};

std::string NameOf(base::LogLevel level) {
  for (const auto& [each, name] : kNames) {
    if (each == level) return name;
  }
  return "info";
}

}  // namespace

LogLevelSetting::LogLevelSetting(const std::string& data_dir) : files_(data_dir) {
  const absl::StatusOr<std::string> text = files_.Read(kFile);
  if (!text.ok()) {
    base::Log(base::LogLevel::kWarning, "the log level of run time is not known",
              {{"error", text.status()}});
    return;
  }
  base::LogLevel level = base::LogLevel::kInfo;
  if (base::ParseLogLevel(absl::StripAsciiWhitespace(*text), level)) level_ = level;
}

absl::Status LogLevelSetting::Write(std::optional<base::LogLevel> level) const {
  return files_.Write(kFile,
                      level.has_value() ? absl::StrCat(NameOf(*level), "\n") : std::string());
}

void LogLevelSetting::Learn(const config::Config& read) {
  configured_ = read.log.level;
  const auto origin = read.origins.find("log.level");
  configured_origin_ = origin == read.origins.end() ? config::Origin() : origin->second;
}

void LogLevelSetting::TakeFrom(config::Config& config) const {
  config.log.level = configured_;
  config.origins["log.level"] = configured_origin_;
}

void LogLevelSetting::ApplyTo(config::Config& config) const {
  if (!level_.has_value()) return;
  config.log.level = *level_;
  config.origins["log.level"] = {config::Source::kRunTime, "mqttctl log"};
}

}  // namespace mqttd
