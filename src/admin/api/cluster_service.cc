#include "admin/api/cluster_service.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/api/convert.h"
#include "admin/obstacle.h"
#include "base/version.h"
#include "storage/core/metrics.h"

namespace admin {
namespace {

constexpr int kJoinAddressesMax = 64;
// Who is told asks twice a second, and is admitted at once.
constexpr absl::Duration kJoinPatience = absl::Seconds(15);
static_assert(kJoinPatience < kCallPatience);

uint64_t Count(int64_t gauge) { return static_cast<uint64_t>(std::max<int64_t>(gauge, 0)); }

uint64_t ClientsConnected(const broker::MetricsSnapshot& snapshot) {
  if (snapshot.shards.empty()) return 0;
  return Count(broker::Sum(
      snapshot.shards, [](const broker::ShardMetrics& m) -> auto& { return m.clients_connected; }));
}

pb::Member LocalMember(const BrokerAccess& broker, const broker::MetricsSnapshot& snapshot) {
  const BrokerAccess::Sources& sources = broker.sources();
  pb::Member member;
  member.set_node(sources.node_id());
  member.set_version(base::kVersion);
  const auto [state, problem] = ConditionOf(broker, snapshot);
  member.set_state(state);
  member.set_problem(problem);
  *member.mutable_started() = ToTimestamp(snapshot.started);
  *member.mutable_uptime() =
      ToDuration(absl::Floor(sources.clock->Now() - snapshot.started, absl::Seconds(1)));
  for (const broker::ListenerView& listener : snapshot.listeners) {
    if (!listener.stopped) member.add_listeners(listener.url);
  }
  member.set_admin_address(sources.admin_address());
  member.set_http_address(sources.http_address());
  member.set_shards(static_cast<uint32_t>(snapshot.shards.size()));
  member.set_partitions(sources.partitions());
  member.set_clients_connected(ClientsConnected(snapshot));
  member.set_memory_used_bytes(snapshot.memory.used_bytes);
  member.set_memory_high_bytes(snapshot.memory.high_bytes);
  return member;
}

pb::ClusterStatusResponse Status(const BrokerAccess& broker) {
  const broker::MetricsSnapshot snapshot = broker.sources().metrics();
  pb::ClusterStatusResponse response;
  pb::Member& member = *response.add_members() = LocalMember(broker, snapshot);
  response.set_state(member.state());
  response.set_node(member.node());
  response.set_clients_connected(member.clients_connected());
  if (!snapshot.shards.empty()) {
    response.set_subscriptions(Count(broker::Sum(
        snapshot.shards, [](const broker::ShardMetrics& m) -> auto& { return m.subscriptions; })));
  }
  if (snapshot.storage != nullptr) {  // Of a node alone this is all that is stored.
    const storage::HostMetrics& stored = *snapshot.storage;
    response.set_sessions(Count(stored.sessions_led.value()));
    response.set_retained_messages(Count(stored.retained_messages_led.value()));
    response.set_queued_messages(Count(stored.queued_messages_led.value()));
    response.set_subscriptions(response.subscriptions() + Count(stored.subscriptions_led.value()));
  }
  return response;
}

}  // namespace

std::pair<pb::NodeState, std::string> ConditionOf(const BrokerAccess& broker,
                                                  const broker::MetricsSnapshot& snapshot) {
  const Readiness& readiness = *broker.sources().readiness;
  const Readiness::State state = readiness.state();
  if (state == Readiness::State::kReady) {
    std::string problem = Obstacle(snapshot);
    if (problem.empty() && broker.sources().cluster != nullptr)
      problem = broker.sources().cluster().lost;
    return {problem.empty() ? pb::NODE_STATE_READY : pb::NODE_STATE_DEGRADED, problem};
  }
  return {state == Readiness::State::kStarting ? pb::NODE_STATE_STARTING : pb::NODE_STATE_STOPPING,
          readiness.why()};
}

void AddClusterService(const BrokerAccess& broker, Methods& methods) {
  methods.Add<pb::ClusterStatusRequest, pb::ClusterStatusResponse>(
      "mqttd.admin.v1.Cluster", "Status",
      [&broker](const Caller&, const pb::ClusterStatusRequest&,
                const Reply<pb::ClusterStatusResponse>& reply) { reply(Status(broker)); });
}

// Told, and not a member yet: looks again now and then until it is.
class Joining : public std::enable_shared_from_this<Joining> {
 public:
  Joining(const Fleet& fleet, Reply<pb::ClusterJoinResponse> reply)
      : fleet_(fleet), reply_(std::move(reply)), until_(fleet.Now() + kJoinPatience) {}

