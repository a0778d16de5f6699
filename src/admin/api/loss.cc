#include "admin/api/loss.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "admin/api/client_pages.h"
#include "admin/api/placement.h"
#include "mqttd/admin/v1/cluster.pb.h"
#include "mqttd/admin/v1/explain.pb.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Explain";
constexpr char kLoss[] = "/mqttd.admin.v1.Explain/Loss";
constexpr size_t kClientsAtOnce = 512;

std::string Count(uint64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

// ---- This node: its clients, a task on a shard at a time; this lives in it.
class Counting : public std::enable_shared_from_this<Counting> {
 public:
  Counting(const BrokerAccess& broker, Reply<pb::ExplainLossResponse> reply)
      : broker_(broker), reply_(std::move(reply)) {}

  void Step(ClientPlace from) {
    FindClients(broker_, {}, from, kClientsAtOnce,
                [self = shared_from_this()](const absl::StatusOr<ClientsFound>& found) {
                  if (!found.ok()) return self->reply_(found.status());
                  for (const broker::ClientView& client : found->clients) self->Add(client);
                  found->end ? self->Finish() : self->Step(found->next);
                });
  }

 private:
  void Add(const broker::ClientView& client) {
    loss_.set_clients(loss_.clients() + 1);
    if (client.durable) return loss_.set_sessions_kept(loss_.sessions_kept() + 1);
    loss_.set_sessions_lost(loss_.sessions_lost() + 1);
    loss_.set_subscriptions_lost(loss_.subscriptions_lost() + client.subscriptions);
    loss_.set_messages_lost(loss_.messages_lost() + client.queued_messages + client.inflight_out);
  }
  void Finish() {
    loss_.set_node(broker_.sources().node_id());
    loss_.set_words(absl::StrCat(
        Count(loss_.clients(), "client"), " would be disconnected; ",
        Count(loss_.sessions_lost(), "transient session"), " and ",
        Count(loss_.messages_lost(), "message"), " on their way to these would be lost; what is ",
        "stored is on its disk, and nobody is served until it is started again"));
    reply_(std::move(loss_));
  }

  const BrokerAccess& broker_;
  const Reply<pb::ExplainLossResponse> reply_;
  pb::ExplainLossResponse loss_;
};

// ---- A node of a cluster ------------------------------------------------------------------------

// What becomes of the partitions if of the replicas that answer those on `node` do no more.
void AddPartitions(const pb::ClusterPlacementResponse& placement, uint32_t node,
                   pb::ExplainLossResponse& loss) {
  for (const pb::PartitionPlacement& partition : placement.partitions()) {
    int others = 0;
    bool here = false;
    for (const pb::PartitionReplica& replica : partition.replicas()) {
      here = here || replica.number() == node;
      others += replica.answered() && replica.number() != node ? 1 : 0;
    }
    if (!here) continue;
    if (partition.replicas_size() == 1) {
      loss.add_partitions_lost(partition.partition());
    } else if (2 * others <= partition.replicas_size()) {
      loss.add_partitions_stopped(partition.partition());
    } else if (partition.leader_number() == node) {
      loss.add_partitions_moved(partition.partition());
    }
  }
}

std::string InWords(const pb::ExplainLossResponse& loss) {
  std::string words = absl::StrCat(
      Count(loss.clients(), "client"), " of node ", loss.number(),
      " would have to connect elsewhere: ", Count(loss.sessions_kept(), "durable session"),
      " would go on there, ", Count(loss.sessions_lost(), "transient session"), " with ",
      Count(loss.subscriptions_lost(), "subscription"), " and ",
      Count(loss.messages_lost(), "message"), " on their way would be lost");
  if (loss.partitions_moved_size() != 0) {
    absl::StrAppend(&words, "; ",
                    Count(static_cast<uint64_t>(loss.partitions_moved_size()), "partition"),
                    " would be led by other nodes");
  }
  if (loss.partitions_stopped_size() != 0) {
    absl::StrAppend(&words, "; partitions ", absl::StrJoin(loss.partitions_stopped(), ", "),
                    " would have no majority: nothing is stored in them until it is back");
  }
  if (loss.partitions_lost_size() != 0) {
    absl::StrAppend(&words, "; partitions ", absl::StrJoin(loss.partitions_lost(), ", "),
                    " have no other replica: what is stored in them is lost with its disk");
  }
  return words;
}

void Ask(const Fleet& fleet, const Caller& caller, const std::string& named,
         const Reply<pb::ExplainLossResponse>& reply) {
  const auto view = fleet.View();
  if (!view.has_value())
    return reply(absl::UnavailableError("this node is not in its cluster yet: try again"));
  const absl::StatusOr<uint32_t> node =
      named.empty() ? absl::StatusOr<uint32_t>(view->node) : Fleet::NumberOf(*view, named);
  if (!node.ok()) return reply(node.status());
  const auto with_clients = [view = *view, node = *node, reply](
                                pb::ClusterPlacementResponse placement,
                                const absl::StatusOr<Fleet::Said<pb::ExplainLossResponse>>& said) {
    pb::ExplainLossResponse loss;
    const absl::Status status = said.ok() ? said->status : said.status();
    if (status.ok()) {
      loss = said->response;
    } else {
      *loss.add_missing() = Fleet::Missing(view, node, status);
    }
    loss.set_number(node);
    for (const base::ClusterView::Member& member : view.members) {
      if (member.node == node) loss.set_node(member.uuid);
    }
    AddPartitions(placement, node, loss);
    for (const pb::MissingNode& missing : placement.missing()) {
      if (missing.node() != loss.node()) *loss.add_missing() = missing;
    }
    loss.set_words(status.ok() ? InWords(loss)
                               : absl::StrCat("node ", node,
                                              " does not answer: what it had, but "
                                              "what is stored, may be lost already"));
    reply(std::move(loss));
  };
  AskPlacement(fleet, caller, pb::ClusterPlacementRequest(),
               [&fleet, caller, node = *node, with_clients,
                reply](absl::StatusOr<pb::ClusterPlacementResponse> placement) {
                 if (!placement.ok()) return reply(placement.status());
                 fleet.Ask<pb::ExplainLossResponse>(
                     node, {.caller = caller, .method = kLoss, .within = kNodeLongPatience},
                     pb::ExplainLossRequest(),
                     [with_clients, placement = *std::move(placement)](const auto& said) {
                       with_clients(placement, said);
                     });
               });
}

}  // namespace

void AddLoss(const BrokerAccess& broker, Methods& methods) {
  methods.Add<pb::ExplainLossRequest, pb::ExplainLossResponse>(
      kService, "Loss",
      [&broker](const Caller& caller, const pb::ExplainLossRequest& request, auto reply) {
        if (absl::Status status = broker.CheckOpen(); !status.ok()) return reply(status);
        if (!caller.passed_on && !request.node().empty() &&
            request.node() != broker.sources().node_id()) {
          return reply(absl::NotFoundError(
              absl::StrCat("there is no node \"", request.node(), "\": this one is alone")));
        }
        std::make_shared<Counting>(broker, std::move(reply))->Step({});
      });
}

void AddClusterLoss(const Fleet& fleet, Methods& methods) {
  methods.Add<pb::ExplainLossRequest, pb::ExplainLossResponse>(
      kService, "Loss",
      [&fleet](const Caller& caller, const pb::ExplainLossRequest& request, auto reply) {
        Ask(fleet, caller, request.node(), reply);
      });
}

}  // namespace admin
