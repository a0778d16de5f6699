#include "tests/cluster/sim/meta_driver.h"

#include "base/check.h"

namespace simulator {
namespace {

constexpr absl::Duration kTurn = absl::Milliseconds(50);

}  // namespace

MetaDriver::MetaDriver(Machine& machine, Life& life, LogDriver& log,
                       ::mqttd::cluster::v1::AdmitNode self, cluster::Members members,
                       uint64_t applied, Parts parts)
    : machine_(machine),
      life_(life),
      log_(log),
      parts_(std::move(parts)),
      node_({}, self, std::move(members), applied),
      incarnation_(self.incarnation()) {
  life_.After(kTurn, [this] { Tick(); });
}

void MetaDriver::Tick() {
  node_.Tick(Now());
  Act();
  life_.After(kTurn, [this] { Tick(); });
}

void MetaDriver::OnLog(std::vector<cluster::LogEvent> events) {
  for (cluster::LogEvent& event : events) {
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
  if (const auto* const request = std::get_if<cluster::LeaseRequest>(&item)) {
    if (request->life == from) node_.OnLeaseRequest(*request, Now());
  } else if (const auto* const answer = std::get_if<cluster::LeaseAnswer>(&item)) {
    node_.OnLeaseAnswer(*answer);
  }
  Act();
}

void MetaDriver::OnJoin(const ::mqttd::cluster::v1::AdmitNode& node,
                        std::function<void(Answer)> answer) {
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
    if (out.members_changed) parts_.on_members(node_.members(), node_.applied());
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

void MetaDriver::AskAdmission(const ::mqttd::cluster::v1::AdmitNode& self) {
  for (const cluster::GroupReplicas::Replica& replica : node_.members().meta().replicas) {
    parts_.join(replica.node, self, [this](const Answer& answer) {
      if (answer.known != Incarnation()) {
        node_.OnNotAdmitted(answer.known);
      } else if (answer.life.node == machine_.id) {
        node_.OnAdmitted(answer.life);
      }
      Act();
    });
  }
}

void MetaDriver::AnswerAdmission(const cluster::MetaOutputs::AdmissionAnswer& answer) {
  const auto found = joins_.find(answer.token);
  if (found == joins_.end()) return;
  const auto reply = std::move(found->second);
  joins_.erase(found);
  if (answer.ask_again) return reply({});
  reply({.life = answer.why.empty() ? answer.life : NodeLife{},
         .known = answer.why.empty() ? Incarnation() : answer.known});
}

}  // namespace simulator
