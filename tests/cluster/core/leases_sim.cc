#include "tests/cluster/core/leases_sim.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace cluster {

namespace pb = ::mqttd::cluster::v1;

namespace {

using Mutant = LeasesSimOptions::Mutant;

constexpr uint64_t kTickMs = 100;
// As seldom as may be: who asks more often makes up for what a leader forgets.
constexpr absl::Duration kAskedEvery = absl::Seconds(1);
constexpr double kDrift = 0.05;

std::string Uuid(uint32_t number) { return absl::StrCat("node-", number); }

pb::Formation Founding(uint32_t voters) {
  pb::Formation formation;
  formation.set_cluster_id("sim");
  formation.set_partitions(1);
  formation.set_replicas(voters);
  for (uint32_t i = 1; i <= voters; ++i) formation.add_founders()->set_uuid(Uuid(i));
  return formation;
}

}  // namespace

struct LeasesSim::Node {
  uint32_t number = 0;
  uint64_t life = 0;
  bool up = false;
  uint64_t paused_until = 0;
  // Its clock: what it showed at some moment, and how fast it runs since.
  absl::Duration clock;
  uint64_t clock_at = 0;
  double rate = 1;

  // ---- On disk.
  MemoryEntryStore store;
  Members members;
  Place applied = kGroupBegin;
  uint32_t incarnation = 0;

  // ---- Of one life.
  std::unique_ptr<RaftLoop> loop;  // Null: it holds no replica of the meta group.
  bool writing = false;
  std::unique_ptr<MetaNode> meta;
};

LeasesSim::LeasesSim(LeasesSimOptions options)
    : options_(options),
      leases_{.renewed_every = kAskedEvery, .drift = kDrift},
      rng_(options.seed) {
  if (options_.mutant == Mutant::kNoDrift) leases_.drift = 0;
  for (uint32_t number = 1; number <= kNodes; ++number) {
    auto node = std::make_unique<Node>();
    node->number = number;
    node->members = Members::Founded(Founding(kVoters));
    node->clock = absl::Seconds(rng_.Below(1'000'000));
    nodes_.push_back(std::move(node));
  }
}

LeasesSim::~LeasesSim() = default;

