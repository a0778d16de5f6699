// mqttctl context: brokers by name.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "admin/contexts.h"
#include "base/status_macros.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

absl::Status List(const VerbContext& context) {
  ASSIGN_OR_RETURN(const Contexts contexts, Contexts::Load());
  Json all = Json::array();
  for (const auto& [name, options] : contexts.by_name) {
    Json one;
    one["name"] = name;
    one["current"] = name == contexts.current;
    for (const auto& [option, value] : options) one[option] = option == "token" ? "…" : value;
    all.push_back(std::move(one));
  }
  context.Print(RenderList(all,
                           {{"NAME", "name"},
                            {"CURRENT", "current"},
                            {"ENDPOINT", "endpoint"},
                            {"TOKEN_FILE", "token-file"},
                            {"CA_FILE", "ca-file"},
                            {"CERT_FILE", "cert-file", true},
                            {"SERVER_NAME", "server-name", true}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status NoSuch(const Contexts& contexts, const std::string& name) {
  return absl::NotFoundError(
      absl::StrCat("there is no context \"", name, "\" in ", contexts.file()));
}

absl::Status Set(const VerbContext& context, const std::string& name) {
  ASSIGN_OR_RETURN(Contexts contexts, Contexts::Load());
  ContextOptions& options = contexts.by_name[name];
  for (auto& [option, value] : context.given_options()) options[option] = value;
  if (contexts.current.empty()) contexts.current = name;
  RETURN_IF_ERROR(contexts.Save());
  PrintDone(context, absl::StrCat("set in ", contexts.file(), "\n"),
            Json{{"name", name}, {"file", contexts.file()}});
  return absl::OkStatus();
}

absl::Status Use(const VerbContext& context, const std::string& name) {
  ASSIGN_OR_RETURN(Contexts contexts, Contexts::Load());
  if (!contexts.by_name.contains(name)) return NoSuch(contexts, name);
  contexts.current = name;
  RETURN_IF_ERROR(contexts.Save());
  PrintDone(context, absl::StrCat("what follows goes to ", name, "\n"),
            Json::object({{"name", name}}));
  return absl::OkStatus();
}

absl::Status Delete(const VerbContext& context, const std::string& name) {
  ASSIGN_OR_RETURN(Contexts contexts, Contexts::Load());
  if (contexts.by_name.erase(name) == 0) return NoSuch(contexts, name);
  if (contexts.current == name) contexts.current.clear();
  RETURN_IF_ERROR(contexts.Save());
  PrintDone(context, "removed\n", Json::object({{"name", name}}));
  return absl::OkStatus();
}

}  // namespace

void AddContextVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "context", "Brokers by name, and how to reach them");
  context.AddLocalVerb(noun, "list", "Those that are known.\n\nExample: mqttctl context list",
                       [&context] { return List(context); });
  const auto named = [&](const std::string& name, const std::string& help, auto run) {
    const auto value = std::make_shared<std::string>();
    CLI::App& verb = context.AddLocalVerb(noun, name, help,
                                          [&context, value, run] { return run(context, *value); });
    verb.add_option("name", *value, "Of the context")->required();
  };
  named("set",
        "Keeps the options that are given (--endpoint, --token-file, --ca-file …) under a name.\n\n"
        "Example: mqttctl context set lab --endpoint 127.0.0.1:9884",
        &Set);
  named("use", "Whose options hold from now on.\n\nExample: mqttctl context use lab", &Use);
  named("delete", "Forgets one.\n\nExample: mqttctl context delete lab", &Delete);
}

}  // namespace mqttctl
