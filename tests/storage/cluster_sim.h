// Hosts of several nodes over one log, links between them that break, and shards that ask whoever
// leads: no threads, no disk, everything from a seed.
#ifndef TESTS_STORAGE_CLUSTER_SIM_H_
#define TESTS_STORAGE_CLUSTER_SIM_H_

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "storage/core/keys.h"
#include "storage/core/outbox_ledger.h"
#include "storage/core/request_streams.h"
#include "storage/leader/host.h"
#include "tests/storage/forgetful_disk.h"
#include "tests/storage/requests.h"
#include "tests/support/fake_clock.h"

namespace storage {

// One for each partition. What is in it is in it for ever, and comes to every node in its time.
class SharedLog {
 public:
  struct Partition {
    std::vector<Committed> entries;  // `proposal` is that of the node that led then.
    std::vector<size_t> proposers;   // By entry.
    size_t leader = 0;
    uint64_t term = 1;
  };
  static constexpr size_t kNobody = SIZE_MAX;

  explicit SharedLog(uint32_t partitions) : partitions_(partitions) {}

  Partition& of(PartitionId id) { return partitions_[id]; }
  Committed& Append(PartitionId id, size_t proposer, uint64_t proposal, std::string entry) {
    Partition& log = partitions_[id];
    log.entries.push_back({.partition = id,
                           .index = log.entries.size() + 1,
                           .term = log.term,
                           .proposal = proposal,
                           .entry = std::move(entry)});
    log.proposers.push_back(proposer);
    return log.entries.back();
  }

 private:
  std::vector<Partition> partitions_;
};

// A shard as its node has it: what it has asked, whom it asks, and who is connected.
struct SimShard {
  struct Connected {
    Token token = 0;  // Of its OpenSession.
    bool open = false;
    Claims::Held held;
  };
  // Towards the leader of a partition.
  struct Way {
    NodeId by;           // Where it is. 0: nobody has asked yet.
    bool broken = true;  // Something may be lost: nothing goes and nothing counts before it asks.
  };

  SimShard(const ShardAddress& the_address, const uint32_t& partitions)
      : address(the_address), streams(partitions), ways(partitions) {}

  const ShardAddress address;
  RequestStreams streams;
  std::vector<Way> ways;  // By partition.
  OutboxLedger ledger;
  PublishJoiner published;
  std::map<uint64_t, Connected> connections;
  std::map<uint64_t, std::string> names;  // Of clients, by their connections.
  std::map<Token, PartitionId> partition_of;
  std::map<std::string, PartitionMask> routes;
  std::map<Token, OutboxRef> passing;
};

class ClusterSim {
 public:
  static constexpr uint32_t kPartitions = 4;
  static constexpr ShardId kShards = 2;
  // Where replicas are: on all of three nodes; or there is a fourth without any, and of every other
  // partition there are only two.
  enum class Placed : uint8_t { kEverywhere, kElsewhere };

  ClusterSim(StorageOptions options, uint64_t seed, Placed placed = Placed::kEverywhere)
      : options_(std::move(options)), rng_(seed), log_(kPartitions), placed_(placed) {
    const size_t count = placed == Placed::kEverywhere ? 3 : 4;
    for (size_t node = 0; node < count; ++node) {
      nodes_.push_back(std::make_unique<Node>());
      nodes_.back()->incarnation = Incarnation(1);
    }
    links_.resize(count * count);
    for (PartitionId id = 0; id < kPartitions; ++id) {
      log_.of(id).leader = AnyHolder(id);
      log_.Append(id, SharedLog::kNobody, 0, {});
    }
    for (size_t node = 0; node < nodes(); ++node) {
      Boot(node);
      nodes_[node]->news_due = true;
    }
  }

  // What its clients hear of a shard.
  std::function<void(SimShard&, Event&)> on_event;
  // A node is dead: what was connected to it is gone.
  std::function<void(size_t node)> on_death;

  support::FakeClock& clock() { return clock_; }
  base::Rng& rng() { return rng_; }
  size_t nodes() const { return nodes_.size(); }
  bool Holds(size_t node, PartitionId id) const {
    if (placed_ == Placed::kEverywhere) return true;
    return node < 3 && (id % 2 == 0 || node != id % size_t{3});
  }
  bool lives(size_t node) const { return nodes_[node]->host != nullptr; }
  Host& host(size_t node) { return *nodes_[node]->host; }
  SimShard& shard(size_t node, ShardId id) { return nodes_[node]->shards[id]; }
  uint64_t resyncs() const { return resyncs_; }
  bool ready(size_t node) const { return nodes_[node]->ready; }

