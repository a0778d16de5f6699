// mqttctl session and subscription: what the broker keeps of a client.
#include <CLI/Option.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/sessions.pb.h"
#include "verbs/paging.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

struct ListArguments {
  std::string client_id;
  std::string user;
  std::string connected;
  bool durable = false;
  uint64_t queued_min = 0;
  uint32_t away_s = 0;
  uint32_t limit = 0;
};

absl::Status List(AdminSession& session, const VerbContext& context,
                  const ListArguments& arguments) {
  pb::ListSessionsRequest request;
  pb::SessionFilter& filter = *request.mutable_filter();
  filter.set_client_id(arguments.client_id);
  filter.set_user_name(arguments.user);
  if (arguments.connected == "yes") filter.set_connected(pb::SessionFilter::CONNECTED_YES);
  if (arguments.connected == "no") filter.set_connected(pb::SessionFilter::CONNECTED_NO);
  filter.set_durable(arguments.durable);
  filter.set_queued_messages_min(arguments.queued_min);
  if (arguments.away_s != 0) filter.mutable_away_min()->set_seconds(arguments.away_s);
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListSessionsResponse>(
      session, "Sessions/List", request, arguments.limit,
      [](const auto& response) -> const auto& { return response.sessions(); }, all));
  context.Print(RenderList(all,
                           {{"CLIENT", "client_id"},
                            {"USER", "user_name"},
                            {"DURABLE", "durable"},
                            {"CONNECTED", "connected"},
                            {"SUBSCRIPTIONS", "subscriptions"},
                            {"QUEUED", "queued_messages"},
                            {"QUEUED_BYTES", "queued_bytes"},
                            {"DROPPED", "dropped_messages"},
                            {"ENDS", "ends"},
                            {"LISTENER", "listener", true},
                            {"PROTOCOL", "protocol", true},
                            {"CREATED", "created", true},
                            {"DISCONNECTED", "disconnected", true}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status Show(AdminSession& session, const VerbContext& context, const std::string& client_id) {
  pb::GetSessionRequest request;
  request.set_client_id(client_id);
  pb::GetSessionResponse response;
  RETURN_IF_ERROR(session.Call("Sessions/Get", request, response));
  context.Print(Render(ToJson(response.session()), context.form()));
  return absl::OkStatus();
}

struct QueueArguments {
  std::string client_id;
  uint64_t payload_bytes = 64;
  uint32_t limit = 0;
};

absl::Status Queue(AdminSession& session, const VerbContext& context,
                   const QueueArguments& arguments) {
  pb::ListQueueRequest request;
  request.set_client_id(arguments.client_id);
  request.set_payload_bytes_max(arguments.payload_bytes);
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListQueueResponse>(
      session, "Sessions/ListQueue", request, arguments.limit,
      [](const auto& response) -> const auto& { return response.messages(); }, all));
  context.Print(RenderList(all,
                           {{"SEQUENCE", "sequence"},
                            {"STATE", "state"},
                            {"TOPIC", "message.topic"},
                            {"QOS", "message.qos"},
                            {"BYTES", "message.payload_bytes"},
                            {"PUBLISHED", "message.published"},
                            {"PAYLOAD", "message.payload"}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status InFlight(AdminSession& session, const VerbContext& context,
                      const std::string& client_id) {
  pb::ListInFlightRequest request;
  request.set_client_id(client_id);
  pb::ListInFlightResponse response;
  RETURN_IF_ERROR(session.Call("Sessions/ListInFlight", request, response));
  context.Print(Render(ToJson(response), context.form()));
  return absl::OkStatus();
}

absl::Status Delete(AdminSession& session, const VerbContext& context,
                    const std::string& client_id) {
  pb::GetSessionRequest get;
  get.set_client_id(client_id);
  pb::GetSessionResponse now;
  RETURN_IF_ERROR(session.Call("Sessions/Get", get, now));
  RETURN_IF_ERROR(context.Confirm(absl::StrCat(
      "This ends the session of \"", client_id,
      "\": ", base::Counted(now.session().subscriptions(), "subscription"), " and ",
      base::Counted(now.session().queued_messages(), "queued message"), " are lost.")));
  pb::DeleteSessionRequest request;
  request.set_client_id(client_id);
  pb::DeleteSessionResponse response;
  RETURN_IF_ERROR(session.Call("Sessions/Delete", request, response));
  context.Print(Render(ToJson(response), context.form()));
  return absl::OkStatus();
}

absl::Status ListSubscriptions(AdminSession& session, const VerbContext& context,
                               const std::string& client_id) {
  pb::ListSessionSubscriptionsRequest request;
  request.set_client_id(client_id);
  Json all;
  RETURN_IF_ERROR(ListAll<pb::ListSessionSubscriptionsResponse>(
      session, "Sessions/ListSubscriptions", request, 0,
      [](const auto& response) -> const auto& { return response.subscriptions(); }, all));
  context.Print(RenderList(all,
                           {{"FILTER", "filter"},
                            {"QOS", "qos"},
                            {"NO_LOCAL", "no_local"},
                            {"RETAIN_AS_PUBLISHED", "retain_as_published"},
                            {"ID", "subscription_id"}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status Slow(AdminSession& session, const VerbContext& context, uint32_t limit) {
  pb::ListSlowSessionsRequest request;
  request.set_count(limit);
  pb::ListSlowSessionsResponse response;
  RETURN_IF_ERROR(session.Call("Sessions/ListSlow", request, response));
  context.Print(RenderList(ToJson(response)["sessions"],
                           {{"CLIENT", "client_id"},
                            {"CONNECTED", "connected"},
                            {"QUEUED", "queued_messages"},
                            {"QUEUED_BYTES", "queued_bytes"},
                            {"OUTPUT_BYTES", "output_bytes"},
                            {"INFLIGHT", "inflight_out"},
                            {"WINDOW", "receive_maximum", true},
                            {"DROPPED", "dropped_messages"}},
                           context.form()));
  return absl::OkStatus();
}

}  // namespace

void AddSessionVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "session", "Sessions: what is kept of a client");
  const auto listed = std::make_shared<ListArguments>();
  CLI::App& list = context.AddVerb(
      noun, "list",
      "Sessions that match, connected or not.\n\nExample: mqttctl session list --queued-min 1",
      [&context, listed](AdminSession& session) { return List(session, context, *listed); });
  list.add_option("--client", listed->client_id, "Client Identifier, with * and ?");
  list.add_option("--user", listed->user, "Whose it is, with * and ?");
  list.add_option("--connected", listed->connected, "yes or no")
      ->check(CLI::IsMember({"yes", "no"}));
  list.add_flag("--durable", listed->durable, "Only those that outlive their connection");
  list.add_option("--queued-min", listed->queued_min, "With at least so many queued messages");
  list.add_option("--away", listed->away_s, "Whose client has been away for so many seconds");
  list.add_option("--limit", listed->limit, "At most so many");

  const auto of_client = [&](const std::string& name, const std::string& help, auto run) {
    const auto client = std::make_shared<std::string>();
    CLI::App& verb = context.AddVerb(noun, name, help, [&context, client, run](auto& session) {
      return run(session, context, *client);
    });
    verb.add_option("client", *client, "Client Identifier")->required();
  };
  of_client("show", "One session.\n\nExample: mqttctl session show sensor-7", &Show);
  of_client("inflight",
            "What is on its way between the broker and the client, both ways.\n\n"
            "Example: mqttctl session inflight sensor-7 -o json",
            &InFlight);
  of_client("delete",
            "Ends a session: its subscriptions and queued messages are lost.\n\n"
            "Example: mqttctl session delete sensor-7 --yes",
            &Delete);
  const auto queued = std::make_shared<QueueArguments>();
  const auto slowest = std::make_shared<uint32_t>(0);
  CLI::App& slow = context.AddVerb(
      noun, "slow",
      "Slow subscribers: whose messages wait most.\n\nExample: mqttctl session slow --limit 5",
      [&context, slowest](AdminSession& session) { return Slow(session, context, *slowest); });
  slow.add_option("--limit", *slowest, "At most so many (20)");
  CLI::App& queue = context.AddVerb(
      noun, "queue",
      "The queue of a durable session, in the order in which it is sent.\n\n"
      "Example: mqttctl session queue sensor-7 --limit 10",
      [&context, queued](AdminSession& session) { return Queue(session, context, *queued); });
  queue.add_option("client", queued->client_id, "Client Identifier")->required();
  queue.add_option("--payload-bytes", queued->payload_bytes, "How much of each payload (64)");
  queue.add_option("--limit", queued->limit, "At most so many");

  CLI::App& subscription =
      context.AddNoun(app, "subscription", "Subscriptions: what a client wants to have");
  const auto subscriber = std::make_shared<std::string>();
  CLI::App& subscriptions = context.AddVerb(
      subscription, "list",
      "The subscriptions of a session.\n\nExample: mqttctl subscription list sensor-7",
      [&context, subscriber](AdminSession& session) {
        return ListSubscriptions(session, context, *subscriber);
      });
  subscriptions.add_option("client", *subscriber, "Client Identifier")->required();
}

}  // namespace mqttctl
