// mqttctl client: who is connected.
#include <CLI/Option.hpp>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/clients.pb.h"
#include "mqttd/admin/v1/sessions.pb.h"
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

// It restricts nothing, whatever was given.
bool IsEverybody(const FilterArguments& filter) {
  const auto any = [](const std::string& pattern) {
    return pattern.find_first_not_of('*') == std::string::npos;
  };
  return any(filter.client_id) && any(filter.user) && !filter.anonymous &&
         filter.listener.empty() && filter.protocol.empty() &&
         (filter.address.empty() || absl::EndsWith(filter.address, "/0"));
}

// Those that are meant, as they are now. None, where one that is named is not connected.
absl::StatusOr<Json> ClientsMeant(AdminSession& session, const pb::KickClientsRequest& meant) {
  if (meant.target_case() == pb::KickClientsRequest::kClientId) {
    pb::GetClientRequest request;
    request.set_client_id(meant.client_id());
    pb::GetClientResponse response;
    const absl::Status status = session.Call("Clients/Get", request, response);
    if (absl::IsNotFound(status)) return Json::array();
    if (!status.ok()) return status;
    return Json::array({ToJson(response.client())});
  }
  pb::ListClientsRequest request;
  *request.mutable_filter() = meant.filter();
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListClientsResponse>(
      session, "Clients/List", request, 0,
      [](const auto& response) -> const auto& { return response.clients(); }, all));
  return all;
}

// Of the sessions of these clients.
absl::StatusOr<uint64_t> QueuedMessages(AdminSession& session, const pb::KickClientsRequest& meant,
                                        const Json& clients) {
  if (meant.target_case() == pb::KickClientsRequest::kClientId) {
    pb::GetSessionRequest request;
    request.set_client_id(meant.client_id());
    pb::GetSessionResponse response;
    const absl::Status status = session.Call("Sessions/Get", request, response);
    if (!status.ok() && !absl::IsNotFound(status)) return status;
    return response.session().queued_messages();
  }
  std::set<std::string> names;
  for (const Json& client : clients) names.insert(client["client_id"].get<std::string>());
  pb::ListSessionsRequest request;
  request.mutable_filter()->set_client_id(meant.filter().client_id());
  request.mutable_filter()->set_connected(pb::SessionFilter::CONNECTED_YES);
  Json sessions;
  RETURN_IF_ERROR(ListAll<pb::ListSessionsResponse>(
      session, "Sessions/List", request, 0,
      [](const auto& response) -> const auto& { return response.sessions(); }, sessions));
  uint64_t queued = 0;
  for (const Json& each : sessions) {
    if (names.contains(each["client_id"].get<std::string>()))
      queued += each["queued_messages"].get<uint64_t>();
  }
  return queued;
}

// Asks, if something is lost, or if it is everybody.
absl::Status ConfirmKick(AdminSession& session, const VerbContext& context,
                         const pb::KickClientsRequest& request, bool everybody) {
  if (context.yes || !(everybody || request.end_session() || request.suppress_will()))
    return absl::OkStatus();
  ASSIGN_OR_RETURN(const Json clients, ClientsMeant(session, request));
  const bool one = clients.size() == 1;
  uint64_t subscriptions = 0;
  uint64_t wills = 0;
  for (const Json& client : clients) {
    subscriptions += client["subscriptions"].get<uint64_t>();
    wills += client["will"].get<bool>() ? 1 : 0;
  }
  if (!request.suppress_will()) wills = 0;
  if (clients.empty() || !(everybody || request.end_session() || wills > 0))
    return absl::OkStatus();
  std::string words = absl::StrCat("This disconnects ", everybody ? "everybody, " : "",
                                   base::Counted(clients.size(), "client"));
  if (request.end_session()) {
    ASSIGN_OR_RETURN(const uint64_t queued, QueuedMessages(session, request, clients));
    absl::StrAppend(&words, " and ends ", one ? "its session" : "their sessions", ": ",
                    base::Counted(subscriptions, "subscription"), " and ",
                    base::Counted(queued, "queued message"), " are lost");
  }
  if (wills > 0) {
    absl::StrAppend(&words, "; ", base::Counted(wills, "will"), wills == 1 ? " is" : " are",
                    " not sent");
  }
  return context.Confirm(words + ".");
}

absl::Status Kick(AdminSession& session, const VerbContext& context,
                  const KickArguments& arguments) {
  pb::KickClientsRequest request;
  Fill(arguments.filter, *request.mutable_filter());
  const bool filtered = request.filter().ByteSizeLong() > 0;
  if (filtered && !arguments.client_id.empty())
    return absl::InvalidArgumentError("a client by its name, or a filter: not both");
  if (!arguments.client_id.empty()) request.set_client_id(arguments.client_id);
  uint32_t reason = 0;
  if (!arguments.reason.empty() && !absl::SimpleHexAtoi(arguments.reason, &reason))
    return absl::InvalidArgumentError("--reason is hexadecimal, as in 0x98");
  request.set_reason_code(reason);
  request.set_end_session(arguments.end_session);
  request.set_suppress_will(arguments.no_will);
  RETURN_IF_ERROR(
      ConfirmKick(session, context, request, filtered && IsEverybody(arguments.filter)));
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
      "Disconnects a client, or all that match a filter. Most come back at once. Asks if "
      "something\n"
      "is lost by it, or if it is everybody.\n\n"
      "Example: mqttctl client kick sensor-7 --reason 0x98",
      [&context, kicked](AdminSession& session) { return Kick(session, context, *kicked); });
  // Of a variable of the shell that is not set: it would mean more clients than it was to mean.
  const CLI::Validator not_empty(
      [](const std::string& value) {
        return value.empty() ? std::string("it is empty; \"*\" is everybody") : std::string();
      },
      "");
  kick.add_option("client", kicked->client_id, "Client Identifier")->check(not_empty);
  AddFilterOptions(kick, kicked->filter);
  for (const char* const name : {"--client", "--user", "--address", "--listener"})
    kick.get_option(name)->check(not_empty);
  kick.add_option("--reason", kicked->reason, "Reason Code of DISCONNECT, hexadecimal (0x98)");
  kick.add_flag("--end-session", kicked->end_session,
                "End the session too: subscriptions and queued messages are lost");
  kick.add_flag("--no-will", kicked->no_will, "Do not send the will");
}

}  // namespace mqttctl
