#include "cluster/core/meta_node.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;

std::string GoneEntry(NodeLife life) {
  pb::MembersCommand command;
  command.mutable_node_gone()->set_node(life.node.value());
  command.mutable_node_gone()->set_incarnation(life.incarnation.value());
  return command.SerializeAsString();
}

absl::Status NoSuchNode(NodeId node) {
  return absl::NotFoundError(absl::StrCat("the cluster has no node ", node.value()));
}

absl::Status AnotherDecides() { return absl::UnavailableError("another node decides about that"); }

}  // namespace

MetaNode::MetaNode(LeaseOptions options, pb::AdmitNode self, Members members, uint64_t applied)
    : options_(options),
      self_(std::move(self)),
      members_(std::move(members)),
      applied_(applied),
      lease_(options) {}

// ---- The log ------------------------------------------------------------------------------------

absl::Status MetaNode::OnCommitted(uint64_t index, std::string_view entry, uint64_t proposal,
                                   absl::Duration now) {
  CHECK(index > applied_) << "an entry of the meta group's log came out of order";
  if (!entry.empty()) {
    absl::StatusOr<MembersOutcome> outcome = members_.Apply(entry);
    if (!outcome.ok()) return outcome.status();
    out_.members_changed = true;
    for (const NodeLife& life : outcome->gone) {
      out_.gone.push_back(life);
      if (granter_ != nullptr) granter_->OnGone(life);
    }
    const bool admits = outcome->admitted != NodeLife{};
    if (admits && granter_ != nullptr) granter_->OnAdmitted(outcome->admitted, now);
    declared_.erase(proposal);
    if (const auto it = admissions_.find(proposal); it != admissions_.end()) {
      out_.admissions.push_back({.token = it->second,
                                 .life = outcome->admitted,
                                 .why = outcome->why,
                                 .known = outcome->known,
                                 .refused = outcome->kind == MembersOutcome::Kind::kRefused});
      admissions_.erase(it);
    }
    AnswerForget(proposal, *outcome);
  }
  applied_ = index;
  if (acts_behind_.has_value() && applied_ >= *acts_behind_) Lead(now);
  return absl::OkStatus();
}

void MetaNode::AnswerForget(uint64_t proposal, const MembersOutcome& outcome) {
  const auto it = forgets_.find(proposal);
  if (it == forgets_.end()) return;
  const auto [token, node] = it->second;
  forgets_.erase(it);
  absl::Status status;
  if (outcome.kind == MembersOutcome::Kind::kRefused) {
    status = absl::FailedPreconditionError(outcome.why);
  } else if (outcome.kind == MembersOutcome::Kind::kRepeated) {
    status = NoSuchNode(node);
  }
  out_.forgotten.push_back({token, std::move(status)});
}

void MetaNode::Install(Members members, uint64_t index) {
  members_ = std::move(members);
  applied_ = index;
  out_.members_changed = true;
}

void MetaNode::OnRole(bool leads, uint64_t acts_behind, absl::Duration now) {
  LeadNoMore();
  // There is a new leader, here or elsewhere: what is due is asked of it at once.
  lease_.AskAtOnce();
  if (!leads) return;
  acts_behind_ = acts_behind;
  if (applied_ >= acts_behind) Lead(now);
}

void MetaNode::Lead(absl::Duration now) {
  acts_behind_.reset();
  std::vector<NodeLife> live;
  for (const auto& [id, node] : members_.nodes()) {
    if (node.is_live()) live.push_back(node.life());
  }
  granter_ = std::make_unique<LeaseGranter>(options_, now, live);
  ++leaderships_;
  time_.Lead(now);
}

void MetaNode::LeadNoMore() {
  granter_ = nullptr;
  acts_behind_.reset();
  declared_.clear();
  for (const auto& [proposal, token] : std::exchange(admissions_, {}))
    out_.admissions.push_back({.token = token, .ask_again = true});
  for (const auto& [proposal, asked] : std::exchange(forgets_, {}))
    out_.forgotten.push_back({asked.first, AnotherDecides()});
}

void MetaNode::OnNotCommitted(uint64_t proposal, bool surely) {
  if (const auto it = admissions_.find(proposal); it != admissions_.end()) {
    out_.admissions.push_back({.token = it->second, .ask_again = true});
    admissions_.erase(it);
  }
  if (const auto it = forgets_.find(proposal); it != forgets_.end()) {
    out_.forgotten.push_back({it->second.first, AnotherDecides()});
    forgets_.erase(it);
  }
  const auto it = declared_.find(proposal);
  if (it == declared_.end()) return;
  // If it may still come, this node leads no more, and says so next.
  if (surely && granter_ != nullptr) granter_->OnNotCommitted(it->second);
  declared_.erase(it);
}

uint64_t MetaNode::Propose(std::string entry) {
  out_.proposals.push_back({++last_proposal_, std::move(entry)});
  return last_proposal_;
}

// ---- Leases -------------------------------------------------------------------------------------

void MetaNode::OnLeaseRequest(const LeaseRequest& request, absl::Duration now) {
  if (granter_ == nullptr) return;
  time_.OnAsked(request.life.node, request.time, IsMember(request.life.node),
                members_.meta().replicas.size());
  granter_->OnRequest(request, now);
  Answer(granter_->TakeAnswers());
  if (request.ends) ProposeGone(now);
  AskBarrier();
}

bool MetaNode::IsMember(NodeId node) const {
  const auto& replicas = members_.meta().replicas;
  return std::any_of(replicas.begin(), replicas.end(),
                     [node](const GroupReplicas::Replica& each) { return each.node == node; });
}

