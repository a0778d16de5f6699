#include "storage/leader/host.h"

#include <algorithm>
#include <utility>

#include "absl/numeric/bits.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/core/request_streams.h"
#include "storage/core/session.h"
#include "storage/leader/limits.h"

namespace storage {
namespace {

// Acknowledgements alone wait so long for company: nobody waits for them.
constexpr absl::Duration kLinger = absl::Milliseconds(5);
// What is under way has a fate by then, or the partitions that have none go on without those that
// wait. Longer than a disk takes: one write for all partitions costs one sync.
constexpr absl::Duration kFateWithin = absl::Milliseconds(50);
// A host serves by then, if partitions have leaders.
constexpr absl::Duration kServesWithin = absl::Seconds(5);
constexpr absl::Duration kRetry = absl::Seconds(1);
// While the state is writing out what it has in memory, and takes no more.
constexpr absl::Duration kRetryBusy = absl::Milliseconds(5);
// If it takes none for so long, another node is to lead what this one leads, which stands still.
constexpr absl::Duration kBusyMax = absl::Seconds(5);
// Messages and seeks of one round, each about a microsecond.
constexpr size_t kRoundWorkMax = 8192;
// Sessions whose queues are read in one round: so that a crowd that reconnects does not hold up
// everyone else.
constexpr size_t kRoundSessionsMax = 256;

// It cannot be read now. Null: all can.
const Replica* FirstFailed(const std::vector<std::unique_ptr<Replica>>& replicas) {
  const auto failed = std::find_if(replicas.begin(), replicas.end(), [](const auto& replica) {
    return !replica->status().ok() && !replica->stopped();
  });
  return failed == replicas.end() ? nullptr : failed->get();
}

// Where other nodes hold a partition, one that can serve it leads it. Returns what has been told.
// `serves`: it leads what it is given to lead.
PartitionMask TellFitness(const Node& node, const std::vector<std::unique_ptr<Replica>>& replicas,
                          bool serves, PartitionMask told) {
  if (node.set_fit == nullptr) return told;
  PartitionMask unfit = 0;
  for (const auto& replica : replicas) {
    const bool fit = serves && node.healthy() && replica->status().ok();
    const PartitionMask bit = BitOf(replica->id());
    unfit |= fit ? 0 : bit;
    if (((unfit ^ told) & bit) != 0) node.set_fit(replica->id(), fit);
  }
  return unfit;
}

// Of those that are here: of which nobody is known to lead it, or who does has yet to apply what
// others proposed.
PartitionMask LeaderlessOf(const Node& node) {
  PartitionMask leaderless = 0;
  for (const auto& leader : node.leaders) {
    const PartitionId id = leader->id();
    if (!node.Holds(id) || leader->replica().stopped() || node.log->follows(id)) continue;
    const uint64_t applied = leader->replica().partition().applied_index();
    if (!node.log->MayAct(id, applied)) leaderless |= BitOf(id);
  }
  return leaderless;
}

// Once: nothing changes before another release takes over.
void TellStopped(const Replica& replica, HostMetrics& metrics) {
  metrics.partitions_stopped.Add(1);
  base::Log(base::LogLevel::kError,
            "a partition stops in front of what it cannot read; the others serve on",
            {{"partition", replica.id()}, {"error", replica.status()}});
}

// No other node could have it, nor what comes behind it. Clients send nothing that large, for their
// packets have a bound below it.
void RefuseIfTooLarge(Proposal& part, Node& node) {
  if (part.entry().size() <= node.options.entry_bytes_max) return;
  node.leaders[part.partition]->RefuseCollected(
      part, absl::ResourceExhaustedError("larger than what goes from node to node in one piece"));
}

}  // namespace

Host::Host(const StorageOptions& options, ShardId shards, StateStore& store, HostMetrics& metrics,
           base::Rng& rng)
    : options_(options),
      store_(store),
      metrics_(metrics),
      node_(options_, shards, store.reader(), metrics, rng),
      publishing_(node_),
      scans_(node_),
      routes_(node_),
      fed_(node_),
      admission_(node_.shards),
      barriers_(node_),
      terms_(options.partitions, 0),
      heard_by_(options.partitions, absl::ZeroDuration()),
      log_(options.partitions),
      held_(options.partitions),
      retries_(options.partitions),
      flushing_(options_, replicas_, metrics_),
      gauges_(node_) {
  CHECK(shards > 0) << "somebody must hear the events";
  node_.publishing = &publishing_;
  node_.scans = &scans_;
  node_.barriers = &barriers_;
  node_.routes = &routes_;
  node_.fed = &fed_;
  node_.log = &log_;
  for (uint32_t id = 0; id < options.partitions; ++id) {
    replicas_.push_back(std::make_unique<Replica>(
        static_cast<PartitionId>(id), store, options.state_pending_bytes, options.apply_rules));
    node_.leaders.push_back(std::make_unique<Leader>(*replicas_.back(), node_));
  }
  metrics_.state_healthy.Set(1);
}

Host::~Host() = default;

// ---- Start --------------------------------------------------------------------------------------

absl::Status Host::Load() {
  for (const auto& replica : replicas_) {
    RETURN_IF_ERROR(replica->Load());
    if (replica->stopped()) TellStopped(*replica, metrics_);
    log_.SetLast(replica->id(), replica->partition().applied_index());
    node_.last_order = std::max(node_.last_order, replica->partition().last_order());
  }
  return absl::OkStatus();
}

absl::Status Host::Replay(const LogEntry& entry) {
  Replica& replica = *replicas_[entry.partition];
  const bool had_stopped = replica.stopped();
  RETURN_IF_ERROR(replica.Replay(entry));
  if (replica.stopped() && !had_stopped) TellStopped(replica, metrics_);
  RETURN_IF_ERROR(flushing_.Some());
  log_.SetLast(entry.partition, entry.index);
  node_.last_order = std::max(node_.last_order, replica.partition().last_order());
  return absl::OkStatus();
}

absl::Status Host::BeginLogs() {
  for (const auto& replica : replicas_) {
    RETURN_IF_ERROR(replica->BeginLog());
    log_.SetLast(replica->id(), replica->partition().applied_index());
  }
  return absl::OkStatus();
}

int64_t Host::last_time_unix_ms() const {
  int64_t last = 0;
  for (const auto& replica : replicas_) {
    last = std::max(last, replica->partition().last_time_unix_ms());
  }
  return last;
}

void Host::Begin(std::function<void()> ready) {
  ready_ = std::move(ready);
  serves_by_ = node_.now.monotonic + kServesWithin;
  BeginIfAllIsKnown();
}

void Host::BeginIfAllIsKnown() {
  for (const auto& leader : node_.leaders) {
    const PartitionId id = leader->id();
    if (!node_.Holds(id)) admission_.SetElsewhere(id);
    if (!node_.Holds(id) || leader->replica().stopped() || log_.follows(id)) continue;
    if (!log_.MayAct(id, applied(id))) return;
  }
  // A client that is let in here may know of what was acknowledged elsewhere.
  if (!std::exchange(catches_up_, true)) {
    barriers_.CatchUp([this] { caught_up_ = true; });
  }
  if (!caught_up_) return;
  beginning_ = false;
  if (node_.shards.in_cluster()) return BeginAmongOthers();
  serves_ = true;
  const pb::Limits limits = LimitsOf(options_);
  for (const auto& leader : node_.leaders) {
    if (leader->replica().stopped() || leads(leader->id())) leader->Begin(limits);
  }
  // What connected clients were is closed then; everything stored is announced, and after that the
  // shards may take clients in.
  node_.After(~PartitionMask{0}, [this] {
    node_.RecountSessions();
    begun_ = true;
    routes_.BeginAnnouncing(std::move(ready_));
    gauges_.Count();
    if (routes_.Announce()) {
      for (const auto& leader : node_.leaders) {
        if (leader->serving()) leader->Serve();
      }
    }
  });
}

// The shards may take clients in when they have the routes; until a partition's leader has heard of
// all who is connected, what they ask of it waits.
void Host::BeginAmongOthers() {
  begun_ = true;
  resync_ = false;
  node_.RecountSessions();
  // What is known by replicas here, and then what their leaders tell of the others.
  routes_.BeginAnnouncing([this] { fed_.WhenWhole([this] { all_told_ = true; }); });
  gauges_.Count();
  for (const auto& leader : node_.leaders) {
    if (leads(leader->id()) && !leader->replica().stopped()) AskForClaims(leader->id());
  }
}

// ---- Requests -----------------------------------------------------------------------------------

void Host::OnRequest(const ShardAddress& from, Addressed&& asked) {
  metrics_.requests.Add();
  const ShardSlot slot = node_.shards.SlotOf(from);
  if (slot == kNoShardSlot) return;
  if (auto* const claims = std::get_if<Claims>(&asked.request)) {
    const PartitionId id = claims->partition;
    if (claims->further) return HearFurther(slot, *claims);
    if (const auto late = admission_.Hear(slot, std::move(*claims))) {
      node_.leaders[id]->Join(slot, *late);
    }
    return;
  }
  // New leaders wait for them, and what is applied. Nobody has asked for anything here before.
  const bool first = !serves_ || routes_.announcing();
  if (first && std::holds_alternative<ConfirmRoutes>(asked.request)) {
    return Dispatch(slot, asked);
  }
  if (admission_.Admit(slot, asked)) HandOn(slot, asked);
}

void Host::HandOn(ShardSlot from, Addressed& asked) {
  if (asked.sequence != 0 && !node_.shards.IsOwn(from) &&
      !node_.leaders[asked.partition]->streams().ComesNext(from, asked.sequence)) {
    resync_ = true;
    return;
  }
  // Only here: a request's commands and what follows them stay together, and so do a message's
  // parts: if the log fails all are refused, or none is.
  const auto* const part = std::get_if<Publish>(&asked.request);
  const bool goes_on =
      part != nullptr && publishing_.IsDecided(node_.shards.AddressOf(from), *part);
  if (!goes_on && node_.growing.IsFull(options_)) full_.push_back(CloseGrowing());
  Dispatch(from, asked);
}

void Host::Dispatch(ShardSlot from, Addressed& asked) {
  const Asker asker{.shard = node_.shards.AddressOf(from),
                    .slot = from,
                    .sequence = asked.sequence,
                    .kept_from = asked.kept_from};
  std::visit(
      [&](auto& one) {
        using T = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<T, Publish>) {
          Asker publisher = asker;
          publisher.outbox = one.outbox;
          publishing_.Handle(publisher, one);
        } else if constexpr (std::is_same_v<T, ScanRetained>) {
          scans_.Handle(asker.shard, one);
        } else if constexpr (std::is_same_v<T, ConfirmRoutes>) {
          if (node_.shards.IsOwn(from)) routes_.Confirm(from, one);
        } else if constexpr (!std::is_same_v<T, Claims>) {
          Leader& leader = LeaderFor(asked);
          if (Leader::kIsNumbered<T> && leader.IsRepeat(asker)) {
            leader.AnswerRepeat(asker, one);
          } else {
            leader.Handle(asker, one);
          }
          leader.streams().Took(asker);
        }
      },
      asked.request);
}

