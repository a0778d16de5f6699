#include "tests/cluster/sim/world.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/log.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace simulator {
namespace {

constexpr size_t kNodes = 3;
constexpr int64_t kDayS = 86'400;

cluster::Members Founded() {
  ::mqttd::cluster::v1::Formation formation;
  formation.set_cluster_id("simulated");
  formation.set_partitions(kPartitions);
  formation.set_replicas(kNodes);
  formation.set_level(cluster::kLevelKnown);
  for (size_t node = 1; node <= kNodes; ++node) {
    auto& founder = *formation.add_founders();
    founder.set_uuid(absl::StrCat("node-", node));
    founder.set_address(absl::StrCat("n", node, ":1"));
    founder.set_level_max(cluster::kLevelKnown);
  }
  return cluster::Members::Founded(formation, cluster::kLevelKnown);
}

NodeOptions OptionsFor(Mutant mutant, base::Rng rng) {
  NodeOptions options;
  constexpr broker::ShareStrategy kStrategies[] = {
      broker::ShareStrategy::kRoundRobin,    broker::ShareStrategy::kRandom,
      broker::ShareStrategy::kLeastInFlight, broker::ShareStrategy::kSticky,
      broker::ShareStrategy::kHashClient,    broker::ShareStrategy::kHashTopic};
  options.shards.share_strategy = kStrategies[rng.Below(std::size(kStrategies))];
  options.storage.partitions = kPartitions;
  options.storage.takeover_pause_max = absl::ZeroDuration();
  options.storage.min_free_disk_bytes = kDiskBytes / 2;
  options.shards.sys_interval_s = 0;
  options.shards.memory_high_bytes = options.shards.input_bytes_max =
      options.shards.subscriptions_bytes_max = uint64_t{1} << 40;
  options.shards.connections_max = UINT32_MAX;
  options.founded = Founded();
  options.mutant = mutant;
  return options;
}

}  // namespace

World::World(const WorldOptions& options)
    : world_options_(options),
      rng_(options.seed),
      journal_(agenda_, options.explain),
      history_(journal_),
      network_(agenda_, journal_, rng_.Fork()),
      node_options_(OptionsFor(options.mutant, rng_.Fork())) {
  CHECK(base::ConfigureLog({.level = base::LogLevel::kOff}).ok());
  for (size_t i = 0; i < kNodes; ++i) AddPlace();
  MakeClients();
}

World::Place& World::AddPlace() {
  Place& place = places_.emplace_back();
  place.machine = std::make_unique<Machine>(
      agenda_, cluster::NodeId(static_cast<uint16_t>(places_.size())), rng_.Between(-5000, 5000),
      absl::Seconds(rng_.Between(-kDayS, kDayS)));
  return place;
}

World::~World() {
  for (Place& place : places_) {
    if (place.process == nullptr) continue;
    network_.SetStation(place.machine->id, nullptr);
    place.process.reset();
  }
}

void World::MakeClients() {
  const auto add = [this](Client::Options options) {
    clients_.push_back(std::make_unique<Client>(agenda_, *this, history_, journal_, rng_.Fork(),
                                                std::move(options)));
  };
  add({.id = "steady", .steady = true, .publishes = false});
  add({.id = "kept", .durable = true, .steady = true, .publishes = false});
  add({.id = "brief", .durable = true, .expiry_s = 5, .steady = true, .publishes = false});
  for (int i = 0; i < 6; ++i) {
    add({.id = absl::StrCat("c", i),
         .version = rng_.Chance(0.3) ? support::Version::k311 : support::Version::k5,
         .durable = i % 2 == 0,
         .has_wills = rng_.Chance(0.5)});
  }
}

// ---- Processes ----------------------------------------------------------------------------------

void World::Boot(size_t number) {
  Place& place = places_[number];
  if (place.process != nullptr) return;
  if (place.machine->disk.full) {  // It cannot write which life it begins.
    agenda_.After(absl::Milliseconds(200), [this, number] { Boot(number); });
    return;
  }
  place.life = ++last_life_;
  journal_.Say("node ", number + 1, " starts");
  place.process = std::make_unique<Node>(node_options_, agenda_, *place.machine, network_, journal_,
                                         rng_.Fork(), [this, number, life = place.life] {
                                           // Not from within.
                                           agenda_.After({}, [this, number, life] {
                                             if (places_[number].life == life) GiveUp(number);
                                           });
                                         });
  place.process->on_unaware = [this, life = place.life](bool unaware) {
    history_.OthersUnaware(life, unaware, agenda_.now_ns());
  };
  place.process->on_aside = [this] { ++aside_; };
  place.process->on_lease = [this, life = place.life](bool holds) {
    history_.LeaseOf(life, holds, agenda_.now_ns());
    if (!holds) history_.NodeFailed(agenda_.now_ns());
  };
}

