// mqttctl ban: who is kept away.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/bans.pb.h"
#include "verbs/paging.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

struct BanArguments {
  std::string client;
  std::string user;
  std::string address;
  std::string lasts;
  std::string reason;
};

void AddWho(CLI::App& verb, BanArguments& arguments) {
  CLI::Option_group* const who = verb.add_option_group("whom");
  who->add_option("--client", arguments.client, "A Client Identifier");
  who->add_option("--user", arguments.user, "A user name");
  who->add_option("--address", arguments.address, "An address or network: 192.0.2.0/24");
  who->require_option(1);
}

void Fill(const BanArguments& arguments, pb::Ban& ban) {
  if (!arguments.client.empty()) ban.set_client_id(arguments.client);
  if (!arguments.user.empty()) ban.set_user_name(arguments.user);
  if (!arguments.address.empty()) ban.set_address(arguments.address);
}

absl::Status List(AdminSession& session, const VerbContext& context) {
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListBansResponse>(
      session, "Bans/List", pb::ListBansRequest(), 0,
      [](const auto& response) -> const auto& { return response.bans(); }, all));
  context.Print(RenderList(all,
                           {{"CLIENT", "client_id"},
                            {"USER", "user_name"},
                            {"ADDRESS", "address"},
                            {"ENDS", "ends"},
                            {"BY", "by"},
                            {"REASON", "reason"},
                            {"SET", "set", true}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status Add(AdminSession& session, const VerbContext& context, const BanArguments& arguments) {
  pb::SetBanRequest request;
  Fill(arguments, *request.mutable_ban());
  request.mutable_ban()->set_reason(arguments.reason);
  if (!arguments.lasts.empty()) {
    absl::Duration lasts;
    if (!absl::ParseDuration(arguments.lasts, &lasts) || lasts <= absl::ZeroDuration())
      return absl::InvalidArgumentError("--for is such as 90s, 30m or 24h");
    request.mutable_ban()->mutable_ends()->set_seconds(absl::ToUnixSeconds(absl::Now() + lasts));
  }
  pb::SetBanResponse response;
  RETURN_IF_ERROR(session.Call("Bans/Set", request, response));
  PrintDone(
      context,
      absl::StrCat("banned; ", base::Counted(response.disconnected(), "client"), " disconnected\n"),
      response);
  return absl::OkStatus();
}

absl::Status Remove(AdminSession& session, const VerbContext& context,
                    const BanArguments& arguments) {
  pb::RemoveBanRequest request;
  Fill(arguments, *request.mutable_ban());
  pb::RemoveBanResponse response;
  RETURN_IF_ERROR(session.Call("Bans/Remove", request, response));
  PrintDone(context, "removed\n", response);
  return absl::OkStatus();
}

}  // namespace

void AddBanVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "ban", "Clients, users and addresses that are kept away");
  context.AddVerb(noun, "list", "The bans in force.\n\nExample: mqttctl ban list",
                  [&context](AdminSession& session) { return List(session, context); });
  const auto added = std::make_shared<BanArguments>();
  CLI::App& add = context.AddVerb(
      noun, "add",
      "Keeps somebody away, from now on and after restarts; who is connected is disconnected.\n\n"
      "Example: mqttctl ban add --address 192.0.2.0/24 --for 24h --reason 'port scans'",
      [&context, added](AdminSession& session) { return Add(session, context, *added); });
  AddWho(add, *added);
  add.add_option("--for", added->lasts, "How long: 90s, 30m, 24h (for good)");
  add.add_option("--reason", added->reason, "For operators and the log");
  const auto removed = std::make_shared<BanArguments>();
  CLI::App& remove = context.AddVerb(
      noun, "remove", "Lets it in again.\n\nExample: mqttctl ban remove --user mallory",
      [&context, removed](AdminSession& session) { return Remove(session, context, *removed); });
  AddWho(remove, *removed);
}

}  // namespace mqttctl
