// mqttctl config: what is in force, and what a reload would change.
#include <CLI/Option.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "input.h"
#include "mqttd/admin/v1/config.pb.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

const std::vector<Column>& ChangeColumns() {
  static const auto* const columns = new std::vector<Column>{{"KEY", "path"},
                                                             {"BEFORE", "before"},
                                                             {"AFTER", "after"},
                                                             {"NEEDS_RESTART", "needs_restart"}};
  return *columns;
}

struct ShowArguments {
  std::string prefix;
  bool changed = false;
};

absl::Status Show(AdminSession& session, const VerbContext& context,
                  const ShowArguments& arguments) {
  pb::GetConfigRequest request;
  request.set_prefix(arguments.prefix);
  request.set_changed(arguments.changed);
  pb::GetConfigResponse response;
  RETURN_IF_ERROR(session.Call("Config/Get", request, response));
  context.Print(
      RenderList(ToJson(response)["values"],
                 {{"KEY", "path"}, {"VALUE", "value"}, {"SOURCE", "source"}, {"WHERE", "where"}},
                 context.form()));
  for (const pb::ConfigValue& value : response.values()) {
    if (!value.has_left_out()) continue;
    std::fprintf(stderr,
                 "Warning: %s was set at run time to %s, and does not hold (%s): mqttctl config "
                 "reset %s\n",
                 value.path().c_str(), value.left_out().value().c_str(),
                 value.left_out().reason().c_str(), value.path().c_str());
  }
  return absl::OkStatus();
}

absl::Status Validate(AdminSession& session, const VerbContext& context, const std::string& file) {
  pb::ValidateConfigRequest request;
  if (!file.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_yaml(), ReadFile(file));
  }
  pb::ValidateConfigResponse response;
  RETURN_IF_ERROR(session.Call("Config/Validate", request, response));
  if (!context.form().table()) {
    context.Print(Render(ToJson(response), context.form()));
  } else {
    for (const std::string& error : response.errors()) context.Print(error + "\n");
    for (const std::string& warning : response.warnings())
      context.Print(absl::StrCat("warning: ", warning, "\n"));
    if (response.errors().empty()) {
      context.Print("the configuration is right\n");
      if (!response.changes().empty())
        context.Print(RenderList(ToJson(response)["changes"], ChangeColumns(), context.form()));
    }
  }
  if (response.errors().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("the configuration is not right");
}

template <typename Response>
void PrintChanges(const VerbContext& context, const Response& response) {
  if (context.form().table() && response.changes().empty()) {
    context.Print("done; nothing of the configuration is different\n");
  } else {
    context.Print(RenderList(ToJson(response)["changes"], ChangeColumns(), context.form()));
  }
}

absl::Status Set(AdminSession& session, const VerbContext& context, const std::string& path,
                 const std::string& value) {
  pb::SetConfigRequest request;
  request.set_path(path);
  request.set_value(value);
  pb::SetConfigResponse response;
  RETURN_IF_ERROR(session.Call("Config/Set", request, response));
  PrintChanges(context, response);
  return absl::OkStatus();
}

absl::Status Reset(AdminSession& session, const VerbContext& context, const std::string& path) {
  pb::ResetConfigRequest request;
  request.set_path(path);
  pb::ResetConfigResponse response;
  RETURN_IF_ERROR(session.Call("Config/Reset", request, response));
  PrintChanges(context, response);
  return absl::OkStatus();
}

absl::Status Reload(AdminSession& session, const VerbContext& context) {
  pb::ReloadConfigResponse response;
  RETURN_IF_ERROR(session.Call("Config/Reload", pb::ReloadConfigRequest(), response));
  if (context.form().table() && response.changes().empty()) {
    context.Print("reloaded; nothing of the configuration is different\n");
  } else {
    context.Print(RenderList(ToJson(response)["changes"], ChangeColumns(), context.form()));
  }
  return absl::OkStatus();
}

}  // namespace

void AddConfigVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun =
      context.AddNoun(app, "config", "The configuration: show, check, set, read again");
  const auto shown = std::make_shared<ShowArguments>();
  CLI::App& show = context.AddVerb(
      noun, "show",
      "The values in force, and where each comes from.\n\n"
      "Example: mqttctl config show --changed",
      [&context, shown](AdminSession& session) { return Show(session, context, *shown); });
  show.add_option("prefix", shown->prefix, "Only keys that begin so: mqtt.");
  show.add_flag("--changed", shown->changed, "Only those that are not at their default");
  const auto file = std::make_shared<std::string>();
  CLI::App& validate = context.AddVerb(
      noun, "validate",
      "Checks a configuration without using it; without FILE the one that a reload would read.\n\n"
      "Example: mqttctl config validate mqttd.yaml",
      [&context, file](AdminSession& session) { return Validate(session, context, *file); });
  validate.add_option("file", *file, "A configuration file, on this machine");
  const auto path = std::make_shared<std::string>();
  const auto value = std::make_shared<std::string>();
  CLI::App& set = context.AddVerb(
      noun, "set",
      "Sets a key that needs no restart: at once, and after restarts, whatever the file says.\n\n"
      "Example: mqttctl config set mqtt.receive_maximum 50",
      [&context, path, value](AdminSession& session) {
        return Set(session, context, *path, *value);
      });
  set.add_option("key", *path, "As `config show` has it")->required();
  set.add_option("value", *value, "As the file would have it")->required();
  CLI::App& reset = context.AddVerb(
      noun, "reset",
      "A key that was set is again what the configuration says.\n\n"
      "Example: mqttctl config set mqtt.topic_alias_maximum 5 && mqttctl config reset "
      "mqtt.topic_alias_maximum",
      [&context, path](AdminSession& session) { return Reset(session, context, *path); });
  reset.add_option("key", *path, "That was set")->required();
  context.AddVerb(noun, "reload",
                  "Reads the configuration and its files again, all of it or nothing.\n\n"
                  "Example: mqttctl config reload",
                  [&context](AdminSession& session) { return Reload(session, context); });
}

}  // namespace mqttctl
