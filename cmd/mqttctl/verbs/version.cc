// mqttctl version: of mqttctl, and of the nodes that it reaches.
#include "base/version.h"

#include <CLI/Option.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/cluster.pb.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

// Who asks what he has does not wait for half a minute to hear that no broker is there.
constexpr int kPatienceS = 5;

absl::Status AskNodes(VerbContext& context, Json& nodes) {
  RETURN_IF_ERROR(context.UseContext());
  EndpointArguments endpoint = context.endpoint;
  endpoint.timeout_s = std::min(endpoint.timeout_s, kPatienceS);
  ASSIGN_OR_RETURN(const auto session, AdminSession::Open(endpoint));
  pb::ClusterStatusResponse response;
  const absl::Status asked = session->Call("Cluster/Status", pb::ClusterStatusRequest(), response);
  if (!asked.ok()) {
    return absl::Status(asked.code(), absl::StrCat("no answer from ", endpoint.endpoint, ": ",
                                                   std::string(asked.message())));
  }
  for (const pb::Member& member : response.members()) {
    Json node;
    node["node"] = member.node();
    node["number"] = member.number();
    node["version"] = member.version();
    nodes.push_back(std::move(node));
  }
  return absl::OkStatus();
}

absl::Status Version(VerbContext& context, bool client_only) {
  Json version;
  version["mqttctl"] = std::string(base::kVersion);
  version["nodes"] = Json::array();
  version["problem"] = "";
  if (!client_only) {
    const absl::Status asked = AskNodes(context, version["nodes"]);
    if (!asked.ok()) {
      version["problem"] = std::string(asked.message());
      std::fprintf(stderr, "Warning: %s\n", version["problem"].get<std::string>().c_str());
    }
  }
  if (!context.form().table()) {
    context.Print(Render(version, context.form()));
    return absl::OkStatus();
  }
  context.Print(absl::StrCat("mqttctl ", base::kVersion, "\n"));
  if (!version["nodes"].empty()) {
    context.Print("\n" +
                  RenderList(version["nodes"],
                             {{"NODE", "node"}, {"NUMBER", "number"}, {"VERSION", "version"}},
                             context.form()));
  }
  return absl::OkStatus();
}

}  // namespace

void AddVersion(CLI::App& app, VerbContext& context) {
  const auto client_only = std::make_shared<bool>(false);
  // Whatever is wrong with what says where the broker is and who asks, mqttctl knows its own.
  CLI::App& verb = context.AddLocalVerb(
      app, "version",
      "The version of mqttctl, and those of the nodes, if they can be asked.\n\n"
      "Example: mqttctl version -o json",
      [&context, client_only] { return Version(context, *client_only); });
  verb.add_flag("--client", *client_only, "Of mqttctl alone: nobody is asked");
}

}  // namespace mqttctl
