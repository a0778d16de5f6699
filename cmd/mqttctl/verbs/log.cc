// mqttctl log: how much the broker writes to its log.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/log.pb.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

absl::Status Show(AdminSession& session, const VerbContext& context) {
  pb::GetLogLevelResponse response;
  RETURN_IF_ERROR(session.Call("Log/GetLevel", pb::GetLogLevelRequest(), response));
  context.Print(Render(ToJson(response), context.form()));
  return absl::OkStatus();
}

absl::Status Set(AdminSession& session, const VerbContext& context, const std::string& level) {
  pb::SetLogLevelRequest request;
  pb::LogLevel value = pb::LOG_LEVEL_UNSPECIFIED;
  (void)pb::LogLevel_Parse(absl::StrCat("LOG_LEVEL_", absl::AsciiStrToUpper(level)), &value);
  request.set_level(value);
  pb::SetLogLevelResponse response;
  RETURN_IF_ERROR(session.Call("Log/SetLevel", request, response));
  return Show(session, context);
}

absl::Status Reset(AdminSession& session, const VerbContext& context) {
  pb::ResetLogLevelResponse response;
  RETURN_IF_ERROR(session.Call("Log/ResetLevel", pb::ResetLogLevelRequest(), response));
  return Show(session, context);
}

}  // namespace

void AddLogVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "log", "The broker's log: how much is written");
  context.AddVerb(noun, "level", "The level in force.\n\nExample: mqttctl log level",
                  [&context](AdminSession& session) { return Show(session, context); });
  const auto level = std::make_shared<std::string>();
  CLI::App& set = context.AddVerb(
      noun, "set",
      "Writes more or less, at once and after restarts too.\n\nExample: mqttctl log set debug",
      [&context, level](AdminSession& session) { return Set(session, context, *level); });
  set.add_option("level", *level, "debug, info, warning, error or off")->required();
  context.AddVerb(noun, "reset",
                  "Back to what the configuration says.\n\nExample: mqttctl log reset",
                  [&context](AdminSession& session) { return Reset(session, context); });
}

}  // namespace mqttctl
