// mqttctl cluster: the cluster as a whole.
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/cluster.pb.h"
#include "verbs/paging.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

const std::vector<Column>& MemberColumns() {
  static const auto* const columns = new std::vector<Column>{
      {"NODE", "node"},
      {"STATE", "state"},
      {"NUMBER", "number"},
      {"CLIENTS", "clients_connected"},
      {"LEADS", "partitions_led"},
      {"VERSION", "version"},
      {"UPTIME_S", "uptime"},
      {"ADMIN", "admin_address"},
      {"LISTENERS", "listeners"},
      {"PROBLEM", "problem"},
      {"CLUSTER", "cluster_address", true},
      {"INCARNATION", "incarnation", true},
      {"ZONE", "zone", true},
      {"MEMORY", "memory_used_bytes", true},
  };
  return *columns;
}

absl::Status ShowStatus(AdminSession& session, const VerbContext& context) {
  pb::ClusterStatusResponse response;
  RETURN_IF_ERROR(session.Call("Cluster/Status", pb::ClusterStatusRequest(), response));
  Json status = ToJson(response);
  if (!context.form().table()) {
    context.Print(Render(status, context.form()));
    return absl::OkStatus();
  }
  const Json members = status["members"];
  status.erase("members");
  status.erase("missing");  // A warning says it, and so do the members.
  context.Print(Render(status, context.form()) + "\n" +
                RenderList(members, MemberColumns(), context.form()));
  return absl::OkStatus();
}

absl::Status ShowMembers(AdminSession& session, const VerbContext& context) {
  pb::ClusterStatusResponse response;
  RETURN_IF_ERROR(session.Call("Cluster/Status", pb::ClusterStatusRequest(), response));
  context.Print(RenderList(ToJson(response)["members"], MemberColumns(), context.form()));
  return absl::OkStatus();
}

// Of a partition's replicas: the numbers of their nodes, and how far behind they are.
Json ReplicasInWords(const Json& replicas) {
  Json words = Json::array();
  for (const Json& replica : replicas) {
    std::string one = absl::StrCat(replica["number"].get<uint64_t>());
    const uint64_t behind = replica["behind"].get<uint64_t>();
    if (!replica["answered"].get<bool>()) {
      one += " (no answer)";
    } else if (!replica["problem"].get<std::string>().empty()) {
      one += absl::StrCat(" (", replica["problem"].get<std::string>(), ")");
    } else if (behind != 0) {
      one += absl::StrCat(" (-", behind, ")");
    }
    words.push_back(one);
  }
  return words;
}

absl::Status ShowPlacement(AdminSession& session, const VerbContext& context,
                           const std::string& node) {
  pb::ClusterPlacementRequest request;
  request.set_node(node);
  pb::ClusterPlacementResponse response;
  RETURN_IF_ERROR(session.Call("Cluster/Placement", request, response));
  Json placement = ToJson(response);
  if (!context.form().table()) {
    context.Print(Render(placement, context.form()));
    return absl::OkStatus();
  }
  for (Json& partition : placement["partitions"]) {
    partition["on"] = ReplicasInWords(partition["replicas"]);
    if (partition["leader"].get<std::string>().empty()) partition["leader_number"] = "none";
  }
  context.Print(RenderList(placement["partitions"],
                           {{"PARTITION", "partition"},
                            {"LEADER", "leader_number"},
                            {"TERM", "term"},
                            {"APPLIED", "applied"},
                            {"REPLICAS", "on"},
                            {"SESSIONS", "sessions"},
                            {"RETAINED", "retained_messages"},
                            {"NO_MAJORITY", "without_majority"},
                            {"LEADER_NODE", "leader", true},
                            {"PREFERRED", "preferred", true}},
                           context.form()));
  return absl::OkStatus();
}

constexpr uint32_t kRoutesAtOnce = 10'000;  // In a page.

struct RouteArguments {
  std::string node;
  std::string filter;
  uint32_t limit = kPageSize;  // For each page a node goes through all of its subscriptions.
};

// "1:20 3:4 (QoS 0)": how many subscriptions there are where.
Json PlacesInWords(const Json& places, const char* number) {
  Json words = Json::array();
  for (const Json& place : places) {
    std::string one =
        absl::StrCat(place[number].get<uint64_t>(), ":", place["subscriptions"].get<uint64_t>());
    const uint64_t qos0 = place.value("subscriptions_qos0", uint64_t{0});
    if (qos0 != 0) absl::StrAppend(&one, "+", qos0, " (QoS 0)");
    words.push_back(one);
  }
  return words;
}