  // Whether messages of a topic are for some partition, as far as the shard knows.
  static PartitionMask RoutesOf(const SimShard& shard, const std::string& topic) {
    const auto found = shard.routes.find(topic);
    return found == shard.routes.end() ? 0 : found->second;
  }

  void Ask(SimShard& from, Request request) {
    std::visit([&](auto& one) { Note(from, one); }, request);
    if (auto* const publish = std::get_if<Publish>(&request)) {
      from.published.Cut(std::move(*publish), kPartitions, [&](storage::Publish part) {
        if (from.passing.contains(part.token)) {
          part.outbox_after =
              from.ledger.AskOf(part.partition, part.outbox, OutboxLedger::OrderOf(*part.message));
        }
        AskOne(from, std::move(part));
      });
      return;
    }
    AskOne(from, std::move(request));
  }

  // ---- What happens, a little at a time.

  void RunHost(size_t node) {
    if (!lives(node)) return;
    Tick(node);
    Submit(node);
    host(node).Run();
    Submit(node);
    const ShardTable& shards = host(node).shards();
    for (ShardSlot slot = 0; slot < shards.slots(); ++slot) {
      for (Event& event : host(node).TakeEvents(slot)) {
        Post(node, shards.AddressOf(slot), std::move(event));
      }
    }
  }
  // Of what is on its way from one node to another, or within one.
  void Carry(size_t from, size_t to, size_t items) {
    std::deque<Item>& way = LinkOf(from, to).items;
    for (; items > 0 && !way.empty(); --items) {
      Item item = std::move(way.front());
      way.pop_front();
      if (lives(to)) Arrive(from, to, item);
    }
  }
  // What was handed to the log is in it.
  void Commit(size_t node) {
    for (ProposedEntry& proposal : std::exchange(nodes_[node]->flying, {})) {
      log_.Append(proposal.partition, node, proposal.number, std::move(proposal.entry));
      Spread(proposal.partition);
    }
  }
  void HearLog(size_t node, size_t events) {
    if (!lives(node)) return;
    Tick(node);
    std::deque<LogEvent>& to_hear = nodes_[node]->to_hear;
    for (; events > 0 && !to_hear.empty(); --events) {
      host(node).OnLog(std::move(to_hear.front()));
      to_hear.pop_front();
    }
  }

  void MoveLead(PartitionId id, size_t to) {
    SharedLog::Partition& log = log_.of(id);
    if (log.leader == to || !lives(to) || !Holds(to, id)) return;
    Depose(id);
    log.leader = to;
    ++log.term;
    const uint64_t first = log.entries.size() + 1;
    for (size_t node = 0; node < nodes(); ++node) {
      if (!lives(node) || !Holds(node, id)) continue;
      nodes_[node]->to_hear.emplace_back(
          RoleChange{.partition = id, .leads = node == to, .term = log.term, .acts_behind = first});
    }
    log_.Append(id, SharedLog::kNobody, 0, {});
    Spread(id);
  }

  void BreakLink(size_t a, size_t b) {
    if (a == b) return;
    for (Link* const link : {&LinkOf(a, b), &LinkOf(b, a)}) {
      link->up = false;
      link->items.clear();
    }
    Loosen(a, NodeIdOf(b));
    Loosen(b, NodeIdOf(a));
  }
  void MendLink(size_t a, size_t b) {
    if (a == b || !lives(a) || !lives(b) || LinkOf(a, b).up) return;
    LinkOf(a, b).up = LinkOf(b, a).up = true;
    ++resyncs_;
    host(a).Resync(NodeIdOf(b));
    host(b).Resync(NodeIdOf(a));
  }

  void Kill(size_t node) {
    Node& dead = *nodes_[node];
    for (size_t other = 0; other < nodes(); ++other) {
      BreakLink(node, other);
    }
    LinkOf(node, node).items.clear();
    for (PartitionId id = 0; id < kPartitions; ++id) {
      if (log_.of(id).leader == node) Depose(id);
    }
    dead.flying.clear();
    dead.host.reset();
    dead.state.Crash();
    dead.to_hear.clear();
    dead.ready = false;
    if (on_death) on_death(node);
    dead.shards.clear();
    for (PartitionId id = 0; id < kPartitions; ++id) {
      while (log_.of(id).leader == node) MoveLead(id, AnyHolder(id));
    }
    for (const auto& other : nodes_) other->news_due = true;
  }
  void Restart(size_t node) {
    nodes_[node]->incarnation = Incarnation(nodes_[node]->incarnation.value() + 1);
    Boot(node);
    for (const auto& other : nodes_) other->news_due = true;
    for (size_t other = 0; other < nodes(); ++other) MendLink(node, other);
  }
  // It hears who lives, if that has changed.
  void HearNews(size_t node) {
    if (!lives(node) || !std::exchange(nodes_[node]->news_due, false)) return;
    Tick(node);
    host(node).SetNodes(OthersOf(node));
  }

