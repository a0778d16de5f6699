#include "cluster/partition_log.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "cluster/kept_bytes.h"

namespace cluster {
namespace {

using storage::PartitionId;

static_assert(kGroupBegin.index == storage::kLogBegin.index);
static_assert(kGroupBegin.term == storage::kLogBegin.term);

// This node, in all groups of a node alone.
constexpr ReplicaId kSelf = 1;
// Entries in memory are for members that follow. Alone there are none.
constexpr uint64_t kRecentBytesMaxAlone = 64 << 10;
constexpr uint64_t kRecentBytesMax = 1 << 20;
// A leader that is gone is missed after 0.5 to 1 s. The members of a group stand for election as
// far apart as these ticks allow; heartbeats, which cost most of what an idle node does, are rarer.
constexpr absl::Duration kTick = absl::Microseconds(62'500);
constexpr uint32_t kElectionTicks = 8;
constexpr uint32_t kHeartbeatTicks = 2;
// A second.
constexpr uint32_t kUnfitTicks = 16;
// Of a partition's log for members that are away, however small the disk: a restart must not outrun
// anybody.
constexpr uint64_t kKeptBytesMin = 8 << 20;

// What is on its way to a member that lags is at most this, of all groups together: half of what a
// link takes (a member may be led by others, too).
constexpr uint64_t kInFlightBytesMax = 16 << 20;
constexpr uint32_t kInFlightMessagesMax = 16;

uint64_t BytesIn(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const uint64_t size = it->is_regular_file(error) ? it->file_size(error) : 0;
    if (!error) bytes += size;
  }
  return bytes;
}

// Of one partition. The disk is asked once, at the start.
uint64_t KeptBytesOfEach(const storage::StorageOptions& options, const std::string& path) {
  uint64_t all = options.log_kept_bytes;
  if (all == 0) {
    std::error_code error;
    const std::filesystem::space_info disk = std::filesystem::space(path, error);
    if (!error)
      all = KeptBytes({.capacity = disk.capacity, .free = disk.available, .log = BytesIn(path)});
  }
  return std::max(kKeptBytesMin, all / options.partitions);
}

RaftLogOptions OptionsFor(const storage::CommandLogPlace& place, bool alone) {
  const storage::StorageOptions& options = place.options;
  RaftLogOptions result;
  result.durability = options.durability;
  result.durability_interval = options.durability_interval;
  result.partitions = options.partitions;
  result.loop.seed = base::Rng::FromEntropy()();
  result.loop.group.recent_bytes_max = alone ? kRecentBytesMaxAlone : kRecentBytesMax;
  result.loop.lagging_bytes_max = KeptBytesOfEach(options, place.path);
  result.loop.group.messages_in_flight_max = static_cast<uint32_t>(std::clamp<uint64_t>(
      kInFlightBytesMax / result.loop.group.message_bytes_max / options.partitions, 2,
      kInFlightMessagesMax));
  result.tick = kTick;
  result.loop.group.election_ticks = kElectionTicks;
  result.loop.group.heartbeat_ticks = kHeartbeatTicks;
  result.loop.unfit_ticks = kUnfitTicks;
  result.loop.group.installs_snapshots = false;  // Nor does anybody send one, but a later release.
  result.gives_way = alone;
  // The host bounds what a group commit has, and how many are under way.
  result.loop.group.entry_bytes_max = std::numeric_limits<uint32_t>::max();
  return result;
}

// A group begins at kGroupBegin, a state with nothing.
Place PlaceOf(const storage::LogStart& start) {
  return start.index < kGroupBegin.index ? kGroupBegin : Place{start.index, start.term};
}

// What of a loop's event concerns the host.
class Translation {
 public:
  // `led`: by partition, what the host was told.
  Translation(size_t events, std::vector<bool>& led, storage::HostMetrics& metrics)
      : led_(led), metrics_(metrics) {
    out_.reserve(events);
  }

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
    // Nobody leads yet: that says nothing, but where this node did.
    if (!leads && change.leader == 0 && !led_[change.group]) return;
    led_[change.group] = leads;
    out_.emplace_back(storage::RoleChange{.partition = change.group,
                                          .leads = leads,
                                          .term = change.term,
                                          .acts_behind = change.applied_before_leading});
  }
  void operator()(const GroupStopped& stopped) {
    base::Log(base::LogLevel::kError, "the log of a partition has stopped; restart mqttd",
              {{"partition", stopped.group}, {"error", stopped.status}});
    led_[stopped.group] = false;
    out_.emplace_back(storage::RoleChange{.partition = stopped.group, .leads = false});
  }
  void operator()(LogHealth& health) {
    out_.emplace_back(storage::LogHealth{std::move(health.status)});
  }
  void operator()(const Readable& readable) {
    out_.emplace_back(storage::Readable{
        .partition = readable.group, .ticket = readable.ticket, .index = readable.index});
  }
  void operator()(const NotReadable& refused) {
    out_.emplace_back(storage::NotReadable{.partition = refused.group, .ticket = refused.ticket});
  }
  // This release cannot send a whole state.
  void operator()(const SnapshotWanted& wanted) {
    metrics_.log_outrun.Add();
    base::Log(base::LogLevel::kError,
              "a node was away for too long: it lacks what the log of a partition no longer has, "
              "and cannot catch up (storage.log_kept_bytes)",
              {{"partition", wanted.group},
               {"replica", wanted.to},
               {"has_through", wanted.has},
               {"log_begins_behind", wanted.begins}});
  }
  template <typename Other>
  void operator()(const Other& /*event*/) {}

