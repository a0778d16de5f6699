#include "admin/api/placement.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/api/convert.h"
#include "base/mutex.h"
#include "mqttd/admin/v1/cluster.pb.h"
#include "storage/leader/host.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Cluster";
constexpr char kPlacement[] = "/mqttd.admin.v1.Cluster/Placement";
constexpr char kLinks[] = "/mqttd.admin.v1.Cluster/Links";
constexpr char kPing[] = "/mqttd.admin.v1.Cluster/Ping";

constexpr uint32_t kPingsUsual = 3;
constexpr uint32_t kPingsMax = 100;
constexpr absl::Duration kPingPatience = absl::Seconds(2);

std::string UuidOf(const base::ClusterView& view, uint32_t node) {
  for (const base::ClusterView::Member& member : view.members) {
    if (member.node == node) return member.uuid;
  }
  return {};
}

absl::Status NotInItsCluster() {
  return absl::UnavailableError("this node is not in its cluster yet: try again");
}

// ---- This node ----------------------------------------------------------------------------------

// Null: this node is alone, and has all of them.
pb::ClusterPlacementResponse PlacementHere(storage::Host& host, const std::string& uuid,
                                           const base::ClusterView* view) {
  pb::ClusterPlacementResponse response;
  for (uint32_t id = 0; id < host.partitions(); ++id) {
    const storage::Leader& leader = *host.node().leaders[id];
    if (view != nullptr && id < view->partitions.size()) {
      const std::vector<uint32_t>& on = view->partitions[id].replicas;
      if (std::find(on.begin(), on.end(), view->node) == on.end()) continue;
    }
    const storage::Partition& partition = leader.partition();
    pb::PartitionPlacement& place = *response.add_partitions();
    place.set_partition(id);
    pb::PartitionReplica& replica = *place.add_replicas();
    replica.set_node(uuid);
    replica.set_number(view == nullptr ? 0 : view->node);
    replica.set_answered(true);
    replica.set_term(partition.applied_term());
    replica.set_applied(partition.applied_index());
    replica.set_leads(host.leads(static_cast<storage::PartitionId>(id)));
    const absl::Status& status = host.node().leaders[id]->replica().status();
    if (!status.ok()) replica.set_problem(std::string(status.message()));
    place.set_sessions(partition.session_count());
    place.set_retained_messages(partition.retained_messages());
    if (!replica.leads()) continue;
    place.set_leader(uuid);
    place.set_leader_number(replica.number());
    place.set_term(replica.term());
    place.set_applied(replica.applied());
  }
  return response;
}

void Placement(const BrokerAccess& broker, const Reply<pb::ClusterPlacementResponse>& reply) {
  std::shared_ptr<base::ClusterView> view;
  if (broker.sources().cluster != nullptr)
    view = std::make_shared<base::ClusterView>(broker.sources().cluster());
  const bool open = broker.OnHost([&broker, view, reply](storage::Host& host) {
    reply(PlacementHere(host, broker.sources().node_id(), view.get()));
  });
  if (!open) reply(broker.CheckOpen());
}

pb::ClusterLinksResponse LinksHere(const base::ClusterView& view) {
  pb::ClusterLinksResponse response;
  for (const base::ClusterView::Link& link : view.links) {
    pb::NodeLink& proto = *response.add_links();
    proto.set_from(UuidOf(view, view.node));
    proto.set_from_number(view.node);
    proto.set_to(UuidOf(view, link.node));
    proto.set_to_number(link.node);
    proto.set_address(link.address);
    proto.set_up(link.up);
    proto.set_why(link.why);
    if (link.round_trip_s > 0)
      *proto.mutable_round_trip() = ToDuration(absl::Seconds(link.round_trip_s));
    proto.set_connected(link.connected);
    proto.set_disconnected(link.disconnected);
    for (const base::ClusterView::Stream& stream : link.streams) {
      pb::NodeStream& sent = *proto.add_streams();
      sent.set_link_class(stream.link_class);
      sent.set_items(stream.items);
      sent.set_bytes(stream.bytes);
      sent.set_dropped(stream.dropped);
      sent.set_times_full(stream.times_full);
      sent.set_items_on_way(stream.items_on_way);
      sent.set_bytes_on_way(stream.bytes_on_way);
    }
  }
  return response;
}

// ---- All nodes: placement -----------------------------------------------------------------------

// As this node believes it to be, before the others have said what they have.
pb::ClusterPlacementResponse Believed(const base::ClusterView& view) {
  pb::ClusterPlacementResponse all;
  for (size_t id = 0; id < view.partitions.size(); ++id) {
    const base::ClusterView::Partition& partition = view.partitions[id];
    pb::PartitionPlacement& place = *all.add_partitions();
    place.set_partition(static_cast<uint32_t>(id));
    if (partition.preferred != 0) place.set_preferred(UuidOf(view, partition.preferred));
    for (const uint32_t node : partition.replicas) {
      pb::PartitionReplica& replica = *place.add_replicas();
      replica.set_node(UuidOf(view, node));
      replica.set_number(node);
    }
  }
  return all;
}