// With its lease a node takes the leader's time.
void MetaNode::AskBarrier() {
  if (!time_.agreed()) return;
  if (const auto ticket = granter_->WantsBarrier())
    out_.barriers.push_back(leaderships_ << 32 | *ticket);
}

void MetaNode::OnBarrier(uint64_t ticket, bool readable) {
  if (granter_ == nullptr || ticket >> 32 != leaderships_) return;
  Answer(granter_->OnBarrier(ticket & 0xFFFFFFFF, readable));
  AskBarrier();  // For what was asked meanwhile.
}

void MetaNode::Answer(const std::vector<LeaseAnswer>& answers) {
  for (LeaseAnswer answer : answers) {
    answer.time = time_.Said();
    out_.leases_answered.emplace_back(answer.life.node, answer);
  }
}

void MetaNode::OnLeaseAnswer(const LeaseAnswer& answer) {
  const bool is_news = lease_.OnAnswer(answer);
  if (is_news && answer.kind == LeaseAnswer::Kind::kGranted) time_.OnLeader(answer.time);
  BeginAnotherIfGone();
}

void MetaNode::OnLifeOver(Incarnation through) {
  lease_.OnGone(through);
  BeginAnotherIfGone();
}

void MetaNode::BeginAnotherIfGone() {
  if (!lease_.is_gone() || !admitted_ || lease_.is_ending()) return;
  // Another life, then. What this one was granted is gone already.
  BeginLife(Incarnation(lease_.life().incarnation.value() + 1));
}

// ---- Lives --------------------------------------------------------------------------------------

void MetaNode::OnAdmissionAsked(uint64_t token, const pb::AdmitNode& node) {
  if (granter_ == nullptr) {
    out_.admissions.push_back({.token = token, .ask_again = true});
    return;
  }
  if (node.shards() > kNodeShardsMax) {
    out_.admissions.push_back(
        {.token = token,
         .why = absl::StrCat("it says that it has ", node.shards(), " shards, and ", kNodeShardsMax,
                             " are the most that a node may have"),
         .refused = true});
    return;
  }
  const Node* const known = members_.FindByUuid(node.uuid());
  if (node.node() != 0 && (known == nullptr || known->id.value() != node.node())) {
    out_.admissions.push_back(
        {.token = token,
         .why = absl::StrCat("node ", node.node(),
                             " was forgotten: to come back as a new node it has to be started with "
                             "an empty data_dir"),
         .refused = true});
    return;
  }
  // Behind the entry that forgets it this one would give it a number that nobody bears.
  const bool is_forgotten =
      known != nullptr && std::any_of(forgets_.begin(), forgets_.end(), [&](const auto& each) {
        return each.second.second == known->id;
      });
  if (is_forgotten) {
    out_.admissions.push_back({.token = token, .ask_again = true});
    return;
  }
  pb::MembersCommand command;
  *command.mutable_admit_node() = node;
  admissions_[Propose(command.SerializeAsString())] = token;
}

void MetaNode::BeginLife(Incarnation incarnation) {
  admitted_ = false;
  self_.set_start(self_.start() + 1);
  self_.set_incarnation(incarnation.value());
  out_.begun = incarnation;
  next_admission_ = -absl::InfiniteDuration();
}

void MetaNode::OnAdmitted(NodeLife life) {
  if (admitted_ || life.incarnation.value() != self_.incarnation()) return;
  admitted_ = true;
  lease_.Begin(life);
}

void MetaNode::OnNotAdmitted(Incarnation known) {
  if (admitted_ || known.value() < self_.incarnation()) return;
  BeginLife(Incarnation(known.value() + 1));
}

void MetaNode::OnForgetAsked(uint64_t token, NodeId node) {
  if (granter_ == nullptr) {
    out_.forgotten.push_back({token, AnotherDecides()});
  } else if (members_.Find(node) == nullptr) {
    out_.forgotten.push_back({token, NoSuchNode(node)});
  } else {
    pb::MembersCommand command;
    command.mutable_forget_node()->set_node(node.value());
    forgets_[Propose(command.SerializeAsString())] = {token, node};
  }
}

std::string MetaNode::Declare(NodeId id) {
  const Node* const node = members_.Find(id);
  if (node == nullptr) return absl::StrCat("there is no node ", id.value());
  if (!node->is_live()) return absl::StrCat("node ", id.value(), " is gone already");
  if (granter_ == nullptr) return "another node decides about that";
  return granter_->Declare(node->life()) ? ""
                                         : absl::StrCat("node ", id.value(), " is being declared");
}

void MetaNode::Tick(absl::Duration now) {
  if (granter_ != nullptr) {
    time_.AgreeIfLate(now);
    AskBarrier();
    ProposeGone(now);
  }
  AskForWhatIsDue(now);
}

void MetaNode::ProposeGone(absl::Duration now) {
  for (const NodeLife& life : granter_->TakeExpired(now))
    declared_[Propose(GoneEntry(life))] = life;
}

void MetaNode::AskForWhatIsDue(absl::Duration now) {
  if (!admitted_) {
    if (now < next_admission_) return;
    next_admission_ = now + kAdmissionAskedEvery;
    out_.ask_admission = self_;
    return;
  }
  auto request = lease_.Ask(now);
  if (!request.has_value()) return;
  request->time = time_.Said();
  for (const GroupReplicas::Replica& replica : members_.meta().replicas)
    out_.leases_asked.push_back({replica.node, *request});
}

}  // namespace cluster
