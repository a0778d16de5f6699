#include "cluster/core/members.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace cluster {

namespace pb = ::mqttd::cluster::v1;

namespace {

NodeId ToNodeId(uint32_t number) { return NodeId(static_cast<uint16_t>(number)); }

MembersOutcome Refused(std::string why) {
  return {.kind = MembersOutcome::Kind::kRefused, .why = std::move(why)};
}

void Write(const GroupReplicas& group, pb::GroupPlace& place) {
  for (const GroupReplicas::Replica& replica : group.replicas) {
    pb::GroupPlace::Replica& written = *place.add_replicas();
    written.set_node(replica.node.value());
    written.set_number(replica.number);
  }
  place.set_leader(group.leader.value());
}

GroupReplicas Read(const pb::GroupPlace& place) {
  GroupReplicas group;
  for (const pb::GroupPlace::Replica& replica : place.replicas())
    group.replicas.push_back({ToNodeId(replica.node()), replica.number()});
  group.leader = ToNodeId(place.leader());
  return group;
}

void Write(const Node& node, pb::MembersSnapshot::Node& written) {
  written.set_node(node.id.value());
  written.set_uuid(node.uuid);
  written.set_start(node.start);
  written.set_incarnation(node.incarnation.value());
  written.set_gone_through(node.gone_through.value());
  written.set_cluster_address(node.cluster_address);
  for (const std::string& address : node.client_addresses) written.add_client_addresses(address);
  written.set_release(node.release);
  written.set_level_max(node.level_max);
  written.set_zone(node.zone);
  written.set_shards(node.shards);
}

Node Read(const pb::MembersSnapshot::Node& written) {
  Node node;
  node.id = ToNodeId(written.node());
  node.uuid = written.uuid();
  node.start = written.start();
  node.incarnation = Incarnation(written.incarnation());
  node.gone_through = Incarnation(written.gone_through());
  node.cluster_address = written.cluster_address();
  node.client_addresses.assign(written.client_addresses().begin(),
                               written.client_addresses().end());
  node.release = written.release();
  node.level_max = written.level_max();
  node.zone = written.zone();
  node.shards = written.shards();
  return node;
}

pb::GroupPlace ToPlace(const GroupNodes& nodes) {
  pb::GroupPlace place;
  for (const NodeId node : nodes.replicas) place.add_replicas()->set_node(node.value());
  place.set_leader(nodes.leader.value());
  return place;
}

}  // namespace

GroupNodes GroupReplicas::nodes() const {
  GroupNodes nodes{.leader = leader};
  for (const Replica& replica : replicas) nodes.replicas.push_back(replica.node);
  return nodes;
}

Members Members::Founded(const pb::Formation& formation, uint32_t level_known) {
  Members members;
  members.level_known_ = level_known;
  members.cluster_id_ = formation.cluster_id();
  members.level_ = formation.level();
  members.replicas_ = formation.replicas();
  std::vector<const pb::Formation::Founder*> founders;
  for (const pb::Formation::Founder& founder : formation.founders()) founders.push_back(&founder);
  std::sort(founders.begin(), founders.end(),
            [](const auto* a, const auto* b) { return a->uuid() < b->uuid(); });
  std::vector<NodeId> ids;
  for (const pb::Formation::Founder* founder : founders) {
    members.last_node_ = NodeId(static_cast<uint16_t>(members.last_node_.value() + 1));
    ids.push_back(members.last_node_);
    Node& node = members.nodes_[members.last_node_];
    node.id = members.last_node_;
    node.uuid = founder->uuid();
    node.cluster_address = founder->address();
    node.zone = founder->zone();
    node.release = founder->release();
    node.level_max = founder->level_max();
  }
  members.partitions_.resize(formation.partitions());
  if (const auto placement = members.WantedPlacement(ids)) (void)members.Place(*placement);
  return members;
}