void Take(const pb::PartitionPlacement& said, pb::PartitionPlacement& place) {
  for (const pb::PartitionReplica& replica : said.replicas()) {
    for (pb::PartitionReplica& known : *place.mutable_replicas()) {
      if (known.number() == replica.number()) known = replica;
    }
  }
  // A leader that was deposed may not have heard of it.
  const bool leads =
      said.leader_number() != 0 && (place.leader_number() == 0 || said.term() > place.term());
  if (leads) {
    place.set_leader(said.leader());
    place.set_leader_number(said.leader_number());
    place.set_term(said.term());
    place.set_applied(said.applied());
  }
  if (leads || place.leader_number() == 0) {
    place.set_sessions(std::max(said.sessions(), leads ? 0 : place.sessions()));
    place.set_retained_messages(
        std::max(said.retained_messages(), leads ? 0 : place.retained_messages()));
  }
}

void Finish(pb::PartitionPlacement& place) {
  int answered = 0;
  for (pb::PartitionReplica& replica : *place.mutable_replicas()) {
    answered += replica.answered() ? 1 : 0;
    replica.set_leads(replica.leads() && replica.number() == place.leader_number());
    if (replica.answered() && replica.applied() < place.applied())
      replica.set_behind(place.applied() - replica.applied());
  }
  place.set_without_majority(2 * answered <= place.replicas_size());
}

// Whether it has a replica there. Empty: anywhere.
bool IsOn(const pb::PartitionPlacement& place, const std::string& node) {
  return node.empty() ||
         std::any_of(place.replicas().begin(), place.replicas().end(), [&](const auto& replica) {
           return replica.node() == node || absl::StrCat(replica.number()) == node;
         });
}

void AskLinks(const Fleet& fleet, const Caller& caller, const pb::ClusterLinksRequest& request,
              const Reply<pb::ClusterLinksResponse>& reply) {
  const auto view = fleet.View();
  if (!view.has_value()) return reply(NotInItsCluster());
  fleet.Gather<pb::ClusterLinksResponse>(
      {.caller = caller, .method = kLinks}, request, [reply](auto gathered) {
        if (!gathered.ok()) return reply(gathered.status());
        pb::ClusterLinksResponse all = std::move(gathered->here);
        for (const pb::ClusterLinksResponse& other : gathered->others)
          all.mutable_links()->MergeFrom(other.links());
        std::sort(all.mutable_links()->begin(), all.mutable_links()->end(),
                  [](const pb::NodeLink& a, const pb::NodeLink& b) {
                    return std::pair(a.from_number(), a.to_number()) <
                           std::pair(b.from_number(), b.to_number());
                  });
        gathered->AddMissingTo(*all.mutable_missing());
        reply(std::move(all));
      });
}

// ---- All nodes: ping ----------------------------------------------------------------------------

// Each other node is asked some times, one time behind the other; all nodes at the same time.
class Pinging : public std::enable_shared_from_this<Pinging> {
 public:
  Pinging(const Fleet& fleet, base::ClusterView view, const Caller& caller, uint32_t count,
          Reply<pb::ClusterPingResponse> reply)
      : fleet_(fleet),
        view_(std::move(view)),
        call_({.caller = caller, .method = kPing, .within = kPingPatience}),
        count_(count),
        reply_(std::move(reply)) {}

  void Start() {
    std::vector<uint32_t> others;
    for (const base::ClusterView::Member& member : view_.members) {
      if (member.node != view_.node) others.push_back(member.node);
    }
    if (others.empty()) return Finish();
    {
      base::MutexLock lock(mutex_);
      left_ = others.size();
    }
    for (const uint32_t node : others) Ask(node);
  }

 private:
  struct Measured {
    std::vector<absl::Duration> took;
    absl::Status status;
  };
  absl::Duration Now() const { return fleet_.broker().sources().clock->Monotonic(); }

  void Ask(uint32_t node) {
    fleet_.Ask<pb::ClusterPingResponse>(
        node, call_, pb::ClusterPingRequest(),
        [self = shared_from_this(), node, begun = Now()](const auto& said) {
          self->Note(node, said.ok() ? said->status : said.status(), self->Now() - begun);
        });
  }
  void Note(uint32_t node, const absl::Status& status, absl::Duration took) {
    bool over = false;
    bool all_over = false;
    {
      base::MutexLock lock(mutex_);
      Measured& measured = measured_[node];
      if (status.ok()) {
        measured.took.push_back(took);
      } else {
        measured.status = status;
      }
      over = !status.ok() || measured.took.size() == count_;
      if (over) all_over = --left_ == 0;
    }
    if (all_over) return Finish();
    if (!over) Ask(node);
  }
  void Finish() {
    pb::ClusterPingResponse response;
    response.set_node(UuidOf(view_, view_.node));
    base::MutexLock lock(mutex_);
    for (const auto& [node, measured] : measured_) {
      pb::NodePing& ping = *response.add_pings();
      ping.set_node(UuidOf(view_, node));
      ping.set_number(node);
      ping.set_answers(static_cast<uint32_t>(measured.took.size()));
      if (!measured.status.ok())
        *response.add_missing() = Fleet::Missing(view_, node, measured.status);
      if (measured.took.empty()) continue;
      absl::Duration sum;
      for (const absl::Duration each : measured.took) sum += each;
      *ping.mutable_least() =
          ToDuration(*std::min_element(measured.took.begin(), measured.took.end()));
      *ping.mutable_most() =
          ToDuration(*std::max_element(measured.took.begin(), measured.took.end()));
      *ping.mutable_mean() = ToDuration(sum / static_cast<int64_t>(measured.took.size()));
    }
    reply_(std::move(response));
  }

