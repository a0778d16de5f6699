// A whole broker in one thread: several ShardCores over the real Host, on virtual time, without
// sockets, threads or a disk.
#ifndef TESTS_BROKER_SHARD_SIM_BROKER_H_
#define TESTS_BROKER_SHARD_SIM_BROKER_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "auth/core/method.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/timeline.h"
#include "broker/core/ports.h"
#include "broker/shard/shard_core.h"
#include "tests/broker/shard/agenda.h"
#include "tests/broker/shard/open_gate.h"
#include "tests/broker/shard/sim_line.h"
#include "tests/storage/host_sim.h"

namespace sim {

class Broker;

// What Shard is to the real thing: takes turns when there is a reason for one. When exactly, chance
// says, so threads get in each other's way as they do in life.
class Shard final : public broker::ShardPort {
 public:
  Shard(Broker& broker, storage::ShardId id, uint32_t shards, broker::ShardWorld& world,
        base::Rng rng);

  broker::ShardCore& core() { return *core_; }
  const broker::ShardMetrics& metrics() const { return metrics_; }

  void Accept(std::shared_ptr<Line> line) {
    arriving_.push_back(std::move(line));
    PlanTurn();
  }
  void Mail(broker::ShardTask task) {
    mailbox_.push_back(std::move(task));
    PlanTurn();
  }

  // ShardPort
  void Post(storage::ShardId to, std::unique_ptr<base::Batch<broker::ShardTask>> batch) override;
  void Hurry(storage::ShardId to) override;
  void TakeMail() override;
  absl::Status Watch(broker::Connection& connection) override;
  void Unwatch(broker::Connection& connection) override;
  void Adopt(std::unique_ptr<broker::Stream>, size_t) override {
    CHECK(false) << "each shard accepts its own";
  }
  void HoldAcceptors(bool) override {}

 private:
  friend class Broker;
  void PlanTurn();
  void Turn();

  Broker& broker_;
  base::Rng rng_;
  broker::ShardMetrics metrics_;
  std::unique_ptr<broker::ShardCore> core_;
  std::deque<broker::ShardTask> mailbox_;
  std::vector<std::shared_ptr<Line>> arriving_;
  std::vector<std::pair<broker::Connection*, broker::ShardCore::Readiness>> ready_;
  bool turn_planned_ = false;
  int64_t timer_ns_ = 0;  // As it is planned.
};

class Broker final : public broker::PartitionClient {
 public:
  // Where there are other nodes.
  broker::LeaseEnd lease;

  Broker(uint64_t seed, uint32_t shards, broker::ShardOptions options = {},
         broker::Limits limits = {}, storage::StorageOptions storage = Small(),
         broker::Forwarder* other_nodes = nullptr)
      : rng_(seed),
        options_(std::move(options)),
        host_(std::move(storage), static_cast<storage::ShardId>(shards), kIncarnation),
        agenda_(host_.clock()) {
    // Clients misbehave here on purpose.
    CHECK(base::ConfigureLog({.level = base::LogLevel::kError}).ok());
    host_.confirm_routes = false;  // The shards do it themselves.
    host_.take_replays = false;
    host_.plays_shards = false;
    host_.on_event = [this](storage::ShardId shard, storage::Event& event) {
      const auto* const opened = std::get_if<storage::SessionOpened>(&event);
      if (opened != nullptr && (leaderless_ >> opened->partition & 1) != 0) return;
      shards_[shard]->Mail(std::move(event));
    };
    timeline_.Set(host_.now_unix_ms(), agenda_.now_ns());
    options_.sys_interval_s = 0;
    options_.memory_high_bytes = options_.input_bytes_max = options_.subscriptions_bytes_max =
        uint64_t{1} << 40;
    options_.connections_max = UINT32_MAX;
    world_.options = &options_;
    world_.clock = &host_.clock();
    world_.timeline = &timeline_;
    world_.incarnation = kIncarnation;
    world_.partitions = this;
    world_.forwarder = other_nodes;
    if (other_nodes != nullptr) world_.lease = &lease;
    lease.since_boot_ns = std::numeric_limits<int64_t>::max();
    world_.partition_count = host_.core().partitions();
    world_.methods = &methods_;
    world_.user_places = &users_;
    world_.permissions_of = [this](const storage::SessionUser& user) {
      return gate_->PermissionsFor({.user_name = user.user_name, .client_id = user.client_id});
    };
    world_.room_for_subscriptions = [] { return uint64_t{1} << 40; };
    world_.listeners.push_back(std::make_shared<const broker::ListenerTerms>(
        broker::ListenerTerms{.name = "sim", .limits = limits, .gatekeeper = gate_}));
    for (uint32_t id = 0; id < shards; ++id) {
      shards_.push_back(std::make_unique<Shard>(*this, static_cast<storage::ShardId>(id), shards,
                                                world_, rng_.Fork()));
    }
    for (const auto& shard : shards_) shard->PlanTurn();
  }