absl::StatusOr<MembersOutcome> Members::Apply(std::string_view entry) {
  pb::MembersCommand command;
  if (!command.ParseFromArray(entry.data(), static_cast<int>(entry.size())))
    return absl::InvalidArgumentError("an entry of the meta group is no command");
  if (command.level() > level_known_) {
    return absl::UnimplementedError(absl::StrCat("an entry of the meta group is of apply level ",
                                                 command.level(), ", and this release knows ",
                                                 level_known_, ": it needs a newer one"));
  }
  switch (command.command_case()) {
    case pb::MembersCommand::kAdmitNode:
      return Admit(command.admit_node());
    case pb::MembersCommand::kNodeGone:
      return MarkGone(
          {ToNodeId(command.node_gone().node()), Incarnation(command.node_gone().incarnation())});
    case pb::MembersCommand::kForgetNode:
      return Forget(ToNodeId(command.forget_node().node()));
    case pb::MembersCommand::kPlacePartitions:
      return Place(command.place_partitions());
    case pb::MembersCommand::kRaiseLevel:
      if (command.raise_level().level() > level_known_) {
        return absl::UnimplementedError(
            absl::StrCat("the meta group is raised to apply level ", command.raise_level().level(),
                         ", and this release knows ", level_known_, ": it needs a newer one"));
      }
      return Raise(command.raise_level().level());
    case pb::MembersCommand::COMMAND_NOT_SET:
      break;
  }
  return absl::UnimplementedError(
      "an entry of the meta group is a command that this release does not know: it needs a newer "
      "one");
}

MembersOutcome Members::Admit(const pb::AdmitNode& command) {
  if (command.uuid().empty()) return Refused("the node has no identity");
  if (command.level_max() < level_) {
    return Refused(absl::StrCat("release ", command.release(), " knows apply level ",
                                command.level_max(), ", and the cluster is at ", level_,
                                ": the node needs a newer release"));
  }
  const Node* const known = FindByUuid(command.uuid());
  const Incarnation incarnation(std::max(command.incarnation(), uint32_t{1}));
  if (known != nullptr && known->is_live() && known->incarnation == incarnation &&
      known->start == command.start()) {
    return {.kind = MembersOutcome::Kind::kRepeated, .admitted = known->life()};
  }
  // It was on its way for long, and must not end the life that the node has begun since.
  if (known != nullptr && incarnation <= known->incarnation) {
    return {
        .kind = MembersOutcome::Kind::kStale,
        .why = absl::StrCat("incarnation ", incarnation.value(), " of node ", known->id.value(),
                            " was before: incarnation ", known->incarnation.value(), " is known"),
        .known = known->incarnation};
  }
  if (known == nullptr && nodes_.size() >= kNodesMax) {
    return Refused(
        absl::StrCat("the cluster has ", kNodesMax,
                     " nodes, as many as it may have; forget one that is gone for good"));
  }
  if (known == nullptr && last_node_.value() == 0xFFFF)
    return Refused("all numbers of nodes have been given");
  MembersOutcome outcome;
  if (known == nullptr) {
    last_node_ = NodeId(static_cast<uint16_t>(last_node_.value() + 1));
  } else if (known->is_live()) {
    outcome.gone.push_back(known->life());
  }
  Node& node = nodes_[known == nullptr ? last_node_ : known->id];
  if (known == nullptr) node.id = last_node_;
  node.gone_through = node.incarnation;
  node.incarnation = incarnation;
  node.uuid = command.uuid();
  node.start = command.start();
  node.cluster_address = command.cluster_address();
  node.client_addresses.assign(command.client_addresses().begin(),
                               command.client_addresses().end());
  node.release = command.release();
  node.zone = command.zone();
  node.level_max = command.level_max();
  node.shards = command.shards();
  outcome.admitted = node.life();
  return outcome;
}

MembersOutcome Members::MarkGone(NodeLife life) {
  const auto it = nodes_.find(life.node);
  if (it == nodes_.end() || life.incarnation > it->second.incarnation)
    return {.kind = MembersOutcome::Kind::kStale};
  if (life.incarnation <= it->second.gone_through) return {.kind = MembersOutcome::Kind::kRepeated};
  // A life between those that are gone and the last cannot be: each admission ends the one before.
  it->second.gone_through = life.incarnation;
  return {.gone = {life}};
}