  // Until nothing is left to do.
  void Settle() {
    for (size_t node = 0; node < nodes(); ++node) {
      if (!lives(node)) Restart(node);
    }
    for (size_t a = 0; a < nodes(); ++a) {
      for (size_t b = 0; b < a; ++b) MendLink(a, b);
    }
    for (int round = 0; round < 2000; ++round) {
      bool rests = true;
      for (size_t node = 0; node < nodes(); ++node) {
        HearNews(node);
        HearLog(node, SIZE_MAX);
        RunHost(node);
        Commit(node);
        for (size_t to = 0; to < nodes(); ++to) {
          rests = rests && LinkOf(node, to).items.empty();
          Carry(node, to, SIZE_MAX);
        }
        rests = rests && nodes_[node]->to_hear.empty() && nodes_[node]->flying.empty() &&
                ready(node) && host(node).Drained();
      }
      clock_.Advance(absl::Milliseconds(6));  // Longer than acknowledgements wait for company.
      if (rests) return;
    }
    CHECK(false) << "the cluster never comes to rest";
  }

  PartitionId PartitionOf(const std::string& client_id) const {
    return PartitionOfClient(client_id, kPartitions);
  }
  const Partition& StateOf(PartitionId id) { return host(log_.of(id).leader).partition(id); }

 private:
  using Item =
      std::variant<std::pair<ShardAddress, Addressed>, std::pair<ShardAddress, Event>, HostMessage>;
  struct Link {
    bool up = true;
    std::deque<Item> items;
  };
  struct Node {
    Incarnation incarnation;
    MemoryState state;
    std::unique_ptr<HostMetrics> metrics;
    std::unique_ptr<Host> host;
    std::vector<SimShard> shards;
    std::deque<LogEvent> to_hear;
    std::vector<ProposedEntry> flying;
    bool news_due = false;  // Of who lives.
    bool ready = false;
  };

  static NodeId NodeIdOf(size_t node) { return NodeId(static_cast<uint16_t>(node + 1)); }
  static size_t IndexOf(NodeId node) { return node.value() - size_t{1}; }
  Link& LinkOf(size_t from, size_t to) { return links_[from * nodes() + to]; }
  std::vector<LiveNode> OthersOf(size_t node) const {
    std::vector<LiveNode> others;
    for (size_t other = 0; other < nodes(); ++other) {
      if (other == node || !lives(other)) continue;
      others.push_back({NodeIdOf(other), nodes_[other]->incarnation, kShards, HeldBy(other)});
    }
    return others;
  }
  PartitionMask HeldBy(size_t node) const {
    PartitionMask held = 0;
    for (PartitionId id = 0; id < kPartitions; ++id) held |= Holds(node, id) ? BitOf(id) : 0;
    return held;
  }
  size_t AnyHolder(PartitionId id) {
    size_t node = rng_.Below(nodes());
    while (!Holds(node, id)) node = rng_.Below(nodes());
    return node;
  }

  void Tick(size_t node) {  // Their clocks differ.
    host(node).SetTime({.unix_ms = absl::ToUnixMillis(clock_.Now()) + 600'000 * (int64_t(node) - 1),
                        .monotonic = clock_.Monotonic()});
  }