absl::Status ShowRoutes(AdminSession& session, const VerbContext& context,
                        const RouteArguments& arguments) {
  pb::ListRoutesRequest request;
  request.set_node(arguments.node);
  request.set_filter(arguments.filter);
  Json routes;
  Json nodes = Json::array();
  bool more = false;
  RETURN_IF_ERROR(ListAll<pb::ListRoutesResponse>(
      session, "Cluster/ListRoutes", request, arguments.limit,
      [&nodes, &more ](const auto& response) -> const auto& {
        nodes = ToJson(response)["nodes"];
        more = !response.page().next().empty();
        return response.routes();
      },
      routes, kRoutesAtOnce));
  if (more) {
    std::fprintf(stderr,
                 "Warning: there are more than these %zu filters: say which with --filter, or how "
                 "many with --limit (0: all)\n",
                 routes.size());
  }
  if (!context.form().table()) {
    context.Print(Render(Json{{"routes", routes}, {"nodes", nodes}}, context.form()));
    return absl::OkStatus();
  }
  for (Json& route : routes) {
    route["to_nodes"] = PlacesInWords(route["nodes"], "number");
    route["to_partitions"] = PlacesInWords(route["partitions"], "partition");
  }
  context.Print(
      RenderList(routes,
                 {{"FILTER", "filter"}, {"NODES", "to_nodes"}, {"PARTITIONS", "to_partitions"}},
                 context.form()) +
      "\n" +
      RenderList(nodes,
                 {{"NODE", "node"},
                  {"NUMBER", "number"},
                  {"TOLD", "told"},
                  {"UNKNOWN", "unknown"},
                  {"UNAWARE", "unaware"}},
                 context.form()));
  return absl::OkStatus();
}

// Seconds as milliseconds, for people.
Json Milliseconds(const Json& seconds) {
  if (!seconds.is_number()) return "";
  return absl::StrFormat("%.3f", seconds.get<double>() * 1000);
}

