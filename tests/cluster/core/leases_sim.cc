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

std::string GoneEntry(NodeLife life) {
  pb::MembersCommand command;
  command.mutable_node_gone()->set_node(life.node.value());
  command.mutable_node_gone()->set_incarnation(life.incarnation.value());
  return command.SerializeAsString();
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

  // ---- Of one life.
  std::unique_ptr<RaftLoop> loop;  // Null: it holds no replica of the meta group.
  bool writing = false;
  uint64_t start = 0;
  std::unique_ptr<NodeLease> lease;
  NodeLife last_life;  // As it was told last.
  std::unique_ptr<LeaseGranter> granter;
  uint64_t granter_number = 0;
  std::optional<uint64_t> leads_from;  // It leads, once this is applied.
  std::map<uint64_t, NodeLife> proposed_gone;
  uint64_t last_proposal = 0;
};

LeasesSim::LeasesSim(LeasesSimOptions options)
    : options_(options),
      node_leases_{.drift = kDrift},
      leader_leases_{.drift = kDrift},
      rng_(options.seed) {
  if (options_.mutant == Mutant::kNoDrift) node_leases_.drift = leader_leases_.drift = 0;
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
  while (failure_.empty() && !events_.empty() && events_.top().at <= until) {
    Event event = events_.top();
    events_.pop();
    now_ = event.at;
    event.run();
  }
  if (failure_.empty()) CheckEnd();
  return failure_;
}

void LeasesSim::After(uint64_t delay_ms, std::function<void()> run) {
  events_.push({now_ + delay_ms, ++sequence_, std::move(run)});
}

void LeasesSim::OnNode(Node& node, uint64_t delay_ms, std::function<void()> run) {
  OnNodeOf(node, node.life, delay_ms, std::move(run));
}

