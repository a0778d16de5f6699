#include "admin/api/metrics_service.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/api/client_pages.h"
#include "admin/api/metric_pages.h"
#include "admin/families.h"

namespace admin {
namespace {

MetricPageBounds BoundsOf(const pb::ListMetricsRequest& request) {
  return {.families = PageSizeOf(request.page())};
}

void List(const BrokerAccess& broker, const Caller& caller, const pb::ListMetricsRequest& request,
          const Reply<pb::ListMetricsResponse>& reply) {
  const BrokerAccess::Sources& sources = broker.sources();
  const std::string id = sources.node_id();
  const std::string& node = request.node();
  if (!caller.passed_on && !node.empty() && node != id) {
    if (sources.cluster != nullptr)
      return reply(absl::UnavailableError("this node is not in its cluster yet: try again"));
    return reply(
        absl::NotFoundError(absl::StrCat("there is no node \"", node, "\": this one is alone")));
  }
  const uint32_t number = sources.cluster == nullptr ? 0 : sources.cluster().node;
  pb::ListMetricsResponse response =
      MetricPage(sources.families(), number, request, BoundsOf(request));
  pb::MetricNode& here = *response.add_nodes();
  here.set_node(id);
  here.set_number(number);
  reply(std::move(response));
}

}  // namespace

void AddMetricsService(const BrokerAccess& broker, Methods& methods) {
  methods.Add<pb::ListMetricsRequest, pb::ListMetricsResponse>(
      "mqttd.admin.v1.Metrics", "List",
      [&broker](const Caller& caller, const pb::ListMetricsRequest& request, auto reply) {
        List(broker, caller, request, reply);
      });
}

void ListMetricsOfAll(const Fleet& fleet, const base::ClusterView& view, const Fleet::Passing& call,
                      const pb::ListMetricsRequest& request, Reply<pb::ListMetricsResponse> reply) {
  if (!request.node().empty()) {
    const auto number = Fleet::NumberOf(view, request.node());
    if (!number.ok()) return reply(number.status());
    return fleet.Ask<pb::ListMetricsResponse>(
        *number, call, request, [view, node = *number, reply = std::move(reply)](auto said) {
          const absl::Status status = said.ok() ? said->status : said.status();
          if (status.ok()) return reply(std::move(said->response));
          pb::ListMetricsResponse nothing;
          *nothing.mutable_page()->add_missing() = Fleet::Missing(view, node, status);
          reply(std::move(nothing));
        });
  }
  fleet.Gather<pb::ListMetricsResponse>(
      call, request, [bounds = BoundsOf(request), reply = std::move(reply)](auto gathered) {
        if (!gathered.ok()) return reply(gathered.status());
        std::vector<pb::ListMetricsResponse> pages = std::move(gathered->others);
        pages.push_back(std::move(gathered->here));
        pb::ListMetricsResponse all = MergeMetrics(std::move(pages), bounds);
        gathered->AddMissingTo(*all.mutable_page()->mutable_missing());
        reply(std::move(all));
      });
}

}  // namespace admin