Leader& Host::LeaderFor(const Addressed& asked) {
  if (asked.sequence != 0) return *node_.leaders[asked.partition];
  return *node_.leaders[PartitionOfRequest(asked.request, partitions()).value()];
}

// ---- The log ------------------------------------------------------------------------------------

Host::Group Host::CloseGrowing() {
  Group group;
  group.sync = node_.growing.needs_sync;
  group.will_bytes = node_.growing.will_bytes;
  group.parts.reserve(node_.growing.used.size());
  for (const PartitionId id : node_.growing.used) {
    Proposal& closed = node_.leaders[id]->proposals().CloseGrowing();
    node_.leaders[id]->streams().NoteTaken(closed.taken);
    group.parts.push_back(&closed);
  }
  node_.growing.used.clear();
  node_.growing = {.used = std::move(node_.growing.used)};
  return group;
}

// What waits for its partition goes first, one entry of each. Then the next group, if its time has
// come.
Host::Group Host::TakeGroup() {
  Group group;
  for (auto& held : held_) {
    if (held.empty() || log_.flying(held.front()->partition)) continue;
    group.sync = true;
    group.parts.push_back(held.front());
    held.pop_front();
  }
  if (!group.parts.empty()) return group;
  if (!full_.empty()) {
    group = std::move(full_.front());
    full_.pop_front();
  } else if (const Node::Growing& growing = node_.growing; !growing.used.empty()) {
    const bool now = growing.urgent || growing.needs_sync || growing.commands == 0;
    if (now || node_.now.monotonic >= growing.since + kLinger) group = CloseGrowing();
  }
  std::erase_if(group.parts, [this](Proposal* part) {
    std::deque<Proposal*>& held = held_[part->partition];
    const bool waits = log_.flying(part->partition) || !held.empty();
    if (waits) held.push_back(part);
    return waits;
  });
  return group;
}