void LeasesSim::OnNodeOf(Node& node, uint64_t life, uint64_t delay_ms, std::function<void()> run) {
  After(delay_ms, [this, &node, life, run = std::move(run)]() mutable {
    if (!node.up || node.life != life) return;
    if (now_ < node.paused_until)
      return OnNodeOf(node, life, node.paused_until - now_, std::move(run));
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
  if (failure_.empty()) failure_ = absl::StrCat("seed ", options_.seed, ", ", now_, " ms: ", words);
}

void LeasesSim::Note(const Node& node, const std::string& words) {
  if (options_.explain)
    (void)std::fprintf(stderr, "%6lu n%u %s\n", now_, node.number, words.c_str());
}

absl::Duration LeasesSim::Clock(const Node& node) const {
  return node.clock + absl::Milliseconds(now_ - node.clock_at) * node.rate;
}

void LeasesSim::SetRate(Node& node) {
  node.clock = Clock(node);
  node.clock_at = now_;
  // Mostly at one of the ends, where it hurts.
  node.rate = 1 + kDrift * (rng_.Chance(0.8) ? (rng_.Chance(0.5) ? 1 : -1) : 2 * rng_.Unit() - 1);
}

// ---- Nodes -------------------------------------------------------------------------------------

void LeasesSim::Start(Node& node) {
  ++node.life;
  node.up = true;
  node.paused_until = 0;
  node.writing = false;
  node.start = rng_();
  node.lease = std::make_unique<NodeLease>(node_leases_);
  node.last_life = {};
  node.granter = nullptr;
  node.leads_from.reset();
  node.proposed_gone.clear();
  Note(node, "starts");
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
  node.lease = nullptr;
  node.granter = nullptr;
  base::Rng disk = rng_.Fork();
  node.store.Crash(disk);
}

void LeasesSim::Tick(Node& node) {
  if (node.loop != nullptr) {
    node.loop->Tick();
    Pump(node);
  }
  if (node.granter != nullptr) RunGranter(node);
  AskForLease(node);
  OnNode(node, kTickMs, [this, &node] { Tick(node); });
}

// Everybody who might lead is asked: who does not drops it.
void LeasesSim::AskForLease(Node& node) {
  if (node.lease->is_gone() || node.last_life == NodeLife{}) {
    if (node.lease->is_gone()) {
      node.start = rng_();
      node.last_life = {};
      node.lease->Begin({});
    }
    if (!rng_.Chance(0.2)) return;
    pb::MembersCommand command;
    command.mutable_admit_node()->set_uuid(Uuid(node.number));
    command.mutable_admit_node()->set_start(node.start);
    for (uint32_t i = 0; i < kVoters; ++i) {
      Node& to = *nodes_[i];
      Send(node, to, [this, &to, entry = command.SerializeAsString()] {
        if (to.granter != nullptr) Propose(to, entry, {});
        Pump(to);
      });
    }
    return;
  }
  if (const auto request = node.lease->Ask(Clock(node))) {
    for (uint32_t i = 0; i < kVoters; ++i) {
      Node& to = *nodes_[i];
      Send(node, to, [this, &to, request = *request] { OnLeaseRequest(to, request); });
    }
  }
}

void LeasesSim::Pump(Node& node) {
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
    LeadIfDue(node);
  } else if (const auto* const role = std::get_if<RoleChange>(&event)) {
    node.granter = nullptr;
    node.leads_from.reset();
    node.proposed_gone.clear();
    if (role->role == Role::kLeader) node.leads_from = role->applied_before_leading;
    LeadIfDue(node);
  } else if (const auto* const fate = std::get_if<NotCommitted>(&event)) {
    const auto it = node.proposed_gone.find(fate->proposal);
    if (it != node.proposed_gone.end() && fate->fate == Fate::kSurely && node.granter != nullptr)
      node.granter->OnNotCommitted(it->second);
  } else if (const auto* const readable = std::get_if<Readable>(&event)) {
    if (node.granter != nullptr && readable->ticket >> 32 == node.granter_number)
      Answer(node, node.granter->OnBarrier(readable->ticket & 0xFFFFFFFF, true));
  } else if (const auto* const not_readable = std::get_if<NotReadable>(&event)) {
    if (node.granter != nullptr && not_readable->ticket >> 32 == node.granter_number)
      Answer(node, node.granter->OnBarrier(not_readable->ticket & 0xFFFFFFFF, false));
  } else if (const auto* const stopped = std::get_if<GroupStopped>(&event)) {
    Fail(absl::StrCat("the group stopped: ", stopped->status.ToString()));
  }
}

void LeasesSim::Apply(Node& node, const CommittedEntry& entry) {
  node.applied = entry.place;
  if (entry.entry.empty()) return;
  const absl::StatusOr<MembersOutcome> outcome = node.members.Apply(entry.entry);
  if (!outcome.ok()) return Fail(outcome.status().ToString());
  const std::string& state =
      states_.try_emplace(entry.place.index, node.members.Encode()).first->second;
  if (state != node.members.Encode()) Fail("two replicas differ");
  for (const NodeLife& life : outcome->gone) {
    CheckGone(life);
    if (node.granter != nullptr) node.granter->OnGone(life);
  }
  if (outcome->admitted == NodeLife{}) return;
  if (node.granter == nullptr) return;
  node.granter->OnAdmitted(outcome->admitted, Clock(node));
  const cluster::Node& admitted = *node.members.Find(outcome->admitted.node);
  for (const auto& other : nodes_) {
    if (admitted.uuid != Uuid(other->number)) continue;
    Node& to = *other;
    const uint64_t start = admitted.start;
    Send(node, to, [&to, life = outcome->admitted, start] {
      if (to.start != start || to.last_life != NodeLife{}) return;
      to.last_life = life;
      to.lease->Begin(life);
    });
  }
}

// Nobody owns by that life any more, or there are two owners.
void LeasesSim::CheckGone(NodeLife life) {
  gone_.insert(life);
  for (const auto& node : nodes_) {
    if (!node->up || node->lease->life() != life) continue;
    if (!node->lease->HoldsAt(Clock(*node))) continue;
    Fail(absl::StrCat("node ", node->number, " holds the lease of incarnation ",
                      life.incarnation.value(), ", which is gone, for ",
                      absl::FormatDuration(node->lease->until() - Clock(*node))));
  }
}

// ---- The leader --------------------------------------------------------------------------------

void LeasesSim::LeadIfDue(Node& node) {
  if (!node.leads_from.has_value() || node.applied.index < *node.leads_from) return;
  node.leads_from.reset();
  ++leaders_;
  Note(node, "leads");
  std::vector<NodeLife> live;
  for (const auto& [id, member] : node.members.nodes()) {
    if (member.is_live()) live.push_back(member.life());
  }
  const absl::Duration since =
      options_.mutant == Mutant::kNoWait ? Clock(node) - absl::Milliseconds(1800) : Clock(node);
  node.granter = std::make_unique<LeaseGranter>(leader_leases_, since, live);
  ++node.granter_number;
}

void LeasesSim::RunGranter(Node& node) {
  for (const NodeLife& life : node.granter->TakeExpired(Clock(node))) {
    Note(node,
         absl::StrCat("declares gone: node ", life.node.value(), "/", life.incarnation.value()));
    Propose(node, GoneEntry(life), life);
    if (options_.mutant != Mutant::kGrantsToGone) continue;
    node.granter->OnGone(life);
    node.granter->OnAdmitted(life, Clock(node));
  }
  Pump(node);
}

void LeasesSim::Propose(Node& node, std::string entry, NodeLife gone) {
  const uint64_t number = ++node.last_proposal;
  if (gone != NodeLife{}) node.proposed_gone[number] = gone;
  node.loop->Submit({.group = 0, .number = number, .entry = std::move(entry)});
}

void LeasesSim::OnLeaseRequest(Node& node, const LeaseRequest& request) {
  if (node.granter == nullptr) return;
  node.granter->OnRequest(request, Clock(node));
  Answer(node, node.granter->TakeAnswers());
  if (const auto ticket = node.granter->WantsBarrier()) {
    if (options_.mutant == Mutant::kNoBarrier) {
      Answer(node, node.granter->OnBarrier(*ticket, true));
    } else {
      node.loop->ReadBarrier(0, node.granter_number << 32 | *ticket);
    }
  }
  Pump(node);
}

void LeasesSim::Answer(Node& node, const std::vector<LeaseAnswer>& answers) {
  for (const LeaseAnswer& answer : answers) {
    const Node* member = nullptr;
    for (const auto& other : nodes_) {
      if (other->up && other->lease->life() == answer.life) member = other.get();
    }
    if (member == nullptr) continue;
    Node& to = *nodes_[member->number - 1];
    Send(node, to, [this, &to, answer] { OnLeaseAnswer(to, answer); });
  }
  // Those that came while the barrier was under way.
  if (node.granter == nullptr || answers.empty()) return;
  if (const auto ticket = node.granter->WantsBarrier())
    node.loop->ReadBarrier(0, node.granter_number << 32 | *ticket);
}

void LeasesSim::OnLeaseAnswer(Node& node, const LeaseAnswer& answer) {
  if (!node.lease->OnAnswer(answer)) return;
  if (answer.kind == LeaseAnswer::Kind::kGranted) ++granted_;
  if (gone_.contains(answer.life) && node.lease->HoldsAt(Clock(node))) {
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
      node.paused_until = now_ + rng_.Below(6'000);
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
    node->paused_until = std::min(node->paused_until, now_);
    if (!node->up) Start(*node);
  }
}

void LeasesSim::CheckEnd() {
  for (const auto& node : nodes_) {
    if (node->lease->StateAt(Clock(*node)) != NodeLease::State::kHeld)
      Fail(absl::StrCat("all is calm, and node ", node->number, " has no lease"));
  }
}

}  // namespace cluster