// A node that knows the others by their addresses alone, and serves clients as they do.
void World::Join() {
  AddPlace().machine->founds = false;
  Boot(places_.size() - 1);
}

void World::GiveUp(size_t number) { Kill(number, Death::kProcess, absl::Milliseconds(1)); }

void World::Kill(size_t number, Death death, absl::Duration down) {
  Place& place = places_[number];
  if (place.process == nullptr) return;
  const bool power = death == Death::kPower;
  journal_.Say("node ", number + 1, power ? " loses its power" : " is killed");
  ++deaths_;
  history_.NodeFailed(agenda_.now_ns());
  elections_ += place.process->elections();
  network_.SetStation(place.machine->id, nullptr, /*silently=*/power);
  if (power) {
    for (const auto& client : clients_) client->OnSilence(place.life);
  }
  place.process->Die();
  place.process.reset();
  power ? place.machine->LosePower(rng_) : place.machine->LoseProcess();
  place.machine->stopped_until_ns = 0;
  agenda_.After(down, [this, number] { Boot(number); });
}

size_t World::Alive() const {
  return static_cast<size_t>(std::count_if(
      places_.begin(), places_.end(), [](const Place& place) { return place.process != nullptr; }));
}

bool World::AllServe() const {
  return std::all_of(places_.begin(), places_.end(), [](const Place& place) {
    return place.process != nullptr && place.process->serves() && place.process->holds_lease() &&
           !place.process->host().is_aside();
  });
}

Doors::Door World::Connect() {
  const size_t number = AnyPlace();
  Place& place = places_[number];
  if (place.process == nullptr) return {};
  auto line = std::make_shared<sim::Line>(agenda_, rng_.Fork());
  if (!place.process->Accept(line)) return {};
  return {.line = std::move(line), .life = place.life, .node = static_cast<uint16_t>(number + 1)};
}

// ---- A run --------------------------------------------------------------------------------------

void World::WaitForCluster() {
  for (int i = 0; i < 600 && !AllServe(); ++i) agenda_.RunFor(absl::Milliseconds(100));
  if (!AllServe()) history_.Fail("the cluster serves", "not all nodes serve after a minute");
}

Outcome World::Run() {
  for (size_t i = 0; i < places_.size(); ++i) Boot(i);
  WaitForCluster();
  watching_ = true;
  WatchOwners();
  for (const auto& client : clients_) client->Start();
  agenda_.RunFor(absl::Seconds(1));
  stormy_ = true;
  Storm();
  if (rng_.Chance(0.4)) LoseDisk();
  if (rng_.Chance(0.4))
    agenda_.After(absl::Milliseconds(rng_.Between(0, 8000)), [this] { Join(); });
  agenda_.RunFor(world_options_.stormy);
  stormy_ = false;
  Clear();
  for (const auto& client : clients_) client->CalmDown();
  journal_.Say("all is calm");
  agenda_.RunFor(absl::Seconds(15));
  WaitForCluster();
  agenda_.RunFor(absl::Seconds(25));
  watching_ = false;
  std::vector<const SubscriberSession*> durable;
  for (const auto& client : clients_) {
    client->CheckAtRest();
    if (!client->connected()) continue;
    history_.CheckDelivered(client->session());
    if (client->durable()) durable.push_back(&client->session());
  }
  history_.groups().CheckDelivered(durable);
  CheckOwners(/*at_rest=*/true);
  CheckReplicas();
  CheckEnded();
  CheckRetained();
  for (const Place& place : places_) {
    if (place.process != nullptr) elections_ += place.process->elections();
  }
  return {.failures = history_.failures(),
          .known = history_.known(),
          .published = history_.acknowledged(),
          .deliveries = history_.deliveries(),
          .deaths = deaths_,
          .elections = elections_,
          .aside = aside_,
          .digest = history_.Digest()};
}

// ---- Weather ------------------------------------------------------------------------------------

void World::Storm() {
  if (!stormy_) return;
  SomethingHappens();
  agenda_.After(absl::Milliseconds(rng_.Between(50, 2500)), [this] { Storm(); });
}