std::optional<Submission> Host::TakeSubmission() {
  if (!node_.healthy() || node_.stalled) return std::nullopt;
  if (log_.flying()) {
    // Alone all of it has its fate with the same write, however long the disk takes.
    if (!node_.shards.in_cluster()) return std::nullopt;
    if (node_.now.monotonic < submitted_at_ + kFateWithin) return std::nullopt;
    log_.CallLate();
  }
  while (true) {
    const size_t groups = full_.size() + node_.growing.used.size();
    Group next = TakeGroup();
    Submission submission;
    submission.sync = next.sync;
    submission.proposals.reserve(next.parts.size());
    for (Proposal* const part : next.parts) {
      part->Seal();
      RefuseIfTooLarge(*part, node_);
      part->passes = part->commands() == 0;  // All of it was refused.
      if (part->passes) continue;
      part->number = log_.NumberNext(part->partition);
      submission.proposals.push_back(
          {part->partition, part->number, part->LendEntry(), terms_[part->partition]});
    }
    if (!submission.proposals.empty()) {
      submitted_at_ = node_.now.monotonic;
      flying_will_bytes_ += next.will_bytes;
      return submission;
    }
    node_.will_bytes -= next.will_bytes;
    if (next.parts.empty() && groups == full_.size() + node_.growing.used.size()) {
      return std::nullopt;
    }
  }
}

