// A shard's thread of a simulated node: what broker::Shard is over a poller and sockets.
#ifndef TESTS_CLUSTER_SIM_SHARD_DRIVER_H_
#define TESTS_CLUSTER_SIM_SHARD_DRIVER_H_

#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "broker/shard/shard_core.h"
#include "tests/broker/shard/sim_line.h"
#include "tests/cluster/sim/machine.h"

namespace simulator {

class ShardDriver final : public broker::ShardPort {
 public:
  using Siblings = std::vector<std::unique_ptr<ShardDriver>>;

  ShardDriver(const Siblings& siblings, storage::ShardId id, uint32_t shards,
              broker::ShardWorld& world, Life& life, base::Rng rng)
      : siblings_(siblings), life_(life), rng_(std::move(rng)) {
    world.metrics.push_back(&metrics_);
    core_ = std::make_unique<broker::ShardCore>(id, shards, world, metrics_, *this, rng_.Fork());
  }

  broker::ShardCore& core() { return *core_; }
  const broker::ShardCore& core() const { return *core_; }

  void Accept(std::shared_ptr<sim::Line> line) {
    arriving_.push_back(std::make_unique<sim::LineStream>(std::move(line)));
    PlanTurn();
  }
  void Mail(broker::ShardTask task) {
    mailbox_.push_back(std::move(task));
    PlanTurn();
  }
  void PlanTurn() {
    if (std::exchange(planned_, true)) return;
    life_.After(absl::Microseconds(rng_.Between(1, 400)), [this] {
      planned_ = false;
      Turn();
    });
  }

  // ---- broker::ShardPort
  void Post(storage::ShardId to, std::unique_ptr<base::Batch<broker::ShardTask>> batch) override {
    for (broker::ShardTask& task : batch->items) siblings_[to]->Mail(std::move(task));
  }
  void Hurry(storage::ShardId to) override { siblings_[to]->core_->NoteRoutesCame(); }
  void TakeMail() override {
    size_t taken = 0;
    for (; !mailbox_.empty(); ++taken) {
      broker::ShardTask task = std::move(mailbox_.front());
      mailbox_.pop_front();
      core_->OnTask(std::move(task));
    }
    core_->OnMailTaken(taken);
  }
  absl::Status Watch(broker::Connection& connection) override {
    LineOf(connection).tell = [this, &connection](broker::ShardCore::Readiness readiness) {
      ready_.emplace_back(&connection, readiness);
      PlanTurn();
    };
    ready_.emplace_back(&connection,
                        broker::ShardCore::Readiness{.readable = true, .writable = true});
    PlanTurn();
    return absl::OkStatus();
  }
  void Unwatch(broker::Connection& connection) override {
    LineOf(connection).tell = nullptr;
    for (auto& entry : ready_) {
      if (entry.first == &connection) entry.first = nullptr;
    }
  }
  void Adopt(std::unique_ptr<broker::Stream>, size_t) override {
    CHECK(false) << "each shard accepts its own";
  }
  void HoldAcceptors(bool) override {}

 private:
  static sim::Line& LineOf(broker::Connection& connection) {
    return static_cast<sim::LineStream&>(*connection.stream).line();
  }
  void Turn() {
    core_->BeginTurn();
    for (auto& stream : std::exchange(arriving_, {})) core_->Accept(std::move(stream), 0);
    // `Unwatch` takes those away that end meanwhile.
    for (size_t i = 0; i < ready_.size(); ++i) {
      if (ready_[i].first != nullptr) core_->OnReady(*ready_[i].first, ready_[i].second);
    }
    ready_.clear();
    if (life_.clock().MonotonicNs() >= core_->due_ns()) core_->OnTimer();
    core_->ReadAgain();
    TakeMail();
    const bool more = core_->FinishRound();
    if (more || core_->HasWork() || !mailbox_.empty()) PlanTurn();
    if (core_->due_ns() == timer_ns_ || core_->due_ns() == broker::ShardCore::kNever) return;
    timer_ns_ = core_->due_ns();
    life_.After(life_.clock().Until(timer_ns_), [this] {
      timer_ns_ = 0;
      PlanTurn();
    });
  }

  const Siblings& siblings_;
  Life& life_;
  base::Rng rng_;
  broker::ShardMetrics metrics_;
  std::unique_ptr<broker::ShardCore> core_;
  std::deque<broker::ShardTask> mailbox_;
  std::vector<std::unique_ptr<sim::LineStream>> arriving_;
  std::vector<std::pair<broker::Connection*, broker::ShardCore::Readiness>> ready_;
  bool planned_ = false;
  int64_t timer_ns_ = 0;  // As it is planned.
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_SHARD_DRIVER_H_
