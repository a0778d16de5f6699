// The life of a leader's proposals.
#include "storage/leader/leader.h"

#include <algorithm>
#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/session.h"

namespace storage {
namespace {

// They keep some of their room.
constexpr size_t kSpareProposalsMax = 4;

}  // namespace

Leader::Leader(Replica& replica, Node& node) : id_(replica.id()), replica_(replica), node_(node) {}

void Leader::Begin(const pb::Limits& limits) {
  bool connected = false;
  partition().ForEachSession([&](const Session& session) {
    connected = connected || session.connected;
    if (!session.connected) ArmDeadlines(session);
  });
  if (connected) Propose().mutable_close_all();
  if (partition().limits().SerializeAsString() != limits.SerializeAsString()) {
    *Propose().mutable_set_limits()->mutable_limits() = limits;
  }
  if (growing_ != nullptr) NeedSync();
}

void Leader::Serve() {
  StartOrphans();
  StartExpiry();
}

absl::Status Leader::Refusal(bool stores) const {
  if (absl::Status status = node_.Refusal(stores); !status.ok()) return status;
  if (replica_.status().ok()) return absl::OkStatus();
  return absl::UnavailableError(replica_.status().message());
}

// ---- It grows -----------------------------------------------------------------------------------

Proposal& Leader::Grow() {
  if (growing_ == nullptr) {
    if (spare_.empty()) {
      pending_.push_back(std::make_unique<Proposal>(id_));
    } else {
      pending_.push_back(std::move(spare_.back()));
      spare_.pop_back();
    }
    growing_ = pending_.back().get();
    if (node_.growing.used.empty()) node_.growing.since = node_.now.monotonic;
    node_.growing.used.push_back(id_);
  }
  ++node_.growing.commands;
  return *growing_;
}

pb::Command& Leader::Propose(mqtt::MessagePtr message, CommandPlace* place) {
  Proposal& proposal = Grow();
  pb::Command& command = proposal.Add(std::move(message), place);
  node_.growing.bytes += proposal.TakeGrowth();
  command.set_time_unix_ms(node_.now.unix_ms);
  command.set_order(++node_.last_order);
  return command;
}

std::string& Leader::ProposeTo(mqtt::MessagePtr message, CommandStamp& stamp, CommandPlace* place) {
  stamp = {.time_unix_ms = node_.now.unix_ms, .order = ++node_.last_order};
  Proposal& proposal = Grow();
  std::string& entry = proposal.AddTo(std::move(message), place);
  node_.growing.bytes += proposal.TakeGrowth();
  return entry;
}

void Leader::After(Step step) {
  if (pending_.empty()) return Finish(step);
  pending_.back()->Then(std::move(step));
  if (growing_ != nullptr) Hurry();
}

size_t Leader::steps_pending() const {
  size_t steps = 0;
  for (const auto& proposal : pending_) steps += proposal->steps().size();
  return steps;
}

Proposal& Leader::CloseGrowing() { return *std::exchange(growing_, nullptr); }

// ---- The log fails before it had it -------------------------------------------------------------

namespace {

struct Range {
  CommandPlace begin = 0;
  size_t count = 0;
};

// The commands of a step that may be refused; nothing: it stays. A connection's end, what a client
// acknowledged and what the host does of its own accord has nobody to be told, and happens when
// the log works again. So does an open that fires the former connection's will.
std::optional<Range> RefusableCommands(const Step& step) {
  if (const auto* const publish = std::get_if<AnswerPublish>(&step)) {
    return Range{publish->command, publish->commands};
  }
  if (const auto* const open = std::get_if<FinishOpen>(&step)) {
    if (open->fires_will) return std::nullopt;
    return Range{open->command, 1};
  }
  if (const auto* const subscribe = std::get_if<AnswerSubscribe>(&step)) {
    return Range{subscribe->command, 1};
  }
  if (const auto* const unsubscribe = std::get_if<AnswerUnsubscribe>(&step)) {
    return Range{unsubscribe->command, 1};
  }
  if (const auto* const release = std::get_if<AnswerRelease>(&step)) {
    return Range{release->command, 1};
  }
  return std::nullopt;
}

void Renumber(Step& step, const std::vector<CommandPlace>& places) {
  std::visit(
      [&](auto& one) {
        if constexpr (requires { one.command; }) one.command = places[one.command];
      },
      step);
}

}  // namespace

void Leader::RefuseCollected(Proposal& proposal, const absl::Status& why) {
  std::vector<bool> gone(proposal.commands(), false);
  std::vector<Step> kept;
  std::vector<Step> refused;
  for (Step& step : proposal.steps()) {
    const std::optional<Range> range = RefusableCommands(step);
    (range.has_value() ? refused : kept).push_back(std::move(step));
    if (!range.has_value()) continue;
    std::fill_n(gone.begin() + static_cast<std::ptrdiff_t>(range->begin), range->count, true);
  }
  if (refused.empty()) {
    proposal.steps() = std::move(kept);
    return;
  }
  const Proposal::Dropped dropped = proposal.Drop(gone);
  for (Step& step : kept) Renumber(step, dropped.places);
  proposal.steps() = std::move(kept);
  for (const RetainedSet& set : dropped.sets) retained_pending_.Remove(set);
  for (const QueueReservation& each : dropped.reservations) queue_room_.Remove(each);
  for (Step& step : refused) {
    std::visit(
        [&](auto& one) {
          if constexpr (requires { Refuse(one, why); }) Refuse(one, why);
        },
        step);
  }
}

// ---- It is applied ------------------------------------------------------------------------------

Proposal* Leader::NextCommitted() {
  if (pending_.empty() || !pending_.front()->committed) return nullptr;
  return pending_.front().get();
}

void Leader::OnApplied() {
  Proposal& proposal = *pending_.front();
  for (const auto& set : proposal.retained_sets()) {
    retained_pending_.Remove(set.value);
    NoteRetained(set.value);
  }
  for (const auto& each : proposal.reservations()) queue_room_.Remove(each.value);
  RunEffects();
  for (size_t i = 0; i < proposal.steps().size(); ++i) {  // More may come meanwhile.
    Step step = std::move(proposal.steps()[i]);
    Finish(step);
  }
  node_.metrics.entries_applied.Add();
  std::unique_ptr<Proposal> done = std::move(pending_.front());
  pending_.pop_front();
  if (spare_.size() == kSpareProposalsMax) return;
  done->Clear();
  spare_.push_back(std::move(done));
}

void Leader::RunEffects() {
  node_.NoteDamage(effects_.damage);
  for (Effect& effect : effects_.list) {
    std::visit([this](auto& one) { On(one); }, effect);
  }
  const auto dropped = [this](DropCause cause) {
    return effects_.dropped[static_cast<size_t>(cause)];
  };
  HostMetrics& metrics = node_.metrics;
  metrics.messages_queued.Add(effects_.queued);
  metrics.dropped_queue_full.Add(dropped(DropCause::kQueueMessages) +
                                 dropped(DropCause::kQueueBytes));
  metrics.dropped_expired.Add(dropped(DropCause::kExpired));
  metrics.dropped_orphans.Add(dropped(DropCause::kOrphans));
}

void Leader::Finish(Step& step) {
  if (const auto* const pass = std::get_if<PassBarrier>(&step)) {
    if (--pass->barrier->left == 0) pass->barrier->then();
    return;
  }
  std::visit(
      [this](auto& now) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(now)>, PassBarrier>) Finish(now);
      },
      step);
}

