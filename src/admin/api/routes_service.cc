#include "admin/api/routes_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/api/client_pages.h"
#include "admin/api/route_pages.h"
#include "admin/api/subscription_tour.h"
#include "base/glob.h"
#include "mqttd/admin/v1/cluster.pb.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Cluster";
constexpr char kListRoutes[] = "/mqttd.admin.v1.Cluster/ListRoutes";

// Each page costs a look at all subscriptions, so it is larger than those of other lists may be.
size_t PageMaxOf(const pb::PageRequest& page) {
  constexpr size_t kMax = 10'000;
  return page.size() == 0 ? PageSizeOf(page) : std::min<size_t>(page.size(), kMax);
}

// Lives in the tour.
class RouteTally : public std::enable_shared_from_this<RouteTally> {
 public:
  RouteTally(const BrokerAccess& broker, const pb::ListRoutesRequest& request,
             Reply<pb::ListRoutesResponse> reply)
      : broker_(broker),
        pattern_(request.filter()),
        reply_(std::move(reply)),
        first_(request.page().token(), PageMaxOf(request.page())) {}

  void Start() {
    const auto self = shared_from_this();
    TourSubscriptions(broker_,
                      {.on_stored =
                           [self](storage::PartitionId partition, std::string_view filter) {
                             if (Counts* const counts = self->Find(filter))
                               ++counts->stored[partition];
                           },
                       .on_connected =
                           [self](std::string_view filter, bool durable) {
                             Counts* const counts = self->Find(filter);
                             if (counts == nullptr) return;
                             ++(durable ? counts->connected_qos0 : counts->connected);
                           },
                       .done =
                           [self](const absl::Status& status) {
                             status.ok() ? self->Finish() : self->reply_(status);
                           }});
  }

 private:
  using Counts = FirstFilters::Counts;

  Counts* Find(std::string_view filter) {
    if (!pattern_.empty() && !base::GlobMatches(pattern_, filter)) return nullptr;
    return first_.Find(filter);
  }

  void Finish() {
    const auto& cluster = broker_.sources().cluster;
    const base::ClusterView view = cluster == nullptr ? base::ClusterView() : cluster();
    pb::ListRoutesResponse response;
    for (const auto& [filter, counts] : first_.filters()) {
      pb::Route& route = *response.add_routes();
      route.set_filter(filter);
      if (counts.connected + counts.connected_qos0 != 0) {
        pb::RouteToNode& node = *route.add_nodes();
        node.set_number(view.node);
        node.set_subscriptions(counts.connected);
        node.set_subscriptions_qos0(counts.connected_qos0);
      }
      for (const auto& [id, subscriptions] : counts.stored) {
        pb::RouteToPartition& partition = *route.add_partitions();
        partition.set_partition(id);
        partition.set_leader_number(view.node);
        partition.set_subscriptions(subscriptions);
      }
    }
    response.mutable_page();
    if (first_.more()) response.mutable_page()->set_next(first_.filters().rbegin()->first);
    pb::NodeRoutes& here = *response.add_nodes();
    here.set_node(broker_.sources().node_id());
    here.set_number(view.node);
    here.set_told(view.routes_told);
    for (const uint32_t node : view.routes_unknown) here.add_unknown(node);
    for (const uint32_t node : view.routes_unaware) here.add_unaware(node);
    reply_(std::move(response));
  }

  const BrokerAccess& broker_;
  const std::string pattern_;
  const Reply<pb::ListRoutesResponse> reply_;
  FirstFilters first_;  // One task at a time uses it.
};

// Of one node.
void AskOne(const Fleet& fleet, const base::ClusterView& view, uint32_t node,
            const Fleet::Passing& call, const pb::ListRoutesRequest& request,
            const Reply<pb::ListRoutesResponse>& reply) {
  fleet.Ask<pb::ListRoutesResponse>(
      node, call, request,
      [view, node, reply](const absl::StatusOr<Fleet::Said<pb::ListRoutesResponse>>& said) {
        const absl::Status status = said.ok() ? said->status : said.status();
        if (absl::IsInvalidArgument(status)) return reply(status);
        pb::ListRoutesResponse response;
        if (status.ok()) {
          response = said->response;
        } else {
          *response.mutable_page()->add_missing() = Fleet::Missing(view, node, status);
        }
        reply(std::move(response));
      });
}

void AskAll(const Fleet& fleet, Fleet::Passing call, const pb::ListRoutesRequest& request,
            const Reply<pb::ListRoutesResponse>& reply) {
  call.stored = Fleet::Stored::kAgain;
  fleet.Gather<pb::ListRoutesResponse>(
      call, request, [size = PageMaxOf(request.page()), reply](auto gathered) {
        if (!gathered.ok()) return reply(gathered.status());
        std::vector<pb::ListRoutesResponse> pages = std::move(gathered->others);
        pages.push_back(std::move(gathered->here));
        pb::ListRoutesResponse all = MergeRoutes(std::move(pages), size);
        gathered->AddMissingTo(*all.mutable_page()->mutable_missing());
        reply(std::move(all));
      });
}

}  // namespace

void AddRoutes(const BrokerAccess& broker, Methods& methods) {
  methods.Add<pb::ListRoutesRequest, pb::ListRoutesResponse>(
      kService, "ListRoutes",
      [&broker](const Caller& caller, const pb::ListRoutesRequest& request, auto reply) {
        if (absl::Status status = broker.CheckOpen(); !status.ok()) return reply(status);
        const std::string& node = request.node();
        if (!caller.passed_on && !node.empty() && node != broker.sources().node_id()) {
          return reply(absl::NotFoundError(
              absl::StrCat("there is no node \"", node, "\": this one is alone")));
        }
        std::make_shared<RouteTally>(broker, request, std::move(reply))->Start();
      });
}

void AddClusterRoutes(const Fleet& fleet, Methods& methods) {
  methods.Add<pb::ListRoutesRequest, pb::ListRoutesResponse>(
      kService, "ListRoutes",
      [&fleet](const Caller& caller, const pb::ListRoutesRequest& request, auto reply) {
        const auto view = fleet.View();
        if (!view.has_value())
          return reply(absl::UnavailableError("this node is not in its cluster yet: try again"));
        const Fleet::Passing call{
            .caller = caller, .method = kListRoutes, .within = kNodeLongPatience};
        if (request.node().empty()) return AskAll(fleet, call, request, reply);
        const auto node = Fleet::NumberOf(*view, request.node());
        if (!node.ok()) return reply(node.status());
        AskOne(fleet, *view, *node, call, request, reply);
      });
}

}  // namespace admin
