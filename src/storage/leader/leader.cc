// The life of a leader's proposals.
#include "storage/leader/leader.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/session.h"

namespace storage {

LeaderPart::LeaderPart(Leader& leader)
    : leader_(leader),
      id_(leader.id_),
      replica_(leader.replica_),
      node_(leader.node_),
      proposals_(leader.proposals_),
      read_again_at_(leader.read_again_at_) {}

absl::Status LeaderPart::Refusal(bool stores) const { return leader_.Refusal(stores); }

Leader::Leader(Replica& replica, Node& node)
    : id_(replica.id()),
      replica_(replica),
      node_(node),
      proposals_(replica, node),
      streams_(id_, node),
      sessions_(*this),
      timers_(*this),
      subscriptions_(*this),
      inbound_(*this),
      published_(*this),
      room_(*this),
      deliveries_(*this),
      expiry_(*this),
      outbox_(*this) {}

void Leader::Begin(const pb::Limits& limits) {
  serving_ = true;
  if (replica_.stopped()) return;  // Whoever asks is refused.
  bool connected = false;
  partition().ForEachSession([&](const Session& session) {
    connected = connected || session.connected;
    if (!session.connected) timers_.ArmDeadlines(session);
  });
  const bool asked = !partition().origins().Shards().empty();
  if (connected || asked) proposals_.Propose().mutable_close_node();
  ProposeSettings(limits);
}

void Leader::ProposeSettings(const pb::Limits& limits) {
  // Nobody else applies what a node alone logs, so nobody knows less.
  uint32_t level = GreatestLevel(node_.options.apply_rules);
  if (node_.shards.in_cluster()) level = std::min(level, kLevelInClusters);
  if (partition().level() < level) proposals_.Propose().mutable_raise_level()->set_level(level);
  if (partition().limits().SerializeAsString() != limits.SerializeAsString()) {
    *proposals_.Propose().mutable_set_limits()->mutable_limits() = limits;
  }
  if (proposals_.growing() != nullptr) node_.growing.needs_sync = true;
}

void Leader::Serve() {
  if (settled_) outbox_.Start();
  expiry_.Start();
}

// ---- A change of leader -------------------------------------------------------------------------

namespace {

bool Survives(const Step& step) { return std::holds_alternative<PassBarrier>(step); }

}  // namespace

void Leader::Succeed(Leader& former) {
  TakeAfter(former);
  caught_up_ = false;
  proposals_.TakeOver(former.proposals_);
  proposals_.ForEach([this](Proposal& proposal) {
    for (const auto& set : proposal.retained_sets()) expiry_.Expect(set.value);
    for (const auto& each : proposal.reservations()) room_.Promise(each.value);
    std::erase_if(proposal.steps(), [](const Step& step) { return !Survives(step); });
    // The answers are lost: whoever asked keeps the requests until this leader has heard them.
    proposal.taken.clear();
  });
}

void Leader::TakeAfter(Leader& former) {
  life_ = former.life_ + 1;
  // Of an entry that is applied, and waits for the state to be written: they are to come yet.
  proposals_.effects() = std::move(former.proposals_.effects());
  former.proposals_.ForEach([this](const Proposal& proposal) {
    for (const Step& step : proposal.steps()) {
      if (const auto* const open = std::get_if<FinishOpen>(&step); open != nullptr && open->adds) {
        --node_.opening_new;
      }
      if (const auto* const timer = std::get_if<FinishTimer>(&step);
          timer != nullptr && timer->gives_way) {
        --node_.giving_way;
      }
      if (const auto* const accept = std::get_if<AnswerAccept>(&step)) node_.Release(accept->held);
    }
  });
  former.outbox_.Withdraw();
  former.sessions_.Withdraw();
}

void Leader::PassBarriers() {
  proposals_.ForEach([this](Proposal& proposal) {
    for (Step& step : proposal.steps()) {
      if (std::holds_alternative<PassBarrier>(step)) Finish(step);
    }
  });
}

void Leader::CatchUp() {
  auto barrier = std::make_shared<Barrier>();
  barrier->left = 1;
  barrier->then = [&node = node_, id = id_, life = life_] {
    Leader& leader = *node.leaders[id];
    if (leader.life_ == life) leader.caught_up_ = true;  // Else it had to go meanwhile.
  };
  After(PassBarrier{std::move(barrier)});
}

void Leader::Activate(const std::vector<std::optional<Claims>>& claims, const pb::Limits& limits) {
  serving_ = true;
  knows_all_ = settled_ = closed_unclaimed_ = false;
  for (ShardSlot slot = 0; slot < claims.size(); ++slot) {
    if (!claims[slot].has_value()) continue;
    streams_.Resume(slot, claims[slot]->kept_from, claims[slot]->repeats);
  }
  partition().ForEachSession([this](const Session& session) {
    if (!session.connected) timers_.ArmDeadlines(session);
  });
  sessions_.Restore(claims);
  ProposeSettings(limits);
  sessions_.CloseGone(/*unknown=*/false);
  room_.TellAll();
  Serve();
}

void Leader::Join(ShardSlot shard, const Claims& claims) {
  streams_.Resume(shard, claims.kept_from, claims.repeats);
  for (const Claims::Held& held : claims.held) sessions_.RestoreHeld(held);
}

void Leader::KnowAll() {
  knows_all_ = true;
  sessions_.GrantUnknown();
}

void Leader::SettleIfDue() {
  if (!serving_ || streams_.AnyRepeats()) return;
  if (settled_ && (!knows_all_ || closed_unclaimed_)) return;
  if (!std::exchange(settled_, true)) outbox_.Start();
  closed_unclaimed_ = knows_all_;
  sessions_.CloseUnclaimed();
}

absl::Status Leader::Refusal(bool stores) const {
  if (absl::Status status = node_.Refusal(stores); !status.ok()) return status;
  if (replica_.status().ok()) return absl::OkStatus();
  return absl::UnavailableError(replica_.status().message());
}

// ---- It grows -----------------------------------------------------------------------------------

void Leader::After(Step step) {
  if (proposals_.idle()) return Finish(step);
  proposals_.last().Then(std::move(step));
  if (proposals_.growing() != nullptr) node_.growing.urgent = true;
}

// ---- The log fails before it had it -------------------------------------------------------------

namespace {

struct Range {
  CommandPlace begin = 0;
  size_t count = 0;
};

// The commands of a step that may be refused; nothing: it stays. A connection's end, what a client
// acknowledged and what the host does of its own accord has nobody to be told, and happens when
// the log works again.
std::optional<Range> RefusableCommands(const Step& step) {
  if (const auto* const publish = std::get_if<AnswerPublish>(&step)) {
    return Range{publish->command, publish->commands};
  }
  if (const auto* const accept = std::get_if<AnswerAccept>(&step)) {
    return Range{accept->command, accept->duplicate ? size_t{0} : size_t{1}};
  }
  if (const auto* const open = std::get_if<FinishOpen>(&step)) {
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
  for (const RetainedSet& set : dropped.sets) expiry_.OnRefused(set);
  for (const QueueReservation& each : dropped.reservations) room_.TakeBack(each);
  for (Step& step : refused) Refuse(step, why);
}

void Leader::Refuse(Step& step, const absl::Status& why) {
  std::visit(
      [&](auto& one) {
        ForEachPart([&](auto& part) {
          if constexpr (requires { part.Refuse(one, why); }) part.Refuse(one, why);
        });
      },
      step);
}

// ---- It is applied ------------------------------------------------------------------------------

void Leader::OnApplied() {
  Proposal& proposal = *proposals_.first();
  for (const auto& set : proposal.retained_sets()) expiry_.OnRetained(set.value);
  for (const auto& each : proposal.reservations()) room_.TakeBack(each.value);
  RunEffects();
  for (size_t i = 0; i < proposal.steps().size(); ++i) {  // More may come meanwhile.
    Step step = std::move(proposal.steps()[i]);
    Finish(step);
  }
  node_.metrics.entries_applied.Add();
  streams_.Settle(proposal.taken);
  proposals_.PopFirst();
}

void Leader::OnOthersApplied() {
  for (Effect& effect : proposals_.effects().list) {
    if (auto* const route = std::get_if<RouteChanged>(&effect)) subscriptions_.On(*route);
    if (auto* const member = std::get_if<ShareMemberChanged>(&effect)) subscriptions_.On(*member);
  }
  node_.NoteDamage(proposals_.effects().damage);
  node_.metrics.entries_applied.Add();
}

void Leader::RunEffects() {
  Effects& effects = proposals_.effects();
  node_.NoteDamage(effects.damage);
  for (Effect& effect : effects.list) {
    std::visit(
        [this](auto& one) {
          static_assert(PartsThat<kReactsTo, std::decay_t<decltype(one)>> == 1,
                        "one part reacts to each effect");
          ForEachPart([&](auto& part) {
            if constexpr (requires { part.On(one); }) part.On(one);
          });
        },
        effect);
  }
  const auto dropped = [&](DropCause cause) { return effects.dropped[static_cast<size_t>(cause)]; };
  HostMetrics& metrics = node_.metrics;
  metrics.messages_queued.Add(effects.queued);
  metrics.dropped_queue_full.Add(dropped(DropCause::kQueueMessages) +
                                 dropped(DropCause::kQueueBytes));
  metrics.dropped_expired.Add(dropped(DropCause::kExpired));
  metrics.dropped_outbox.Add(dropped(DropCause::kOutbox));
}

void Leader::Finish(Step& step) {
  if (const auto* const pass = std::get_if<PassBarrier>(&step)) {
    if (--pass->barrier->left == 0) pass->barrier->then();
    return;
  }
  std::visit(
      [this](auto& now) {
        using T = std::decay_t<decltype(now)>;
        static_assert(PartsThat<kFinishes, T> == (std::is_same_v<T, PassBarrier> ? 0 : 1),
                      "one part finishes each step");
        ForEachPart([&](auto& part) {
          if constexpr (requires { part.Finish(now); }) part.Finish(now);
        });
      },
      step);
}

// ---- A round ------------------------------------------------------------------------------------

void Leader::RunTimers() {
  if (settled_) outbox_.Run();
  sessions_.PassOnHeld();
  sessions_.CloseStrangers();
  expiry_.Run();
}

std::optional<absl::Duration> Leader::NextWake() const {
  const std::optional<absl::Duration> next = sessions_.NextHeld();
  if (!deliveries_.wants_pump()) return next;
  const absl::Duration pump_at = std::max(node_.now.monotonic, read_again_at_);
  return std::min(next.value_or(pump_at), pump_at);
}

std::optional<absl::Duration> Leader::NextTimer() const {
  std::optional<absl::Duration> next = expiry_.Next();
  if (next.has_value()) next = std::max(*next, read_again_at_);
  const auto consider = [&](std::optional<absl::Duration> at) {
    if (at.has_value()) next = next.has_value() ? std::min(*next, *at) : *at;
  };
  if (const auto due = timers_.NextDeadline();
      due.has_value() && node_.RoomForWills() && outbox_.HasRoomForWill()) {
    consider(node_.now.monotonic + absl::Milliseconds(*due - Now()));
  }
  if (settled_) consider(outbox_.Next());
  consider(sessions_.NextStrangers());
  return next;
}

std::optional<ConnectionRef> Leader::ConnectionOf(std::string_view client_id) const {
  const Claim* const claim = sessions_.ClaimOf(client_id);
  if (claim == nullptr || claim->state != Claim::State::kOpen) return std::nullopt;
  return claim->connection;
}

}  // namespace storage