absl::Status ShowLinks(AdminSession& session, const VerbContext& context) {
  pb::ClusterLinksResponse response;
  RETURN_IF_ERROR(session.Call("Cluster/Links", pb::ClusterLinksRequest(), response));
  Json links = ToJson(response);
  if (!context.form().table()) {
    context.Print(Render(links, context.form()));
    return absl::OkStatus();
  }
  for (Json& link : links["links"]) {
    link["round_trip"] = Milliseconds(link["round_trip"]);
    uint64_t sent = 0;
    uint64_t on_way = 0;
    for (const Json& stream : link["streams"]) {
      sent += stream["bytes"].get<uint64_t>();
      on_way += stream["bytes_on_way"].get<uint64_t>();
    }
    link["sent"] = sent;
    link["on_way"] = on_way;
  }
  context.Print(RenderList(links["links"],
                           {{"FROM", "from_number"},
                            {"TO", "to_number"},
                            {"UP", "up"},
                            {"ROUND_TRIP_MS", "round_trip"},
                            {"SENT_BYTES", "sent"},
                            {"ON_WAY_BYTES", "on_way"},
                            {"LOST", "disconnected"},
                            {"WHY", "why"},
                            {"ADDRESS", "address", true}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status Ping(AdminSession& session, const VerbContext& context, uint32_t count) {
  pb::ClusterPingRequest request;
  request.set_count(count);
  pb::ClusterPingResponse response;
  RETURN_IF_ERROR(session.Call("Cluster/Ping", request, response));
  Json pings = ToJson(response);
  if (!context.form().table()) {
    context.Print(Render(pings, context.form()));
    return absl::OkStatus();
  }
  for (Json& ping : pings["pings"]) {
    for (const char* const field : {"least", "mean", "most"})
      ping[field] = Milliseconds(ping[field]);
  }
  context.Print(RenderList(pings["pings"],
                           {{"NODE", "node"},
                            {"NUMBER", "number"},
                            {"ANSWERS", "answers"},
                            {"LEAST_MS", "least"},
                            {"MEAN_MS", "mean"},
                            {"MOST_MS", "most"}},
                           context.form()));
  return absl::OkStatus();
}

absl::Status Join(AdminSession& session, const VerbContext& context, const std::string& addresses) {
  pb::ClusterJoinRequest request;
  for (const absl::string_view address : absl::StrSplit(addresses, ',', absl::SkipWhitespace()))
    request.add_addresses(std::string(absl::StripAsciiWhitespace(address)));
  pb::ClusterJoinResponse response;
  RETURN_IF_ERROR(session.Call("Cluster/Join", request, response));
  PrintDone(context,
            absl::StrCat("node ", response.number(), " of cluster ", response.cluster_id(),
                         ", one of ", response.members(), "\n"),
            response);
  return absl::OkStatus();
}

absl::Status Forget(AdminSession& session, const VerbContext& context, const std::string& node) {
  RETURN_IF_ERROR(
      context.Confirm(absl::StrCat("Node ", node,
                                   " is a member of the cluster no more: what is on its disk is "
                                   "worth nothing from then on.")));
  pb::ClusterForgetRequest request;
  request.set_node(node);
  pb::ClusterForgetResponse response;
  RETURN_IF_ERROR(session.Call("Cluster/Forget", request, response));
  PrintDone(context, absl::StrCat("node ", response.number(), " is forgotten\n"), response);
  return absl::OkStatus();
}

}  // namespace

void AddClusterVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "cluster", "The cluster: members, placement, links");
  context.AddVerb(noun, "status",
                  "How the cluster is, in a few numbers, and its members.\n\n"
                  "Example: mqttctl cluster status -o json",
                  [&context](AdminSession& session) { return ShowStatus(session, context); });
  context.AddVerb(noun, "members", "Its members.\n\nExample: mqttctl cluster members",
                  [&context](AdminSession& session) { return ShowMembers(session, context); });
  const auto node = std::make_shared<std::string>();
  CLI::App& placement = context.AddVerb(
      noun, "placement",
      "Where each partition is: its leader, its replicas, and how far behind these are.\n\n"
      "Example: mqttctl cluster placement",
      [&context, node](AdminSession& session) { return ShowPlacement(session, context, *node); });
  placement.add_option("--node", *node, "Only those on this node, by its identifier or number");
  context.AddVerb(noun, "links",
                  "The links between nodes: whether they stand, how long a ping took, what is on "
                  "its way.\n\nExample: mqttctl cluster links",
                  [&context](AdminSession& session) { return ShowLinks(session, context); });
  const auto routes = std::make_shared<RouteArguments>();
  CLI::App& list_routes = context.AddVerb(
      noun, "routes",
      "Which filters send messages where: NUMBER:SUBSCRIPTIONS of nodes, for clients that are "
      "connected there, and of partitions, for stored sessions. Below: what each node has told the "
      "others, and of which it does not know just now what they want.\n\n"
      "Example: mqttctl cluster routes --filter 'house/*'",
      [&context, routes](AdminSession& session) { return ShowRoutes(session, context, *routes); });
  list_routes.add_option("--node", routes->node,
                         "Only to this node and the partitions that it leads, by its identifier or "
                         "number");
  list_routes.add_option("--filter", routes->filter,
                         "Only filters like this: * and ? stand for any");
  list_routes.add_option("--limit", routes->limit,
                         "At most so many (1000); 0: all, and for each 10,000 of them the nodes go "
                         "through all subscriptions");
  const auto count = std::make_shared<uint32_t>(3);
  CLI::App& ping = context.AddVerb(
      noun, "ping",
      "How long each other node takes to answer the one that is asked.\n\n"
      "Example: mqttctl cluster ping --count 10",
      [&context, count](AdminSession& session) { return Ping(session, context, *count); });
  const auto addresses = std::make_shared<std::string>();
  CLI::App& join = context.AddVerb(
      noun, "join",
      "The node at the endpoint joins a cluster. It has to wait for that: started with --cluster, "
      "an "
      "empty data directory, and neither --join nor --expected-size.\n\n"
      "Example: mqttctl cluster join 10.0.0.1:9885,10.0.0.2:9885",
      [&context, addresses](AdminSession& session) { return Join(session, context, *addresses); });
  join.add_option(
          "addresses", *addresses,
          "Where nodes of that cluster listen for other nodes (CLUSTER of `cluster members -o "
          "wide`): HOST:PORT,…")
      ->required();
  const auto gone = std::make_shared<std::string>();
  CLI::App& forget = context.AddVerb(
      noun, "forget",
      "A node that died for good, and has no replicas, is a member no more.\n\n"
      "Example: mqttctl cluster forget 4 --yes",
      [&context, gone](AdminSession& session) { return Forget(session, context, *gone); });
  forget.add_option("node", *gone, "By its identifier or number")->required();
  ping.add_option("--count", *count, "How often each is asked (3)")->check(CLI::Range(1, 100));
}

}  // namespace mqttctl