MembersOutcome Members::Forget(NodeId id) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end()) return {.kind = MembersOutcome::Kind::kRepeated};
  if (it->second.is_live())
    return Refused(absl::StrCat("node ", id.value(), " is running: stop it first"));
  if (HasReplicas(id)) {
    return Refused(
        absl::StrCat("node ", id.value(), " has replicas, which have to be moved to others first"));
  }
  nodes_.erase(it);
  return {};
}

bool Members::HasReplicas(NodeId id) const {
  const auto is_on = [id](const GroupReplicas& group) {
    return std::any_of(group.replicas.begin(), group.replicas.end(),
                       [id](const GroupReplicas::Replica& replica) { return replica.node == id; });
  };
  return is_on(meta_) || std::any_of(partitions_.begin(), partitions_.end(), is_on);
}

storage::PartitionMask Members::PartitionsOn(NodeId id) const {
  storage::PartitionMask mask = 0;
  for (size_t i = 0; i < partitions_.size(); ++i) {
    for (const GroupReplicas::Replica& replica : partitions_[i].replicas) {
      if (replica.node == id) mask |= storage::BitOf(static_cast<storage::PartitionId>(i));
    }
  }
  return mask;
}

NodeId Members::FormerAt(NodeId id) const {
  const Node* const here = Find(id);
  if (here == nullptr || here->cluster_address.empty() || HasReplicas(id)) return NodeId();
  for (const auto& [other, node] : nodes_) {
    const bool same = other != id && node.cluster_address == here->cluster_address;
    if (same && PartitionsOn(other) != 0) return other;
  }
  return NodeId();
}

std::string Members::WhyNotPlaced(const pb::GroupPlace& place) const {
  if (place.replicas().empty() || place.replicas_size() > static_cast<int>(kReplicasMax))
    return absl::StrCat("a group has from 1 to ", kReplicasMax, " replicas");
  bool leader_is_there = place.leader() == 0;
  uint32_t last = 0;
  for (const pb::GroupPlace::Replica& replica : place.replicas()) {
    if (replica.node() <= last) return "the replicas of a group are not in the order of nodes";
    last = replica.node();
    if (replica.node() > 0xFFFF || Find(ToNodeId(replica.node())) == nullptr)
      return absl::StrCat("node ", replica.node(), " is no member");
    leader_is_there |= replica.node() == place.leader();
  }
  return leader_is_there ? "" : "a group is to be led by a node that has no replica of it";
}

MembersOutcome Members::Place(const pb::PlacePartitions& command) {
  if (command.version() != placement_version_) return {.kind = MembersOutcome::Kind::kStale};
  for (const pb::GroupPlace& place : command.partitions()) {
    if (place.partition() >= partitions_.size())
      return Refused(absl::StrCat("there is no partition ", place.partition()));
    if (std::string why = WhyNotPlaced(place); !why.empty()) return Refused(std::move(why));
  }
  if (command.has_meta()) {
    if (std::string why = WhyNotPlaced(command.meta()); !why.empty())
      return Refused(std::move(why));
  }
  for (const pb::GroupPlace& place : command.partitions())
    Take(place, partitions_[place.partition()]);
  if (command.has_meta()) Take(command.meta(), meta_);
  ++placement_version_;
  return {};
}

void Members::Take(const pb::GroupPlace& place, GroupReplicas& group) {
  GroupReplicas taken = cluster::Read(place);
  for (GroupReplicas::Replica& replica : taken.replicas) {
    const auto before =
        std::find_if(group.replicas.begin(), group.replicas.end(),
                     [&](const GroupReplicas::Replica& r) { return r.node == replica.node; });
    replica.number = before != group.replicas.end() ? before->number : ++last_replica_;
  }
  group = std::move(taken);
}

MembersOutcome Members::Raise(uint32_t level) {
  if (level <= level_) return {.kind = MembersOutcome::Kind::kRepeated};
  for (const auto& [id, node] : nodes_) {
    if (node.level_max < level) {
      return Refused(absl::StrCat("node ", id.value(), " runs release ", node.release,
                                  ", which does not know apply level ", level));
    }
  }
  level_ = level;
  return {};
}

