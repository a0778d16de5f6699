// mqttctl acl: access rules, set while the broker runs.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/acl.pb.h"
#include "verbs/paging.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

struct RuleArguments {
  std::string user;
  bool anonymous = false;
  bool everyone = false;
  std::string access;
  std::string filter;
};

void AddRuleOptions(CLI::App& verb, RuleArguments& arguments) {
  CLI::Option_group* const who = verb.add_option_group("whose");
  who->add_option("--user", arguments.user, "A user's");
  who->add_flag("--anonymous", arguments.anonymous, "Of clients without a user name");
  who->add_flag("--everyone", arguments.everyone,
                "Of everyone; %c stands for the Client Identifier, %u for the user name");
  who->require_option(1);
  verb.add_option("access", arguments.access, "read, write, readwrite or deny")
      ->required()
      ->check(CLI::IsMember({"read", "write", "readwrite", "deny"}));
  verb.add_option("filter", arguments.filter, "Topic Filter")->required();
}

void Fill(const RuleArguments& arguments, pb::AclRule& rule) {
  if (!arguments.user.empty()) rule.set_user_name(arguments.user);
  if (arguments.anonymous) rule.set_anonymous(true);
  if (arguments.everyone) rule.set_everyone(true);
  rule.set_filter(arguments.filter);
  if (arguments.access == "read") rule.set_access(pb::ACCESS_READ);
  if (arguments.access == "write") rule.set_access(pb::ACCESS_WRITE);
  if (arguments.access == "readwrite") rule.set_access(pb::ACCESS_READWRITE);
  if (arguments.access == "deny") rule.set_access(pb::ACCESS_DENY);
}

absl::Status List(AdminSession& session, const VerbContext& context, const std::string& user) {
  pb::ListRulesRequest request;
  request.set_user_name(user);
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListRulesResponse>(
      session, "Acl/List", request, 0,
      [](const auto& response) -> const auto& { return response.rules(); }, all));
  context.Print(RenderList(all,
                           {{"USER", "user_name"},
                            {"ANONYMOUS", "anonymous"},
                            {"EVERYONE", "everyone"},
                            {"ACCESS", "access"},
                            {"FILTER", "filter"},
                            {"BY", "by"},
                            {"SET", "set", true}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status Add(AdminSession& session, const VerbContext& context,
                 const RuleArguments& arguments) {
  pb::AddRuleRequest request;
  Fill(arguments, *request.mutable_rule());
  pb::AddRuleResponse response;
  RETURN_IF_ERROR(session.Call("Acl/Add", request, response));
  PrintDone(context, "added\n", response, response.warning());
  return absl::OkStatus();
}

absl::Status Remove(AdminSession& session, const VerbContext& context,
                    const RuleArguments& arguments) {
  pb::RemoveRuleRequest request;
  Fill(arguments, *request.mutable_rule());
  pb::RemoveRuleResponse response;
  RETURN_IF_ERROR(session.Call("Acl/Remove", request, response));
  PrintDone(context, "removed\n", response);
  return absl::OkStatus();
}

absl::Status Default(AdminSession& session, const VerbContext& context, const std::string& what) {
  if (what.empty()) {
    pb::ListRulesRequest request;
    request.mutable_page()->set_size(1);
    pb::ListRulesResponse response;
    RETURN_IF_ERROR(session.Call("Acl/List", request, response));
    PrintDone(context, response.deny_by_default() ? "deny\n" : "allow\n", response);
    return absl::OkStatus();
  }
  pb::SetAclDefaultRequest request;
  request.set_deny(what == "deny");
  pb::SetAclDefaultResponse response;
  RETURN_IF_ERROR(session.Call("Acl/SetDefault", request, response));
  PrintDone(context, "set\n", response, response.warning());
  return absl::OkStatus();
}

absl::Status Check(AdminSession& session, const VerbContext& context,
                   const pb::CheckAccessRequest& request) {
  pb::CheckAccessResponse response;
  RETURN_IF_ERROR(session.Call("Acl/Check", request, response));
  context.Print(Render(ToJson(response), context.form()));
  return absl::OkStatus();
}

}  // namespace

void AddAclVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "acl", "Who may do what, beside the access files");
  const auto listed = std::make_shared<std::string>();
  CLI::App& list = context.AddVerb(
      noun, "list", "Rules that were added.\n\nExample: mqttctl acl list --user alice",
      [&context, listed](AdminSession& session) { return List(session, context, *listed); });
  list.add_option("--user", *listed, "Only this user's");
  const auto added = std::make_shared<RuleArguments>();
  CLI::App& add = context.AddVerb(
      noun, "add",
      "Adds a rule, from now on and after restarts.\n\n"
      "Example: mqttctl acl add --user alice read 'house/#'",
      [&context, added](AdminSession& session) { return Add(session, context, *added); });
  AddRuleOptions(add, *added);
  const auto removed = std::make_shared<RuleArguments>();
  CLI::App& remove = context.AddVerb(
      noun, "remove",
      "Removes a rule that was added.\n\nExample: mqttctl acl remove --everyone deny 'secret/#'",
      [&context, removed](AdminSession& session) { return Remove(session, context, *removed); });
  AddRuleOptions(remove, *removed);
  const auto what = std::make_shared<std::string>();
  CLI::App& standard = context.AddVerb(
      noun, "default",
      "At listeners without acl_file: what holds where no rule speaks; or says it.\n\n"
      "Example: mqttctl acl default allow",
      [&context, what](AdminSession& session) { return Default(session, context, *what); });
  standard.add_option("what", *what, "allow or deny")->check(CLI::IsMember({"allow", "deny"}));
  const auto checked = std::make_shared<pb::CheckAccessRequest>();
  CLI::App& check = context.AddVerb(
      noun, "check",
      "What somebody may do with a topic.\n\nExample: mqttctl acl check house/door --user alice",
      [&context, checked](AdminSession& session) { return Check(session, context, *checked); });
  const auto text = [&check](const char* name, std::string* value, const char* help) {
    return check.add_option(name, *value, help);
  };
  text("topic", checked->mutable_topic(), "Topic, or a filter")->required();
  text("--user", checked->mutable_user_name(), "User name (anonymous)");
  text("--client", checked->mutable_client_id(), "Client Identifier");
  text("--listener", checked->mutable_listener(), "Name of the listener (the first)");
}

}  // namespace mqttctl