  static storage::StorageOptions Small() {
    storage::StorageOptions options;
    options.partitions = 4;
    options.takeover_pause_max = absl::ZeroDuration();
    return options;
  }

  Agenda& agenda() { return agenda_; }
  base::Rng Fork() { return rng_.Fork(); }
  void RunFor(absl::Duration time) { agenda_.RunFor(time); }
  Shard& shard(size_t number) { return *shards_[number]; }
  storage::HostSim& host() { return host_; }

  OpenGate& gate() { return *gate_; }

  // Until the broker is to be calm.
  void ChangeLeaders() {
    if (calm_) return;
    host_.ReplaceLeader(static_cast<storage::PartitionId>(rng_.Below(host_.core().partitions())));
    ++leaders_changed_;
    PlanHost(absl::Microseconds(rng_.Between(1, 500)));
    agenda_.After(absl::Milliseconds(rng_.Between(1, 400)), [this] { ChangeLeaders(); });
  }
  void CalmDown() { calm_ = true; }
  uint64_t leaders_changed() const { return leaders_changed_; }

  // Nobody knows a leader of the partition: what is asked of it goes nowhere, until there is one,
  // and whom the former one still lets in hears nothing of it.
  void LoseLeader(storage::PartitionId id) { leaderless_ |= storage::PartitionMask{1} << id; }
  void BringLeader(storage::PartitionId id) {
    leaderless_ &= ~(storage::PartitionMask{1} << id);
    host_.ReplaceLeader(id);
    PlanHost(absl::Microseconds(rng_.Between(1, 500)));
  }

  // What is asked is heard, and nothing is done.
  void HangDisk() { disk_hangs_ = true; }
  void MendDisk() {
    disk_hangs_ = false;
    if (std::exchange(write_waits_, false)) EndWrite();
  }

  // From now on this client may do nothing, as after a reload.
  void TakeRightsFrom(const std::string& client_id) {
    gate_->rights[client_id] =
        std::make_shared<const auth::Permissions>(nullptr, nullptr, client_id, "");
    for (const auto& shard : shards_) {
      shard->Mail(broker::Control{[&core = shard->core()] { core.RefreshPermissions(); }});
    }
    RunFor(absl::Milliseconds(100));
  }

  // A connection to one of the shards.
  std::shared_ptr<Line> Connect() { return ConnectTo(rng_.Below(shards_.size())); }
  std::shared_ptr<Line> ConnectTo(size_t number) {
    auto line = std::make_shared<Line>(agenda_, rng_.Fork());
    shards_[number]->Accept(line);
    return line;
  }

  // PartitionClient
  void Submit(storage::ShardId shard, std::vector<storage::Addressed> requests) override {
    for (storage::Addressed& request : requests) {
      if (request.sequence != 0 && (leaderless_ >> request.partition & 1) != 0) continue;
      inbox_.emplace_back(shard, std::move(request));
    }
    PlanHost(absl::Microseconds(rng_.Between(1, 500)));
  }

 private:
  friend class Shard;
  static constexpr storage::Incarnation kIncarnation{7};

