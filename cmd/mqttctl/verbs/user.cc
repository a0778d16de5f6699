// mqttctl user: users with passwords, set while the broker runs.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "admin/ask_password.h"
#include "auth/password_hash.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/users.pb.h"
#include "verbs/paging.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

struct UserArguments {
  std::string name;
  std::string algorithm = "pbkdf2";
  bool disconnect = false;
};

// Made here: the password itself stays on this machine.
absl::Status Ask(const UserArguments& arguments, pb::Password& password) {
  ASSIGN_OR_RETURN(const std::string text, AskPassword());
  ASSIGN_OR_RETURN(
      *password.mutable_hash(),
      auth::HashPassword(arguments.algorithm == "argon2id" ? auth::HashAlgorithm::kArgon2id
                                                           : auth::HashAlgorithm::kPbkdf2HmacSha512,
                         text));
  return absl::OkStatus();
}

absl::Status List(AdminSession& session, const VerbContext& context, const std::string& name) {
  pb::ListUsersRequest request;
  request.set_name(name);
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListUsersResponse>(
      session, "Users/List", request, 0,
      [](const auto& response) -> const auto& { return response.users(); }, all));
  context.Print(RenderList(all, {{"USER", "name"}, {"BY", "by"}, {"SET", "set"}}, context.form()));
  return absl::OkStatus();
}

absl::Status Add(AdminSession& session, const VerbContext& context,
                 const UserArguments& arguments) {
  pb::AddUserRequest request;
  request.set_name(arguments.name);
  RETURN_IF_ERROR(Ask(arguments, *request.mutable_password()));
  pb::AddUserResponse response;
  RETURN_IF_ERROR(session.Call("Users/Add", request, response));
  PrintDone(context, "added\n", response, response.warning());
  return absl::OkStatus();
}

absl::Status SetPassword(AdminSession& session, const VerbContext& context,
                         const UserArguments& arguments) {
  pb::SetPasswordRequest request;
  request.set_name(arguments.name);
  request.set_disconnect(arguments.disconnect);
  RETURN_IF_ERROR(Ask(arguments, *request.mutable_password()));
  pb::SetPasswordResponse response;
  RETURN_IF_ERROR(session.Call("Users/SetPassword", request, response));
  PrintDone(
      context,
      absl::StrCat("set; ", base::Counted(response.disconnected(), "client"), " disconnected\n"),
      response);
  return absl::OkStatus();
}

absl::Status Remove(AdminSession& session, const VerbContext& context, const std::string& name) {
  pb::RemoveUserRequest request;
  request.set_name(name);
  pb::RemoveUserResponse response;
  RETURN_IF_ERROR(session.Call("Users/Remove", request, response));
  PrintDone(context,
            absl::StrCat("removed; ", base::Counted(response.disconnected(), "client"),
                         " disconnected\n"),
            response);
  return absl::OkStatus();
}

void AddPasswordOptions(CLI::App& verb, UserArguments& arguments) {
  verb.add_option("user", arguments.name, "User name")->required();
  verb.add_option("--algorithm", arguments.algorithm, "pbkdf2, as mosquitto has it, or argon2id")
      ->check(CLI::IsMember({"pbkdf2", "argon2id"}));
}

}  // namespace

void AddUserVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "user", "Users with passwords, beside the password files");
  const auto listed = std::make_shared<std::string>();
  CLI::App& list = context.AddVerb(
      noun, "list", "Users that were added.\n\nExample: mqttctl user list --name 'sensor-*'",
      [&context, listed](AdminSession& session) { return List(session, context, *listed); });
  list.add_option("--name", *listed, "User name, with * and ?");
  const auto added = std::make_shared<UserArguments>();
  CLI::App& add = context.AddVerb(
      noun, "add",
      "Adds a user, from now on and after restarts. The password is asked for, or a line of "
      "standard\n"
      "input; only its hash is sent.\n\nExample: echo secret | mqttctl user add alice",
      [&context, added](AdminSession& session) { return Add(session, context, *added); });
  AddPasswordOptions(add, *added);
  const auto changed = std::make_shared<UserArguments>();
  CLI::App& passwd = context.AddVerb(
      noun, "passwd",
      "Sets another password. Of a user in a password file it counts until `user remove`.\n\n"
      "Example: echo other | mqttctl user passwd bob --disconnect",
      [&context, changed](AdminSession& session) {
        return SetPassword(session, context, *changed);
      });
  AddPasswordOptions(passwd, *changed);
  passwd.add_flag("--disconnect", changed->disconnect,
                  "Whoever is connected has to show the new one");
  const auto removed = std::make_shared<std::string>();
  CLI::App& remove = context.AddVerb(
      noun, "remove",
      "Forgets a user that was added, and disconnects him.\n\nExample: mqttctl user remove bob",
      [&context, removed](AdminSession& session) { return Remove(session, context, *removed); });
  remove.add_option("user", *removed, "User name")->required();
}

}  // namespace mqttctl