void Host::OnLog(LogEvent&& event) {
  if (auto* const entry = std::get_if<Committed>(&event)) {
    const bool kept = !replicas_[entry->partition]->stopped();
    log_.Hear(std::move(*entry), kept);
  } else if (const auto* const lost = std::get_if<NotCommitted>(&event)) {
    log_.Landed(lost->partition);
  } else if (const auto* const change = std::get_if<RoleChange>(&event)) {
    OnRole(*change);
  } else if (const auto* const readable = std::get_if<Readable>(&event)) {
    barriers_.Hear(*readable);
  } else if (const auto* const refused = std::get_if<NotReadable>(&event)) {
    barriers_.Hear(*refused);
  } else {
    node_.log_status = std::move(std::get<LogHealth>(event).status);
    if (!node_.log_status.ok()) RefuseCollected();
  }
  if (!log_.flying()) node_.will_bytes -= std::exchange(flying_will_bytes_, 0);
}

// The log does not have it: whoever waits for an answer need not wait for the repair.
void Host::RefuseCollected() {
  const absl::Status why = node_.Refusal(/*stores=*/true);
  const auto refuse = [&](Proposal* part) {
    node_.leaders[part->partition]->RefuseCollected(*part, why);
  };
  for (const auto& held : held_) std::for_each(held.begin(), held.end(), refuse);
  for (const Group& group : full_) std::for_each(group.parts.begin(), group.parts.end(), refuse);
  node_.growing.commands = 0;
  node_.growing.bytes = 0;
  for (const PartitionId id : node_.growing.used) {
    Leader& leader = *node_.leaders[id];
    leader.RefuseGrowing(why);
    node_.growing.commands += leader.proposals().growing_commands();
    node_.growing.bytes += leader.proposals().growing_bytes();
  }
}