void World::SomethingHappens() {
  const uint64_t dice = rng_.Below(100);
  const size_t place = AnyPlace();
  const bool all = Alive() == places_.size();
  if (dice < 2) {
    for (size_t each = 0; each < places_.size(); ++each)
      Kill(each, Death::kPower, absl::Milliseconds(rng_.Between(1, 2000)));
  } else if (dice < 30) {
    if (!all && !rng_.Chance(0.2)) return;
    Kill(place, rng_.Chance(0.5) ? Death::kProcess : Death::kPower,
         absl::Milliseconds(rng_.Between(1, rng_.Chance(0.3) ? 6000 : 500)));
  } else if (dice < 45) {
    Isolate(place);
  } else if (dice < 60) {
    CutOneWay();
  } else if (dice < 75) {
    const size_t other = (place + 1 + rng_.Below(places_.size() - 1)) % places_.size();
    network_.Break(IdOf(place), IdOf(other));
  } else if (dice < 85) {
    Stop(place);
  } else if (dice < 95) {
    TroubleDisk(place);
  } else if (dice < 98) {
    SetWall(place);
  } else {
    network_.SetLatency(absl::Microseconds(rng_.Between(10, 1000)),
                        absl::Microseconds(rng_.Between(1000, 60'000)));
  }
}

void World::Isolate(size_t place) {
  const absl::Duration how_long = absl::Milliseconds(rng_.Between(100, 6000));
  journal_.Say("node ", place + 1, " is cut off for ", absl::FormatDuration(how_long));
  for (size_t other = 0; other < places_.size(); ++other) {
    if (other == place) continue;
    for (const auto& [from, to] : {std::pair(place, other), std::pair(other, place)}) {
      network_.Block(IdOf(from), IdOf(to), true);
      agenda_.After(how_long,
                    [this, a = IdOf(from), b = IdOf(to)] { network_.Block(a, b, false); });
    }
  }
}

void World::CutOneWay() {
  const size_t from = AnyPlace();
  const size_t to = (from + 1 + rng_.Below(places_.size() - 1)) % places_.size();
  const absl::Duration how_long = absl::Milliseconds(rng_.Between(100, 6000));
  journal_.Say("nothing gets from node ", from + 1, " to node ", to + 1, " for ",
               absl::FormatDuration(how_long));
  network_.Block(IdOf(from), IdOf(to), true);
  agenda_.After(how_long, [this, a = IdOf(from), b = IdOf(to)] { network_.Block(a, b, false); });
}

void World::Stop(size_t place) {
  if (places_[place].machine->stopped_until_ns > agenda_.now_ns()) return;
  const absl::Duration how_long = absl::Milliseconds(rng_.Between(10, 5000));
  journal_.Say("node ", place + 1, " stands still for ", absl::FormatDuration(how_long));
  places_[place].machine->stopped_until_ns = agenda_.now_ns() + absl::ToInt64Nanoseconds(how_long);
}

// For longer than others wait for it: to the end of the storm.
void World::LoseDisk() {
  const size_t place = AnyPlace();
  journal_.Say("node ", place + 1, ": its disk fails for good");
  history_.DiskFailed(
      agenda_.now_ns() - 1'000'000'000,
      agenda_.now_ns() + absl::ToInt64Nanoseconds(world_options_.stormy) + 1'000'000'000);
  places_[place].machine->disk.fails = true;
}

void World::TroubleDisk(size_t place) {
  Machine& machine = *places_[place].machine;
  DiskState& disk = machine.disk;
  const absl::Duration how_long = absl::Milliseconds(rng_.Between(100, 4000));
  const uint64_t dice = rng_.Below(10);
  if (dice < 6) {
    // It is found out with the next write, and mended with the next try.
    history_.DiskFailed(agenda_.now_ns() - 1'000'000'000,
                        agenda_.now_ns() + absl::ToInt64Nanoseconds(how_long) + 1'000'000'000);
  }
  if (dice < 3) {
    disk.fails = true;
  } else if (dice < 6) {
    FillDisk(place);
  } else {
    disk.sync_least = absl::Milliseconds(rng_.Between(5, 100));
    disk.sync_most = disk.sync_least * 3;
  }
  journal_.Say("node ", place + 1, ": its disk ",
               dice < 3   ? "fails"
               : dice < 6 ? "fills up"
                          : "is slow",
               " for ", absl::FormatDuration(how_long));
  agenda_.After(how_long, [this, place, &machine] {
    machine.MendDisk();
    agenda_.After(absl::Seconds(5), [this, place, mended = machine.mended] {
      if (places_[place].machine->mended == mended) CheckGoesOn(place);
    });
  });
}

// Who runs notices. Of the machines that are off most have their clocks right.
void World::SetWall(size_t number) {
  Place& place = places_[number];
  const bool runs = place.process != nullptr && place.machine->stopped_until_ns < agenda_.now_ns();
  if (!runs && std::exchange(jumped_, true)) return;
  const int64_t seconds = rng_.Between(-kDayS, kDayS);
  journal_.Say("node ", number + 1, ": its wall clock is set by ", seconds, " s");
  place.machine->clock.SetWall(absl::Seconds(seconds));
  if (runs) place.process->host().NoteClocks();
}

// First there is little room, and the broker stores nothing more; then there is none.
void World::FillDisk(size_t place) {
  Machine& machine = *places_[place].machine;
  machine.disk.low = true;
  agenda_.After(absl::Milliseconds(rng_.Between(0, 1500)), [&machine, mended = machine.mended] {
    if (machine.mended == mended) machine.Fill();
  });
}

// Whose disk works again goes on.
void World::CheckGoesOn(size_t number) {
  const Place& place = places_[number];
  const DiskState& disk = place.machine->disk;
  if (disk.fails || disk.low || place.process == nullptr || !place.process->serves()) return;
  if (agenda_.now_ns() < place.machine->stopped_until_ns + 5'000'000'000) return;
  if (!place.process->host().host().healthy())
    history_.Fail("a disk that works is used", absl::StrCat("not at node ", number + 1));
}

void World::Clear() {
  for (const Place& from : places_) {
    from.machine->MendDisk();
    for (const Place& to : places_) {
      if (&from != &to) network_.Block(from.machine->id, to.machine->id, false);
    }
  }
  network_.SetLatency(absl::Microseconds(50), absl::Milliseconds(1));
}

// ---- Checks -------------------------------------------------------------------------------------

void World::WatchOwners() {
  if (!watching_) return;
  CheckOwners(/*at_rest=*/false);
  agenda_.After(absl::Milliseconds(50), [this] { WatchOwners(); });
}

// Of a durable session there is one connection at any time; of a transient one when the cluster is
// whole. A process that stands still says nothing to anybody; when it goes on it finds out within
// a moment that its lease has ended.
void World::CheckOwners(bool at_rest) {
  std::map<std::string, std::string> owners;
  for (size_t number = 0; number < places_.size(); ++number) {
    const Place& place = places_[number];
    if (place.process == nullptr) continue;
    if (agenda_.now_ns() < place.machine->stopped_until_ns + 100'000'000) continue;
    for (const auto& shard : place.process->shards()) {
      for (const auto& [id, connection] : shard->core().connections) {
        if (connection->phase != broker::Phase::kConnected || connection->session == nullptr)
          continue;
        if (!at_rest && !connection->session->durable) continue;
        const std::string client(connection->session->client_id.view());
        const std::string here = absl::StrCat("node ", number + 1, ", connection ", id);
        const auto [it, added] = owners.emplace(client, here);
        if (!added) {
          history_.Fail("one owner of an identifier",
                        absl::StrCat(client, " is connected at ", it->second, " and at ", here));
        }
      }
    }
  }
}

// The same entries have made the same of all replicas.
void World::CheckReplicas() {
  for (storage::PartitionId id = 0; id < kPartitions; ++id) {
    std::map<uint64_t, uint64_t> digests;  // By applied index.
    for (const Place& place : places_) {
      if (place.process == nullptr) continue;
      const storage::Partition& partition = place.process->host().host().partition(id);
      const auto [it, added] = digests.emplace(partition.applied_index(), partition.digest());
      if (!added && it->second != partition.digest()) {
        history_.Fail("replicas agree",
                      absl::StrCat("partition ", id, " at entry ", partition.applied_index()));
      }
    }
  }
}

// What was to end long ago has.
void World::CheckEnded() {
  for (const auto& client : clients_) {
    if (!client->is_brief()) continue;
    for (storage::PartitionId id = 0; id < kPartitions; ++id) {
      for (const Place& place : places_) {
        if (place.process == nullptr) continue;
        if (place.process->host().host().partition(id).Find(client->id()) != nullptr)
          history_.Fail("a session ends", client->id() + " is still there");
      }
    }
  }
}

// Who subscribes now gets of each topic what was acknowledged last, or something later.
void World::CheckRetained() {
  Client late(agenda_, *this, history_, journal_, rng_.Fork(),
              {.id = "late", .durable = true, .steady = true, .publishes = false});
  late.CalmDown();
  late.Start();
  agenda_.RunFor(absl::Seconds(10));
  late.CheckAtRest();
  for (const auto& publisher : clients_) {
    const std::string topic = "r/" + publisher->id();
    const auto last = late.session().last_retained.find(topic);
    history_.CheckRetained(topic, last == late.session().last_retained.end() ? "" : last->second);
  }
}

}  // namespace simulator
