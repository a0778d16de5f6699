// mqttctl events and trace: what happens, as it happens.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/watch.pb.h"
#include "terminal.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

std::string Entries(uint64_t count) {
  return absl::StrCat(count, count == 1 ? " entry" : " entries");
}

std::string Words(const pb::WatchEventsResponse& event) {
  if (event.has_lost()) {
    return absl::StrCat("(", Entries(event.lost().entries()),
                        " left out: they came faster than they were read)");
  }
  if (event.has_client()) {
    const pb::ClientEvent& client = event.client();
    const std::string who =
        absl::StrCat(client.client_id(), client.user_name().empty() ? "" : " of ",
                     client.user_name(), " from ", client.address(), " at ", client.listener());
    return client.connected() ? absl::StrCat("connected  ", who)
                              : absl::StrCat("gone       ", who, ": ", client.cause());
  }
  if (event.has_drops()) {
    return absl::StrCat(
        "dropped    ",
        absl::StrJoin(event.drops().drops(), ", ", [](std::string* out, const pb::DropCount& each) {
          absl::StrAppend(out, each.cause(), " ", each.messages());
        }));
  }
  return absl::StrCat("node       ", ToJson(event.state())["state"].get<std::string>(),
                      event.state().problem().empty() ? "" : ": ", event.state().problem());
}

struct EventsArguments {
  pb::WatchEventsRequest request;
  bool clients = false;
  bool drops = false;
  bool state = false;
  uint64_t count = 0;
};

absl::Status Events(AdminSession& session, const VerbContext& context,
                    const EventsArguments& arguments) {
  pb::WatchEventsRequest request = arguments.request;
  request.set_clients(arguments.clients);
  request.set_drops(arguments.drops);
  request.set_state(arguments.state);
  pb::WatchEventsResponse event;
  uint64_t events = 0;
  return session.Stream("Watch/Events", request, event, [&] {
    const Json json = ToJson(event);
    std::string line;
    if (!context.form().table()) {
      line = json.dump() + "\n";
    } else if (!event.has_started()) {
      line = absl::StrCat(json["at"].get<std::string>(), " ", OneLine(Words(event)), "\n");
    }
    if (!context.Print(line)) return false;
    events += event.has_started() || event.has_lost() ? 0 : 1;
    return arguments.count == 0 || events < arguments.count;
  });
}

std::string Words(const pb::TraceResponse& entry, const Json& json) {
  if (entry.kind() == pb::TraceResponse::KIND_LOST)
    return absl::StrCat("(", Entries(entry.entries()), " left out)");
  std::string words = absl::StrCat(json["kind"].get<std::string>(), " ", entry.client_id());
  if (!entry.packet().empty()) absl::StrAppend(&words, " ", entry.packet());
  if (!entry.topic().empty()) absl::StrAppend(&words, " ", entry.topic(), " QoS ", entry.qos());
  if (entry.bytes() != 0) absl::StrAppend(&words, " (", entry.bytes(), " bytes)");
  if (!entry.words().empty()) absl::StrAppend(&words, ": ", entry.words());
  return words;
}

struct TraceArguments {
  pb::TraceRequest request;
  uint64_t count = 0;
};

absl::Status Trace(AdminSession& session, const VerbContext& context,
                   const TraceArguments& arguments) {
  pb::TraceResponse entry;
  uint64_t entries = 0;
  return session.Stream("Watch/Trace", arguments.request, entry, [&] {
    const bool counts = entry.kind() != pb::TraceResponse::KIND_STARTED &&
                        entry.kind() != pb::TraceResponse::KIND_LOST;
    const Json json = ToJson(entry);
    std::string line;
    if (!context.form().table()) {
      line = json.dump() + "\n";
    } else if (entry.kind() != pb::TraceResponse::KIND_STARTED) {
      line = absl::StrCat(json["at"].get<std::string>(), " ", OneLine(Words(entry, json)), "\n");
    }
    if (!context.Print(line)) return false;
    entries += counts ? 1 : 0;
    return arguments.count == 0 || entries < arguments.count;
  });
}

}  // namespace

void AddWatchVerbs(CLI::App& app, VerbContext& context) {
  const auto watched = std::make_shared<EventsArguments>();
  CLI::App& events = context.AddVerb(
      app, "events",
      "Clients that come and go, messages that are dropped, and the state of nodes, as it "
      "happens.\n\n"
      "Example: mqttctl events --clients --count 2",
      [&context, watched](AdminSession& session) { return Events(session, context, *watched); });
  events.add_flag("--clients", watched->clients, "Clients that come and go");
  events.add_flag("--drops", watched->drops, "Messages that are dropped, once a second by cause");
  events.add_flag("--state", watched->state, "Nodes that are not as they were");
  events.add_option("--client", *watched->request.mutable_client_id(),
                    "Only of these Client Identifiers, with * and ?");
  events.add_option("--count", watched->count, "End after so many");
  const auto traced = std::make_shared<TraceArguments>();
  CLI::App& trace = context.AddVerb(
      app, "trace",
      "Each packet of a client and what is decided about it, or each message to a topic.\n\n"
      "Example: mqttctl trace --client 'sensor-*' --count 2",
      [&context, traced](AdminSession& session) { return Trace(session, context, *traced); });
  trace.add_option("--client", *traced->request.mutable_client_id(),
                   "Client Identifier, with * and ?");
  trace.add_option("--topic", *traced->request.mutable_filter(),
                   "Only messages whose topic matches this filter");
  trace.add_option("--count", traced->count, "End after so many");
}

}  // namespace mqttctl