  const Fleet& fleet_;
  const base::ClusterView view_;
  const Fleet::Passing call_;
  const uint32_t count_;
  const Reply<pb::ClusterPingResponse> reply_;
  base::Mutex mutex_;
  std::map<uint32_t, Measured> measured_ ABSL_GUARDED_BY(mutex_);
  size_t left_ ABSL_GUARDED_BY(mutex_) = 0;
};

absl::StatusOr<uint32_t> PingsOf(const pb::ClusterPingRequest& request) {
  if (request.count() > kPingsMax)
    return absl::InvalidArgumentError(absl::StrCat("count: at most ", kPingsMax));
  return request.count() == 0 ? kPingsUsual : request.count();
}

}  // namespace

void AskPlacement(const Fleet& fleet, const Caller& caller,
                  const pb::ClusterPlacementRequest& request,
                  const Reply<pb::ClusterPlacementResponse>& reply) {
  const auto view = fleet.View();
  if (!view.has_value()) return reply(NotInItsCluster());
  fleet.Gather<pb::ClusterPlacementResponse>(
      {.caller = caller, .method = kPlacement}, request,
      [view = *view, node = request.node(), reply](auto gathered) {
        if (!gathered.ok()) return reply(gathered.status());
        pb::ClusterPlacementResponse all = Believed(view);
        gathered->others.push_back(std::move(gathered->here));
        for (const pb::ClusterPlacementResponse& said : gathered->others) {
          for (const pb::PartitionPlacement& part : said.partitions()) {
            if (part.partition() < view.partitions.size())
              Take(part, *all.mutable_partitions(static_cast<int>(part.partition())));
          }
        }
        pb::ClusterPlacementResponse wanted;
        for (pb::PartitionPlacement& place : *all.mutable_partitions()) {
          Finish(place);
          if (IsOn(place, node)) *wanted.add_partitions() = std::move(place);
        }
        gathered->AddMissingTo(*wanted.mutable_missing());
        reply(std::move(wanted));
      });
}

void AddPlacement(const BrokerAccess& broker, Methods& methods) {
  methods.Add<pb::ClusterPlacementRequest, pb::ClusterPlacementResponse>(
      kService, "Placement",
      [&broker](const Caller&, const pb::ClusterPlacementRequest&, auto reply) {
        Placement(broker, reply);
      });
  methods.Add<pb::ClusterLinksRequest, pb::ClusterLinksResponse>(
      kService, "Links", [&broker](const Caller&, const pb::ClusterLinksRequest&, auto reply) {
        const auto& cluster = broker.sources().cluster;
        reply(cluster == nullptr ? pb::ClusterLinksResponse() : LinksHere(cluster()));
      });
  methods.Add<pb::ClusterPingRequest, pb::ClusterPingResponse>(
      kService, "Ping",
      [&broker](const Caller&, const pb::ClusterPingRequest& request, auto reply) {
        const auto count = PingsOf(request);
        if (!count.ok()) return reply(count.status());
        pb::ClusterPingResponse response;
        response.set_node(broker.sources().node_id());
        reply(std::move(response));
      });
}

void AddClusterPlacement(const Fleet& fleet, Methods& methods) {
  methods.Add<pb::ClusterPlacementRequest, pb::ClusterPlacementResponse>(
      kService, "Placement",
      [&fleet](const Caller& caller, const pb::ClusterPlacementRequest& request, auto reply) {
        AskPlacement(fleet, caller, request, reply);
      });
  methods.Add<pb::ClusterLinksRequest, pb::ClusterLinksResponse>(
      kService, "Links",
      [&fleet](const Caller& caller, const pb::ClusterLinksRequest& request, auto reply) {
        AskLinks(fleet, caller, request, reply);
      });
  methods.Add<pb::ClusterPingRequest, pb::ClusterPingResponse>(
      kService, "Ping",
      [&fleet](const Caller& caller, const pb::ClusterPingRequest& request, auto reply) {
        const auto count = PingsOf(request);
        if (!count.ok()) return reply(count.status());
        auto view = fleet.View();
        if (!view.has_value()) return reply(NotInItsCluster());
        std::make_shared<Pinging>(fleet, *std::move(view), caller, *count, std::move(reply))
            ->Start();
      });
}

}  // namespace admin
