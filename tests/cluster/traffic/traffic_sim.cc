#include "tests/cluster/traffic/traffic_sim.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "storage/core/keys.h"

namespace cluster::sim {
namespace {

using broker::NodeMask;
using broker::Wanted;

const char* const kFilters[] = {"a", "b", "c/d", "w/#", "v/+"};
const char* const kTopics[] = {"a", "b", "c/d", "w/x", "v/y"};

std::string KeyOf(const broker::FilterOfNode& filter, Wanted wanted) {
  return absl::StrCat(wanted == Wanted::kAll ? "all " : "qos0 ",
                      filter.wildcard.empty() ? absl::StrCat(filter.hash) : filter.wildcard);
}

std::string NameOf(storage::ShardId shard, std::string_view filter) {
  return absl::StrCat(shard, " ", std::string(filter));
}

// A Client Identifier of each partition.
std::string ClientOf(storage::PartitionId partition) {
  for (int i = 0;; ++i) {
    std::string id = absl::StrCat("client ", i);
    if (storage::PartitionOfClient(id, kPartitions) == partition) return id;
  }
}

}  // namespace

// ---- Shard --------------------------------------------------------------------------------------

Shard::Shard(World& world, Node& node, storage::ShardId id) : world_(world), node_(node), id_(id) {}

void Shard::Turn() {
  base::Rng& rng = world_.rng;
  TakeMail(rng.Below(30));
  for (uint64_t i = rng.Below(3); i > 0; --i) Publish();
  if (rng.Chance(0.2)) Subscribe();
  if (rng.Chance(0.1)) Join();
  if (rng.Chance(0.5)) Ask();
  if (rng.Chance(0.8)) TellTaken();
  node_.traffic.Flush(id_);
}

void Shard::Settle() {
  TakeMail(SIZE_MAX);
  TellTaken();
  node_.traffic.Flush(id_);
}

void Shard::TakeMail(size_t count) {
  std::vector<broker::ShardTask> tasks;
  {
    base::MutexLock lock(mail_mutex);
    for (; count > 0 && !mailbox.empty(); --count) {
      tasks.push_back(std::move(mailbox.front()));
      mailbox.pop_front();
    }
  }
  for (broker::ShardTask& task : tasks) Take(task);
}

void Shard::TellTaken() {
  while (!routes_to_confirm_.empty()) {
    const auto [place, number] = routes_to_confirm_.front();
    routes_to_confirm_.pop_front();
    node_.traffic.RoutesTaken(id_, place, number);
  }
  for (const auto& [place, messages] : std::exchange(to_tell_, {}))
    node_.traffic.Taken(id_, place, messages, 0);
}

void Shard::Take(broker::ShardTask& task) {
  if (auto* const changed = std::get_if<broker::NodeRoutes>(&task)) {
    OfNode& of_node = routes[changed->node];
    if (changed->forget) {
      of_node.keys.clear();
      ++of_node.telling;
    }
    if (changed->members != nullptr) {
      for (const broker::NodeMember& change : *changed->members) {
        const std::string name = NameOf(change.member.connection.shard, change.filter);
        EXPECT_EQ(change.member.client_id, "member");
        if (change.add) {
          of_node.members[name] = {change.member.options, of_node.telling};
        } else {
          EXPECT_EQ(of_node.members.erase(name), 1u) << name;
        }
      }
    }
    // Those from before stay until all are known.
    if (!changed->stale) {
      std::erase_if(of_node.members, [&](const auto& each) {
        return changed->gone || each.second.second != of_node.telling;
      });
    }
    if (changed->changes != nullptr) {
      for (const broker::NodeRoute& route : *changed->changes) {
        const std::string key = KeyOf(route.filter, route.wanted);
        // Each key is told when it comes, and when it goes.
        if (route.add) {
          EXPECT_TRUE(of_node.keys.insert(key).second) << key;
        } else {
          EXPECT_EQ(of_node.keys.erase(key), 1u) << key;
        }
      }
    }
    of_node.stale = changed->stale;
    of_node.life = {changed->id, changed->life};
    of_node.was_whole = !changed->gone && (of_node.was_whole || !changed->stale);
    routes_to_confirm_.emplace_back(changed->node, changed->number);
  } else if (auto* const all = std::get_if<broker::NodesConfirmed>(&task)) {
    EXPECT_LE(all->number, announced);
    if (all->number <= confirmed) return;  // Of two threads that tell of them either comes first.
    confirmed = all->number;
    ++world_.confirmations;
  } else if (auto* const has = std::get_if<broker::NodeHas>(&task)) {
    EXPECT_LE(has->receipt, published_);
    Flow& flow = world_.flows[{node_.life, id_, routes[has->node].life}];
    EXPECT_GT(has->receipt, flow.has) << "once, and in order";
    flow.has = has->receipt;
  } else if (auto* const caught_up = std::get_if<broker::NodeCaughtUp>(&task)) {
    paused_.erase(caught_up->node);
  } else if (auto* const publish = std::get_if<broker::NodePublish>(&task)) {
    ++to_tell_[publish->node];
    const std::vector<std::string> parts =
        absl::StrSplit(std::string(publish->message->payload()), ' ');
    uint32_t numbers[4] = {};
    for (size_t i = 0; i < 4; ++i) ASSERT_TRUE(absl::SimpleAtoi(parts[i], &numbers[i]));
    const NodeLife from{NodeId(static_cast<uint16_t>(numbers[0])), Incarnation(numbers[1])};
    Flow& flow = world_.flows[{from, static_cast<storage::ShardId>(numbers[2]), node_.life}];
    EXPECT_GT(numbers[3], flow.last) << "out of order, or twice";
    EXPECT_TRUE(publish->member == nullptr || publish->member->hops == numbers[3]);
    flow.last = numbers[3];
    if (publish->member != nullptr) world_.had.emplace(publish->message->payload());
    if (publish->message->qos() == mqtt::QoS::kAtMostOnce) return;
    ASSERT_LT(flow.received, flow.sent.size());
    EXPECT_EQ(flow.sent[flow.received], numbers[3]) << "one is missing";
    ++flow.received;
  } else if (auto* const remote = std::get_if<broker::NodeEvent>(&task)) {
    EXPECT_NE(remote->from, node_.life.node);
    Take(*remote->event);
  } else if (auto* const back = std::get_if<broker::HandedBack>(&task)) {
    EXPECT_NE(back->message->qos(), mqtt::QoS::kAtMostOnce);
    const bool had = world_.had.contains(std::string(back->message->payload()));
    EXPECT_FALSE(had && back->message->qos() == mqtt::QoS::kExactlyOnce);
    ++world_.handed_back;
  } else {
    Take(std::get<storage::Event>(task));
  }
}

void Shard::Take(storage::Event& event) {
  if (auto* const wanted = std::get_if<storage::ClaimsWanted>(&event)) {
    storage::Claims claims;
    claims.partition = wanted->partition;
    claims.life = wanted->life;
    claims.by = wanted->by;
    std::vector<storage::Addressed> requests =
        streams_.Repeat(claims, [](const storage::Request&) { return false; });
    requests.insert(requests.begin(), storage::Addressed(std::move(claims)));
    node_.traffic.Submit(id_, std::move(requests));
  } else if (auto* const published = std::get_if<storage::Published>(&event)) {
    answered_[published->partition].insert(published->token);
  } else if (auto* const ack = std::get_if<storage::StreamAck>(&event)) {
    uint64_t& acked = acked_[ack->partition];
    for (uint64_t number = acked + 1; number <= ack->through; ++number)
      EXPECT_TRUE(answered_[ack->partition].contains(number)) << "an answer is missing: " << number;
    acked = std::max(acked, ack->through);
    streams_.OnAck(*ack);
  }
}

void Shard::Subscribe() {
  const std::string filter = kFilters[world_.rng.Below(std::size(kFilters))];
  const auto known = wants.find(filter);
  const Wanted before = known == wants.end() ? Wanted::kNothing : known->second.first;
  const auto after = static_cast<Wanted>(world_.rng.Below(3));
  if (before == after) return;
  node_.traffic.Announce(
      id_, {.number = ++announced, .before = before, .after = after, .filter = filter});
  wants[filter] = {after, announced};
}

// Its one client joins a group, has other options there, or leaves it.
void Shard::Join() {
  const std::string filter =
      absl::StrCat("$share/g/", kFilters[world_.rng.Below(std::size(kFilters))]);
  broker::MemberAnnouncement change{.number = ++announced, .filter = filter};
  change.add = world_.rng.Chance(0.6);
  change.member.client_id = "member";
  change.member.connection.shard = id_;
  change.member.connection.connection = 1;
  change.member.options.qos = static_cast<mqtt::QoS>(world_.rng.Below(3));
  if (change.add) {
    joined[filter] = {change.member.options, announced};
  } else {
    joined.erase(filter);
  }
  node_.traffic.AnnounceMember(id_, std::move(change));
}

// Those whose SUBACK has come are known, as they are; but to a shard that has not been told since
// it knows of the node at all.
void Shard::ExpectMembersOf(const Node& other, std::optional<uint32_t> place) {
  if (!place.has_value()) return;
  const OfNode& of_node = routes[*place];
  if (!of_node.was_whole || of_node.life != other.life) return;
  for (const auto& shard : other.shards) {
    for (const auto& [filter, member] : shard->joined) {
      if (member.second > shard->confirmed) continue;
      const auto known = of_node.members.find(NameOf(shard->id(), filter));
      ASSERT_NE(known, of_node.members.end()) << filter << " of node " << other.life.node;
      EXPECT_EQ(known->second.first.ToByte(), member.first.ToByte());
    }
  }
}

void Shard::Publish() {
  const auto qos = static_cast<mqtt::QoS>(world_.rng.Below(3));
  if (paused()) return;
  const size_t which = world_.rng.Below(std::size(kFilters));
  const broker::FilterOfNode filter = broker::FilterOfNode::Of(kFilters[which]);
  NodeMask mask = 0;
  for (const auto& [place, of_node] : routes) {
    const bool all = of_node.keys.contains(KeyOf(filter, Wanted::kAll));
    const bool qos0 =
        qos == mqtt::QoS::kAtMostOnce && of_node.keys.contains(KeyOf(filter, Wanted::kQos0));
    if (all || qos0 || of_node.stale) mask |= NodeMask{1} << place;
  }
  ++published_;
  for (const auto& [id, other] : world_.nodes) {
    if (other.get() == &node_) continue;
    const std::optional<uint32_t> place = node_.traffic.PlaceOf(id);
    const bool is_sent = place.has_value() && (mask >> *place & 1) != 0;
    ExpectMembersOf(*other, place);
    // Whoever has had its SUBACK misses nothing.
    for (const auto& shard : other->shards) {
      const auto wanted = shard->wants.find(kFilters[which]);
      if (wanted == shard->wants.end() || wanted->second.second > shard->confirmed) continue;
      if (wanted->second.first == Wanted::kAll ||
          (wanted->second.first == Wanted::kQos0 && qos == mqtt::QoS::kAtMostOnce)) {
        EXPECT_TRUE(is_sent) << "node " << id << " had SUBACK for " << kFilters[which];
      }
    }
  }
  const bool to_member = mask != 0 && world_.rng.Chance(0.2);
  if (to_member) mask &= ~(mask - 1);
  for (const auto& [id, incarnation] : node_.known) {
    const std::optional<uint32_t> place = node_.traffic.PlaceOf(id);
    if (!place.has_value() || (mask >> *place & 1) == 0) continue;
    Flow& flow = world_.flows[{node_.life, id_, NodeLife{id, incarnation}}];
    ++flow.forwarded;
    if (qos != mqtt::QoS::kAtMostOnce) flow.sent.push_back(published_);
  }
  const std::string payload =
      absl::StrCat(node_.life.node.value(), " ", node_.life.incarnation.value(), " ", id_, " ",
                   published_, " ", std::string(world_.rng.Below(50), '.'));
  mqtt::MessageParts parts;
  parts.topic = kTopics[which];
  parts.payload = payload;
  parts.qos = qos;
  ++world_.forwarded;
  storage::ChosenMember member;
  member.hops = static_cast<uint32_t>(published_);
  member.options.qos = mqtt::QoS::kExactlyOnce;
  const broker::Forwarding how{.receipt = qos == mqtt::QoS::kAtMostOnce ? 0 : published_};
  NodeMask behind =
      to_member ? node_.traffic.ForwardToMember(id_, static_cast<uint32_t>(std::countr_zero(mask)),
                                                parts, member, how)
                : node_.traffic.Forward(id_, mask, parts, how);
  for (; behind != 0; behind &= behind - 1)
    paused_.insert(static_cast<uint32_t>(std::countr_zero(behind)));
}

void Shard::Ask() {
  if (kept() > 300) return;
  const auto partition = static_cast<storage::PartitionId>(world_.rng.Below(kPartitions));
  std::vector<storage::Addressed> requests;
  for (uint64_t i = 1 + world_.rng.Below(3); i > 0; --i) {
    requests.emplace_back(storage::ReplayTaken{ClientOf(partition), ++asked_[partition]});
    streams_.Number(requests.back());
  }
  node_.traffic.Submit(id_, std::move(requests));
}

// ---- Host ---------------------------------------------------------------------------------------

bool Host::Leads(storage::PartitionId partition) const {
  return world_.leaders.at(partition).first == node_.life.node;
}

void Host::SetNodes(const std::map<NodeId, Incarnation>& others) {
  std::map<NodeId, Incarnation> now = others;
  now[node_.life.node] = node_.life.incarnation;
  std::erase_if(asked_, [&](const auto& asked) {
    const auto& [node, life, shard] = asked.first.second;
    return !now.contains(node) || now.at(node) != life;
  });
  const std::map<NodeId, Incarnation> before = std::exchange(live_, now);
  for (const auto& [node, life] : live_) {
    if (before.contains(node) && before.at(node) == life) continue;
    for (storage::PartitionId partition = 0; partition < kPartitions; ++partition) {
      if (Leads(partition)) Ask(partition, node, life);
    }
  }
}

void Host::Ask(storage::PartitionId partition, NodeId node, Incarnation life) {
  for (storage::ShardId shard = 0; shard < kShards; ++shard) {
    const Address address{node, life, shard};
    Asking& asking = asked_[{partition, address}];
    asking = {.life = world_.leaders.at(partition).second << 32 | ++world_.asks, .told = false};
    outbox_[address].emplace_back(
        storage::ClaimsWanted{.partition = partition, .life = asking.life, .by = node_.life.node});
  }
}

void Host::Turn() {
  std::deque<Input> inputs;
  {
    base::MutexLock lock(inbox_mutex_);
    // What comes after a turn has begun is for the next one.
    for (size_t some = world_.rng.Below(inbox_.size() + 3); some > 0 && !inbox_.empty(); --some) {
      inputs.push_back(std::move(inbox_.front()));
      inbox_.pop_front();
    }
  }
  for (Input& input : inputs) std::visit([this](auto& one) { On(one); }, input);
  for (auto& [address, events] : std::exchange(outbox_, {})) {
    const auto& [node, life, shard] = address;
    if (node != node_.life.node) {
      node_.traffic.SendEvents({node, shard, life}, std::move(events));
      continue;
    }
    auto batch = std::make_unique<base::Batch<broker::ShardTask>>();
    for (storage::Event& event : events) batch->items.emplace_back(std::move(event));
    node_.Post(shard, std::move(batch));
  }
}

void Host::On(Submitted& submitted) {
  const Address from{submitted.from.node, submitted.from.incarnation, submitted.from.shard};
  const auto live = live_.find(submitted.from.node);
  if (live == live_.end() || live->second != submitted.from.incarnation) return;
  for (storage::Addressed& asked : submitted.requests) OnRequest(from, asked);
}

void Host::OnRequest(const Address& from, storage::Addressed& asked) {
  if (const auto* const claims = std::get_if<storage::Claims>(&asked.request)) {
    const auto asking = asked_.find({claims->partition, from});
    if (asking != asked_.end() && asking->second.life == claims->life) asking->second.told = true;
    return;
  }
  const storage::PartitionId partition = asked.partition;
  EXPECT_EQ(std::get<storage::ReplayTaken>(asked.request).epoch, asked.sequence);
  const auto asking = asked_.find({partition, from});
  if (!Leads(partition) || asking == asked_.end() || !asking->second.told ||
      asking->second.life >> 32 != world_.leaders.at(partition).second) {
    return;
  }
  const auto& [node, life, shard] = from;
  uint64_t& applied = world_.applied[{partition, node, life, shard}];
  EXPECT_LE(asked.sequence, applied + 1) << "a request is missing";
  if (asked.sequence == applied + 1) {
    ++applied;
    ++world_.requests_done;
  }
  outbox_[from].emplace_back(
      storage::Published{.token = asked.sequence, .status = {}, .partition = partition});
  outbox_[from].emplace_back(storage::StreamAck{.partition = partition, .through = asked.sequence});
}

void Host::On(Resync& resync) {
  const auto live = live_.find(resync.node);
  resync.begins();
  if (live == live_.end()) return;
  for (storage::PartitionId partition = 0; partition < kPartitions; ++partition) {
    if (Leads(partition)) Ask(partition, resync.node, live->second);
  }
}

void Host::On(Lead& lead) {
  if (!Leads(lead.partition)) return;
  for (const auto& [node, life] : live_) Ask(lead.partition, node, life);
}

// ---- Node ---------------------------------------------------------------------------------------

Node::Node(World& world, NodeLife its_life, Links& links)
    : life(its_life),
      host(world, *this),
      traffic(world.options, {its_life.node, its_life.incarnation, kShards}, links, *this) {
  for (storage::ShardId shard = 0; shard < kShards; ++shard)
    shards.push_back(std::make_unique<Shard>(world, *this, shard));
}

void Node::SetNodes(const std::map<NodeId, Incarnation>& all) {
  known = all;
  known.erase(life.node);
  host.SetNodes(known);
  std::vector<storage::LiveNode> others;
  for (const auto& [node, incarnation] : known) others.push_back({node, incarnation, kShards});
  traffic.SetNodes(others);
}

// ---- World --------------------------------------------------------------------------------------

World::World(uint64_t seed, uint16_t count) : rng(seed), count_(count) {
  options.forwards = {.messages = 8 + rng.Below(60), .bytes = 500 + rng.Below(8000)};
  options.routes.kept_changes_max = 1 + rng.Below(40);
  for (storage::PartitionId partition = 0; partition < kPartitions; ++partition)
    leaders[partition] = {NodeId(1), 1};
}

void World::StartAll() {
  for (uint16_t node = 1; node <= count_; ++node) {
    if (!nodes.contains(NodeId(node))) Start(NodeId(node));
  }
}

std::map<NodeId, Incarnation> World::Living() const {
  std::map<NodeId, Incarnation> living;
  for (const auto& [id, node] : nodes) living[id] = node->life.incarnation;
  return living;
}

void World::Start(NodeId id) {
  Incarnation& life = lives[id];
  life = Incarnation(life.value() + 1);
  Links& links = StartLinks({id, life});
  nodes[id] = std::make_unique<Node>(*this, NodeLife{id, life}, links);
  LinksStarted(*nodes[id]);
  nodes[id]->SetNodes(Living());
  // It serves nobody before its shards have heard of the others.
  for (const auto& shard : nodes[id]->shards) shard->Settle();
}

void World::Kill(NodeId node) {
  StopLinks(node);
  nodes.erase(node);
}

NodeId World::AnyNode() { return NodeId(static_cast<uint16_t>(1 + rng.Below(count_))); }

void World::MoveLeader(storage::PartitionId partition) {
  const NodeId to = AnyNode();
  if (!nodes.contains(to)) return;
  leaders[partition] = {to, leaders[partition].second + 1};
  nodes[to]->host.Post(Host::Lead{partition});
}

void World::Act(uint64_t what) {
  const NodeId a = AnyNode();
  const auto node = nodes.find(a);
  if (what < 550) {
    if (node != nodes.end()) node->second->shards[rng.Below(kShards)]->Turn();
  } else if (what < 890) {
    if (node != nodes.end()) node->second->host.Turn();
  } else if (what < 950) {
    if (node != nodes.end()) node->second->SetNodes(Living());
  } else if (what < 975) {
    MoveLeader(static_cast<storage::PartitionId>(rng.Below(kPartitions)));
  } else if (what < 981) {
    if (nodes.size() > 1 && node != nodes.end()) Kill(a);
  } else if (node == nodes.end()) {
    Start(a);
  }
}

void World::SetRight() {
  if (rng.Chance(0.7)) StartAll();  // Else whoever is dead stays so.
  for (auto& [partition, leader] : leaders) {
    if (nodes.contains(leader.first)) continue;
    leader = {nodes.begin()->first, leader.second + 1};
    nodes[leader.first]->host.Post(Host::Lead{partition});
  }
  for (const auto& [id, node] : nodes) node->SetNodes(Living());
}

void World::SettleAll() {
  for (const auto& [id, node] : nodes) {
    for (const auto& shard : node->shards) shard->Settle();
    node->host.Turn();
  }
}

namespace {

std::string TextOfMember(const std::string& name, const mqtt::SubscriptionOptions& options) {
  return absl::StrCat(name, " ", options.ToByte());
}

std::set<std::string> MembersIn(const Shard::OfNode& of_node) {
  std::set<std::string> members;
  for (const auto& [name, member] : of_node.members)
    members.insert(TextOfMember(name, member.first));
  return members;
}

}  // namespace

bool World::IsQuiet() {
  for (const auto& [id, node] : nodes) {
    for (const auto& shard : node->shards) {
      if (shard->announced != shard->confirmed || shard->kept() != 0 || shard->paused())
        return false;
    }
    for (const auto& [other_id, other] : nodes) {
      if (other_id == id) continue;
      const std::optional<uint32_t> place = other->traffic.PlaceOf(id);
      if (!place.has_value()) return false;
      for (const auto& shard : other->shards) {
        if (shard->routes[*place].stale) return false;
      }
      for (storage::ShardId shard = 0; shard < kShards; ++shard) {
        const Flow& flow = flows[{node->life, shard, other->life}];
        if (flow.received != flow.sent.size()) return false;
        if (!flow.sent.empty() && flow.has != flow.sent.back()) return false;
      }
    }
  }
  return true;
}

void World::ExpectAllIsWell() {
  for (const auto& [id, node] : nodes) {
    std::set<std::string> wanted;
    std::set<std::string> members;
    for (const auto& shard : node->shards) {
      for (const auto& [filter, member] : shard->joined)
        members.insert(TextOfMember(NameOf(shard->id(), filter), member.first));
      EXPECT_EQ(shard->announced, shard->confirmed) << "a SUBACK waits";
      EXPECT_EQ(shard->kept(), 0u) << "a request waits";
      EXPECT_FALSE(shard->paused()) << "a publisher waits";
      for (const auto& [filter, want] : shard->wants) {
        if (want.first != Wanted::kNothing)
          wanted.insert(KeyOf(broker::FilterOfNode::Of(filter), want.first));
      }
    }
    for (const auto& [other_id, other] : nodes) {
      if (other_id == id) continue;
      const std::optional<uint32_t> place = other->traffic.PlaceOf(id);
      ASSERT_TRUE(place.has_value());
      for (const auto& shard : other->shards) {
        EXPECT_EQ(shard->routes[*place].keys, wanted) << "of node " << id << " at " << other_id;
        EXPECT_EQ(MembersIn(shard->routes[*place]), members) << id << " at " << other_id;
        EXPECT_FALSE(shard->routes[*place].stale);
      }
      for (storage::ShardId shard = 0; shard < kShards; ++shard) {
        const Flow& flow = flows[{node->life, shard, other->life}];
        EXPECT_EQ(flow.received, flow.sent.size()) << "from " << id << " to " << other_id;
        EXPECT_TRUE(flow.sent.empty() || flow.has == flow.sent.back())
            << "a publisher at " << id << " waits for " << other_id << " to have its message";
      }
    }
    ExpectHasWhatItSaid(*node);
    EXPECT_EQ(node->traffic.metrics().gaps.value(), 0u);
    EXPECT_EQ(node->traffic.metrics().unreadable.value(), 0u);
  }
}

// Also of what nodes sent that have died since.
void World::ExpectHasWhatItSaid(const Node& node) {
  for (const auto& [key, flow] : flows) {
    if (std::get<2>(key) != node.life) continue;
    for (size_t i = flow.received; i < flow.sent.size(); ++i)
      EXPECT_GT(flow.sent[i], flow.has) << "acknowledged, and lost with its sender";
  }
}

// ---- FakeWorld ----------------------------------------------------------------------------------

Links& FakeWorld::StartLinks(NodeLife life) {
  links_[life.node] = std::make_unique<FakeLinks>(net, life.node);
  return *links_[life.node];
}

void FakeWorld::Step() {
  const uint64_t what = rng.Below(1000);
  if (what < 450) return Act(rng.Below(1000));
  const NodeId a = AnyNode();
  const NodeId b = AnyNode();
  if (a == b) return;
  if (what < 840) {
    net.Deliver(a, b, 1 + rng.Below(8));
  } else if (what < 940) {
    net.Tend(a, b);
  } else if (what < 960) {
    net.Cut(a, b, rng);
  } else {
    net.DeliverLate(a, b);
  }
}

void FakeWorld::Heal() {
  SetRight();
  for (int round = 0; round < 200; ++round) {
    for (const auto& [a, from] : nodes) {
      for (const auto& [b, to] : nodes) {
        if (a == b) continue;
        net.DeliverLate(a, b);
        net.Tend(a, b);
        for (int i = 0; i < 50 && net.Deliver(a, b, 100); ++i) {
        }
      }
    }
    SettleAll();
  }
}

}  // namespace cluster::sim