  void Boot(size_t number) {
    Node& node = *nodes_[number];
    node.metrics = std::make_unique<HostMetrics>();
    node.host = std::make_unique<Host>(options_, kShards, node.state, *node.metrics, rng_);
    Host& host = *node.host;
    const NodeId self = NodeIdOf(number);
    host.SetSelf(self, node.incarnation, HeldBy(number));
    host.SetLogReader([this](PartitionId id, uint64_t after, const auto& visit) -> absl::Status {
      for (const Committed& entry : log_.of(id).entries) {
        if (entry.index <= after) continue;
        if (absl::Status status = visit(View(entry)); !status.ok()) return status;
      }
      return absl::OkStatus();
    });
    for (ShardId shard = 0; shard < kShards; ++shard) {
      node.shards.emplace_back(ShardAddress{self, shard, node.incarnation}, options_.partitions);
    }
    CHECK(host.Load().ok()) << "load";
    Tick(number);
    for (PartitionId id = 0; id < kPartitions; ++id) {
      if (!Holds(number, id)) continue;
      SharedLog::Partition& log = log_.of(id);
      // As far as it has heard by now that it is committed.
      const uint64_t known = rng_.Between(host.applied(id), log.entries.size());
      for (const Committed& entry : log.entries) {
        if (entry.index <= host.applied(id)) continue;
        if (entry.index <= known) {
          CHECK(host.Replay(View(entry)).ok()) << "replay";
        } else {
          node.to_hear.emplace_back(Foreign(entry));
        }
      }
      node.to_hear.emplace_back(RoleChange{.partition = id,
                                           .leads = log.leader == number,
                                           .term = log.term,
                                           .acts_behind = log.entries.size()});
    }
    host.SetNodes(OthersOf(number));
    host.node().send = [this, number](NodeId to, HostMessage message) {
      Send(number, IndexOf(to), std::move(message));
    };
    host.node().tell_committed = [](PartitionId /*partition*/) {};
    host.Begin([&node] { node.ready = true; });
  }
  static LogEntry View(const Committed& entry) {
    return {.partition = entry.partition,
            .index = entry.index,
            .term = entry.term,
            .data = entry.entry};
  }
  static Committed Foreign(Committed entry) {
    entry.proposal = 0;
    return entry;
  }

  // ---- The log

  void Submit(size_t node) {
    std::optional<Submission> submission = host(node).TakeSubmission();
    if (!submission.has_value()) return;
    for (ProposedEntry& proposal : submission->proposals) {
      const SharedLog::Partition& log = log_.of(proposal.partition);
      if (log.leader == node && log.term == proposal.term) {
        nodes_[node]->flying.push_back(std::move(proposal));
      } else {
        nodes_[node]->to_hear.emplace_back(NotCommitted{proposal.partition, proposal.number});
      }
    }
  }
  // The partition's last entry, to everyone.
  void Spread(PartitionId id) {
    const SharedLog::Partition& log = log_.of(id);
    for (size_t node = 0; node < nodes(); ++node) {
      if (!lives(node) || !Holds(node, id)) continue;
      const Committed& last = log.entries.back();
      nodes_[node]->to_hear.emplace_back(log.proposers.back() == node ? last : Foreign(last));
    }
  }
  // What its leader has on its way is nobody's: it is committed, or is not.
  void Depose(PartitionId id) {
    Node& leader = *nodes_[log_.of(id).leader];
    bool lost = false;  // And so is what comes behind it.
    for (auto it = leader.flying.begin(); it != leader.flying.end();) {
      if (it->partition != id) {
        ++it;
        continue;
      }
      leader.to_hear.emplace_back(NotCommitted{id, it->number});
      lost = lost || rng_.Chance(0.5);
      if (!lost) {
        log_.Append(id, SharedLog::kNobody, 0, std::move(it->entry));
        Spread(id);
      }
      it = leader.flying.erase(it);
    }
  }

  // ---- Between nodes

  void Loosen(size_t node, NodeId from) {
    for (SimShard& shard : nodes_[node]->shards) {
      for (SimShard::Way& way : shard.ways) way.broken = way.broken || way.by == from;
    }
  }
  void Send(size_t from, size_t to, Item item) {
    if (LinkOf(from, to).up) LinkOf(from, to).items.push_back(std::move(item));
  }
  void Post(size_t from, const ShardAddress& to, Event event) {
    Send(from, IndexOf(to.node), std::pair(to, std::move(event)));
  }
  void AskOne(SimShard& from, Request request) {
    Addressed asked(std::move(request));
    from.streams.Number(asked);
    std::visit(
        [&](const auto& one) {
          if constexpr (requires { one.token; }) {
            if (asked.sequence != 0) from.partition_of[one.token] = asked.partition;
          }
        },
        asked.request);
    Forward(from, std::move(asked));
  }
  // To whoever leads, as far as the shard knows; what is about no partition to its own node.
  void Forward(SimShard& from, Addressed asked) {
    const size_t self = IndexOf(from.address.node);
    if (asked.sequence == 0) return Send(self, self, std::pair(from.address, std::move(asked)));
    const SimShard::Way& way = from.ways[asked.partition];
    if (way.broken) return;  // It is asked again.
    Send(self, IndexOf(way.by), std::pair(from.address, std::move(asked)));
  }

