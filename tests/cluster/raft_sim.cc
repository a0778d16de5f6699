#include "tests/cluster/raft_sim.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace cluster {
namespace {

uint64_t Mix(uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

uint64_t Fold(uint64_t hash, uint64_t value) { return Mix(hash * 0x9e3779b97f4a7c15 + value + 1); }

uint64_t HashOf(std::string_view text) {
  uint64_t hash = text.size();
  for (const char c : text) hash = hash * 1099511628211 + static_cast<uint8_t>(c);
  return Mix(hash);
}

std::string Payload(uint64_t id, uint64_t padding) {
  std::string text(8 + padding, 'x');
  std::memcpy(text.data(), &id, 8);
  return text;
}

uint32_t NodeOf(ReplicaId id) { return static_cast<uint32_t>(id % 16); }

bool Contains(const std::vector<ReplicaId>& ids, ReplicaId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

bool IsMember(const ConfState& members, ReplicaId id) {
  return Contains(members.voters, id) || Contains(members.learners, id) ||
         Contains(members.voters_outgoing, id);
}

uint64_t PayloadOf(std::string_view text) {
  uint64_t id = 0;
  if (text.size() >= 8) std::memcpy(&id, text.data(), 8);
  return id;
}

}  // namespace

struct RaftSim::Node {
  uint32_t id = 0;
  uint64_t life = 0;  // Counts starts: what was meant for an earlier one is lost.
  MemoryEntryStore store;
  std::unique_ptr<RaftLoop> loop;  // Null: it is down.
  std::map<GroupId, Replica> replicas;
  bool writing = false;
  std::map<uint32_t, uint64_t> last_arrival;
};

RaftSim::RaftSim(RaftSimOptions options)
    : options_(options), rng_(options.seed), disk_rng_(rng_.Fork()), net_rng_(rng_.Fork()) {
  ConfState conf_state;
  for (uint32_t id = 1; id <= options_.nodes; ++id) conf_state.voters.push_back(id);
  for (uint32_t id = 1; id <= options_.nodes + options_.spares; ++id) {
    auto node = std::make_unique<Node>();
    node->id = id;
    for (uint32_t group = 0; group < options_.groups; ++group) {
      Replica& replica = node->replicas[static_cast<GroupId>(group)];
      replica.id = id;
      replica.state.conf_state = conf_state;
      if (id > options_.nodes) replica.state = {.applied = {}, .conf_state = {}, .members_at = 0};
      replica.flushed = replica.state;
      truths_[static_cast<GroupId>(group)].members[kGroupBegin.index] = conf_state;
    }
    nodes_.push_back(std::move(node));
  }
}

RaftSim::~RaftSim() = default;

std::string RaftSim::Run() {
  for (const auto& node : nodes_) Start(*node);
  After(1, [this] { Client(); });
  After(1, [this] { Storm(); });
  After(options_.stormy_ms, [this] { Calm(); });
  const uint64_t until = options_.stormy_ms + options_.calm_ms;
  After(until - options_.drain_ms, [this] { clients_ = false; });
  while (failure_.empty() && events_.RunNext(until)) {
  }
  if (failure_.empty()) CheckEnd();
  return failure_;
}

void RaftSim::After(uint64_t delay_ms, std::function<void()> run) {
  events_.After(delay_ms, std::move(run));
}

void RaftSim::Fail(const std::string& words) {
  if (!failure_.empty()) return;
  failure_ = absl::StrCat("seed ", options_.seed, ", ", events_.now(), " ms: ", words);
}

void RaftSim::Note(const Node& node, std::string_view what, uint64_t a, uint64_t b, uint64_t c) {
  trace_ =
      Fold(Fold(Fold(Fold(Fold(trace_, events_.now()), node.id), HashOf(what)), a), b * 31 + c);
  if (!options_.explain) return;
  (void)std::fprintf(stderr, "%6lu n%u %.*s %lu %lu %lu\n", events_.now(), node.id,
                     static_cast<int>(what.size()), what.data(), a, b, c);
}

// ---- Machines ----------------------------------------------------------------------------------

void RaftSim::Start(Node& node) {
  ++node.life;
  RaftLoopOptions options;
  options.seed = options_.seed;
  options.group.message_bytes_max = 1024;
  options.group.messages_in_flight_max = 8;
  options.group.uncommitted_bytes_max = 8192;
  options.group.committed_bytes_per_ready_max = 2048;
  options.group.recent_bytes_max = 1024;
  options.lagging_bytes_max = 4096;
  options.cut_bytes_min = 1024;
  node.loop = std::make_unique<RaftLoop>(options, node.store);
  for (auto& [group, replica] : node.replicas) {
    replica.state = replica.flushed;
    replica.leads = false;
    replica.proposed.clear();
    replica.barriers.clear();
    const absl::Status added = node.loop->AddGroup({.group = group,
                                                    .replica = replica.id,
                                                    .applied = replica.state.applied,
                                                    .conf_state = replica.state.conf_state,
                                                    .members_at = replica.state.members_at});
    if (!added.ok()) return Fail(absl::StrCat("n", node.id, " does not start: ", added.message()));
  }
  Note(node, "starts", node.life);
  Pump(node);
  After(rng_.Below(100), [this, &node, life = node.life] { TickNode(node, life); });
}

void RaftSim::Crash(Node& node) {
  if (node.loop == nullptr) return;
  Note(node, "crashes");
  ++crashes_;
  ++node.life;
  node.loop = nullptr;
  node.writing = false;
  node.store.Crash(disk_rng_);
  After(50 + rng_.Below(3000), [this, &node] {
    if (node.loop == nullptr) Start(node);
  });
}

// Clocks do not run alike.
void RaftSim::TickNode(Node& node, uint64_t life) {
  if (node.life != life || node.loop == nullptr) return;
  node.loop->Tick();
  for (auto& [group, replica] : node.replicas) {
    if (!rng_.Chance(0.05)) continue;
    replica.flushed = replica.state;
    node.loop->Flushed(group, replica.flushed.applied.index);
  }
  Pump(node);
  const bool stalls = stormy_ && rng_.Chance(0.005);
  After(95 + rng_.Below(11) + (stalls ? rng_.Below(3000) : 0),
        [this, &node, life] { TickNode(node, life); });
}

// A round, and what follows from it, until nothing does.
void RaftSim::Pump(Node& node) {
  while (failure_.empty()) {
    node.loop->Run();
    std::vector<LogEvent> events = node.loop->TakeEvents();
    for (LogEvent& event : events) OnEvent(node, event);
    std::vector<RaftLoop::Message> messages = node.loop->TakeMessages();
    for (RaftLoop::Message& message : messages) Send(node, std::move(message));
    if (events.empty() && messages.empty()) break;
  }
  BeginWrite(node);
}

void RaftSim::BeginWrite(Node& node) {
  if (node.writing) return;
  const std::optional<RaftLoop::Write> write = node.loop->BeginWrite();
  if (!write.has_value()) return;
  node.writing = true;
  uint64_t takes = 1 + disk_rng_.Below(5);
  if (stormy_ && disk_rng_.Chance(0.02)) takes += disk_rng_.Below(800);
  After(takes, [this, &node, life = node.life, write = *write] { EndWrite(node, life, write); });
}

void RaftSim::EndWrite(Node& node, uint64_t life, RaftLoop::Write write) {
  if (node.life != life || node.loop == nullptr) return;
  if (stormy_ && disk_rng_.Chance(0.02)) {
    // It failed. What is on the disk is not known, and the same is written again.
    Note(node, "cannot write");
    if (disk_rng_.Chance(0.5)) (void)node.store.Write(*write.batch, EntryStore::Sync::kNo);
    if (disk_rng_.Chance(0.1)) return Crash(node);
    After(20, [this, &node, life, write] { EndWrite(node, life, write); });
    return;
  }
  CHECK(node.store.Write(*write.batch, write.sync).ok()) << "a disk in memory";
  node.writing = false;
  Note(node, "wrote");
  node.loop->OnWritten();
  Pump(node);
}

// ---- The network -------------------------------------------------------------------------------

void RaftSim::Send(Node& from, RaftLoop::Message message) {
  const uint32_t to = NodeOf(message.to);
  const bool snapshot = message.kind == RaftGroup::kSnapshot;
  Note(from, "sends", message.group, to, HashOf(message.data));
  const bool lost = blocked_.contains({from.id, to}) || (stormy_ && net_rng_.Chance(options_.loss));
  if (snapshot) {
    After(20 + net_rng_.Below(50), [this, &from, life = from.life, message, lost] {
      if (from.life != life || from.loop == nullptr) return;
      from.loop->ReportSnapshot(message.group, message.to, !lost);
      Pump(from);
    });
  }
  if (lost) {
    if (net_rng_.Chance(0.2)) from.loop->ReportUnreachable(message.group, message.to);
    return;
  }
  const int copies = stormy_ && net_rng_.Chance(0.02) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    uint64_t takes = 1 + net_rng_.Below(stormy_ ? 15 : 5);
    if (stormy_ && net_rng_.Chance(0.01)) takes += net_rng_.Below(2000);
    After(takes, [this, message, to] {
      Node& node = *nodes_[to - 1];
      if (node.loop == nullptr) return;
      const absl::Status taken =
          node.loop->OnMessage(message.group, message.data, message.all_have);
      if (!taken.ok()) Note(node, "refuses", message.group);
      Pump(node);
    });
  }
}

// ---- What the log says -------------------------------------------------------------------------

void RaftSim::OnEvent(Node& node, LogEvent& event) {
  if (const auto* committed = std::get_if<Committed>(&event)) return OnCommitted(node, *committed);
  if (const auto* fate = std::get_if<NotCommitted>(&event)) return OnFate(node, *fate);
  if (const auto* role = std::get_if<RoleChange>(&event)) return OnRole(node, *role);
  if (const auto* snapshot = std::get_if<InstallSnapshot>(&event)) return Install(node, *snapshot);
  if (const auto* wanted = std::get_if<SnapshotWanted>(&event)) return Offer(node, wanted->group);
  if (const auto* readable = std::get_if<Readable>(&event)) {
    Replica& replica = node.replicas[readable->group];
    const auto it = replica.barriers.find(readable->ticket);
    if (it == replica.barriers.end()) return Fail("a barrier was answered twice");
    if (readable->index < it->second.least) {
      return Fail(absl::StrCat("n", node.id, " may read at ", readable->index, ", but ",
                               it->second.least, " had been committed"));
    }
    replica.barriers.erase(it);
    ++reads_;
    return;
  }
  if (const auto* refused = std::get_if<NotReadable>(&event)) {
    if (node.replicas[refused->group].barriers.erase(refused->ticket) == 0) {
      Fail("a barrier was answered twice");
    }
    return;
  }
  if (const auto* change = std::get_if<MembersChanged>(&event)) {
    return OnMembers(node, *change);
  }
  const auto& stopped = std::get<GroupStopped>(event);
  if (absl::IsNotFound(stopped.status)) return Renew(node, stopped.group);
  Fail(
      absl::StrCat("n", node.id, " stopped group ", stopped.group, ": ", stopped.status.message()));
}

void RaftSim::OnCommitted(Node& node, const Committed& committed) {
  Truth& truth = truths_[committed.group];
  Replica& replica = node.replicas[committed.group];
  for (const CommittedEntry& entry : committed.entries) {
    Apply(node, committed.group, entry);
    if (entry.proposal == 0) continue;
    const auto it = replica.proposed.find(entry.proposal);
    if (it == replica.proposed.end()) return Fail("a proposal has two fates");
    if (it->second != PayloadOf(entry.entry))
      return Fail("a proposal is paired with another entry");
    replica.proposed.erase(it);
    truth.acknowledged = std::max(truth.acknowledged, entry.place.index);
    ++committed_;
  }
}

void RaftSim::Apply(Node& node, GroupId group, const CommittedEntry& entry) {
  Truth& truth = truths_[group];
  State& state = node.replicas[group].state;
  if (entry.place.index != state.applied.index + 1) {
    return Fail(absl::StrCat("n", node.id, " gets entry ", entry.place.index, " after ",
                             state.applied.index));
  }
  state.applied = entry.place;
  state.chain = Fold(Fold(state.chain, entry.place.term), HashOf(entry.entry));
  const auto [known, first] = truth.chains.try_emplace(entry.place.index, state.chain);
  if (known->second != state.chain) {
    return Fail(
        absl::StrCat("n", node.id, " has another entry ", entry.place.index, " of group ", group));
  }
  truth.last = std::max(truth.last, entry.place.index);
  if (!first || entry.entry.empty()) return;
  const uint64_t payload = PayloadOf(entry.entry);
  if (!truth.committed.insert(payload).second) return Fail("an entry is committed twice");
  if (truth.never.contains(payload)) Fail("an entry is committed that surely was not to be");
}

void RaftSim::OnFate(Node& node, const NotCommitted& fate) {
  Replica& replica = node.replicas[fate.group];
  const auto it = replica.proposed.find(fate.proposal);
  if (it == replica.proposed.end()) return Fail("a proposal has two fates");
  if (fate.fate == Fate::kSurely) {
    Truth& truth = truths_[fate.group];
    truth.never.insert(it->second);
    if (truth.committed.contains(it->second)) Fail("what is committed is said not to be");
  }
  replica.proposed.erase(it);
}

void RaftSim::OnRole(Node& node, const RoleChange& change) {
  Note(node, "role", change.group, static_cast<uint64_t>(change.role), change.term);
  Replica& replica = node.replicas[change.group];
  replica.leads = change.role == Role::kLeader;
  if (!replica.leads) {
    if (!replica.proposed.empty()) Fail("a proposal has no fate, but its leader leads no more");
    for (const auto& [ticket, barrier] : replica.barriers) {
      if (barrier.of_leader) Fail("a barrier has no answer, but its leader leads no more");
    }
    return;
  }
  ++elections_;
  if (change.applied_before_leading == 0) Fail("a leader does not know its first entry");
  const auto [it, first] = truths_[change.group].leaders.try_emplace(change.term, replica.id);
  if (!first) {
    Fail(absl::StrCat("two leaders in term ", change.term, ": n", it->second, " and n", node.id));
  }
}

void RaftSim::Offer(Node& node, GroupId group) {
  const State& state = node.replicas[group].state;
  std::string data(24, '\0');
  std::memcpy(data.data(), &state.applied.index, 8);
  std::memcpy(data.data() + 8, &state.applied.term, 8);
  std::memcpy(data.data() + 16, &state.chain, 8);
  Note(node, "offers", group, state.applied.index);
  node.loop->OfferSnapshot(group, state.applied.index, data);
}

void RaftSim::Install(Node& node, const InstallSnapshot& snapshot) {
  Note(node, "installs", snapshot.group, snapshot.place.index);
  State state = {.conf_state = snapshot.conf_state, .members_at = snapshot.place.index};
  if (snapshot.data.size() != 24) return Fail("a snapshot's data is not what was offered");
  std::memcpy(&state.applied.index, snapshot.data.data(), 8);
  std::memcpy(&state.applied.term, snapshot.data.data() + 8, 8);
  std::memcpy(&state.chain, snapshot.data.data() + 16, 8);
  if (state.applied != snapshot.place) return Fail("a snapshot is of another place");
  const ReplicaId id = node.replicas[snapshot.group].id;
  After(1 + disk_rng_.Below(200),
        [this, &node, life = node.life, group = snapshot.group, state, id] {
          if (node.life != life || node.loop == nullptr) return;
          Replica& replica = node.replicas[group];
          if (replica.id != id) return;
          if (state.applied.index < replica.state.applied.index)
            return Fail("a snapshot of the past");
          replica.state = replica.flushed = state;
          ++snapshots_;
          if (stormy_ && disk_rng_.Chance(0.2))
            return Crash(node);  // The log knows nothing of it yet.
          node.loop->Installed(group, state.applied);
          Pump(node);
        });
}

// ---- Members -----------------------------------------------------------------------------------

void RaftSim::OnMembers(Node& reporter, const MembersChanged& change) {
  State& state = reporter.replicas[change.group].state;
  state.conf_state = change.members;
  state.members_at = change.index;
  Truth& truth = truths_[change.group];
  const auto [it, first] = truth.members.try_emplace(change.index, change.members);
  if (it->second != change.members) return Fail("nodes differ about who the members are");
  if (!first) return;
  ++member_changes_;
  // Whoever is a member no more is told some time, by who administers the cluster.
  for (const auto& node : nodes_) {
    const ReplicaId id = node->replicas[change.group].id;
    if (it == truth.members.begin() || !IsMember(std::prev(it)->second, id)) continue;
    if (IsMember(it->second, id)) continue;
    truth.gone.insert(id);
    After(rng_.Below(3000), [this, &node = *node, group = change.group, id] {
      if (node.replicas[group].id != id) return;
      if (node.loop == nullptr) return Renew(node, group);
      node.loop->RemoveGroup(group);
      Pump(node);
    });
  }
}

// It is no member any more, and may become one again: with nothing, and under another number.
void RaftSim::Renew(Node& node, GroupId group) {
  Replica& replica = node.replicas[group];
  if (node.loop != nullptr && !replica.proposed.empty()) {
    Fail("a proposal has no fate, but its group is gone");
  }
  replica = {.id = replica.id + 16};
  replica.state = replica.flushed = {.applied = {}, .conf_state = {}, .members_at = 0};
  Note(node, "begins anew", group, replica.id);
  if (node.loop == nullptr) return;
  if (!node.loop->AddGroup({.group = group, .replica = replica.id}).ok()) Fail("no new beginning");
}

void RaftSim::ChangeMembers(GroupId group) {
  const ConfState& members = truths_[group].members.rbegin()->second;
  for (const auto& node : nodes_) {
    if (node->loop == nullptr || !node->replicas[group].leads) continue;
    std::vector<MemberChange> changes;
    const ReplicaId other = nodes_[rng_.Below(nodes_.size())]->replicas[group].id;
    const ReplicaId another = nodes_[rng_.Below(nodes_.size())]->replicas[group].id;
    if (truths_[group].gone.contains(other)) return;
    if (!Contains(members.voters, other)) {
      const bool votes = rng_.Chance(0.6);
      changes.push_back(
          {votes ? MemberChange::Kind::kAddVoter : MemberChange::Kind::kAddLearner, other});
      if (votes && another != other && Contains(members.voters, another)) {
        changes.push_back({MemberChange::Kind::kRemove, another});
      }
    } else if (members.voters.size() > 2) {
      changes.push_back({MemberChange::Kind::kRemove, other});
    } else {
      return;
    }
    (void)node->loop->ChangeMembers(group, changes);
    return Pump(*node);
  }
}

// ---- Clients and weather -----------------------------------------------------------------------

RaftSim::Node* RaftSim::RandomUp() {
  Node& node = *nodes_[rng_.Below(nodes_.size())];
  return node.loop == nullptr ? nullptr : &node;
}

void RaftSim::Client() {
  After(1 + rng_.Below(static_cast<uint64_t>(2000 / options_.proposals_per_second)),
        [this] { Client(); });
  Node* node = RandomUp();
  if (node == nullptr || !clients_) return;
  const auto group = static_cast<GroupId>(rng_.Below(options_.groups));
  Replica& replica = node->replicas[group];
  if (!replica.leads && !rng_.Chance(0.05)) return;
  if (rng_.Chance(0.2)) {
    const auto status = node->loop->GetStatus(group);
    const bool leads = replica.leads && status.ok() && status->role == Role::kLeader;
    replica.barriers[++last_number_] = {.least = truths_[group].last, .of_leader = leads};
    node->loop->ReadBarrier(group, last_number_);
  } else if (stormy_ && rng_.Chance(0.01)) {
    (void)node->loop->TransferLeadership(group,
                                         nodes_[rng_.Below(nodes_.size())]->replicas[group].id);
  } else {
    for (uint64_t i = rng_.Below(8) + 1; i > 0; --i) {
      replica.proposed[++last_number_] = ++last_payload_;
      node->loop->Submit({group, last_number_, Payload(last_payload_, rng_.Below(200))});
    }
  }
  Pump(*node);
}

void RaftSim::Storm() {
  if (!stormy_) return;
  After(100, [this] { Storm(); });
  if (options_.spares > 0 && rng_.Chance(0.1)) {
    ChangeMembers(static_cast<GroupId>(rng_.Below(options_.groups)));
  }
  if (rng_.Chance(options_.crashes_per_second / 10)) {
    if (Node* node = RandomUp(); node != nullptr) Crash(*node);
  }
  if (rng_.Chance(options_.partitions_per_second / 10)) {
    const auto one = static_cast<uint32_t>(1 + rng_.Below(options_.nodes));
    const uint64_t kind = rng_.Below(3);  // It hears nothing, nobody hears it, or both.
    std::vector<std::pair<uint32_t, uint32_t>> cut;
    for (uint32_t other = 1; other <= options_.nodes; ++other) {
      if (other == one) continue;
      if (kind != 0) cut.emplace_back(one, other);
      if (kind != 1) cut.emplace_back(other, one);
    }
    blocked_.insert(cut.begin(), cut.end());
    After(200 + rng_.Below(4000), [this, cut] {
      for (const auto& link : cut) blocked_.erase(link);
    });
  }
}

void RaftSim::Calm() {
  stormy_ = false;
  blocked_.clear();
  for (auto& [group, truth] : truths_) truth.acknowledged_in_storm = truth.acknowledged;
  for (const auto& node : nodes_) {
    if (node->loop == nullptr) Start(*node);
  }
}

void RaftSim::CheckEnd() {
  for (const auto& [group, truth] : truths_) {
    int leaders = 0;
    const ConfState& members = truth.members.rbegin()->second;
    if (!members.voters_outgoing.empty()) return Fail("a joint configuration was not left");
    for (const auto& node : nodes_) {
      const Replica& replica = node->replicas[group];
      if (!IsMember(members, replica.id)) continue;
      leaders += replica.leads ? 1 : 0;
      if (replica.state.applied.index != truth.last) {
        return Fail(absl::StrCat("n", node->id, " ends at entry ", replica.state.applied.index,
                                 " of group ", group, ", others at ", truth.last));
      }
      if (!replica.proposed.empty()) return Fail("a proposal has no fate in the end");
      if (!replica.barriers.empty()) return Fail("a barrier has no answer in the end");
    }
    if (leaders != 1) return Fail(absl::StrCat("group ", group, " has ", leaders, " leaders"));
    if (truth.acknowledged > truth.last) return Fail("what was acknowledged is lost");
    if (truth.acknowledged <= truth.acknowledged_in_storm) {
      return Fail(absl::StrCat("group ", group, " does not go on after the storm"));
    }
  }
}

}  // namespace cluster
