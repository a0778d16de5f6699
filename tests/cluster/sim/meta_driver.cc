#include "tests/cluster/sim/meta_driver.h"

#include <algorithm>

#include "base/check.h"

namespace simulator {
namespace {

constexpr absl::Duration kTurn = absl::Milliseconds(100);
constexpr absl::Duration kMembersAskedEvery = absl::Milliseconds(500);

}  // namespace

MetaDriver::MetaDriver(Machine& machine, Life& life, LogDriver& log, base::Timeline& timeline,
                       ::mqttd::cluster::v1::AdmitNode self, cluster::Members members,
                       uint64_t applied, Parts parts)
    : machine_(machine),
      life_(life),
      log_(log),
      timeline_(timeline),
      parts_(std::move(parts)),
      node_({}, self, std::move(members), applied),
      incarnation_(self.incarnation()) {
  life_.After(kTurn, [this] { Tick(); });
}

void MetaDriver::ReadTime() {
  node_.SetTime(timeline_.UnixMs(machine_.clock.MonotonicNs()), Now());
}

void MetaDriver::Tick() {
  ReadTime();
  node_.Tick(Now());
  AskForMembers();
  Act();
  life_.After(kTurn, [this] { Tick(); });
}

void MetaDriver::OnLog(std::vector<cluster::LogEvent> events) {
  for (cluster::LogEvent& event : events) {
    ReadTime();
    On(event);
    Act();
  }
}

void MetaDriver::On(cluster::LogEvent& event) {
  if (const auto* const committed = std::get_if<cluster::Committed>(&event)) {
    for (const cluster::CommittedEntry& entry : committed->entries) {
      const absl::Status applied =
          node_.OnCommitted(entry.place.index, entry.entry, entry.proposal, Now());
      CHECK(applied.ok()) << applied.ToString();
    }
  } else if (const auto* const role = std::get_if<cluster::RoleChange>(&event)) {
    node_.OnRole(role->role == cluster::Role::kLeader, role->applied_before_leading, Now());
  } else if (const auto* const fate = std::get_if<cluster::NotCommitted>(&event)) {
    node_.OnNotCommitted(fate->proposal, fate->fate == cluster::Fate::kSurely);
  } else if (const auto* const readable = std::get_if<cluster::Readable>(&event)) {
    node_.OnBarrier(readable->ticket, true);
  } else if (const auto* const not_readable = std::get_if<cluster::NotReadable>(&event)) {
    node_.OnBarrier(not_readable->ticket, false);
  }
}

void MetaDriver::OnControl(NodeLife from, const cluster::ControlItem& item) {
  ReadTime();
  if (const auto* const request = std::get_if<cluster::LeaseRequest>(&item)) {
    if (request->life == from) node_.OnLeaseRequest(*request, Now());
  } else if (const auto* const answer = std::get_if<cluster::LeaseAnswer>(&item)) {
    node_.OnLeaseAnswer(*answer);
  } else if (const auto* const wanted = std::get_if<cluster::MembersWanted>(&item)) {
    if (HasReplica(machine_.id) && wanted->index < node_.applied()) TellMembers(from.node);
  } else if (const auto* const told = std::get_if<cluster::MembersTold>(&item)) {
    const absl::StatusOr<cluster::Members> members = cluster::Members::Decode(told->members);
    CHECK(members.ok()) << members.status().ToString();
    Install(*members, told->index);
  }
  Act();
}

void MetaDriver::OnJoin(const ::mqttd::cluster::v1::AdmitNode& node,
                        std::function<void(Answer)> answer) {
  if (node_.members().cluster_id().empty()) return answer({});  // It waits itself.
  joins_[++last_token_] = std::move(answer);
  node_.OnAdmissionAsked(last_token_, node);
  Act();
}

// ---- What it wants done -------------------------------------------------------------------------

void MetaDriver::Act() {
  // What is done for oneself can make for more.
  for (bool again = true; again;) {
    cluster::MetaOutputs out = node_.Take();
    again = !out.leases_answered.empty() || !out.leases_asked.empty();
    timeline_.Skip(out.time_shift_ms);
    if (out.members_changed) {
      TellMembersToAll();
      parts_.on_members(node_.members(), node_.applied());
    }
    for (cluster::MetaOutputs::Proposal& proposal : out.proposals) {
      log_.Run(
          [number = proposal.number, entry = std::move(proposal.entry)](cluster::RaftLoop& loop) {
            loop.Submit({.group = kMetaGroup, .number = number, .entry = entry});
          });
    }
    for (const uint64_t ticket : out.barriers)
      log_.Run([ticket](cluster::RaftLoop& loop) { loop.ReadBarrier(kMetaGroup, ticket); });
    for (const cluster::MetaOutputs::LeaseAsked& asked : out.leases_asked) {
      if (asked.to == machine_.id) {
        node_.OnLeaseRequest(asked.request, Now());
      } else {
        parts_.send(asked.to, asked.request);
      }
    }
    for (const auto& [to, answer] : out.leases_answered) {
      if (to == machine_.id) {
        node_.OnLeaseAnswer(answer);
      } else {
        parts_.send(to, answer);
      }
    }
    for (const cluster::MetaOutputs::AdmissionAnswer& answer : out.admissions)
      AnswerAdmission(answer);
    if (BeginLife(out) && out.ask_admission.has_value()) AskAdmission(*out.ask_admission);
  }
  parts_.on_lease(until());
}

bool MetaDriver::BeginLife(const cluster::MetaOutputs& out) {
  if (out.begun.has_value()) {
    if (!parts_.begin_life(*out.begun)) {
      refused_ = *out.begun;
    } else {
      incarnation_ = *out.begun;
    }
  }
  return refused_ == Incarnation();
}

// Who knows of no member asks its seeds: those that founded the cluster.
void MetaDriver::AskAdmission(const ::mqttd::cluster::v1::AdmitNode& self) {
  std::vector<NodeId> to;
  for (const cluster::GroupReplicas::Replica& replica : node_.members().meta().replicas)
    to.push_back(replica.node);
  if (to.empty()) to = {NodeId(1), NodeId(2), NodeId(3)};
  for (const NodeId each : to)
    parts_.join(each, self, [this](const Answer& answer) { OnAdmissionAnswered(answer); });
}

void MetaDriver::OnAdmissionAnswered(const Answer& answer) {
  if (answer.known != Incarnation()) {
    node_.OnNotAdmitted(answer.known);
  } else if (answer.life.node == machine_.id) {
    Install(*answer.members, answer.index);
    node_.OnAdmitted(answer.life);
  }
  Act();
}

void MetaDriver::AnswerAdmission(const cluster::MetaOutputs::AdmissionAnswer& answer) {
  const auto found = joins_.find(answer.token);
  if (found == joins_.end()) return;
  const auto reply = std::move(found->second);
  joins_.erase(found);
  if (answer.ask_again) return reply({});
  if (!answer.why.empty()) return reply({.known = answer.known});
  reply({.life = answer.life,
         .members = std::make_shared<const cluster::Members>(node_.members()),
         .index = node_.applied()});
}

// ---- Nodes without a replica --------------------------------------------------------------------

bool MetaDriver::HasReplica(NodeId id) const {
  const auto& replicas = node_.members().meta().replicas;
  return std::any_of(replicas.begin(), replicas.end(),
                     [id](const auto& replica) { return replica.node == id; });
}

void MetaDriver::Install(const cluster::Members& members, uint64_t index) {
  if (!HasReplica(machine_.id) && index > node_.applied()) node_.Install(members, index);
}

void MetaDriver::TellMembers(NodeId to) {
  parts_.send(to, cluster::MembersTold{node_.applied(), node_.members().Encode()});
}

void MetaDriver::TellMembersToAll() {
  if (!HasReplica(machine_.id)) return;
  for (const auto& [id, node] : node_.members().nodes()) {
    if (node.is_live() && !HasReplica(id)) TellMembers(id);
  }
}

void MetaDriver::AskForMembers() {
  if (HasReplica(machine_.id) || Now() < next_members_) return;
  next_members_ = Now() + kMembersAskedEvery;
  for (const cluster::GroupReplicas::Replica& replica : node_.members().meta().replicas)
    parts_.send(replica.node, cluster::MembersWanted{node_.applied()});
}

}  // namespace simulator