std::string Members::Encode() const {
  pb::MembersSnapshot snapshot;
  snapshot.set_cluster_id(cluster_id_);
  snapshot.set_level(level_);
  snapshot.set_last_node(last_node_.value());
  snapshot.set_last_replica(last_replica_);
  snapshot.set_replicas(replicas_);
  snapshot.set_placement_version(placement_version_);
  for (const auto& [id, node] : nodes_) Write(node, *snapshot.add_nodes());
  for (size_t i = 0; i < partitions_.size(); ++i) {
    pb::GroupPlace& place = *snapshot.add_partitions();
    place.set_partition(static_cast<uint32_t>(i));
    Write(partitions_[i], place);
  }
  Write(meta_, *snapshot.mutable_meta());
  return snapshot.SerializeAsString();
}

absl::StatusOr<Members> Members::Decode(std::string_view snapshot) {
  pb::MembersSnapshot read;
  if (!read.ParseFromArray(snapshot.data(), static_cast<int>(snapshot.size())))
    return absl::DataLossError("the meta group's state cannot be read");
  Members members;
  RETURN_IF_ERROR(members.Read(read));
  return members;
}

absl::Status Members::Read(const pb::MembersSnapshot& snapshot) {
  if (snapshot.level() > kLevelKnown) {
    return absl::UnimplementedError(absl::StrCat("the meta group is at apply level ",
                                                 snapshot.level(), ", and this release knows ",
                                                 kLevelKnown, ": it needs a newer one"));
  }
  cluster_id_ = snapshot.cluster_id();
  level_ = snapshot.level();
  last_node_ = ToNodeId(snapshot.last_node());
  last_replica_ = snapshot.last_replica();
  replicas_ = snapshot.replicas();
  placement_version_ = snapshot.placement_version();
  for (const pb::MembersSnapshot::Node& node : snapshot.nodes()) {
    if (!nodes_.emplace(ToNodeId(node.node()), cluster::Read(node)).second)
      return absl::DataLossError("the meta group's state has a node twice");
  }
  for (const pb::GroupPlace& place : snapshot.partitions()) {
    if (place.partition() != partitions_.size())
      return absl::DataLossError("the meta group's state lacks a partition");
    partitions_.push_back(cluster::Read(place));
  }
  meta_ = cluster::Read(snapshot.meta());
  return absl::OkStatus();
}

const Node* Members::Find(NodeId id) const {
  const auto it = nodes_.find(id);
  return it == nodes_.end() ? nullptr : &it->second;
}

const Node* Members::FindByUuid(std::string_view uuid) const {
  for (const auto& [id, node] : nodes_) {
    if (node.uuid == uuid) return &node;
  }
  return nullptr;
}

bool Members::IsLive(NodeLife life) const {
  const Node* const node = Find(life.node);
  return node != nullptr && node->is_live() && node->incarnation == life.incarnation;
}

std::optional<pb::PlacePartitions> Members::WantedPlacement(
    const std::vector<NodeId>& may_have) const {
  std::vector<PlacementNode> nodes;
  for (const NodeId id : may_have) {
    if (const Node* const node = Find(id)) nodes.push_back({id, node->zone});
  }
  if (nodes.empty()) return std::nullopt;
  std::vector<GroupNodes> current;
  for (const GroupReplicas& group : partitions_) current.push_back(group.nodes());
  current.push_back(meta_.nodes());
  const std::vector<GroupNodes> wanted =
      PlaceGroups(std::move(nodes), std::min<uint32_t>(replicas_, kReplicasMax), current);
  if (wanted == current) return std::nullopt;
  pb::PlacePartitions command;
  command.set_version(placement_version_);
  for (size_t i = 0; i < partitions_.size(); ++i) {
    if (wanted[i] == current[i]) continue;
    pb::GroupPlace& place = *command.add_partitions();
    place = ToPlace(wanted[i]);
    place.set_partition(static_cast<uint32_t>(i));
  }
  if (wanted.back() != current.back()) *command.mutable_meta() = ToPlace(wanted.back());
  return command;
}

}  // namespace cluster