// ---- A round ------------------------------------------------------------------------------------

void Host::Run() {
  routes_.elsewhere().AskAgain();
  if (node_.stalled && node_.now.monotonic >= retry_at_) RetryState();
  if (!node_.stalled) ReloadFailed();
  // A route that changes while they are told of may be missed by both.
  if (!routes_.announcing()) ApplyCommitted();
  barriers_.Run();
  if (beginning_ && ready_ != nullptr) {
    BeginIfAllIsKnown();
    const PartitionMask behind = catches_up_ ? barriers_.waited_for() : LeaderlessOf(node_);
    metrics_.partitions_behind.Set(absl::popcount(caught_up_ ? 0 : behind));
  }
  if (all_told_ && !serves_ && routes_.elsewhere().IsSo()) {
    serves_ = true;
    Confirmed waiter;
    waiter.call = std::exchange(ready_, nullptr);
    routes_.Wait(std::move(waiter));
  }
  if (begun_ && std::exchange(resync_, false)) AskAllForClaims();
  ServeNewLeaders();
  TellStorageState();
  node_.work_left = kRoundWorkMax;
  node_.sessions_left = kRoundSessionsMax;
  scans_.Run();
  if (routes_.announcing() && routes_.Announce()) {
    for (const auto& leader : node_.leaders) {
      if (leader->serving()) leader->Serve();
    }
  }
  if (node_.healthy() && !node_.stalled && begun_ && !routes_.announcing()) RunLeaders();
  if (!serves_) routes_.elsewhere().AnswerBeforehand();
  if (begun_ && !routes_.announcing()) {
    routes_.elsewhere().Answer([this](std::function<void()> known) {
      Confirmed waiter;
      waiter.call = std::move(known);
      routes_.Wait(std::move(waiter));
    });
    routes_.feeds().Run([this](PartitionId id) {
      return replicas_[id]->status().ok() && log_.MayAct(id, applied(id));
    });
  }
  routes_.ReleaseReady();
  for (const auto& leader : node_.leaders) leader->AcknowledgeStreams();
  gauges_.Run();
  size_t pending = 0;
  for (const auto& leader : node_.leaders) pending += leader->proposals().steps();
  metrics_.requests_pending.Set(static_cast<int64_t>(pending));
}

void Host::RunLeaders() {
  const size_t count = node_.leaders.size();
  node_.shared_work_until = node_.work_left / 2;
  const auto for_each = [&](auto&& run) {
    for (size_t i = 0; i < count; ++i) {
      const size_t id = (first_ + i) % count;
      Leader& leader = *node_.leaders[id];
      if (leader.serving() && replicas_[id]->status().ok()) run(leader);
    }
  };
  for_each([](Leader& leader) { leader.RunTimers(); });
  RunDeadlines();
  for_each([](Leader& leader) { leader.deliveries().Pump(); });
  first_ = (first_ + 1) % count;
}

// In the order in which they are due, whichever partition they are of. While the server ends
// nothing fires: nobody would hear it. It is due at the next start.
void Host::RunDeadlines() {
  while (!node_.shutting_down && node_.RoomForBackground() && node_.RoomForWills()) {
    Leader* earliest = nullptr;
    int64_t at_unix_ms = 0;
    for (const auto& leader : node_.leaders) {
      if (!leader->serving() || !leader->replica().status().ok()) continue;
      const auto due = leader->timers().NextDeadline();
      if (!due.has_value() || *due > leader->Now() || !leader->outbox().HasRoomForWill()) continue;
      if (earliest != nullptr && *due >= at_unix_ms) continue;
      earliest = leader.get();
      at_unix_ms = *due;
    }
    if (earliest == nullptr) return;
    earliest->timers().RunDeadline();
  }
}

