#include "tests/cluster/sim/node.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "broker/shard/fence.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace simulator {
namespace {

constexpr absl::Duration kWatch = absl::Milliseconds(50);
constexpr absl::Duration kBalance = absl::Seconds(1);
constexpr cluster::LeaseOptions kLeases;

cluster::Place PlaceOf(cluster::Place applied) {
  return applied.index < cluster::kGroupBegin.index ? cluster::kGroupBegin : applied;
}

}  // namespace

Node::Node(const NodeOptions& options, sim::Agenda& agenda, Machine& machine, Network& network,
           const Journal& journal, base::Rng rng, std::function<void()> given_up)
    : options_(options),
      machine_(machine),
      network_(network),
      journal_(journal),
      rng_(std::move(rng)),
      given_up_(std::move(given_up)),
      life_(agenda, machine),
      was_member_(machine.was_member),
      saboteur_(options.mutant, options.asked),
      links_(network, machine.id),
      log_(machine, life_, journal, rng_.Fork(),
           {.send = [this](const auto& messages) { transport_.Send(messages); },
            .to_host = [this](auto events) { OnLog(std::move(events)); },
            .to_meta = [this](auto events) { OnMetaEvents(std::move(events)); },
            .acknowledges_early = saboteur_.acknowledges_early()}),
      transport_(links_, TransportParts()),
      host_(options.storage, machine, life_, log_, rng_.Fork(),
            [this](const auto& to, auto events) { OnEvents(to, std::move(events)); }),
      meta_(machine, life_, log_, host_.timeline(), Self(), MembersAtStart(),
            machine.members.has_value() ? machine.members_place.index
            : machine.founds            ? cluster::kGroupBegin.index
                                        : 0,
            MetaParts()) {
  machine_.was_member = true;
  ShowReplicas(meta_.members());
  JoinGroups(meta_.members());
  log_.StartTicking();
  life_.After(kWatch, [this] { WatchLease(); });
  life_.After(kBalance, [this] { BalanceLeaders(); });
  network_.SetStation(machine_.id, this);
}

Node::~Node() = default;

// Who has joined hears with its admission who belongs to the cluster.
cluster::Members Node::MembersAtStart() const {
  if (machine_.members.has_value()) return *machine_.members;
  return machine_.founds ? options_.founded : cluster::Members();
}

// Another life, which nobody may hear of before it is on the disk.
::mqttd::cluster::v1::AdmitNode Node::Self() {
  ++machine_.incarnation;
  ::mqttd::cluster::v1::AdmitNode self;
  self.set_uuid(absl::StrCat("node-", machine_.id.value()));
  self.set_start(rng_());
  self.set_incarnation(machine_.incarnation);
  self.set_cluster_address(absl::StrCat("n", machine_.id.value(), ":1"));
  self.set_release("simulated");
  self.set_level_max(cluster::kLevelKnown);
  self.set_shards(kShards);
  return self;
}

cluster::RaftTransport::Parts Node::TransportParts() {
  return {.receive =
              [this](std::vector<cluster::RaftLoop::Message> messages, std::function<void()>) {
                auto batch =
                    std::make_shared<std::vector<cluster::RaftLoop::Message>>(std::move(messages));
                log_.Run([batch](cluster::RaftLoop& loop) {
                  for (const cluster::RaftLoop::Message& message : *batch)
                    (void)loop.OnMessage(message.group, message.data, message.all_have);
                });
              },
          .unreachable =
              [this](cluster::RaftTransport::Place place) {
                log_.Run([place](cluster::RaftLoop& loop) {
                  loop.ReportUnreachable(place.first, place.second);
                });
              },
          .other = [this](NodeLife from,
                          const cluster::ControlItem& item) { meta_.OnControl(from, item); }};
}

MetaDriver::Parts Node::MetaParts() {
  return {
      .on_members = [this](const auto& members, uint64_t applied) { OnMembers(members, applied); },
      .begin_life = [this](Incarnation incarnation) { return BeginLife(incarnation); },
      .join =
          [this](NodeId to, ::mqttd::cluster::v1::AdmitNode self,
                 std::function<void(MetaDriver::Answer)> answer) {
            const NodeLife from = life();
            network_.Call(from.node, to,
                          // Who asks may be dead by then.
                          [&network = network_, from, self = std::move(self),
                           answer = std::move(answer)](Station& station) {
                            auto& node = static_cast<Node&>(station);
                            const NodeId at = node.machine_.id;
                            node.OnJoin(
                                self, [&network, at, from, answer](MetaDriver::Answer said) {
                                  network.Call(at, from.node, [from, answer, said](Station& asker) {
                                    auto& back = static_cast<Node&>(asker);
                                    if (back.life() == from)
                                      back.life_.After({}, [answer, said] { answer(said); });
                                  });
                                });
                          });
          },
      .send =
          [this](NodeId to, const cluster::ControlItem& item) {
            (void)links_.Send(to, LinkClass::kControl, cluster::EncodeControl(item));
          },
      .on_lease =
          [this](absl::Duration until) { lease_.since_boot_ns = absl::ToInt64Nanoseconds(until); }};
}

