// Who leads the partitions, and which nodes live: what a host does when that changes.
#include <memory>
#include <utility>
#include <vector>

#include "mqttd/storage/v1/records.pb.h"
#include "storage/leader/host.h"
#include "storage/leader/limits.h"

namespace storage {
namespace {

// Shards that live say within milliseconds what they hold. Without those that have not by then, a
// new leader serves the others: of a node that died it is known only when its lease is over.
constexpr absl::Duration kHeardWithin = absl::Milliseconds(250);

// Of a number that says which of a partition's leaders asks: the lower bits count those of a term.
constexpr int kLivesBits = 24;
constexpr uint64_t kLivesMask = (uint64_t{1} << kLivesBits) - 1;

// No other asking has it, on whatever node, and of two the later one's is greater.
uint64_t AskingLife(uint64_t term, const Leader& leader) {
  return term << kLivesBits | (leader.life() & kLivesMask);
}

}  // namespace

// ---- A change of leader -------------------------------------------------------------------------

void Host::ReplaceLeader(PartitionId id) {
  auto leader = std::make_unique<Leader>(*replicas_[id], node_);
  node_.led.fetch_and(~BitOf(id));
  leader->Succeed(*node_.leaders[id]);
  node_.leaders[id] = std::move(leader);
  node_.leaders[id]->CatchUp();
  AskForClaims(id);
}

// Whoever asks after this one, here or elsewhere, is told of all that the shard holds.
void Host::HearFurther(ShardSlot from, Claims& claims) {
  const PartitionId id = claims.partition;
  if (!leads(id) || claims.life != AskingLife(terms_[id], *node_.leaders[id])) return;
  Leader& leader = *node_.leaders[id];
  if (!admission_.HearFurther(from, claims) || !leader.serving()) return;
  for (const Claims::Held& held : claims.held) leader.sessions().RestoreHeld(held);
}

// One that cannot be read now is led by nobody until it can: what is asked of it comes again, and
// holds up nothing that is asked of the others.
void Host::AskForClaims(PartitionId id) {
  if (!replicas_[id]->status().ok()) return admission_.SetElsewhere(id);
  const uint64_t life = AskingLife(terms_[id], *node_.leaders[id]);
  admission_.Close(id, life);
  heard_by_[id] = node_.now.monotonic + kHeardWithin;
  node_.RecountSessions();
  node_.SendToAll(ClaimsWanted{.partition = id, .life = life, .by = node_.shards.self().node});
}

void Host::AskAllForClaims() {
  for (PartitionId id = 0; id < partitions(); ++id) {
    if (leads(id) && !replicas_[id]->stopped()) ReplaceLeader(id);
  }
}

// ---- Other nodes --------------------------------------------------------------------------------

void Host::SetNodes(const std::vector<LiveNode>& others) {
  std::vector<LiveNode> left;
  std::vector<LiveNode> came = others;
  for (const ShardTable::Other& other : node_.shards.others()) {
    if (std::erase(came, other.life) == 0) left.push_back(other.life);
  }
  for (const LiveNode& gone : left) {
    ForgetShards(node_.shards.Remove(gone), gone.shards);
    routes_.elsewhere().ForgetNode(gone);
    routes_.feeds().Forget(gone.node);
    scans_.Resync(gone.node);
  }
  for (const LiveNode& other : came) ForgetShards(node_.shards.Add(other), other.shards);
  if (beginning_) return;
  for (const auto& leader : node_.leaders) leader->OnNodesGone(left);
  if (!came.empty()) AskAllForClaims();
}

void Host::Resync(NodeId node) {
  if (!node_.shards.IsOther(node)) return;
  resync_ = true;
  routes_.elsewhere().Resync(node);
  routes_.feeds().Restart(node);
  scans_.Resync(node);
}

void Host::OnHostMessage(NodeId from, Incarnation life, const HostMessage& message) {
  if (const auto* const told = std::get_if<FeedRoutes>(&message)) return fed_.Hear(from, *told);
  if (const auto* const done = std::get_if<ScanDone>(&message)) return scans_.Hear(from, *done);
  if (const auto* const taken = std::get_if<FeedTaken>(&message))
    return routes_.feeds().Hear(from, *taken);
  if (const auto* const wanted = std::get_if<ScanWanted>(&message))
    return scans_.Hear(from, *wanted);
  routes_.elsewhere().Hear(from, life, message);
}

// Nobody has the slots any more, or somebody else.
void Host::ForgetShards(ShardSlot first, ShardId shards) {
  node_.outbox.resize(node_.shards.slots());
  for (size_t slot = first; slot < size_t{first} + shards; ++slot) {
    node_.outbox[slot].clear();
    admission_.Forget(static_cast<ShardSlot>(slot));
    for (const auto& leader : node_.leaders) leader->Forget(static_cast<ShardSlot>(slot));
  }
}

void Host::OnRole(const RoleChange& change) {
  const PartitionId id = change.partition;
  if (log_.Hear(change)) Follow(id);
  if (!change.leads) {
    routes_.feeds().LeadNoMore(id);
    return admission_.SetElsewhere(id);
  }
  terms_[id] = change.term;
  routes_.feeds().Lead(id, change.term);
  if (beginning_) return admission_.SetHere(id);  // Nobody has asked for anything yet.
  if (!replicas_[id]->stopped()) AskForClaims(id);
}

// Nothing of a leader is needed when another node leads. What it collected is asked for there.
void Host::Follow(PartitionId id) {
  log_.Landed(id);
  for (Group& group : full_) {
    std::erase_if(group.parts, [id](const Proposal* part) { return part->partition == id; });
  }
  held_[id].clear();
  node_.ForgetGrowing(id);
  node_.led.fetch_and(~BitOf(id));
  const std::unique_ptr<Leader> former = std::move(node_.leaders[id]);
  node_.leaders[id] = std::make_unique<Leader>(*replicas_[id], node_);
  node_.leaders[id]->TakeAfter(*former);
  admission_.SetElsewhere(id);
  node_.RecountSessions();
  former->PassBarriers();
}

void Host::ServeNewLeaders() {
  bool opened = false;
  for (const auto& leader : node_.leaders) {
    if (!leader->replica().status().ok()) continue;
    const PartitionId id = leader->id();
    const bool from_all = admission_.HasHeardAll(id);
    if (leader->serving()) {
      if (leader->knows_all() || !from_all) continue;
      admission_.Open(id);
      leader->KnowAll();
      continue;
    }
    // What it has to pass on a shard here does, by the routes that it knows.
    if (!leader->caught_up() || !log_.MayAct(id, applied(id)) || !serves_) continue;
    const bool waited = node_.shards.in_cluster() && node_.now.monotonic >= heard_by_[id];
    if (!from_all && !(waited && admission_.Asks(id))) continue;
    leader->Activate(from_all ? admission_.Open(id) : admission_.OpenInPart(id),
                     LimitsOf(options_));
    if (from_all) leader->KnowAll();
    opened = true;
  }
  if (opened) node_.RecountSessions();
  if (admission_.TakeNews()) {
    for (auto& [from, asked] : admission_.TakeKept()) {
      if (admission_.Admit(from, asked)) HandOn(from, asked);
    }
  }
  for (const auto& leader : node_.leaders) {
    leader->SettleIfDue();
  }
}

}  // namespace storage
