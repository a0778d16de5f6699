#include "cluster/partition_log.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "base/log.h"
#include "base/rng.h"
#include "base/status_macros.h"

namespace cluster {
namespace {

using storage::PartitionId;

static_assert(kGroupBegin.index == storage::kLogBegin.index);
static_assert(kGroupBegin.term == storage::kLogBegin.term);

// This node, in all groups of a node alone.
constexpr ReplicaId kSelf = 1;
// Entries in memory are for members that follow. Alone there are none.
constexpr uint64_t kRecentBytesMax = 64 << 10;

RaftLogOptions OptionsFor(const storage::StorageOptions& options) {
  RaftLogOptions result;
  result.durability = options.durability;
  result.durability_interval = options.durability_interval;
  result.partitions = options.partitions;
  result.loop.seed = base::Rng::FromEntropy()();
  result.loop.group.recent_bytes_max = kRecentBytesMax;
  // The host bounds what a group commit has, and how many are under way.
  result.loop.group.entry_bytes_max = std::numeric_limits<uint32_t>::max();
  return result;
}

// What of a loop's event concerns the host. The others are of groups with several members.
class Translation {
 public:
  explicit Translation(size_t events) { out_.reserve(events); }

  void operator()(Committed& committed) {
    for (CommittedEntry& entry : committed.entries) {
      out_.emplace_back(storage::Committed{.partition = committed.group,
                                           .index = entry.place.index,
                                           .term = entry.place.term,
                                           .proposal = entry.proposal,
                                           .entry = std::move(entry.entry)});
    }
  }
  void operator()(const NotCommitted& lost) {
    out_.emplace_back(storage::NotCommitted{.partition = lost.group, .proposal = lost.proposal});
  }
  void operator()(const RoleChange& change) {
    const bool leads = change.role == Role::kLeader;
    if (!leads && change.leader == 0) return;  // Nobody leads yet: that says nothing.
    out_.emplace_back(storage::RoleChange{.partition = change.group,
                                          .leads = leads,
                                          .term = change.term,
                                          .acts_behind = change.applied_before_leading});
  }
  void operator()(const GroupStopped& stopped) {
    base::Log(base::LogLevel::kError, "the log of a partition has stopped; restart mqttd",
              {{"partition", stopped.group}, {"error", stopped.status}});
    out_.emplace_back(storage::RoleChange{.partition = stopped.group, .leads = false});
  }
  void operator()(LogHealth& health) {
    out_.emplace_back(storage::LogHealth{std::move(health.status)});
  }
  template <typename Other>
  void operator()(const Other& /*event*/) {}

  std::vector<storage::LogEvent> Take() { return std::move(out_); }

 private:
  std::vector<storage::LogEvent> out_;
};

std::vector<storage::LogEvent> Translated(std::vector<LogEvent> events) {
  Translation translation(events.size());
  for (LogEvent& event : events) std::visit(translation, event);
  return translation.Take();
}

}  // namespace

absl::StatusOr<std::unique_ptr<storage::CommandLog>> PartitionLog::Open(
    const storage::CommandLogPlace& place) {
  ASSIGN_OR_RETURN(std::unique_ptr<LogStore> store,
                   LogStore::Open(place.path, place.options, place.env, place.create));
  auto end =
      std::make_unique<storage::LogEnd>(place.end_path, place.options.partitions,
                                        place.options.durability == storage::Durability::kSync);
  return std::unique_ptr<storage::CommandLog>(
      new PartitionLog(place, std::move(store), std::move(end)));
}

PartitionLog::PartitionLog(const storage::CommandLogPlace& place, std::unique_ptr<LogStore> store,
                           std::unique_ptr<storage::LogEnd> end)
    : options_(place.options),
      metrics_(place.metrics),
      end_(end.get()),
      raft_(
          OptionsFor(place.options), std::move(store), std::move(end), place.clock, place.metrics,
          [](std::vector<RaftLoop::Message>) {},
          [this](std::vector<LogEvent> events) {
            std::vector<storage::LogEvent> translated = Translated(std::move(events));
            if (!translated.empty()) post_(std::move(translated));
          }) {}

absl::Status PartitionLog::ReadAfter(PartitionId partition, uint64_t after, const Visit& visit) {
  uint64_t end = std::numeric_limits<uint64_t>::max();
  if (!started_) {
    ASSIGN_OR_RETURN(const RaftLog::Extent extent, raft_.ExtentOf(partition, kSelf));
    end = extent.committed;
  }
  // A group begins at kGroupBegin, a state with nothing.
  after = std::max(after, kGroupBegin.index);
  return raft_.ReadAfter(partition, after, [&](const EntryView& entry) -> absl::Status {
    if (entry.place.index > end) return absl::OkStatus();
    return visit({.partition = partition,
                  .index = entry.place.index,
                  .term = entry.place.term,
                  .data = entry.kind == EntryKind::kCommand ? entry.data : std::string_view()});
  });
}

absl::Status PartitionLog::Start(absl::Span<const storage::LogStart> partitions, Post post) {
  RETURN_IF_ERROR(CheckEnd(partitions));
  post_ = std::move(post);
  started_ = true;
  std::vector<GroupStart> groups;
  for (const storage::LogStart& start : partitions) {
    const bool begins = start.index < kGroupBegin.index;
    groups.push_back({.group = start.partition,
                      .replica = kSelf,
                      .applied = begins ? kGroupBegin : Place{start.index, start.term},
                      .conf_state = {.voters = {kSelf}}});
  }
  return raft_.Start(groups);
}

// What was written to the log and is neither there nor in the state is lost: a file of the log was
// cut short or deleted.
absl::Status PartitionLog::CheckEnd(absl::Span<const storage::LogStart> partitions) {
  uint64_t lost = 0;
  for (const storage::LogStart& start : partitions) {
    ASSIGN_OR_RETURN(const RaftLog::Extent extent, raft_.ExtentOf(start.partition, kSelf));
    const uint64_t last = std::max(extent.last, start.index);
    if (const uint64_t claimed = end_->claimed(start.partition); claimed > last) {
      RETURN_IF_ERROR(end_->Missing(start.partition, last, options_.log_recovery));
      lost += claimed - last;
    }
    end_->Note(start.partition, last);
  }
  metrics_.log_entries_lost.Set(static_cast<int64_t>(lost));
  end_->Claim();
  return absl::OkStatus();
}

std::vector<storage::LogEvent> PartitionLog::Submit(storage::Submission submission) {
  const bool sync = submission.sync && options_.durability == storage::Durability::kSync;
  std::vector<Proposal> proposals;
  proposals.reserve(submission.proposals.size());
  for (storage::ProposedEntry& proposal : submission.proposals) {
    proposals.push_back({.group = proposal.partition,
                         .number = proposal.number,
                         .entry = std::move(proposal.entry),
                         .sync = sync});
  }
  if (!sync) {
    if (auto events = raft_.SubmitHere(proposals)) return Translated(*std::move(events));
  }
  raft_.Submit(std::move(proposals));
  return {};
}

// Before the first entry that a state has there is nothing to cut.
void PartitionLog::Flushed(PartitionId partition, uint64_t index) {
  if (index < kGroupBegin.index) return;
  raft_.Run([partition, index](RaftLoop& loop) { loop.Flushed(partition, index); });
}

void PartitionLog::Checkpoint(std::string directory, std::function<void(absl::Status)> done) {
  raft_.Checkpoint(std::move(directory), std::move(done));
}

absl::Status PartitionLog::Stop() { return raft_.Stop(); }

}  // namespace cluster
