#include "tests/cluster/sim/host_driver.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/leader/read_barriers.h"
#include "storage/leader/routes.h"

namespace simulator {
namespace {

constexpr absl::Duration kDiskCheck = absl::Seconds(1);
constexpr absl::Duration kAsideLook = absl::Seconds(1);

}  // namespace

HostDriver::HostDriver(const storage::StorageOptions& options, Machine& machine, Life& life,
                       LogDriver& log, base::Rng rng, Post post)
    : machine_(machine),
      life_(life),
      log_(log),
      rng_(std::move(rng)),
      post_(std::move(post)),
      host_(options, kShards, machine.state, metrics_, rng_) {
  CHECK(host_.Load().ok()) << "load";
  for (storage::PartitionId id = 0; id < kPartitions; ++id) {
    const absl::Status replayed =
        log_.ReplayAfter(id, host_.applied(id),
                         [this](const storage::LogEntry& entry) { return host_.Replay(entry); });
    CHECK(replayed.ok()) << replayed.ToString();
  }
  timeline_.Set(storage::TimeAtStart(machine_.time, ReadClocks(), host_.last_time_unix_ms()),
                machine_.clock.MonotonicNs());
  NoteClocks();
  host_.SetLogReader([this](storage::PartitionId id, uint64_t after, const auto& visit) {
    return log_.ReadAfter(id, after, visit);
  });
}

storage::ClockReading HostDriver::ReadClocks() const {
  return {.boot_id = machine_.clock.BootId(),
          .boot_ms = absl::ToInt64Milliseconds(machine_.clock.SinceBoot()),
          .wall_ms = absl::ToUnixMillis(machine_.clock.Now())};
}

void HostDriver::NoteClocks() {
  machine_.time = {.clocks = ReadClocks(), .unix_ms = Now().unix_ms};
}

storage::HostTime HostDriver::Now() const {
  return {.unix_ms = timeline_.UnixMs(machine_.clock.MonotonicNs()),
          .monotonic = machine_.clock.Monotonic()};
}

// ---- What comes ---------------------------------------------------------------------------------

void HostDriver::Submit(const storage::ShardAddress& from,
                        std::vector<storage::Addressed> requests) {
  // Requests are not copied, and a function is.
  auto batch = std::make_shared<std::vector<storage::Addressed>>(std::move(requests));
  inbox_.emplace_back([this, from, batch] {
    const auto take = [this, from, batch] {
      for (storage::Addressed& request : *batch) host_.OnRequest(from, std::move(request));
    };
    if (!host_.begun()) return held_.emplace_back(take), void();
    take();
  });
  PlanSoon();
}

void HostDriver::OnLog(std::vector<storage::LogEvent> events) {
  auto batch = std::make_shared<std::vector<storage::LogEvent>>(std::move(events));
  inbox_.emplace_back([this, batch] {
    for (storage::LogEvent& event : *batch) host_.OnLog(std::move(event));
  });
  PlanSoon();
}

void HostDriver::Tell(std::function<void(storage::Host&)> news) {
  inbox_.emplace_back([this, news = std::move(news)] { news(host_); });
  PlanSoon();
}

void HostDriver::OnHostMessage(cluster::NodeLife from, const storage::HostMessage& message) {
  if (const auto* const question = std::get_if<storage::KnowRoutes>(&message)) {
    switch (aside_.Hear(from.node, *question, {.now = machine_.clock.Monotonic()})) {
      case storage::Aside::Then::kPassOn:
        break;
      case storage::Aside::Then::kStepAside:
        close_(true, [this] { aside_.Closed(); });
        break;
      case storage::Aside::Then::kAnswer:
        return host_.node().send(from.node, storage::RoutesKnown{.partition = question->partition,
                                                                 .ticket = question->ticket});
    }
  }
  Tell([from, message](storage::Host& host) {
    host.OnHostMessage(from.node, from.incarnation, message);
  });
}

void HostDriver::BeginTurn() {
  host_.SetTime(Now());
  storage::Node& node = host_.node();
  aside_.BeginTurn(Now().monotonic);
  node.aside = aside_.is_aside();
  if (!node.aside) return;
  const uint64_t attempt =
      aside_.MayReturn(Now().monotonic, [&](const std::vector<uint64_t>& through) {
        return node.routes->elsewhere().AreTold(through);
      });
  if (attempt == 0) return;
  storage::Confirmed waiter;
  waiter.call = [this, attempt] {
    if (aside_.Return(attempt)) close_(false, [] {});
  };
  node.routes->Wait(std::move(waiter));
}

void HostDriver::Start(storage::NodeId node, storage::Incarnation incarnation,
                       storage::PartitionMask held, const std::vector<storage::LiveNode>& others,
                       std::function<void(storage::NodeId, storage::HostMessage)> send,
                       std::function<void(bool closed, std::function<void()> done)> close,
                       std::function<void()> ready) {
  close_ = std::move(close);
  host_.SetSelf(node, incarnation, held);
  host_.SetNodes(others);
  host_.node().send = std::move(send);
  host_.node().tell_committed = [this](storage::PartitionId id) {
    log_.Run([id](cluster::RaftLoop& loop) { loop.TellCommitted(id); });
  };
  host_.node().set_fit = [this](storage::PartitionId id, bool fit) {
    log_.Run([id, fit](cluster::RaftLoop& loop) { loop.SetFit(id, fit); });
  };
  host_.node().barriers->SetAsk([this](storage::PartitionId id, uint64_t ticket) {
    log_.Run([id, ticket](cluster::RaftLoop& loop) { loop.ReadBarrier(id, ticket); });
  });
  NoteClocks();  // Of the cluster's time.
  host_.SetTime(Now());
  host_.Begin(std::move(ready));
  started_ = true;
  PlanSoon();
}

// ---- Turns --------------------------------------------------------------------------------------

void HostDriver::Plan(absl::Duration delay) {
  if (!started_ || std::exchange(planned_, true)) return;
  life_.After(delay, [this] {
    planned_ = false;
    Turn();
  });
}

void HostDriver::Turn() {
  BeginTurn();
  CheckDisk();
  for (const auto& input : std::exchange(inbox_, {})) input();
  if (host_.begun()) {
    for (const auto& input : std::exchange(held_, {})) input();
  }
  DriveLog();
  host_.Run();
  DriveLog();
  FlushNowAndThen();
  const storage::ShardTable& shards = host_.shards();
  for (storage::ShardSlot slot = 0; slot < shards.slots(); ++slot) {
    std::vector<storage::Event> events = host_.TakeEvents(slot);
    if (!events.empty()) post_(shards.AddressOf(slot), std::move(events));
  }
  aside_.EndTurn(host_.node().Standing(), {.now = Now().monotonic});
  PlanWake();
}

void HostDriver::CheckDisk() {
  if (Now().monotonic < next_disk_check_) return;
  next_disk_check_ = Now().monotonic + kDiskCheck;
  host_.SetDiskFree(machine_.disk.low ? 0 : kDiskBytes);
}

void HostDriver::DriveLog() {
  if (auto submission = host_.TakeSubmission(); submission.has_value())
    log_.Submit(*std::move(submission));
}

// The state is written out now and then, and the log is cut behind it.
void HostDriver::FlushNowAndThen() {
  if (!flushing_ && rng_.Chance(0.002)) {
    flushing_ = true;
    host_.WantFlush();
    return PlanSoon();
  }
  if (!flushing_ || !host_.FlushIsDone() || machine_.disk.full) return;
  flushing_ = false;
  machine_.state.Flush();
  for (storage::PartitionId id = 0; id < kPartitions; ++id) {
    std::string value;
    const absl::StatusOr<bool> found = machine_.state.Get(storage::MetaKey(id), value);
    mqttd::storage::v1::Meta meta;
    if (!found.ok() || !*found || !meta.ParseFromString(value)) continue;
    if (meta.applied_index() < cluster::kGroupBegin.index) continue;
    log_.Run(
        [id, index = meta.applied_index()](cluster::RaftLoop& loop) { loop.Flushed(id, index); });
  }
}

void HostDriver::PlanWake() {
  std::optional<absl::Duration> wake = host_.NextWake();
  if (machine_.disk.low) wake = std::min(wake.value_or(next_disk_check_), next_disk_check_);
  const absl::Duration look = Now().monotonic + kAsideLook;
  if (aside_.is_aside()) wake = std::min(wake.value_or(look), look);
  if (!wake.has_value() || *wake == absl::InfiniteDuration()) return;
  const int64_t now_ns = machine_.clock.MonotonicNs();
  const int64_t wake_ns = std::max(absl::ToInt64Nanoseconds(*wake), now_ns + 50'000);
  if (wake_ns >= wake_ns_ && wake_ns_ > now_ns) return;
  wake_ns_ = wake_ns;
  life_.After(machine_.clock.Until(wake_ns), [this, wake_ns] {
    if (wake_ns_ == wake_ns) wake_ns_ = 0;
    Plan(absl::ZeroDuration());
  });
}

}  // namespace simulator