  std::vector<storage::LogEvent> Take() { return std::move(out_); }

 private:
  std::vector<bool>& led_;
  storage::HostMetrics& metrics_;
  std::vector<storage::LogEvent> out_;
};

// Of which group it is; nothing: of all.
std::optional<GroupId> GroupOf(const LogEvent& event) {
  return std::visit(
      [](const auto& one) -> std::optional<GroupId> {
        if constexpr (requires { one.group; }) return one.group;
        return std::nullopt;
      },
      event);
}

}  // namespace

absl::Status IsCopyOfMember(const std::string& directory) {
  return absl::FailedPreconditionError(absl::StrCat(
      directory,
      " has the log of a node of a cluster, and no file \"cluster\" that says of which: it is a "
      "backup of that node, or a part of a copy. A member that has forgotten what it acknowledged "
      "to the others must not come back. Start with an empty data_dir: the other nodes have what "
      "was stored here (docs/operations.md, Backups)"));
}

absl::StatusOr<std::unique_ptr<storage::CommandLog>> PartitionLog::Open(
    const storage::CommandLogPlace& place) {
  return OpenWith(place, std::nullopt);
}

absl::StatusOr<std::unique_ptr<PartitionLog>> PartitionLog::OpenInCluster(
    const storage::CommandLogPlace& place, LogPeers peers) {
  return OpenWith(place, std::move(peers));
}

absl::StatusOr<std::unique_ptr<PartitionLog>> PartitionLog::OpenWith(
    const storage::CommandLogPlace& place, std::optional<LogPeers> peers) {
  storage::StorageOptions options = place.options;
  // What a member loses of its log it has acknowledged to others, who count on it.
  if (peers.has_value()) options.log_recovery = storage::LogRecovery::kStrict;
  ASSIGN_OR_RETURN(std::unique_ptr<LogStore> store,
                   LogStore::Open(place.path, options, place.env, place.create));
  auto end =
      std::make_unique<storage::LogEnd>(place.end_path, place.options.partitions,
                                        place.options.durability == storage::Durability::kSync);
  return std::unique_ptr<PartitionLog>(
      new PartitionLog(place, std::move(store), std::move(end), std::move(peers)));
}

PartitionLog::PartitionLog(const storage::CommandLogPlace& place, std::unique_ptr<LogStore> store,
                           std::unique_ptr<storage::LogEnd> end, std::optional<LogPeers> peers)
    : options_(place.options),
      metrics_(place.metrics),
      peers_(std::move(peers)),
      leaders_(place.options.partitions),
      led_(place.options.partitions, false),
      end_(end.get()),
      raft_(
          OptionsFor(place, /*alone=*/!peers_.has_value()), std::move(store), std::move(end),
          place.clock, place.metrics,
          [this](std::vector<RaftLoop::Message> messages) {
            if (peers_.has_value()) peers_->send(std::move(messages));
          },
          [this](std::vector<LogEvent> events) { Take(std::move(events)); }) {}