void Node::OnJoin(const ::mqttd::cluster::v1::AdmitNode& node,
                  std::function<void(MetaDriver::Answer)> answer) {
  life_.After({}, [this, node, answer = std::move(answer)] { meta_.OnJoin(node, answer); });
}

// ---- Links --------------------------------------------------------------------------------------

void Node::OnUp(NodeLife peer, uint64_t link) {
  life_.After({}, [this, peer, link] {
    network_.NoteToldUp(machine_.id, peer.node, link);
    if (traffic_ != nullptr) return traffic_->OnUp(peer);
    early_.up[peer.node] = peer;
  });
}

void Node::OnDown(NodeId peer) {
  life_.After({}, [this, peer] {
    transport_.OnDown(peer);
    if (traffic_ != nullptr) return traffic_->OnDown(peer);
    early_.up.erase(peer);
  });
}

void Node::OnRoom(NodeId peer) {
  life_.After({}, [this, peer] {
    if (traffic_ != nullptr) traffic_->OnRoom(peer);
  });
}

void Node::OnLifeOver(Incarnation through) {
  life_.After({}, [this, through] { meta_.OnLifeOver(through); });
}

void Node::OnFrame(cluster::ReceivedFrame frame) {
  auto held = std::make_shared<cluster::ReceivedFrame>(std::move(frame));
  life_.After({}, [this, held] {
    if (held->link_class() != LinkClass::kTraffic) return transport_.OnFrame(std::move(*held));
    if (traffic_ != nullptr) return traffic_->OnFrame(std::move(*held));
    early_.frames[held->from().node].Add(std::move(*held));
  });
}

// ---- Groups and members -------------------------------------------------------------------------

void Node::ShowReplicas(const cluster::Members& members) {
  std::map<cluster::RaftTransport::Place, NodeId> replicas;
  for (const auto& replica : members.meta().replicas)
    replicas[{kMetaGroup, replica.number}] = replica.node;
  for (size_t id = 0; id < members.partitions().size(); ++id) {
    for (const auto& replica : members.partitions()[id].replicas)
      replicas[{static_cast<cluster::GroupId>(id), replica.number}] = replica.node;
  }
  transport_.SetReplicas(std::move(replicas));
}

void Node::JoinGroups(const cluster::Members& members) {
  const auto start_of = [this](const cluster::GroupReplicas& group, cluster::GroupId id) {
    cluster::GroupStart start{.group = id};
    for (const cluster::GroupReplicas::Replica& replica : group.replicas) {
      start.conf_state.voters.push_back(replica.number);
      if (replica.node == machine_.id) start.replica = replica.number;
    }
    return start;
  };
  cluster::GroupStart meta = start_of(members.meta(), kMetaGroup);
  meta.applied = machine_.members.has_value() ? machine_.members_place : cluster::kGroupBegin;
  std::vector<std::pair<cluster::GroupStart, bool>> starts;
  if (meta.replica != 0) starts.emplace_back(std::move(meta), false);
  for (size_t i = 0; i < members.partitions().size(); ++i) {
    const auto id = static_cast<cluster::GroupId>(i);
    cluster::GroupStart start = start_of(members.partitions()[i], id);
    if (start.replica == 0) continue;
    start.applied = PlaceOf(host_.applied(id));
    starts.emplace_back(std::move(start),
                        members.partitions()[i].leader == machine_.id && !was_member_);
  }
  log_.Run([starts](cluster::RaftLoop& loop) {
    for (const auto& [start, stands] : starts) {
      const absl::Status added = loop.AddGroup(start);
      CHECK(added.ok()) << added.ToString();
      if (stands) CHECK(loop.Campaign(start.group).ok()) << "campaign";
    }
  });
}

void Node::OnMetaEvents(std::vector<cluster::LogEvent> events) {
  for (const cluster::LogEvent& event : events) {
    const auto* const committed = std::get_if<cluster::Committed>(&event);
    if (committed == nullptr) continue;
    for (const cluster::CommittedEntry& entry : committed->entries)
      meta_places_.push_back(entry.place);
  }
  // In the order in which the log tells of them, however long each takes.
  const bool waits = !to_meta_.empty();
  std::move(events.begin(), events.end(), std::back_inserter(to_meta_));
  if (waits) return;
  life_.After(absl::Microseconds(rng_.Between(1, 100)),
              [this] { meta_.OnLog(std::exchange(to_meta_, {})); });
}