std::optional<absl::Duration> Host::NextWake() const {
  std::optional<absl::Duration> next;
  const absl::Duration now = node_.now.monotonic;
  const auto consider = [&](std::optional<absl::Duration> at) {
    if (at.has_value()) next = next.has_value() ? std::min(*next, *at) : *at;
  };
  if (!scans_.empty() && !node_.stalled) consider(now);
  if (node_.stalled) consider(retry_at_);
  consider(barriers_.Next());
  consider(scans_.Next());
  consider(routes_.elsewhere().Next());
  if (all_told_ && !serves_ && routes_.elsewhere().IsSo()) consider(now);
  if (!serves_ && serves_by_ > now && serves_by_ != absl::InfiniteDuration()) consider(serves_by_);
  if (!node_.healthy() || node_.stalled) return next;
  if (!flushing_.done()) consider(now);
  const auto waits = [this](const std::deque<Proposal*>& held) {
    return !held.empty() && !log_.flying(held.front()->partition);
  };
  absl::Duration log_free = now;
  if (log_.flying()) {
    log_free = node_.shards.in_cluster() ? std::max(now, submitted_at_ + kFateWithin)
                                         : absl::InfiniteDuration();  // The log wakes.
  }
  const auto consider_log = [&](absl::Duration at) {
    if (log_free != absl::InfiniteDuration()) consider(std::max(log_free, at));
  };
  if (!full_.empty() || std::any_of(held_.begin(), held_.end(), waits)) consider_log(now);
  consider(gauges_.Next());
  if (!node_.growing.used.empty()) {
    const bool at_once =
        node_.growing.urgent || node_.growing.needs_sync || node_.growing.commands == 0;
    consider_log(at_once ? now : node_.growing.since + kLinger);
  }
  const bool announcing = routes_.announcing();  // The shards' answers wake.
  // Without room for it, the end of a write wakes, or a shard's answer.
  const bool background = !announcing && node_.RoomForBackground() && !node_.shutting_down;
  for (const auto& leader : node_.leaders) {
    if (leader->replica().stopped()) continue;
    if (!leader->replica().status().ok()) {
      consider(retries_[leader->id()].at);
      continue;
    }
    const bool applies = log_.has_next(leader->id()) || leader->proposals().first_passes();
    if (applies && !announcing) consider(now);
    if (!leader->serving()) {  // A shard's answer wakes, or that none comes.
      if (admission_.Asks(leader->id()) && heard_by_[leader->id()] > now) {
        consider(heard_by_[leader->id()]);
      }
      continue;
    }
    if (!announcing) consider(leader->NextWake());
    if (background) consider(leader->NextTimer());
  }
  return next;
}

bool Host::Drained() const {
  if (!node_.growing.used.empty() || !full_.empty() || log_.flying_or_late() || !scans_.empty() ||
      !admission_.all_open()) {
    return false;
  }
  return std::all_of(node_.leaders.begin(), node_.leaders.end(), [this](const auto& leader) {
    return (leader->proposals().idle() && !log_.has_next(leader->id())) ||
           !leader->replica().status().ok();
  });
}

// ---- What is committed --------------------------------------------------------------------------

void Host::ApplyCommitted() {
  const uint64_t applied = metrics_.entries_applied.value();
  for (const auto& replica : replicas_) Apply(replica->id());
  if (metrics_.entries_applied.value() != applied) gauges_.Count();
  if (node_.stalled) return;
  if (const absl::Status status = flushing_.Some(); !status.ok()) OnStateError(status);
}

// All that is committed of one partition, as far as that works. What is committed is applied
// whatever it takes.
void Host::Apply(PartitionId id) {
  Leader& leader = *node_.leaders[id];
  bool has_read = false;
  while (!node_.stalled && replicas_[id]->status().ok()) {
    if (leader.proposals().first_passes()) {
      leader.proposals().effects().Clear();
      leader.OnApplied();
      continue;
    }
    Committed* const next = log_.Next(id);
    if (next == nullptr) {
      if (log_.all_wait(id) || std::exchange(has_read, true)) return;
      if (const absl::Status read = log_.ReadOn(id, read_log_); !read.ok()) {
        replicas_[id]->Lose(read);
        return ReplicaFailed(id, read);
      }
      continue;
    }
    Proposal* const own = leader.proposals().FirstIf(next->proposal);
    if (const absl::Status status = ApplyNext(id, *next, own); !status.ok()) {
      if (replicas_[id]->status().ok()) return OnStateError(status);
      return ReplicaFailed(id, status);
    }
    if (own != nullptr) own->TakeBackEntry(std::move(next->entry));
    log_.PopNext(id);
    own != nullptr ? leader.OnApplied() : leader.OnOthersApplied();
  }
}

