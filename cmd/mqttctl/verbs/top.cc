// mqttctl top: what goes on just now.
#include <CLI/Option.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "mqttd/admin/v1/cluster.pb.h"
#include "mqttd/admin/v1/sessions.pb.h"
#include "mqttd/admin/v1/topics.pb.h"
#include "verbs/verbs.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

struct TopArguments {
  uint32_t count = 10;
  uint32_t seconds = 2;
};

absl::Status Top(AdminSession& session, const VerbContext& context, const TopArguments& arguments) {
  pb::ClusterStatusResponse status;
  RETURN_IF_ERROR(session.Call("Cluster/Status", pb::ClusterStatusRequest(), status));
  pb::BusiestTopicsRequest busiest;
  busiest.set_count(arguments.count);
  busiest.mutable_period()->set_seconds(arguments.seconds);
  pb::BusiestTopicsResponse topics;
  RETURN_IF_ERROR(session.Call("Topics/Busiest", busiest, topics));
  pb::ListSlowSessionsRequest slow;
  slow.set_count(arguments.count);
  pb::ListSlowSessionsResponse sessions;
  RETURN_IF_ERROR(session.Call("Sessions/ListSlow", slow, sessions));
  Json all;
  all["status"] = ToJson(status);
  all["topics"] = ToJson(topics);
  all["slow_sessions"] = ToJson(sessions)["sessions"];
  if (!context.form().table()) {
    context.Print(Render(all, context.form()));
    return absl::OkStatus();
  }
  const double seconds = static_cast<double>(topics.period().seconds()) +
                         static_cast<double>(topics.period().nanos()) / 1e9;
  const double per_second = seconds > 0 ? static_cast<double>(topics.messages()) / seconds : 0;
  context.Print(absl::StrFormat("%s, %s, %s; %.0f messages/s published\n\n",
                                base::Counted(status.clients_connected(), "client"),
                                base::Counted(status.sessions(), "stored session"),
                                base::Counted(status.queued_messages(), "queued message"),
                                per_second));
  context.Print(RenderList(all["topics"]["topics"],
                           {{"TOPIC", "topic"}, {"MESSAGES", "messages"}, {"BYTES", "bytes"}},
                           context.form()));
  context.Print("\n" + RenderList(all["slow_sessions"],
                                  {{"SLOW CLIENT", "client_id"},
                                   {"CONNECTED", "connected"},
                                   {"QUEUED", "queued_messages"},
                                   {"OUTPUT_BYTES", "output_bytes"},
                                   {"INFLIGHT", "inflight_out"},
                                   {"DROPPED", "dropped_messages"}},
                                  context.form()));
  return absl::OkStatus();
}

}  // namespace

void AddTop(CLI::App& app, VerbContext& context) {
  const auto arguments = std::make_shared<TopArguments>();
  CLI::App& verb = context.AddVerb(
      app, "top",
      "The busiest topics and the slowest clients; --watch 5 again and again.\n\n"
      "Example: mqttctl top --seconds 1",
      [&context, arguments](AdminSession& session) { return Top(session, context, *arguments); });
  verb.add_option("--count", arguments->count, "How many of each (10)");
  verb.add_option("--seconds", arguments->seconds, "How long messages are counted (2)")
      ->check(CLI::Range(1, 20));
}

}  // namespace mqttctl