std::vector<storage::LiveNode> Node::Others() const {
  std::vector<storage::LiveNode> others;
  for (const auto& [id, node] : meta_.members().nodes()) {
    if (id != machine_.id && node.is_live())
      others.push_back({id, node.incarnation, static_cast<storage::ShardId>(node.shards),
                        meta_.members().PartitionsOn(id)});
  }
  return others;
}

void Node::OnMembers(const cluster::Members& members, uint64_t applied) {
  while (!meta_places_.empty() && meta_places_.front().index < applied) meta_places_.pop_front();
  const bool keeps = !machine_.disk.full;  // Else the log is not cut.
  if (keeps && !meta_.HasReplica(machine_.id)) {
    machine_.members = members;
    machine_.members_place = {.index = applied};
  } else if (keeps && !meta_places_.empty() && meta_places_.front().index == applied) {
    machine_.members = members;
    machine_.members_place = meta_places_.front();
    log_.Run([applied](cluster::RaftLoop& loop) { loop.Flushed(kMetaGroup, applied); });
  }
  ShowReplicas(members);
  network_.LookAtDoors(machine_.id);
  if (traffic_ == nullptr || over_) return;
  const std::vector<storage::LiveNode> others = Others();
  host_.Tell([others](storage::Host& host) { host.SetNodes(others); });
  traffic_->SetNodes(others);
}

bool Node::BeginLife(Incarnation incarnation) {
  machine_.incarnation = incarnation.value();
  if (self_ != NodeLife{}) {
    if (!std::exchange(over_, true)) {
      journal_.Say("node ", machine_.id.value(), ": this life is over");
      given_up_();
    }
    return false;
  }
  // The meta group's node says the new one only when this returns.
  life_.After({}, [this] { network_.RenewLinksOf(machine_.id); });
  return true;
}

// ---- The lease ----------------------------------------------------------------------------------

void Node::WatchLease() {
  life_.After(kWatch, [this] { WatchLease(); });
  if (over_) return;
  const bool holds = machine_.clock.SinceBoot() + kLeases.fencing < meta_.until();
  if (self_ != NodeLife{} && meta_.life() != self_) return;
  if (self_ == NodeLife{}) {
    if (!holds || !meta_.members().IsLive(meta_.life())) return;
    self_ = meta_.life();
    OnAdmitted();
  } else if (holds == holds_lease_) {
    return WatchUnaware();
  }
  holds_lease_ = holds;
  OnLease(holds);
  WatchUnaware();
}

void Node::WatchUnaware() {
  const bool unaware = traffic_ != nullptr && !traffic_->routes().unaware.empty();
  if (std::exchange(others_unaware_, unaware) != unaware && on_unaware) on_unaware(unaware);
}

void Node::OnLease(bool holds) {
  journal_.Say("node ", machine_.id.value(), holds ? " holds its lease" : " has no lease");
  if (traffic_ != nullptr) traffic_->SetDegraded(!holds);
  if (on_lease) on_lease(holds);
  for (const auto& shard : shards_) {
    shard->Mail(broker::Control{[&shard, holds] {
      broker::Fence(shard->core(), holds ? broker::Fenced::kNobody : broker::Fenced::kSessions);
    }});
  }
}

void Node::SetClosed(bool closed, std::function<void()> done) {
  journal_.Say("node ", machine_.id.value(), closed ? " steps aside" : " takes clients again");
  if (closed && on_aside) on_aside();
  const auto left = std::make_shared<size_t>(shards_.size());
  for (const auto& shard : shards_) {
    shard->Mail(broker::Control{[&shard, closed, left, done] {
      broker::StepAside(shard->core(), closed);
      if (--*left == 0) done();
    }});
  }
}

void Node::BalanceLeaders() {
  life_.After(kBalance, [this] { BalanceLeaders(); });
  std::vector<cluster::HandOver::Wanted> wanted;
  for (size_t id = 0; id < meta_.members().partitions().size(); ++id) {
    const cluster::GroupReplicas& group = meta_.members().partitions()[id];
    const cluster::Node* const node = meta_.members().Find(group.leader);
    if (group.leader == machine_.id || node == nullptr || !node->is_live()) continue;
    for (const cluster::GroupReplicas::Replica& replica : group.replicas) {
      if (replica.node == group.leader)
        wanted.push_back(
            {static_cast<cluster::GroupId>(id), replica.number, node->incarnation.value()});
    }
  }
  log_.Run([this, wanted, now = life_.clock().Monotonic()](cluster::RaftLoop& loop) {
    hand_over_.Run(loop, wanted, now);
  });
}