// Half an entry may have ended a session, and another have taken its slot.
void Leader::OnReloaded() {
  slots_.clear();
  for (const auto& claim : claims_) {
    if (claim->state != Claim::State::kOpen || !claim->stored) continue;
    const Session* const session = partition().Find(claim->client_id);
    if (session == nullptr) continue;
    claim->feed->slot = session->slot;
    Attach(*claim);
  }
}

// ---- A round ------------------------------------------------------------------------------------

void Leader::RunTimers() {
  PublishPostponedWills();
  PassOnOrphans();
  PassOnHeld();
  RunExpiry();
}

std::optional<absl::Duration> Leader::NextWake() const {
  std::optional<absl::Duration> next;
  if (!held_.empty()) next = held_.begin()->first;
  if (pump_list_.empty()) return next;
  const absl::Duration pump_at = std::max(node_.now.monotonic, read_again_at_);
  return std::min(next.value_or(pump_at), pump_at);
}

std::optional<absl::Duration> Leader::NextTimer() const {
  std::optional<absl::Duration> next = NextExpiry();
  if (next.has_value()) next = std::max(*next, read_again_at_);
  const auto consider = [&](absl::Duration at) {
    next = next.has_value() ? std::min(*next, at) : at;
  };
  if (const auto due = deadlines_.next(); due.has_value() && node_.RoomForWills()) {
    consider(node_.now.monotonic + absl::Milliseconds(*due - node_.now.unix_ms));
  }
  if (orphan_scan_.wanted) consider(std::max(node_.now.monotonic, read_again_at_));
  if (orphans_again_at_.has_value()) consider(std::max(*orphans_again_at_, read_again_at_));
  return next;
}

}  // namespace storage