// `own`: the leader's proposal that the entry was.
absl::Status Host::ApplyNext(PartitionId id, const Committed& next, const Proposal* own) {
  Effects& effects = node_.leaders[id]->proposals().effects();
  // Else it is applied already, and only the store failed.
  if (replicas_[id]->partition().applied_index() < next.index) {
    effects.Clear();
    effects.wants_deliveries = own != nullptr;
    const LogEntry entry = {
        .partition = id, .index = next.index, .term = next.term, .data = next.entry};
    absl::Span<const mqtt::MessagePtr> messages;
    if (own != nullptr) messages = own->messages();
    RETURN_IF_ERROR(replicas_[id]->Apply(entry, messages, effects));
  }
  // Not all partitions' changes at once: a large message for thousands of sessions is there as
  // often.
  RETURN_IF_ERROR(store_.Write());
  return flushing_.BoundPending();
}

// ---- A replica that cannot be read --------------------------------------------------------------

bool Host::healthy() const { return node_.healthy() && FirstFailed(replicas_) == nullptr; }

void Host::ReplicaFailed(PartitionId id, const absl::Status& status) {
  // Before it served: see AskForClaims.
  const bool waits = leads(id) && admission_.Asks(id) && !node_.leaders[id]->serving();
  if (waits && node_.shards.in_cluster()) admission_.SetElsewhere(id);
  if (replicas_[id]->stopped()) return TellStopped(*replicas_[id], metrics_);
  metrics_.state_errors.Add();
  node_.NoteDamage(status);
  Retry& retry = retries_[id];
  retry.at = std::max(node_.now.monotonic, retry.tried_at + kRetry);
}

void Host::ReloadFailed() {
  bool reloaded = false;
  for (const auto& replica : replicas_) {
    Retry& retry = retries_[replica->id()];
    if (replica->status().ok() || replica->stopped()) continue;
    if (node_.now.monotonic < retry.at) continue;
    retry.tried_at = node_.now.monotonic;
    const absl::Status status = replica->Reload(read_log_);
    if (absl::IsAborted(status)) {  // Busy: nothing is wrong.
      retry.at = node_.now.monotonic + kRetryBusy;
    } else if (!status.ok()) {
      ReplicaFailed(replica->id(), status);
    } else {
      node_.leaders[replica->id()]->OnReloaded();
      reloaded = true;
      const bool unasked = begun_ && leads(replica->id()) && admission_.IsElsewhere(replica->id());
      if (unasked) AskForClaims(replica->id());
    }
  }
  if (reloaded) node_.RecountSessions();
}

// ---- A state that cannot be written -------------------------------------------------------------

void Host::OnStateError(const absl::Status& status) {
  if (!std::exchange(node_.stalled, true)) stalled_since_ = node_.now.monotonic;
  if (absl::IsAborted(status)) {  // Busy: nothing is wrong.
    retry_at_ = node_.now.monotonic + kRetryBusy;
    return;
  }
  node_.state_status = status;
  metrics_.state_errors.Add();
  node_.NoteDamage(status);
  retry_at_ = std::max(node_.now.monotonic, repaired_at_ + kRetry);
  RefuseCollected();
}

void Host::RetryState() {
  const bool was_busy = node_.state_status.ok();
  const absl::Status status = was_busy ? store_.Write() : RepairState();
  if (!status.ok()) return OnStateError(status);
  node_.stalled = false;
  node_.state_status = absl::OkStatus();
}

// What the state store lost is made again from the log, which is cut only up to what the state has
// on the disk. Effects of an entry that is applied stay right: sessions keep their slots.
absl::Status Host::RepairState() {
  repaired_at_ = node_.now.monotonic;
  ASSIGN_OR_RETURN(const StateStore::Repaired repaired, store_.Repair());
  if (repaired == StateStore::Repaired::kReopened) {
    for (const auto& replica : replicas_) {
      replica->Lose(absl::UnavailableError("the state was opened again"));
      retries_[replica->id()].at = node_.now.monotonic;
    }
  }
  return store_.Write();  // What could not be written.
}