// ---- What serves clients ------------------------------------------------------------------------

void Node::OnAdmitted() {
  journal_.Say("node ", machine_.id.value(), " is admitted as life ", self_.incarnation.value());
  const std::vector<storage::LiveNode> others = Others();
  traffic_ = std::make_unique<cluster::Traffic>(
      cluster::TrafficOptions{},
      storage::LiveNode{self_.node, self_.incarnation, kShards,
                        meta_.members().PartitionsOn(self_.node)},
      links_, *this);
  StartShards();
  host_.Start(
      self_.node, self_.incarnation, meta_.members().PartitionsOn(self_.node), others,
      [this](NodeId to, const storage::HostMessage& message) {
        traffic_->SendHostMessage(to, message);
      },
      [this](bool closed, std::function<void()> done) { SetClosed(closed, std::move(done)); },
      [this] {
        journal_.Say("node ", machine_.id.value(), " accepts clients");
        accepting_ = true;
      });
  traffic_->SetNodes(others);
  for (const auto& [id, peer] : std::exchange(early_.up, {})) traffic_->OnUp(peer);
  for (auto& [id, early] : std::exchange(early_.frames, {})) {
    for (cluster::ReceivedFrame& frame : early.Take()) traffic_->OnFrame(std::move(frame));
  }
}

void Node::StartShards() {
  world_.options = &options_.shards;
  world_.clock = &machine_.clock;
  world_.timeline = &host_.timeline();
  world_.node = self_.node;
  world_.incarnation = self_.incarnation;
  world_.partitions = traffic_.get();
  world_.partition_count = kPartitions;
  world_.forwarder = traffic_.get();
  world_.lease = &lease_;
  world_.methods = &methods_;
  world_.user_places = &users_;
  world_.permissions_of = [this](const storage::SessionUser& user) {
    return gate_->PermissionsFor({.user_name = user.user_name, .client_id = user.client_id});
  };
  world_.room_for_subscriptions = [] { return uint64_t{1} << 40; };
  world_.listeners.push_back(std::make_shared<const broker::ListenerTerms>(
      broker::ListenerTerms{.name = "simulated", .limits = options_.limits, .gatekeeper = gate_}));
  for (storage::ShardId id = 0; id < kShards; ++id)
    shards_.push_back(
        std::make_unique<ShardDriver>(shards_, id, kShards, world_, life_, rng_.Fork()));
  for (const auto& shard : shards_) shard->PlanTurn();
}

bool Node::Accept(std::shared_ptr<sim::Line> line) {
  if (!accepting_) return false;
  shards_[rng_.Below(shards_.size())]->Accept(std::move(line));
  return true;
}

void Node::Submit(const storage::ShardAddress& from, std::vector<storage::Addressed> requests) {
  for (storage::Addressed& request : requests) saboteur_.OnRequest(from, request);
  host_.Submit(from, std::move(requests));
}

void Node::OnLog(std::vector<storage::LogEvent> events) {
  for (const storage::LogEvent& event : events) {
    saboteur_.OnLog(event, [this](const storage::ShardAddress& to, storage::Event said) {
      std::vector<storage::Event> one;
      one.push_back(std::move(said));
      OnEvents(to, std::move(one));
    });
  }
  host_.OnLog(std::move(events));
}

void Node::OnEvents(const storage::ShardAddress& to, std::vector<storage::Event> events) {
  for (const storage::Event& event : events) saboteur_.OnAnswer(event);
  if (to.node != self_.node) return traffic_->SendEvents(to, std::move(events));
  ShardDriver& shard = *shards_[to.shard];
  for (storage::Event& event : events) {
    const std::optional<storage::OutboxDone> early = saboteur_.SaidEarly(event);
    if (!saboteur_.IsUnheard(event)) shard.Mail(std::move(event));
    if (!early.has_value()) continue;
    shard.Mail(
        broker::Control{[&core = shard.core(), early] { core.Ask(storage::OutboxDone(*early)); }});
  }
}

void Node::OnHostMessage(NodeLife from, storage::HostMessage message) {
  host_.OnHostMessage(from, message);
}

void Node::Resync(NodeId node, std::function<void()> begins) {
  host_.Tell([node, begins = std::move(begins)](storage::Host& host) {
    begins();
    host.Resync(node);
  });
}

void Node::Post(storage::ShardId shard, std::unique_ptr<base::Batch<broker::ShardTask>> tasks) {
  for (broker::ShardTask& task : tasks->items) {
    saboteur_.OnRoutes(task);
    shards_[shard]->Mail(std::move(task));
  }
}

}  // namespace simulator