  void Arrive(size_t from, size_t to, Item& item) {
    Tick(to);
    if (auto* const request = std::get_if<std::pair<ShardAddress, Addressed>>(&item)) {
      return host(to).OnRequest(request->first, std::move(request->second));
    }
    if (const auto* const message = std::get_if<HostMessage>(&item)) {
      return host(to).OnHostMessage(NodeIdOf(from), nodes_[from]->incarnation, *message);
    }
    auto& [address, event] = std::get<std::pair<ShardAddress, Event>>(item);
    if (address.incarnation != nodes_[to]->incarnation) return;
    SimShard& shard = nodes_[to]->shards[address.shard];
    if (const auto id = PartitionOf(shard, event); id.has_value()) {
      const SimShard::Way& way = shard.ways[*id];
      if (!std::holds_alternative<ClaimsWanted>(event) &&
          (way.broken || way.by != NodeIdOf(from))) {
        return;
      }
    }
    Hear(shard, event);
  }

  // ---- What a shard does with what it says and hears

  void Note(SimShard& shard, OpenSession& open) {
    shard.names[open.connection.connection] = open.client_id;
    SimShard::Connected& connected = shard.connections[open.connection.connection];
    connected.token = open.token;
    connected.held.client_id = open.client_id;
    connected.held.connection = open.connection;
    connected.held.window_messages = open.window_messages;
    connected.held.window_bytes = open.window_bytes;
  }
  void Note(SimShard& shard, CloseSession& close) {
    const auto found = shard.connections.find(close.connection.connection);
    if (found == shard.connections.end()) return;
    if (!found->second.open) shard.streams.OnAnswer(found->second.token);
    if (found->second.open) close.sent_through = found->second.held.sent_through;
    shard.connections.erase(found);
  }
  void Note(SimShard& shard, Acknowledge& acknowledge) {
    for (auto& [number, connected] : shard.connections) {
      if (connected.held.epoch != acknowledge.epoch) continue;
      if (connected.held.client_id != acknowledge.client_id) continue;
      for (const Acknowledge::Entry& entry : acknowledge.entries) {
        if (entry.kind != AckKind::kPubRec) std::erase(connected.held.in_flight, entry.sequence);
      }
    }
  }
  template <typename Other>
  void Note(SimShard& /*shard*/, Other& /*request*/) {}