// ---- What an operator asks ----------------------------------------------------------------------

void Host::ReadRetained(std::string filter, std::string cursor, const RetainedScanOptions& options,
                        std::function<void(absl::StatusOr<RetainedScans::Page>)> done) {
  const PartitionMask where = scans_.PartitionsOf(filter);
  if ((where & ~node_.held) != 0)
    return scans_.Ask(std::move(filter), std::move(cursor), options, std::move(done));
  scans_.WhenCurrent(where, [this, where, filter = std::move(filter), cursor = std::move(cursor),
                             options, done = std::move(done)] {
    // What no write is coming for is read as far as it goes.
    const bool comes = node_.stalled && node_.state_status.ok();
    if (comes || !scans_.ReadsAll(where)) return scans_.Ask(filter, cursor, options, done);
    done(scans_.Scan(filter, cursor, options));
  });
}

void Host::RemoveRetained(const std::vector<std::string>& topics,
                          std::function<void(absl::Status)> done) {
  absl::Status refusal = node_.Refusal(/*stores=*/false);
  for (const std::string& topic : topics) {
    if (refusal.ok()) refusal = node_.HomeOf(topic).replica().status();
  }
  if (!refusal.ok()) return done(refusal);
  PartitionMask homes = 0;
  for (const std::string& topic : topics) {
    if (node_.growing.IsFull(options_)) full_.push_back(CloseGrowing());
    homes |= BitOf(node_.HomeOf(topic).id());
    publishing_.Remove(mqtt::Message::Create({.topic = topic,
                                              .qos = mqtt::QoS::kAtLeastOnce,
                                              .retain = true,
                                              .created_at_unix_ms = node_.now.unix_ms}));
  }
  node_.After(homes, [this, done = std::move(done)] { done(node_.Refusal(/*stores=*/false)); });
}

// ---- What an operator hears ---------------------------------------------------------------------

void Host::SetDiskFree(uint64_t bytes) {
  const bool low = options_.min_free_disk_bytes != 0 && bytes < options_.min_free_disk_bytes;
  if (low == node_.disk_low) return;
  node_.disk_low = low;
  metrics_.disk_low.Set(low ? 1 : 0);
  if (!node_.healthy()) return;
  base::Log(low ? base::LogLevel::kError : base::LogLevel::kInfo,
            low ? "disk nearly full, nothing more is stored" : "disk has room again",
            {{"free_bytes", bytes}, {"min_free_disk_bytes", options_.min_free_disk_bytes}});
  node_.SendToOwn(StorageState{node_.Refusal(/*stores=*/true)});
}

void Host::TellStorageState() {
  const bool stands = node_.stalled && node_.now.monotonic >= stalled_since_ + kBusyMax;
  // A partition without most of its replicas keeps a node that has just come from serving any.
  const bool late = !serves_ && node_.now.monotonic >= serves_by_;
  unfit_told_ = TellFitness(node_, replicas_, !stands && !late && !node_.aside, unfit_told_);
  const Replica* const failed = FirstFailed(replicas_);
  const absl::Status& state =
      node_.state_status.ok() && failed != nullptr ? failed->status() : node_.state_status;
  metrics_.state_healthy.Set(state.ok() ? 1 : 0);
  const absl::Status& status = node_.log_status.ok() ? state : node_.log_status;
  if (status.code() == told_status_.code()) return;
  told_status_ = status;
  if (status.ok()) {
    base::Log(base::LogLevel::kInfo, "storage works again");
  } else if (node_.healthy()) {
    base::Log(base::LogLevel::kError, "a part of the store cannot be read; the others serve on",
              {{"partition", failed->id()}, {"error", status}});
  } else {
    base::Log(base::LogLevel::kError, "storage cannot write", {{"error", status}});
  }
  node_.SendToOwn(StorageState{node_.Refusal(/*stores=*/true)});
}

}  // namespace storage
