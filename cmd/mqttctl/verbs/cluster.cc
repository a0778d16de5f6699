// mqttctl cluster: the cluster as a whole.
#include "base/status_macros.h"
#include "mqttd/admin/v1/cluster.pb.h"
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

}  // namespace

void AddClusterVerbs(CLI::App& app, VerbContext& context) {
  CLI::App& noun = context.AddNoun(app, "cluster", "The cluster: its state and its members");
  context.AddVerb(noun, "status",
                  "How the cluster is, in a few numbers, and its members.\n\n"
                  "Example: mqttctl cluster status -o json",
                  [&context](AdminSession& session) { return ShowStatus(session, context); });
  context.AddVerb(noun, "members", "Its members.\n\nExample: mqttctl cluster members",
                  [&context](AdminSession& session) { return ShowMembers(session, context); });
}

}  // namespace mqttctl
