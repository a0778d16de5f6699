#include "tests/cluster/sim/log_driver.h"

#include <algorithm>
#include <limits>

namespace simulator {
namespace {

constexpr absl::Duration kTick = absl::Microseconds(62'500);
constexpr absl::Duration kRepair = absl::Milliseconds(500);

cluster::RaftLoopOptions LoopOptions(uint64_t seed) {
  cluster::RaftLoopOptions options;
  options.group.installs_snapshots = false;
  options.seed = seed;
  options.group.election_ticks = 8;
  options.group.heartbeat_ticks = 2;
  options.group.recent_bytes_max = 16 << 10;
  options.cut_bytes_min = 32 << 10;
  return options;
}

// What of a loop's event concerns the host: see cluster/partition_log.
class ToHost {
 public:
  explicit ToHost(std::vector<bool>& led) : led_(led) {}

  void operator()(cluster::Committed& committed) {
    for (cluster::CommittedEntry& entry : committed.entries) {
      out.emplace_back(storage::Committed{.partition = committed.group,
                                          .index = entry.place.index,
                                          .term = entry.place.term,
                                          .proposal = entry.proposal,
                                          .entry = std::move(entry.entry)});
    }
  }
  void operator()(const cluster::NotCommitted& lost) {
    out.emplace_back(storage::NotCommitted{.partition = lost.group, .proposal = lost.proposal});
  }
  void operator()(const cluster::RoleChange& change) {
    const bool leads = change.role == cluster::Role::kLeader;
    if (!leads && change.leader == 0 && !led_[change.group]) return;
    led_[change.group] = leads;
    out.emplace_back(storage::RoleChange{.partition = change.group,
                                         .leads = leads,
                                         .term = change.term,
                                         .acts_behind = change.applied_before_leading});
  }
  void operator()(const cluster::GroupStopped& stopped) {
    CHECK(false) << "a group has stopped: " << stopped.status.ToString();
  }
  void operator()(const cluster::LogHealth& health) {
    out.emplace_back(storage::LogHealth{health.status});
  }
  void operator()(const cluster::Readable& readable) {
    out.emplace_back(storage::Readable{
        .partition = readable.group, .ticket = readable.ticket, .index = readable.index});
  }
  void operator()(const cluster::NotReadable& refused) {
    out.emplace_back(storage::NotReadable{.partition = refused.group, .ticket = refused.ticket});
  }
  template <typename Other>
  void operator()(const Other& /*event*/) {}

  std::vector<storage::LogEvent> out;

 private:
  std::vector<bool>& led_;
};

bool IsOfMeta(const cluster::LogEvent& event) {
  return std::visit(
      [](const auto& one) {
        if constexpr (requires { one.group; }) return one.group == kMetaGroup;
        return false;
      },
      event);
}

}  // namespace

LogDriver::LogDriver(Machine& machine, Life& life, const Journal& journal, base::Rng rng,
                     Parts parts)
    : machine_(machine),
      life_(life),
      journal_(journal),
      rng_(std::move(rng)),
      parts_(std::move(parts)),
      loop_(LoopOptions(rng_()), machine.log) {}

void LogDriver::Submit(storage::Submission submission) {
  Run([submission = std::move(submission)](cluster::RaftLoop& loop) {
    for (const storage::ProposedEntry& proposal : submission.proposals) {
      loop.Submit({.group = proposal.partition,
                   .number = proposal.number,
                   .entry = proposal.entry,
                   .sync = submission.sync,
                   .term = proposal.term});
    }
  });
}

// ---- Turns --------------------------------------------------------------------------------------

void LogDriver::Plan() {
  if (std::exchange(planned_, true)) return;
  life_.After(absl::Microseconds(rng_.Between(1, 200)), [this] {
    planned_ = false;
    Turn();
  });
}

void LogDriver::Turn() {
  for (const auto& task : std::exchange(inbox_, {})) task(loop_);
  loop_.Run();
  HandOut();
  BeginWrite();
}

void LogDriver::StartTicking() {
  life_.After(kTick, [this] { Tick(); });
}

void LogDriver::Tick() {
  Run([](cluster::RaftLoop& loop) { loop.Tick(); });
  StartTicking();
}

void LogDriver::HandOut() {
  if (const auto messages = loop_.TakeMessages(); !messages.empty()) parts_.send(messages);
  std::vector<cluster::LogEvent> of_meta;
  ToHost to_host(led_);
  for (cluster::LogEvent& event : loop_.TakeEvents()) {
    if (const auto* const role = std::get_if<cluster::RoleChange>(&event);
        role != nullptr && role->role == cluster::Role::kLeader) {
      ++elections_;
      journal_.Say("node ", machine_.id.value(), " leads group ", role->group, " in term ",
                   role->term);
    }
    if (IsOfMeta(event)) {
      of_meta.push_back(std::move(event));
    } else {
      std::visit(to_host, event);
    }
  }
  if (!of_meta.empty()) parts_.to_meta(std::move(of_meta));
  if (!to_host.out.empty()) parts_.to_host(std::move(to_host.out));
}

// ---- The disk -----------------------------------------------------------------------------------

void LogDriver::BeginWrite() {
  if (writing_.has_value()) return;
  writing_ = loop_.BeginWrite();
  if (!writing_.has_value()) return;
  if (parts_.acknowledges_early) {
    CHECK(machine_.log.Write(*writing_->batch, cluster::EntryStore::Sync::kNo).ok()) << "memory";
    writing_.reset();
    loop_.OnWritten();
    return Plan();
  }
  const DiskState& disk = machine_.disk;
  const bool sync = writing_->sync == cluster::EntryStore::Sync::kYes;
  const int64_t took_us = sync ? rng_.Between(absl::ToInt64Microseconds(disk.sync_least),
                                              absl::ToInt64Microseconds(disk.sync_most))
                               : rng_.Between(5, 100);
  life_.After(absl::Microseconds(took_us), [this] { EndWrite(); });
}

// A write that fails may be on the disk, unless that is full, and is written again as it is.
void LogDriver::EndWrite() {
  const DiskState& disk = machine_.disk;
  const absl::Status status = disk.full    ? absl::ResourceExhaustedError("no space left on device")
                              : disk.fails ? absl::UnavailableError("the disk fails")
                                           : absl::OkStatus();
  if (status.ok() || (!disk.full && rng_.Chance(0.5))) {
    const auto sync = status.ok() ? writing_->sync : cluster::EntryStore::Sync::kNo;
    CHECK(machine_.log.Write(*writing_->batch, sync).ok()) << "memory";
  }
  if (std::exchange(health_, status.code()) != status.code()) {
    std::vector<storage::LogEvent> health;
    health.emplace_back(storage::LogHealth{status});
    parts_.to_host(std::move(health));
  }
  if (!status.ok()) return life_.After(kRepair, [this] { EndWrite(); });
  writing_.reset();
  loop_.OnWritten();
  Turn();
}

void LogDriver::Die() {
  if (!writing_.has_value() || machine_.disk.full || rng_.Chance(0.5)) return;
  (void)machine_.log.Write(*writing_->batch, writing_->sync);
}

// ---- What it has --------------------------------------------------------------------------------

uint64_t LogDriver::Committed(storage::PartitionId partition) {
  const absl::StatusOr<cluster::EntryStore::Group> stored = machine_.log.Load(partition);
  if (!stored.ok()) return 0;
  return std::max(stored->hard_state.commit, stored->begin.index);
}

absl::Status LogDriver::ReadUpTo(
    storage::PartitionId partition, uint64_t after, uint64_t end,
    const std::function<absl::Status(const storage::LogEntry&)>& visit) {
  const absl::StatusOr<cluster::EntryStore::Group> stored = machine_.log.Load(partition);
  if (!stored.ok()) return absl::OkStatus();
  after = std::max(after, cluster::kGroupBegin.index);
  CHECK(stored->begin.index <= after) << "the log was cut although the state does not have it";
  end = std::min(end, stored->last);
  if (after >= end) return absl::OkStatus();
  absl::Status visited;
  const absl::Status read =
      machine_.log.Read(partition, after + 1, end + 1, std::numeric_limits<uint64_t>::max(),
                        [&](const cluster::EntryView& entry) {
                          if (!visited.ok()) return;
                          const bool command = entry.kind == cluster::EntryKind::kCommand;
                          visited = visit({.partition = partition,
                                           .index = entry.place.index,
                                           .term = entry.place.term,
                                           .data = command ? entry.data : std::string_view()});
                        });
  return read.ok() ? visited : read;
}

}  // namespace simulator
