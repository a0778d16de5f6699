// mqttctl client: who is connected.
#include <CLI/Option.hpp>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/clients.pb.h"
#include "verbs/paging.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

// The options of a filter; they live as long as the command.
struct FilterArguments {
  std::string client_id;
  std::string user;
  std::string address;
  std::string listener;
  std::string protocol;
  bool anonymous = false;
  uint64_t limit = 0;
};

void AddFilterOptions(CLI::App& verb, FilterArguments& arguments) {
  verb.add_option("--client", arguments.client_id, "Client Identifier, with * and ?");
  verb.add_option("--user", arguments.user, "User name, with * and ?");
  verb.add_flag("--anonymous", arguments.anonymous, "Only those without a user name");
  verb.add_option("--address", arguments.address, "Address or network: 192.0.2.0/24");
  verb.add_option("--listener", arguments.listener, "Name of the listener");
  verb.add_option("--protocol", arguments.protocol, "3.1, 3.1.1 or 5.0")
      ->check(CLI::IsMember({"3.1", "3.1.1", "5.0", "5"}));
}

void Fill(const FilterArguments& arguments, pb::ClientFilter& filter) {
  filter.set_client_id(arguments.client_id);
  filter.set_user_name(arguments.user);
  filter.set_anonymous(arguments.anonymous);
  filter.set_address(arguments.address);
  filter.set_listener(arguments.listener);
  if (arguments.protocol == "3.1") filter.set_protocol(pb::PROTOCOL_VERSION_3_1);
  if (arguments.protocol == "3.1.1") filter.set_protocol(pb::PROTOCOL_VERSION_3_1_1);
  if (arguments.protocol == "5" || arguments.protocol == "5.0")
    filter.set_protocol(pb::PROTOCOL_VERSION_5_0);
}

absl::Status List(AdminSession& session, const VerbContext& context,
                  const FilterArguments& arguments) {
  pb::ListClientsRequest request;
  Fill(arguments, *request.mutable_filter());
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListClientsResponse>(
      session, "Clients/List", request, arguments.limit,
      [](const auto& response) -> const auto& { return response.clients(); }, all));
  static const auto* const columns = new std::vector<Column>{
      {"CLIENT", "client_id"},
      {"USER", "user_name"},
      {"ADDRESS", "address"},
      {"LISTENER", "listener"},
      {"PROTOCOL", "protocol"},
      {"CONNECTED", "connected"},
      {"SUBSCRIPTIONS", "subscriptions"},
      {"DURABLE", "durable"},
      {"IDLE_S", "idle", true},
      {"KEEP_ALIVE_S", "keep_alive", true},
      {"INFLIGHT_OUT", "inflight_out", true},
      {"INFLIGHT_IN", "inflight_in", true},
      {"PAUSED", "paused", true},
  };
  context.Print(RenderList(all, *columns, context.form()));
  return absl::OkStatus();
}

absl::Status Show(AdminSession& session, const VerbContext& context, const std::string& client_id) {
  pb::GetClientRequest request;
  request.set_client_id(client_id);
  pb::GetClientResponse response;
  RETURN_IF_ERROR(session.Call("Clients/Get", request, response));
  context.Print(Render(ToJson(response.client()), context.form()));
  return absl::OkStatus();
}

struct KickArguments {
  std::string client_id;
  FilterArguments filter;
  std::string reason;
  bool end_session = false;
  bool no_will = false;
};

absl::Status Kick(AdminSession& session, const VerbContext& context,
                  const KickArguments& arguments) {
  pb::KickClientsRequest request;
  if (arguments.client_id.empty()) {
    Fill(arguments.filter, *request.mutable_filter());
  } else {
    request.set_client_id(arguments.client_id);
  }
  uint32_t reason = 0;
  if (!arguments.reason.empty() && !absl::SimpleHexAtoi(arguments.reason, &reason))
    return absl::InvalidArgumentError("--reason is hexadecimal, as in 0x98");
  request.set_reason_code(reason);
  request.set_end_session(arguments.end_session);
  request.set_suppress_will(arguments.no_will);
  pb::KickClientsResponse response;
  RETURN_IF_ERROR(session.Call("Clients/Kick", request, response));
  PrintDone(context, absl::StrCat(base::Counted(response.kicked(), "client"), " disconnected\n"),
            response);
  return absl::OkStatus();
}

}  // namespace

void AddClientVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "client", "Connected clients: list, show, disconnect");
  const auto filter = std::make_shared<FilterArguments>();
  CLI::App& list = context.AddVerb(
      noun, "list", "Connected clients.\n\nExample: mqttctl client list --client 'sensor-*'",
      [&context, filter](AdminSession& session) { return List(session, context, *filter); });
  AddFilterOptions(list, *filter);
  list.add_option("--limit", filter->limit, "At most so many");
  const auto shown = std::make_shared<std::string>();
  CLI::App& show = context.AddVerb(
      noun, "show", "One client.\n\nExample: mqttctl client show sensor-7 -o yaml",
      [&context, shown](AdminSession& session) { return Show(session, context, *shown); });
  show.add_option("client", *shown, "Client Identifier")->required();
  const auto kicked = std::make_shared<KickArguments>();
  CLI::App& kick = context.AddVerb(
      noun, "kick",
      "Disconnects a client, or all that match a filter. Most come back at once.\n\n"
      "Example: mqttctl client kick sensor-7 --reason 0x98",
      [&context, kicked](AdminSession& session) { return Kick(session, context, *kicked); });
  kick.add_option("client", kicked->client_id, "Client Identifier");
  AddFilterOptions(kick, kicked->filter);
  kick.add_option("--reason", kicked->reason, "Reason Code of DISCONNECT, hexadecimal (0x98)");
  kick.add_flag("--end-session", kicked->end_session,
                "End the session too: subscriptions and queued messages are lost");
  kick.add_flag("--no-will", kicked->no_will, "Do not send the will");
}

}  // namespace mqttctl