void PartitionLog::Take(std::vector<LogEvent> events) {
  if (peers_.has_value()) {
    std::vector<LogEvent> others;
    std::erase_if(events, [&](LogEvent& event) {
      const std::optional<GroupId> group = GroupOf(event);
      const bool is_other = group.has_value() && *group >= options_.partitions;
      if (is_other) others.push_back(std::move(event));
      return is_other;
    });
    if (!others.empty()) peers_->others(std::move(others));
  }
  std::vector<storage::LogEvent> translated = Translated(std::move(events));
  if (!translated.empty()) post_(std::move(translated));
}

std::vector<storage::LogEvent> PartitionLog::Translated(std::vector<LogEvent> events) {
  for (const LogEvent& event : events) {
    const auto* const change = std::get_if<RoleChange>(&event);
    if (change != nullptr && change->group < leaders_.size())
      leaders_[change->group].store(change->leader, std::memory_order_relaxed);
  }
  Translation translation(events.size(), led_, metrics_);
  for (LogEvent& event : events) std::visit(translation, event);
  return translation.Take();
}

absl::Status PartitionLog::ReadAfter(PartitionId partition, uint64_t after, const Visit& visit) {
  uint64_t end = std::numeric_limits<uint64_t>::max();
  if (!started_) {
    ASSIGN_OR_RETURN(const RaftLog::Extent extent, raft_.ExtentOf(partition, self()));
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
  if (!peers_.has_value() && was_members_) return IsCopyOfMember(options_.data_dir);
  post_ = std::move(post);
  started_ = true;
  starts_.assign(partitions.begin(), partitions.end());
  if (peers_.has_value()) return raft_.Start({});
  std::vector<GroupStart> groups;
  for (const storage::LogStart& start : partitions) {
    groups.push_back({.group = start.partition,
                      .replica = kSelf,
                      .applied = PlaceOf(start),
                      .conf_state = {.voters = {kSelf}}});
  }
  return raft_.Start(groups);
}

void PartitionLog::Join(std::vector<Replica> replicas) {
  raft_.Run([this, replicas = std::move(replicas)](RaftLoop& loop) {
    for (const Replica& replica : replicas) {
      absl::Status joined = loop.AddGroup({.group = replica.partition,
                                           .replica = replica.replica,
                                           .applied = PlaceOf(starts_[replica.partition]),
                                           .conf_state = {.voters = replica.members}});
      // A group with one voter is not ticked, so no timeout ever has it campaign.
      const bool alone = replica.members.size() == 1;
      if (joined.ok() && (replica.stands || alone)) joined = loop.Campaign(replica.partition);
      if (joined.ok()) continue;
      std::vector<LogEvent> events;
      events.emplace_back(GroupStopped{.group = replica.partition, .status = std::move(joined)});
      Take(std::move(events));
    }
  });
}

// What was written to the log and is neither there nor in the state is lost: a file of the log was
// cut short or deleted.
absl::Status PartitionLog::CheckEnd(absl::Span<const storage::LogStart> partitions) {
  uint64_t lost = 0;
  for (const storage::LogStart& start : partitions) {
    ASSIGN_OR_RETURN(const RaftLog::Extent extent, raft_.ExtentOf(start.partition, self()));
    was_alone_ = was_alone_ || extent.alone;
    was_members_ = was_members_ || extent.of_cluster;
    const uint64_t last = std::max(extent.last, start.index);
    if (const uint64_t claimed = end_->claimed(start.partition); claimed > last) {
      RETURN_IF_ERROR(end_->Missing(
          start.partition, last,
          peers_.has_value() ? storage::LogRecovery::kStrict : options_.log_recovery));
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
                         .sync = sync,
                         .term = proposal.term});
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

void PartitionLog::TellCommitted(PartitionId partition) {
  raft_.Run([partition](RaftLoop& loop) { loop.TellCommitted(partition); });
}

void PartitionLog::SetFit(PartitionId partition, bool fit) {
  raft_.Run([partition, fit](RaftLoop& loop) { loop.SetFit(partition, fit); });
}

void PartitionLog::ReadBarrier(PartitionId partition, uint64_t ticket) {
  raft_.Run([partition, ticket](RaftLoop& loop) { loop.ReadBarrier(partition, ticket); });
}

absl::Status PartitionLog::Checkpoint(const std::string& directory) {
  return raft_.Checkpoint(directory);
}

absl::Status PartitionLog::Stop() { return raft_.Stop(); }

}  // namespace cluster
