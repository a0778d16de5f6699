#include "admin/api/config_service.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "config/key.h"
#include "config/named_key.h"
#include "mqttd/admin/v1/config.pb.h"
#include "mqttd/admin/v1/log.pb.h"

namespace admin {
namespace {

constexpr char kConfig[] = "mqttd.admin.v1.Config";
constexpr char kLog[] = "mqttd.admin.v1.Log";
constexpr std::string_view kNoSetting("\n\r\0", 3);

pb::ConfigValue::Source ToProto(config::Source source) {
  switch (source) {
    case config::Source::kDefault:
      return pb::ConfigValue::SOURCE_DEFAULT;
    case config::Source::kInherited:
      return pb::ConfigValue::SOURCE_INHERITED;
    case config::Source::kFile:
      return pb::ConfigValue::SOURCE_FILE;
    case config::Source::kEnvironment:
      return pb::ConfigValue::SOURCE_ENVIRONMENT;
    case config::Source::kSet:
    case config::Source::kFlag:
      return pb::ConfigValue::SOURCE_FLAG;
    case config::Source::kRunTime:
      return pb::ConfigValue::SOURCE_RUN_TIME;
  }
  return pb::ConfigValue::SOURCE_UNSPECIFIED;
}

template <typename Repeated>
void AddChanges(const std::vector<config::Change>& changes, Repeated& out) {
  for (const config::Change& change : changes) {
    pb::ConfigChange& added = *out.Add();
    added.set_path(change.path);
    added.set_before(change.before);
    added.set_after(change.after);
    added.set_needs_restart(change.effect == config::Effect::kRestart);
  }
}

void Fill(const MainThread::LeftOut& left_out, pb::LeftOutValue& proto) {
  proto.set_value(left_out.value);
  proto.set_reason(left_out.why);
}

pb::GetConfigResponse Get(const MainThread& main, const pb::GetConfigRequest& request) {
  const config::Config& config = main.config();
  std::map<std::string, MainThread::LeftOut> left_out = main.left_out();
  pb::GetConfigResponse response;
  response.set_file(config.file);
  for (const config::Entry& entry : config::Entries(config)) {
    if (!absl::StartsWith(entry.path, request.prefix())) continue;
    const auto set = left_out.extract(entry.path);
    const bool own = entry.origin.source != config::Source::kDefault &&
                     entry.origin.source != config::Source::kInherited;
    if (request.changed() && !own && set.empty()) continue;
    pb::ConfigValue& value = *response.add_values();
    value.set_path(entry.path);
    value.set_value(entry.value);
    value.set_standard(entry.standard);
    value.set_source(ToProto(entry.origin.source));
    value.set_where(entry.origin.where);
    value.set_needs_restart(entry.effect == config::Effect::kRestart);
    if (!set.empty()) Fill(set.mapped(), *value.mutable_left_out());
  }
  for (const auto& [path, set] : left_out) {
    if (!absl::StartsWith(path, request.prefix())) continue;
    pb::ConfigValue& value = *response.add_values();
    value.set_path(path);
    value.set_source(pb::ConfigValue::SOURCE_RUN_TIME);
    Fill(set, *value.mutable_left_out());
  }
  return response;
}

pb::ValidateConfigResponse Validate(const MainThread& main, const std::string& yaml) {
  pb::ValidateConfigResponse response;
  const auto add_errors = [&](const absl::Status& status) {
    for (const absl::string_view line : absl::StrSplit(status.message(), '\n'))
      response.add_errors(std::string(line));
  };
  config::Config wanted;
  std::vector<std::string> warnings;
  if (yaml.empty()) {
    auto loaded = main.Load();
    if (!loaded.ok()) return add_errors(loaded.status()), response;
    wanted = std::move(loaded->config);
    warnings = std::move(loaded->warnings);
  } else {
    auto parsed = config::Parse(yaml, "configuration");
    if (!parsed.ok()) return add_errors(parsed.status()), response;
    wanted = *std::move(parsed);
  }
  for (std::string& error : main.CheckFiles(wanted, warnings))
    response.add_errors(std::move(error));
  for (std::string& warning : warnings) response.add_warnings(std::move(warning));
  if (response.errors().empty())
    AddChanges(config::Diff(main.config(), wanted), *response.mutable_changes());
  return response;
}

absl::StatusOr<pb::ReloadConfigResponse> Reload(MainThread& main) {
  const auto changes = main.Reload();
  if (!changes.ok()) return changes.status();
  pb::ReloadConfigResponse response;
  AddChanges(*changes, *response.mutable_changes());
  return response;
}

// The path of a key that can be set, in whatever spelling it is named.
absl::StatusOr<std::string> PathToSet(const std::string& name, const std::string& value) {
  if (name.empty()) return absl::InvalidArgumentError("path: which key?");
  if ((name + value).find_first_of(kNoSetting) != std::string::npos || absl::StrContains(name, '='))
    return absl::InvalidArgumentError("path, value: one line, and no '=' in the path");
  ASSIGN_OR_RETURN(config::NamedKey key, config::FindNamedKey(name));
  if (key.path == "log.level")
    return absl::InvalidArgumentError("path: the log's level is set by Log/SetLevel");
  if (key.effect == config::Effect::kRestart) {
    return absl::FailedPreconditionError(absl::StrCat(
        key.path, " needs a restart: set it in the configuration, and start the broker again"));
  }
  return std::move(key.path);
}

template <typename Response>
std::function<void(const absl::StatusOr<std::vector<config::Change>>&)> AnswerWithChanges(
    Reply<Response> reply) {
  return [reply = std::move(reply)](const absl::StatusOr<std::vector<config::Change>>& changes) {
    if (!changes.ok()) return reply(changes.status());
    Response response;
    AddChanges(*changes, *response.mutable_changes());
    reply(std::move(response));
  };
}

void Set(MainThread& main, const pb::SetConfigRequest& request,
         const Reply<pb::SetConfigResponse>& reply) {
  const absl::StatusOr<std::string> path = PathToSet(request.path(), request.value());
  if (!path.ok()) return reply(path.status());
  main.SetConfig(*path, request.value(), AnswerWithChanges<pb::SetConfigResponse>(reply));
}

void Reset(MainThread& main, const pb::ResetConfigRequest& request,
           const Reply<pb::ResetConfigResponse>& reply) {
  // What no release names any more can have been set by an earlier one.
  const absl::StatusOr<config::NamedKey> key = config::FindNamedKey(request.path());
  main.SetConfig(key.ok() ? key->path : request.path(), std::nullopt,
                 AnswerWithChanges<pb::ResetConfigResponse>(reply));
}

// ---- Log ----------------------------------------------------------------------------------------

pb::LogLevel ToProto(base::LogLevel level) {
  switch (level) {
    case base::LogLevel::kDebug:
      return pb::LOG_LEVEL_DEBUG;
    case base::LogLevel::kInfo:
      return pb::LOG_LEVEL_INFO;
    case base::LogLevel::kWarning:
      return pb::LOG_LEVEL_WARNING;
    case base::LogLevel::kError:
      return pb::LOG_LEVEL_ERROR;
    case base::LogLevel::kOff:
      return pb::LOG_LEVEL_OFF;
  }
  return pb::LOG_LEVEL_UNSPECIFIED;
}

std::optional<base::LogLevel> FromProto(pb::LogLevel level) {
  for (const base::LogLevel each :
       {base::LogLevel::kDebug, base::LogLevel::kInfo, base::LogLevel::kWarning,
        base::LogLevel::kError, base::LogLevel::kOff}) {
    if (ToProto(each) == level) return each;
  }
  return std::nullopt;
}

pb::GetLogLevelResponse GetLevel(const MainThread& main) {
  pb::GetLogLevelResponse response;
  response.set_level(ToProto(main.config().log.level));
  response.set_configured(ToProto(main.configured_log_level()));
  const auto origin = main.config().origins.find("log.level");
  response.set_run_time(origin != main.config().origins.end() &&
                        origin->second.source == config::Source::kRunTime);
  return response;
}

void SetLevel(MainThread& main, const pb::SetLogLevelRequest& request,
              const Reply<pb::SetLogLevelResponse>& reply) {
  const auto level = FromProto(request.level());
  if (!level.has_value())
    return reply(absl::InvalidArgumentError("level: debug, info, warning, error or off"));
  main.SetLogLevel(level, [reply](const absl::Status& set) {
    if (!set.ok()) return reply(set);
    reply(pb::SetLogLevelResponse());
  });
}

void ResetLevel(MainThread& main, const Reply<pb::ResetLogLevelResponse>& reply) {
  main.SetLogLevel(std::nullopt, [&main, reply](const absl::Status& set) {
    if (!set.ok()) return reply(set);
    pb::ResetLogLevelResponse response;
    response.set_level(ToProto(main.config().log.level));
    reply(std::move(response));
  });
}

// A handler on main's thread, which answers then or later.
template <typename Request, typename Response, typename Handle>
void AddLater(const BrokerAccess& broker, Methods& methods, const char* service, const char* name,
              Handle handle) {
  methods.Add<Request, Response>(
      service, name,
      [&broker, handle](const Caller&, const Request& request, Reply<Response> reply) {
        const bool open = broker.OnMain(
            [handle, request, reply](MainThread& main) { handle(main, request, reply); });
        if (!open) reply(broker.CheckOpen());
      });
}

// One that is a function of the request.
template <typename Request, typename Response, typename Answer>
void Add(const BrokerAccess& broker, Methods& methods, const char* service, const char* name,
         Answer answer) {
  AddLater<Request, Response>(
      broker, methods, service, name,
      [answer](MainThread& main, const Request& request, const Reply<Response>& reply) {
        reply(absl::StatusOr<Response>(answer(main, request)));
      });
}

}  // namespace

void AddConfigService(const BrokerAccess& broker, Methods& methods) {
  Add<pb::GetConfigRequest, pb::GetConfigResponse>(
      broker, methods, kConfig, "Get",
      [](MainThread& main, const auto& request) { return Get(main, request); });
  Add<pb::ValidateConfigRequest, pb::ValidateConfigResponse>(
      broker, methods, kConfig, "Validate",
      [](MainThread& main, const auto& request) { return Validate(main, request.yaml()); });
  AddLater<pb::SetConfigRequest, pb::SetConfigResponse>(
      broker, methods, kConfig, "Set",
      [](MainThread& main, const auto& request, auto reply) { Set(main, request, reply); });
  AddLater<pb::ResetConfigRequest, pb::ResetConfigResponse>(
      broker, methods, kConfig, "Reset",
      [](MainThread& main, const auto& request, auto reply) { Reset(main, request, reply); });
  Add<pb::ReloadConfigRequest, pb::ReloadConfigResponse>(
      broker, methods, kConfig, "Reload",
      [](MainThread& main, const auto&) { return Reload(main); });
}

void AddLogService(const BrokerAccess& broker, Methods& methods) {
  Add<pb::GetLogLevelRequest, pb::GetLogLevelResponse>(
      broker, methods, kLog, "GetLevel",
      [](MainThread& main, const auto&) { return GetLevel(main); });
  AddLater<pb::SetLogLevelRequest, pb::SetLogLevelResponse>(
      broker, methods, kLog, "SetLevel",
      [](MainThread& main, const auto& request, auto reply) { SetLevel(main, request, reply); });
  AddLater<pb::ResetLogLevelRequest, pb::ResetLogLevelResponse>(
      broker, methods, kLog, "ResetLevel",
      [](MainThread& main, const auto&, auto reply) { ResetLevel(main, reply); });
}

}  // namespace admin