  void PlanHost(absl::Duration delay) {
    if (std::exchange(host_planned_, true)) return;
    agenda_.After(delay, [this] {
      host_planned_ = false;
      HostTurn();
    });
  }
  void HostTurn() {
    for (auto& [shard, request] : std::exchange(inbox_, {})) host_.Take(shard, std::move(request));
    host_.Run();
    host_.BeginWrite();
    if (!std::exchange(writing_, true)) {
      agenda_.After(absl::Microseconds(rng_.Between(50, 4000)), [this] { EndWrite(); });
    }
    if (const auto wake = host_.core().NextWake(); wake.has_value()) {
      const int64_t wake_ns = std::max(absl::ToInt64Nanoseconds(*wake), agenda_.now_ns() + 50'000);
      if (wake_ns >= host_wake_ns_ && host_wake_ns_ > agenda_.now_ns()) return;
      host_wake_ns_ = wake_ns;
      agenda_.At(wake_ns, [this] { PlanHost(absl::ZeroDuration()); });
    }
  }

  void EndWrite() {
    write_waits_ = disk_hangs_;
    if (write_waits_) return;
    writing_ = false;
    host_.EndWrite();
    host_.Run();
    if (!host_.core().Drained()) PlanHost(absl::Microseconds(rng_.Between(1, 500)));
  }

  base::Rng rng_;
  broker::ShardOptions options_;
  storage::HostSim host_;
  Agenda agenda_;
  base::Timeline timeline_;
  auth::AuthMethodRegistry methods_;
  NoUserLimits users_;
  const std::shared_ptr<OpenGate> gate_ = std::make_shared<OpenGate>();
  broker::ShardWorld world_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::pair<storage::ShardId, storage::Addressed>> inbox_;
  storage::PartitionMask leaderless_ = 0;
  bool calm_ = false;
  uint64_t leaders_changed_ = 0;
  bool host_planned_ = false;
  bool writing_ = false;
  bool disk_hangs_ = false;
  bool write_waits_ = false;
  int64_t host_wake_ns_ = 0;
};

inline Shard::Shard(Broker& broker, storage::ShardId id, uint32_t shards, broker::ShardWorld& world,
                    base::Rng rng)
    : broker_(broker), rng_(std::move(rng)) {
  world.metrics.push_back(&metrics_);
  core_ = std::make_unique<broker::ShardCore>(id, shards, world, metrics_, *this, rng_.Fork());
}

inline void Shard::PlanTurn() {
  if (std::exchange(turn_planned_, true)) return;
  broker_.agenda_.After(absl::Microseconds(rng_.Between(1, 400)), [this] {
    turn_planned_ = false;
    Turn();
  });
}

inline void Shard::Turn() {
  core_->BeginTurn();
  for (auto& line : std::exchange(arriving_, {}))
    core_->Accept(std::make_unique<LineStream>(std::move(line)), 0);
  // `Unwatch` takes those away that end meanwhile.
  for (size_t i = 0; i < ready_.size(); ++i) {
    if (ready_[i].first != nullptr) core_->OnReady(*ready_[i].first, ready_[i].second);
  }
  ready_.clear();
  if (broker_.agenda_.now_ns() >= core_->due_ns()) core_->OnTimer();
  core_->ReadAgain();
  TakeMail();
  const bool more = core_->FinishRound();
  if (more || core_->HasWork() || !mailbox_.empty()) PlanTurn();
  if (core_->due_ns() == timer_ns_) return;
  timer_ns_ = core_->due_ns();
  broker_.agenda_.At(timer_ns_, [this] { PlanTurn(); });
}

inline void Shard::Post(storage::ShardId to,
                        std::unique_ptr<base::Batch<broker::ShardTask>> batch) {
  for (broker::ShardTask& task : batch->items) broker_.shards_[to]->Mail(std::move(task));
}

inline void Shard::Hurry(storage::ShardId to) { broker_.shards_[to]->core_->NoteRoutesCame(); }

inline void Shard::TakeMail() {
  size_t taken = 0;
  for (; !mailbox_.empty(); ++taken) {
    broker::ShardTask task = std::move(mailbox_.front());
    mailbox_.pop_front();
    core_->OnTask(std::move(task));
  }
  core_->OnMailTaken(taken);
}

inline absl::Status Shard::Watch(broker::Connection& connection) {
  static_cast<LineStream&>(*connection.stream).line().tell =
      [this, &connection](broker::ShardCore::Readiness readiness) {
        ready_.emplace_back(&connection, readiness);
        PlanTurn();
      };
  ready_.emplace_back(&connection,
                      broker::ShardCore::Readiness{.readable = true, .writable = true});
  PlanTurn();
  return absl::OkStatus();
}

inline void Shard::Unwatch(broker::Connection& connection) {
  static_cast<LineStream&>(*connection.stream).line().tell = nullptr;
  for (auto& entry : ready_) {
    if (entry.first == &connection) entry.first = nullptr;
  }
}

}  // namespace sim

#endif  // TESTS_BROKER_SHARD_SIM_BROKER_H_