  void Hear(SimShard& shard, Event& event) {
    const bool done = std::visit([&](auto& one) { return Heed(shard, one); }, event);
    if (!done && on_event) on_event(shard, event);
  }
  // True: its clients do not hear of it.
  bool Heed(SimShard& shard, SessionOpened& opened) {
    shard.streams.OnAnswer(opened.token);
    for (auto& [number, connected] : shard.connections) {
      if (connected.token != opened.token) continue;
      connected.open = opened.status.ok();
      connected.held.epoch = opened.epoch;
    }
    return false;
  }
  bool Heed(SimShard& shard, Deliver& deliver) {
    const auto found = shard.connections.find(deliver.connection.connection);
    if (found == shard.connections.end() || found->second.held.epoch != deliver.epoch) return true;
    Claims::Held& held = found->second.held;
    for (const Delivery& delivery : deliver.entries) {
      if (delivery.sequence == 0) continue;
      held.sent_through = std::max(held.sent_through, delivery.sequence);
      held.in_flight.push_back(delivery.sequence);
    }
    return false;
  }
  bool Heed(SimShard& shard, ClaimsWanted& wanted) {
    if (!shard.streams.Heeds(wanted)) return true;
    const size_t self = IndexOf(shard.address.node);
    Claims claims;
    claims.partition = wanted.partition;
    claims.life = wanted.life;
    claims.by = wanted.by;
    for (const auto& [number, connected] : shard.connections) {
      if (!connected.open || PartitionOf(connected.held.client_id) != wanted.partition) continue;
      claims.held.push_back(connected.held);
    }
    std::vector<Addressed> repeats = shard.streams.Repeat(
        claims, [&](const Request& asked) { return HasAnswer(shard, asked, wanted.partition); });
    shard.ways[wanted.partition] = {wanted.by, !LinkOf(self, IndexOf(wanted.by)).up};
    Send(self, IndexOf(wanted.by), std::pair(shard.address, Addressed(std::move(claims))));
    for (Addressed& repeat : repeats) Forward(shard, std::move(repeat));
    return true;
  }
  // A message of which that partition has answered for its part.
  static bool HasAnswer(const SimShard& shard, const Request& asked, PartitionId id) {
    const auto* const part = std::get_if<storage::Publish>(&asked);
    if (part == nullptr || part->token == 0) return false;
    const std::vector<Token> open = shard.published.Unanswered(id);
    return std::find(open.begin(), open.end(), part->token) == open.end();
  }
  bool Heed(SimShard& shard, StreamAck& ack) {
    shard.streams.OnAck(ack);
    return true;
  }
  bool Heed(SimShard& shard, SubscribeDone& done) {
    shard.streams.OnAnswer(done.token);
    return false;
  }
  bool Heed(SimShard& shard, RouteChange& change) {
    PartitionMask& mask = shard.routes[change.filter];
    mask = change.add ? mask | BitOf(change.partition) : mask & ~BitOf(change.partition);
    Forward(shard, ConfirmRoutes{change.number});
    return true;
  }
  bool Heed(SimShard& shard, RouteBlock& block) {
    for (const std::string& filter : *block.filters) {
      shard.routes[filter] |= BitOf(block.partition);
    }
    Forward(shard, ConfirmRoutes{block.number});
    return true;
  }
  bool Heed(SimShard& shard, RouteMessage& route) {
    if (!shard.ledger.Begin(route.outbox, /*order=*/0)) return true;
    storage::Publish publish;
    publish.token = Token{1} << 48 | ++passed_;
    publish.message = route.message;
    publish.outbox = route.outbox;
    publish.partitions = RoutesOf(shard, std::string(route.message->topic()));
    if (publish.partitions == 0) {
      Ask(shard, OutboxDone{.partition = route.outbox.partition, .number = route.outbox.number});
      return false;
    }
    shard.passing[publish.token] = route.outbox;
    Ask(shard, std::move(publish));
    return false;
  }
  bool Heed(SimShard& shard, Published& part) {
    const auto found = shard.passing.find(part.token);
    const bool passes = found != shard.passing.end();
    if (passes && part.status.ok()) shard.ledger.Has(part.partition, found->second);
    std::optional<Published> all = shard.published.Join(std::move(part));
    if (!all.has_value()) return true;
    part = *std::move(all);
    if (!passes) return false;
    const OutboxRef record = found->second;
    shard.passing.erase(found);
    OutboxDone done{.partition = record.partition, .number = record.number};
    if (part.status.ok()) {
      shard.ledger.PassedOn(record, /*order=*/0);
    } else {
      done.fate = OutboxDone::Fate::kRefused;
      shard.ledger.GiveBack(record, /*order=*/0);
    }
    Ask(shard, std::move(done));
    return true;
  }
  template <typename Other>
  bool Heed(SimShard& /*shard*/, Other& /*event*/) {
    return false;
  }

  // Whose leader has said it; none: nobody's in particular.
  std::optional<PartitionId> PartitionOf(const SimShard& shard, const Event& event) const {
    return std::visit(
        [&](const auto& one) -> std::optional<PartitionId> {
          using T = std::decay_t<decltype(one)>;
          if constexpr (std::is_same_v<T, Published> || std::is_same_v<T, StreamAck> ||
                        std::is_same_v<T, ClaimsWanted>) {
            return one.partition;
          } else if constexpr (std::is_same_v<T, RouteMessage>) {
            return one.outbox.partition;
          } else if constexpr (std::is_same_v<T, TakenOver>) {
            return PartitionOf(one.client_id);
          } else if constexpr (requires {
                                 one.connection.connection;
                                 one.epoch;
                               }) {
            return PartitionOf(shard.names.at(one.connection.connection));
          } else if constexpr (requires { one.token; }) {
            const auto found = shard.partition_of.find(one.token);
            return found == shard.partition_of.end() ? std::nullopt : std::optional(found->second);
          } else {
            return std::nullopt;
          }
        },
        event);
  }

  StorageOptions options_;
  base::Rng rng_;
  support::FakeClock clock_;
  SharedLog log_;
  const Placed placed_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Link> links_;  // By (from, to); of a node to itself, too.
  uint64_t passed_ = 0;
  uint64_t resyncs_ = 0;
};

}  // namespace storage

#endif  // TESTS_STORAGE_CLUSTER_SIM_H_