  void Look() {
    const base::ClusterView view = fleet_.broker().sources().cluster();
    if (view.node == 0) {
      if (fleet_.WaitUntil(until_, [self = shared_from_this()] { self->Look(); })) return;
      return reply_(absl::UnavailableError(
          absl::StrCat("it was told, and goes on trying, but has not joined yet: ",
                       view.problem.empty() ? "the cluster has not admitted it" : view.problem)));
    }
    pb::ClusterJoinResponse response;
    response.set_cluster_id(view.cluster_id);
    response.set_node(fleet_.broker().sources().node_id());
    response.set_number(view.node);
    response.set_members(static_cast<uint32_t>(view.members.size()));
    reply_(std::move(response));
  }

 private:
  const Fleet& fleet_;
  const Reply<pb::ClusterJoinResponse> reply_;
  const absl::Duration until_;
};

void AddJoin(const Fleet& fleet, Methods& methods) {
  methods.Add<pb::ClusterJoinRequest, pb::ClusterJoinResponse>(
      "mqttd.admin.v1.Cluster", "Join",
      [&fleet](const Caller&, const pb::ClusterJoinRequest& request, auto reply) {
        const BrokerAccess::Sources& sources = fleet.broker().sources();
        if (sources.join_cluster == nullptr) {
          return reply(absl::FailedPreconditionError(
              "this node was started to be alone, and what it has cannot be taken into a cluster: "
              "start it with --cluster ADDRESS:PORT and an empty data_dir, and tell it then"));
        }
        if (request.addresses_size() > kJoinAddressesMax) {
          return reply(
              absl::InvalidArgumentError(absl::StrCat("addresses: at most ", kJoinAddressesMax)));
        }
        std::vector<std::string> addresses(request.addresses().begin(), request.addresses().end());
        sources.join_cluster(std::move(addresses), [&fleet, reply](const absl::Status& status) {
          if (!status.ok()) return reply(status);
          std::make_shared<Joining>(fleet, reply)->Look();
        });
      });
}

void AddForget(const Fleet& fleet, Methods& methods) {
  methods.Add<pb::ClusterForgetRequest, pb::ClusterForgetResponse>(
      "mqttd.admin.v1.Cluster", "Forget",
      [&fleet](const Caller&, const pb::ClusterForgetRequest& request, auto reply) {
        const BrokerAccess::Sources& sources = fleet.broker().sources();
        if (sources.forget_node == nullptr)
          return reply(absl::FailedPreconditionError("this node is alone, a member of no cluster"));
        const auto view = fleet.View();
        if (!view.has_value())
          return reply(absl::UnavailableError("this node is not in its cluster yet: try again"));
        const auto node = Fleet::NumberOf(*view, request.node());
        if (!node.ok()) return reply(node.status());
        pb::ClusterForgetResponse response;
        response.set_number(*node);
        for (const base::ClusterView::Member& member : view->members) {
          if (member.node == *node) response.set_node(member.uuid);
        }
        sources.forget_node(*node, [response, reply](const absl::Status& status) {
          if (!status.ok()) return reply(status);
          reply(response);
        });
      });
}

}  // namespace admin