std::string LeasesSim::Run() {
  for (const auto& node : nodes_) {
    SetRate(*node);
    Start(*node);
  }
  After(3'000, [this] { Storm(); });
  After(options_.stormy_ms, [this] { Calm(); });
  const uint64_t until = options_.stormy_ms + options_.calm_ms;
  while (failure_.empty() && events_.RunNext(until)) {
  }
  if (failure_.empty()) CheckEnd();
  return failure_;
}

void LeasesSim::After(uint64_t delay_ms, std::function<void()> run) {
  events_.After(delay_ms, std::move(run));
}

void LeasesSim::OnNode(Node& node, uint64_t delay_ms, std::function<void()> run) {
  OnNodeOf(node, node.life, delay_ms, std::move(run));
}

void LeasesSim::OnNodeOf(Node& node, uint64_t life, uint64_t delay_ms, std::function<void()> run) {
  After(delay_ms, [this, &node, life, run = std::move(run)]() mutable {
    if (!node.up || node.life != life) return;
    if (events_.now() < node.paused_until)
      return OnNodeOf(node, life, node.paused_until - events_.now(), std::move(run));
    run();
  });
}

void LeasesSim::Send(Node& from, Node& to, std::function<void()> run) {
  if (from.number != to.number &&
      (blocked_.contains({from.number, to.number}) || rng_.Chance(loss_)))
    return;
  uint64_t delay = from.number == to.number ? 0 : 1 + rng_.Below(10);
  if (stormy_ && rng_.Chance(0.02)) delay += rng_.Below(4'000);
  // A process that is started meanwhile hears what was sent to the one before: connections do not
  // allow that, and it has to do no harm.
  After(delay, [this, &to, run = std::move(run)]() mutable {
    if (to.up) OnNode(to, 0, std::move(run));
  });
}

void LeasesSim::Fail(const std::string& words) {
  if (failure_.empty())
    failure_ = absl::StrCat("seed ", options_.seed, ", ", events_.now(), " ms: ", words);
}

void LeasesSim::Note(const Node& node, const std::string& words) {
  if (options_.explain)
    (void)std::fprintf(stderr, "%6lu n%u %s\n", events_.now(), node.number, words.c_str());
}

absl::Duration LeasesSim::Clock(const Node& node) const {
  return node.clock + absl::Milliseconds(events_.now() - node.clock_at) * node.rate;
}

void LeasesSim::SetRate(Node& node) {
  node.clock = Clock(node);
  node.clock_at = events_.now();
  // Mostly at one of the ends, where it hurts.
  node.rate = 1 + kDrift * (rng_.Chance(0.8) ? (rng_.Chance(0.5) ? 1 : -1) : 2 * rng_.Unit() - 1);
}

// ---- Nodes -------------------------------------------------------------------------------------

void LeasesSim::Start(Node& node) {
  ++node.life;
  node.up = true;
  node.paused_until = 0;
  node.writing = false;
  Note(node, "starts");
  pb::AdmitNode self;
  self.set_uuid(Uuid(node.number));
  self.set_start(rng_());
  self.set_incarnation(++node.incarnation);
  node.meta = std::make_unique<MetaNode>(leases_, self, node.members, node.applied.index);
  if (node.number <= kVoters) {
    node.loop = std::make_unique<RaftLoop>(RaftLoopOptions{.seed = options_.seed}, node.store);
    ConfState voters;
    for (uint32_t i = 1; i <= kVoters; ++i) voters.voters.push_back(i);
    const absl::Status added = node.loop->AddGroup(
        {.group = 0, .replica = node.number, .applied = node.applied, .conf_state = voters});
    if (!added.ok()) return Fail(absl::StrCat("cannot start: ", added.ToString()));
    Pump(node);
  }
  OnNode(node, rng_.Below(kTickMs), [this, &node] { Tick(node); });
}

void LeasesSim::Crash(Node& node) {
  Note(node, "crashes");
  node.up = false;
  ++node.life;
  node.loop = nullptr;
  node.meta = nullptr;
  base::Rng disk = rng_.Fork();
  node.store.Crash(disk);
}

void LeasesSim::Tick(Node& node) {
  if (node.loop != nullptr) node.loop->Tick();
  node.meta->Tick(Clock(node));
  Pump(node);
  OnNode(node, kTickMs, [this, &node] { Tick(node); });
}

void LeasesSim::Pump(Node& node) {
  Act(node);
  if (node.loop == nullptr) return;
  const uint64_t life = node.life;
  for (bool again = true; again && failure_.empty();) {
    again = false;
    node.loop->Run();
    for (RaftLoop::Message& message : node.loop->TakeMessages()) {
      Node& to = *nodes_[message.to - 1];
      Send(node, to, [this, &to, data = std::move(message.data)] {
        if (to.loop == nullptr) return;
        (void)to.loop->OnMessage(0, data);
        Pump(to);
      });
    }
    for (LogEvent& event : node.loop->TakeEvents()) {
      Handle(node, event);
      again = true;
    }
    Act(node);
    if (node.writing) continue;
    auto write = node.loop->BeginWrite();
    if (!write.has_value()) continue;
    node.writing = true;
    OnNodeOf(node, life, rng_.Below(5), [this, &node, write = *write] {
      CHECK(node.store.Write(*write.batch, write.sync).ok()) << "memory";
      node.writing = false;
      node.loop->OnWritten();
      Pump(node);
    });
  }
}

void LeasesSim::Handle(Node& node, LogEvent& event) {
  if (const auto* const committed = std::get_if<Committed>(&event)) {
    for (const CommittedEntry& entry : committed->entries) Apply(node, entry);
  } else if (const auto* const role = std::get_if<RoleChange>(&event)) {
    const bool leads = role->role == Role::kLeader;
    node.meta->OnRole(leads, role->applied_before_leading, LeaderClock(node));
    if (leads) ++leaders_;
  } else if (const auto* const fate = std::get_if<NotCommitted>(&event)) {
    node.meta->OnNotCommitted(fate->proposal, fate->fate == Fate::kSurely);
  } else if (const auto* const readable = std::get_if<Readable>(&event)) {
    node.meta->OnBarrier(readable->ticket, true);
  } else if (const auto* const not_readable = std::get_if<NotReadable>(&event)) {
    node.meta->OnBarrier(not_readable->ticket, false);
  } else if (const auto* const stopped = std::get_if<GroupStopped>(&event)) {
    Fail(absl::StrCat("the group stopped: ", stopped->status.ToString()));
  }
}

absl::Duration LeasesSim::LeaderClock(const Node& node) const {
  return options_.mutant == Mutant::kNoWait ? Clock(node) - absl::Milliseconds(1800) : Clock(node);
}

void LeasesSim::Apply(Node& node, const CommittedEntry& entry) {
  const absl::Status status =
      node.meta->OnCommitted(entry.place.index, entry.entry, entry.proposal, LeaderClock(node));
  if (!status.ok()) return Fail(status.ToString());
  node.applied = entry.place;
  node.members = node.meta->members();
  const std::string state = node.members.Encode();
  if (states_.try_emplace(entry.place.index, state).first->second != state)
    Fail("two replicas differ");
}

LeasesSim::Node* LeasesSim::Find(const Members& members, NodeId id) {
  const cluster::Node* const member = members.Find(id);
  for (const auto& node : nodes_) {
    if (member != nullptr && member->uuid == Uuid(node->number)) return node.get();
  }
  return nullptr;
}

// What the node wants done.
void LeasesSim::Act(Node& node) {
  MetaOutputs out = node.meta->Take();
  if (out.begun.has_value()) node.incarnation = out.begun->value();
  for (const NodeLife& life : out.gone) CheckGone(life);
  for (MetaOutputs::Proposal& proposal : out.proposals) {
    const bool declares = pb::MembersCommand::kNodeGone == [&] {
      pb::MembersCommand command;
      return command.ParseFromString(proposal.entry) ? command.command_case()
                                                     : pb::MembersCommand::COMMAND_NOT_SET;
    }();
    node.loop->Submit({.group = 0, .number = proposal.number, .entry = std::move(proposal.entry)});
    if (declares && options_.mutant == Mutant::kForgets)
      node.meta->OnRole(true, node.applied.index, Clock(node));
  }
  for (const uint64_t ticket : out.barriers) {
    if (options_.mutant == Mutant::kNoBarrier) {
      node.meta->OnBarrier(ticket, true);
      Act(node);
    } else {
      node.loop->ReadBarrier(0, ticket);
    }
  }
  for (const MetaOutputs::LeaseAsked& asked : out.leases_asked) {
    Node& to = *nodes_[asked.to.value() - 1];  // Founders have these numbers.
    Send(node, to, [this, &to, request = asked.request] {
      to.meta->OnLeaseRequest(request, Clock(to));
      Pump(to);
    });
  }
  for (const auto& [id, answer] : out.leases_answered) {
    if (Node* const to = Find(node.members, id))
      Send(node, *to, [this, to, answer = answer] { OnLeaseAnswer(*to, answer); });
  }
  for (const MetaOutputs::AdmissionAnswer& answer : out.admissions) AnswerAdmission(node, answer);
  if (out.ask_admission.has_value()) AskAdmission(node, *out.ask_admission);
}

void LeasesSim::AskAdmission(Node& node, const pb::AdmitNode& self) {
  for (uint32_t i = 0; i < kVoters; ++i) {
    Node& to = *nodes_[i];
    const uint64_t token = ++last_token_;
    tokens_[token] = {node.number, node.life};
    Send(node, to, [this, &to, self, token] {
      to.meta->OnAdmissionAsked(token, self);
      Pump(to);
    });
  }
}

void LeasesSim::AnswerAdmission(Node& node, const MetaOutputs::AdmissionAnswer& answer) {
  const auto [number, life] = tokens_.at(answer.token);
  if (answer.ask_again) return;
  Node& to = *nodes_[number - 1];
  // By the connection on which it was asked: who died meanwhile does not hear it.
  if (!to.up || to.life != life) return;
  Send(node, to, [&to, life = life, answer] {
    if (to.life != life) return;
    if (answer.known != Incarnation()) {
      to.meta->OnNotAdmitted(answer.known);
    } else {
      to.meta->OnAdmitted(answer.life);
    }
  });
}

// Nobody owns by that life any more, or there are two owners.
void LeasesSim::CheckGone(NodeLife life) {
  gone_.insert(life);
  for (const auto& node : nodes_) {
    if (!node->up || node->meta->life() != life) continue;
    if (!node->meta->lease().HoldsAt(Clock(*node))) continue;
    Fail(absl::StrCat("node ", node->number, " holds the lease of incarnation ",
                      life.incarnation.value(), ", which is gone, for ",
                      absl::FormatDuration(node->meta->lease().until() - Clock(*node))));
  }
}

void LeasesSim::OnLeaseAnswer(Node& node, const LeaseAnswer& answer) {
  const absl::Duration before = node.meta->lease().until();
  node.meta->OnLeaseAnswer(answer);
  Act(node);
  if (node.meta->lease().until() > before) ++granted_;
  if (gone_.contains(node.meta->life()) && node.meta->lease().HoldsAt(Clock(node))) {
    Fail(absl::StrCat("node ", node.number, " is granted more as incarnation ",
                      answer.life.incarnation.value(), ", which is gone"));
  }
}

// ---- The weather -------------------------------------------------------------------------------

void LeasesSim::Storm() {
  if (!stormy_) return;
  loss_ = 0.1 * rng_.Unit();
  Node& node = *nodes_[rng_.Below(kNodes)];
  switch (rng_.Below(6)) {
    case 0:
      if (node.up) {
        Crash(node);
      } else {
        Start(node);
      }
      break;
    case 1:
      node.paused_until = events_.now() + rng_.Below(6'000);
      ++pauses_;
      Note(node, absl::StrCat("stands still until ", node.paused_until));
      break;
    case 2: {  // A part is cut off; at times in one direction only.
      blocked_.clear();
      const uint64_t sides = rng_();
      const bool both = rng_.Chance(0.7);
      for (uint32_t a = 1; a <= kNodes; ++a) {
        for (uint32_t b = 1; b <= kNodes; ++b) {
          if ((sides >> a & 1) != (sides >> b & 1) && (both || a < b)) blocked_.insert({a, b});
        }
      }
      break;
    }
    case 3:
      blocked_.clear();
      break;
    case 4:
      SetRate(node);
      break;
    case 5:
      if (!node.up) Start(node);
      break;
  }
  After(100 + rng_.Below(3'000), [this] { Storm(); });
}

void LeasesSim::Calm() {
  stormy_ = false;
  loss_ = 0;
  blocked_.clear();
  for (const auto& node : nodes_) {
    node->paused_until = std::min(node->paused_until, events_.now());
    if (!node->up) Start(*node);
  }
}

void LeasesSim::CheckEnd() {
  for (const auto& node : nodes_) {
    if (node->meta->lease().StateAt(Clock(*node)) != NodeLease::State::kHeld)
      Fail(absl::StrCat("all is calm, and node ", node->number, " has no lease"));
  }
}

}  // namespace cluster
