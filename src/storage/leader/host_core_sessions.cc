// Claims on Client Identifiers, the ends of sessions, wills.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "base/by_name.h"
#include "base/check.h"
#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/message_codec.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

// Sessions without content that end for each client that is refused while memory is short.
constexpr int kGiveWayAtOnce = 32;

absl::Status WordsFor(OpenRefusal refusal) {
  switch (refusal) {
    case OpenRefusal::kNewWhileMemoryIsShort:
      return absl::UnavailableError("memory is short: only clients with a session are let in");
    case OpenRefusal::kSessionsMax:
      return absl::ResourceExhaustedError("storage.sessions_max is reached");
    case OpenRefusal::kUserSessionsMax:
      return absl::ResourceExhaustedError("user_sessions_max is reached");
    default:
      return absl::OkStatus();
  }
}

}  // namespace

Claim* HostCore::FindClaim(std::string_view client_id) {
  const auto it = claims_.find(client_id);
  return it == claims_.end() ? nullptr : it->get();
}

// The claim if it is open, has a record, and the request comes from its connection.
Claim* HostCore::OwnerOf(std::string_view client_id, uint64_t epoch) {
  Claim* const claim = FindClaim(client_id);
  const bool owns = claim != nullptr && claim->state == Claim::State::kOpen && claim->stored &&
                    claim->epoch == epoch;
  return owns ? claim : nullptr;
}

// ---- Opening -----------------------------------------------------------------------------------

void HostCore::Handle(ShardId /*from*/, OpenSession& request) {
  Claim* const claim = FindClaim(request.client_id);
  const Session* const stored =
      partitions_[PartitionOf(request.client_id)]->Find(request.client_id);
  if (BelongsToAnother(request, claim, stored)) return RefuseOtherUser(request);
  const bool exists = stored != nullptr;
  const bool logged = request.expiry_s > 0 || request.will || exists ||
                      (claim != nullptr && (claim->stored || claim->state != Claim::State::kOpen));
  if (logged) {
    const absl::Status refusal = Refusal(/*stores=*/!exists);
    if (!refusal.ok()) return RefuseOpen(request, OpenRefusal::kStorage, refusal);
  }
  if (claim != nullptr) {
    request.only_known = false;  // It is known: its connection is here.
    return Evict(*claim, std::move(request));
  }
  Grant(std::move(request));
}

// ---- Room for sessions -------------------------------------------------------------------------

uint64_t HostCore::StoredSessions() const {
  uint64_t sessions = 0;
  for (const auto& partition : partitions_) sessions += partition->session_count();
  return sessions;
}

OpenRefusal HostCore::MakeRoomFor(const OpenSession& request, const Session* stored) {
  using Holds = SessionCensus::Holds;
  if (request.only_known && stored == nullptr) {
    for (int i = 0; i < kGiveWayAtOnce && EndOldestAway(Holds::kNothing); ++i) {
    }
    return OpenRefusal::kNewWhileMemoryIsShort;
  }
  if (request.expiry_s == 0) return OpenRefusal::kNone;
  const bool is_new = stored == nullptr || stored->user_name != request.user_name;
  if (is_new && request.user_sessions_max != 0 && !request.user_name.empty() &&
      census_.OfUser(request.user_name) >= request.user_sessions_max) {
    return OpenRefusal::kUserSessionsMax;
  }
  if (stored != nullptr || options_.sessions_max == 0 ||
      StoredSessions() + opening_new_ < options_.sessions_max + giving_way_) {
    return OpenRefusal::kNone;
  }
  if (EndOldestAway(Holds::kNothing)) return OpenRefusal::kNone;
  if (options_.sessions_full == SessionsFull::kEndOldest && EndOldestAway(Holds::kSomething)) {
    return OpenRefusal::kNone;
  }
  return OpenRefusal::kSessionsMax;
}

// As if its client had come with Clean Start and gone: a will that waits for its delay is
// published.
bool HostCore::EndOldestAway(SessionCensus::Holds holds) {
  const auto oldest = census_.TakeOldest(
      holds, [this](const SessionCensus::Away& away) { return StillAway(away); });
  if (!oldest.has_value()) return false;
  const Session& session = *partitions_[oldest->partition]->FindSlot(oldest->slot);
  const int64_t now_ms = now_.unix_ms;
  if (FateOfWill(session, /*clean_start=*/true, now_ms) == WillFate::kFire) {
    ProposeWill(session);
  }
  pb::OpenSession& open = *Propose(oldest->partition).mutable_open_session();
  open.set_client_id(session.client_id);
  open.set_version(static_cast<uint32_t>(session.version));
  open.set_clean_start(true);
  claims_.insert(
      std::make_unique<Claim>(session.client_id, oldest->partition, Claim::State::kBusy));
  ++giving_way_;
  growing_->NeedSync();
  growing_->Then(FinishTimer{.client_id = session.client_id, .gives_way = true});
  return true;
}

bool HostCore::StillAway(const SessionCensus::Away& away) const {
  const Session* const session = partitions_[away.partition]->FindSlot(away.slot);
  return session != nullptr && session->epoch == away.epoch && !session->connected &&
         !claims_.contains(std::string_view(session->client_id));
}

void HostCore::NoteAway(PartitionId partition, const Session& session) {
  const bool nothing = session.subscriptions.empty() && session.queue.messages() == 0 &&
                       session.queue.inbound().empty() && !session.will.message;
  census_.IsAway({session.epoch, session.slot, partition},
                 nothing ? SessionCensus::Holds::kNothing : SessionCensus::Holds::kSomething);
  if (!census_.WantsPrune()) return;
  census_.Prune([this](const SessionCensus::Away& away) { return StillAway(away); });
}

void HostCore::RecountSessions() {
  census_ = {};
  std::vector<std::pair<PartitionId, const Session*>> away;
  for (const auto& partition : partitions_) {
    partition->ForEachSession([&](const Session& session) {
      census_.Came(session.user_name);
      if (!session.connected) away.emplace_back(partition->id(), &session);
    });
  }
  std::sort(away.begin(), away.end(), [](const auto& a, const auto& b) {
    return a.second->disconnected_at_unix_ms < b.second->disconnected_at_unix_ms;
  });
  for (const auto& [partition, session] : away) NoteAway(partition, *session);
}

// A session belongs to the user who opened it: nobody else resumes, ends or takes it over, also not
// with Clean Start. One that an anonymous client opened is nobody's, and the next one's who comes.
bool HostCore::BelongsToAnother(const OpenSession& request, const Claim* claim,
                                const Session* stored) const {
  if (request.of_any_user) return false;
  if (claim != nullptr) {
    if (claim->waited_for() && !claim->opening->waiting.back().user_name.empty() &&
        claim->opening->waiting.back().user_name != request.user_name) {
      return true;
    }
    // While it is being ended what it is then decides: Grant asks again.
    if (claim->state == Claim::State::kBusy) return false;
    if (claim->owner != 0 && claim->owner != OwnerHash(request.user_name)) return true;
  }
  if (stored == nullptr || stored->user_name.empty()) return false;
  const bool has_ended =
      !stored->connected && stored->ends_at_unix_ms != 0 && stored->ends_at_unix_ms <= now_.unix_ms;
  return !has_ended && stored->user_name != request.user_name;
}

uint32_t HostCore::OwnerHash(std::string_view user_name) const {
  if (user_name.empty()) return 0;
  return static_cast<uint32_t>(absl::HashOf(owner_key_, base::AbslView(user_name))) | 1;
}

void HostCore::RefuseOtherUser(const OpenSession& request) {
  RefuseOpen(request, OpenRefusal::kOtherUser,
             absl::PermissionDeniedError("the Client Identifier belongs to another user"));
}

// The newest claim waits until the owner has let go; an older one that waited is told at once.
// Somebody has the identifier, or is about to.
void HostCore::Evict(Claim& claim, OpenSession request) {
  const IdentifierFights::Report report =
      fights_.OnTakeover(claim.client_id.view(), now_.monotonic);
  if (report.takeovers > 0) {
    base::Log(base::LogLevel::kWarning,
              "several clients connect with the same Client Identifier: each disconnects the other",
              {{"client", base::Shortened(request.client_id)},
               {"user", base::Shortened(request.user_name)},
               {"takeovers", report.takeovers},
               {"pause_ms",
                absl::ToInt64Milliseconds(fights_.PauseOf(request.client_id, now_.monotonic))},
               {"others_not_named", report.left_out}});
  }
  Await(claim, std::move(request));
}

// Waits until all before it have let go. Who has it is told to; who is about to get it gets it
// first. Each is answered, but for the oldest if too many wait: that one is refused.
void HostCore::Await(Claim& claim, OpenSession request) {
  constexpr size_t kWaitingMax = 4;
  Claim::Opening& opening = claim.opening_state();
  if (opening.waiting.empty() && claim.state == Claim::State::kOpen) {
    Send(claim.connection.shard,
         TakenOver{claim.connection, std::string(claim.client_id), claim.epoch});
  }
  if (opening.waiting.size() == kWaitingMax) {
    RefuseOpen(opening.waiting.front(), OpenRefusal::kIdentifierFight,
               absl::AbortedError("too many others connect with the same Client Identifier"));
    opening.waiting.erase(opening.waiting.begin());
  }
  opening.waiting.push_back(std::move(request));
}

// True: the connection was one of those that wait, and is not any more.
bool HostCore::StopAwaiting(Claim& claim, const ConnectionRef& connection) {
  if (!claim.waited_for()) return false;
  return std::erase_if(claim.opening->waiting, [&](const OpenSession& request) {
           return request.connection == connection;
         }) > 0;
}

// Nobody has the identifier.
void HostCore::Grant(OpenSession request) {
  const Session* const stored =
      partitions_[PartitionOf(request.client_id)]->Find(request.client_id);
  if (BelongsToAnother(request, nullptr, stored)) return RefuseOtherUser(request);
  if (stored == nullptr && request.expiry_s == 0 && !request.will) {
    return GrantUnlogged(request);
  }
  const absl::Status refusal = Refusal(/*stores=*/stored == nullptr);
  if (!refusal.ok()) return RefuseOpen(request, OpenRefusal::kStorage, refusal);
  const OpenRefusal no_room = MakeRoomFor(request, stored);
  if (no_room != OpenRefusal::kNone) return RefuseOpen(request, no_room, WordsFor(no_room));
  ProposeOpen(request, stored);
}

void HostCore::GrantUnlogged(const OpenSession& request) {
  auto claim = std::make_unique<Claim>(request.client_id, PartitionOf(request.client_id),
                                       Claim::State::kOpen);
  claim->connection = request.connection;
  claim->owner = OwnerHash(request.user_name);
  // Above all epochs of records, so that one never passes for the other.
  claim->epoch = uint64_t{1} << 63 | ++last_unlogged_epoch_;
  SessionOpened opened;
  opened.token = request.token;
  opened.epoch = claim->epoch;
  claims_.insert(std::move(claim));
  Send(request.connection.shard, std::move(opened));
}

void HostCore::ProposeOpen(const OpenSession& request, const Session* stored) {
  auto claim = std::make_unique<Claim>(request.client_id, PartitionOf(request.client_id),
                                       Claim::State::kOpening);
  claim->connection = request.connection;
  claim->owner = OwnerHash(request.user_name);
  claim->opening_state().token = request.token;
  claim->feed = std::make_unique<Claim::Feed>();
  claim->feed->window_messages = request.window_messages;
  claim->feed->window_bytes = request.window_bytes;
  claim->feed->packet_size_max = request.packet_size_max;
  if (stored != nullptr &&
      FateOfWill(*stored, request.clean_start, now_.unix_ms) == WillFate::kFire) {
    ProposeWill(*stored);
  }
  FinishOpen step;
  step.client_id = request.client_id;
  step.user_name = request.user_name;
  if (stored != nullptr) step.former_user = stored->user_name;
  step.counted = stored == nullptr || request.clean_start;
  if (step.counted) census_.Came(request.user_name);
  step.adds = stored == nullptr;
  if (step.adds) ++opening_new_;
  pb::OpenSession& open = *Propose(claim->partition, {}, &step.open).mutable_open_session();
  open.set_client_id(request.client_id);
  open.set_user_name(request.user_name);
  open.set_listener(request.listener);
  open.set_version(static_cast<uint32_t>(request.version));
  open.set_clean_start(request.clean_start);
  open.set_expiry_s(request.expiry_s);
  open.set_window_messages(std::max<uint32_t>(request.window_messages, 1));
  if (request.will) {
    open.set_will(EncodeStoredMessage(*request.will));
    open.set_will_delay_s(request.will_delay_s);
  }
  growing_->NeedSync();
  growing_->Then(std::move(step));
  claims_.insert(std::move(claim));
}

void HostCore::RefuseOpen(const OpenSession& request, OpenRefusal refusal,
                          const absl::Status& status) {
  SessionOpened refused;
  refused.token = request.token;
  refused.refusal = refusal;
  refused.status = status;
  Send(request.connection.shard, std::move(refused));
}

void HostCore::Finish(FinishOpen& step) {
  Claim* const claim = FindClaim(step.client_id);
  CHECK(claim != nullptr) << "a claim stays until its open is committed";
  const Outcome& outcome = OutcomeAt(step.open);
  CHECK(outcome.code == OutcomeCode::kOk) << "an open has no reason to fail";
  if (step.adds) --opening_new_;
  if (step.counted && outcome.slot == kNoSlot) census_.Went(step.user_name);  // Nothing to keep.
  if (!step.counted && outcome.slot != kNoSlot) {
    if (outcome.session_present) census_.Went(step.former_user);
    census_.Came(step.user_name);
  }
  claim->epoch = outcome.epoch;
  claim->stored = outcome.slot != kNoSlot;
  claim->feed->slot = outcome.slot;
  Claim::Opening& opening = *claim->opening;
  if (opening.closed_early.has_value()) {
    // Its CONNECT is accepted all the same, and its will stands [MQTT-3.1.2-8]: who follows, or its
    // delay, decides about it as about that of any other connection that ended.
    const CloseSession close = *std::move(opening.closed_early);
    if (!claim->stored) return Forget(step.client_id);
    return ProposeClose(*claim, close);
  }
  claim->state = Claim::State::kOpen;
  AnswerOpened(*claim, outcome);
  if (!claim->waited_for()) return claim->opening.reset();
  Send(claim->connection.shard, TakenOver{claim->connection, step.client_id, claim->epoch});
}

void HostCore::AnswerOpened(Claim& claim, const Outcome& outcome) {
  SessionOpened opened;
  opened.token = claim.opening->token;
  opened.session_present = outcome.session_present;
  opened.durable = outcome.durable;
  opened.partition = claim.partition;
  opened.epoch = claim.epoch;
  if (!claim.stored) {
    claim.feed.reset();
    Send(claim.connection.shard, std::move(opened));
    return;
  }
  const Session& session = partitions_[claim.partition]->session(claim.feed->slot);
  for (const auto& [filter, subscription] : session.subscriptions) {
    opened.subscriptions.push_back(subscription->record);
  }
  opened.inbound_qos2 = session.queue.inbound();
  Send(claim.connection.shard, std::move(opened));

  auto& slots = slots_[claim.partition];
  if (slots.size() <= claim.feed->slot) slots.resize(claim.feed->slot + 1, nullptr);
  slots[claim.feed->slot] = &claim;
  claim.feed->window =
      DeliveryWindow(claim.feed->window_messages, claim.feed->window_bytes, session.queue.head());
  claim.feed->behind = session.queue.messages() > 0;
  metrics_.sessions_connected.Add();
  ListForPump(claim);
  if (session.replays.empty()) return;
  // The connection before may have gone before all shards knew its routes.
  ++claim.feed->replays_held;
  routes_.Wait({.shard = 0,
                .event = std::nullopt,
                .replays = {std::string(claim.client_id), claim.epoch},
                .call = nullptr});
}

// ---- Closing -----------------------------------------------------------------------------------

void HostCore::Handle(ShardId /*from*/, CloseSession& request) {
  if (request.cause == CloseCause::kServerShutdown) shutting_down_ = true;
  Claim* const claim = FindClaim(request.client_id);
  if (claim == nullptr) return;
  if (StopAwaiting(*claim, request.connection)) return;  // The owner was told to go, and goes.
  if (claim->connection != request.connection) return;
  switch (claim->state) {
    case Claim::State::kOpening:
      if (!claim->opening->closed_early.has_value())
        claim->opening->closed_early = std::move(request);
      return;
    case Claim::State::kOpen:
      if (request.epoch != 0 && request.epoch != claim->epoch) return;
      if (!claim->stored) return Forget(request.client_id);
      return ProposeClose(*claim, request);
    case Claim::State::kBusy:
      return;
  }
}

void HostCore::ProposeClose(Claim& claim, const CloseSession& request) {
  FinishClose step;
  step.client_id = claim.client_id.view();
  pb::CloseSession& close = *Propose(claim.partition, {}, &step.close).mutable_close_session();
  close.set_client_id(step.client_id);
  close.set_epoch(claim.epoch);
  close.set_cause(request.cause == CloseCause::kNormal ? pb::CloseSession::NORMAL
                                                       : pb::CloseSession::WITH_WILL);
  if (request.expiry_s.has_value()) close.set_expiry_s(*request.expiry_s);
  const uint64_t pushed = claim.feed->window.sent_through();
  close.set_sent_through(std::min(pushed, request.sent_through.value_or(pushed)));
  DetachWindow(claim);
  claim.state = Claim::State::kBusy;
  claim.connection = {};
  growing_->NeedSync();
  growing_->Then(std::move(step));
}

void HostCore::DetachWindow(Claim& claim) {
  if (claim.state != Claim::State::kOpen || !claim.stored) return;
  auto& slots = slots_[claim.partition];
  if (claim.feed->slot < slots.size() && slots[claim.feed->slot] == &claim)
    slots[claim.feed->slot] = nullptr;
  claim.feed->behind = false;
  metrics_.sessions_connected.Add(-1);
}

void HostCore::Finish(FinishClose& step) { Forget(step.client_id); }

void HostCore::Finish(FinishTimer& step) {
  // A deadline that was due meanwhile has been passed over.
  const Session* const session = partitions_[PartitionOf(step.client_id)]->Find(step.client_id);
  if (session != nullptr) ArmDeadlines(*session);
  if (session == nullptr && step.ends) metrics_.sessions_expired.Add();
  if (step.gives_way) {
    --giving_way_;
    if (session == nullptr) metrics_.sessions_gave_way.Add();
    if (session != nullptr) NoteAway(PartitionOf(step.client_id), *session);
  }
  Forget(step.client_id);
}

// Nobody has the identifier any more; whoever waits for it gets it, in a fight after a pause.
void HostCore::Forget(const std::string& client_id) {
  Claim* const claim = FindClaim(client_id);
  CHECK(claim != nullptr) << "a claim is forgotten once";
  const absl::Duration pause =
      claim->waited_for() ? fights_.PauseOf(client_id, now_.monotonic) : absl::ZeroDuration();
  if (pause <= absl::ZeroDuration()) return PassOn(client_id);
  claim->state = Claim::State::kBusy;
  claim->connection = {};
  metrics_.takeovers_held.Add();
  held_.emplace(now_.monotonic + pause, client_id);
}

// The first of those that wait gets it; the others wait for that one.
void HostCore::PassOn(const std::string& client_id) {
  const auto it = claims_.find(std::string_view(client_id));
  std::vector<OpenSession> waiting;
  if ((*it)->waited_for()) waiting = std::move((*it)->opening->waiting);
  claims_.erase(it);
  for (OpenSession& request : waiting) {
    if (Claim* const claim = FindClaim(client_id)) {
      Await(*claim, std::move(request));
    } else {
      Grant(std::move(request));
    }
  }
}

void HostCore::PassOnHeld() {
  while (!held_.empty() && held_.begin()->first <= now_.monotonic) {
    const std::string client_id = std::move(held_.begin()->second);
    held_.erase(held_.begin());
    PassOn(client_id);
    if (FindClaim(client_id) != nullptr) continue;
    // They have all gone. A deadline that was due meanwhile has been passed over.
    const Session* const session = partitions_[PartitionOf(client_id)]->Find(client_id);
    if (session != nullptr && !session->connected) ArmDeadlines(*session);
  }
}

// ---- Deadlines and wills
// -------------------------------------------------------------------------

void HostCore::ArmDeadlines(const Session& session) {
  if (session.will.message && session.will.due_at_unix_ms != 0) {
    deadlines_.Add(session.client_id, session.epoch, session.will.due_at_unix_ms);
  }
  if (session.ends_at_unix_ms != 0) {
    deadlines_.Add(session.client_id, session.epoch, session.ends_at_unix_ms);
  }
  if (!deadlines_.WantsPrune()) return;
  deadlines_.Prune([this](const Deadline& deadline) { return Holds(deadline); });
}

// Whether the session still says so.
bool HostCore::Holds(const Deadline& deadline) const {
  const Session* const session =
      partitions_[PartitionOf(deadline.client_id)]->Find(deadline.client_id);
  if (session == nullptr || session->connected || session->epoch != deadline.epoch) return false;
  const bool will_is_due =
      session->will.message && session->will.due_at_unix_ms == deadline.at_unix_ms;
  return will_is_due || session->ends_at_unix_ms == deadline.at_unix_ms;
}

// While the server ends nothing fires: nobody would hear it. It is due at the next start.
void HostCore::RunDeadlines() {
  while (!shutting_down_ && RoomForBackground()) {
    const auto deadline = deadlines_.Take(now_.unix_ms);
    if (!deadline.has_value()) return;
    OnDeadline(*deadline);
  }
}

void HostCore::OnDeadline(const Deadline& deadline) {
  if (FindClaim(deadline.client_id) != nullptr) return;  // Open again, or just being changed.
  if (!Holds(deadline)) return;
  const PartitionId partition = PartitionOf(deadline.client_id);
  const Session* const session = partitions_[partition]->Find(deadline.client_id);
  const bool fires = session->will.message && session->will.due_at_unix_ms != 0 &&
                     session->will.due_at_unix_ms <= now_.unix_ms;
  if (fires) ProposeWill(*session);
  const bool ends = session->ends_at_unix_ms != 0 && session->ends_at_unix_ms <= now_.unix_ms;
  if (ends) {
    pb::ExpireSession& expire = *Propose(partition).mutable_expire_session();
    expire.set_client_id(session->client_id);
    expire.set_epoch(session->epoch);
  }
  claims_.insert(std::make_unique<Claim>(deadline.client_id, partition, Claim::State::kBusy));
  growing_->NeedSync();
  growing_->Then(FinishTimer{deadline.client_id, ends});
}

void HostCore::ProposeWill(const Session& session) {
  AnnounceWill step;
  // Rights are those of the moment: without them the will is deleted, and nobody hears of it.
  const WillAuthor author{session.client_id, session.user_name, session.listener};
  if (may_publish_ == nullptr || may_publish_(author, session.will.message->topic())) {
    step.message = mqtt::Restamp(*session.will.message, now_.unix_ms);
  }
  pb::FireWill& fire = *Propose(PartitionOf(session.client_id), {}, &step.fire).mutable_fire_will();
  fire.set_client_id(session.client_id);
  fire.set_epoch(session.epoch);
  if (step.message && step.message->qos() != mqtt::QoS::kAtMostOnce &&
      share_members_.AnyFor(step.message->topic())) {
    fire.set_orphan_at_unix_ms(now_.unix_ms);
  }
  if (step.message) EnqueueWill(step.message);
  growing_->Then(std::move(step));
}

// What a will is for, in the commit that fires it: durable sessions, the retained message. Members
// of `$share` groups are chosen by the shard that hears of it, by the strategy it is told to use;
// for groups that have durable ones the same commit keeps an orphan until that is done.
void HostCore::EnqueueWill(const mqtt::MessagePtr& message) {
  Publish publish;
  publish.message = message;
  if (message->qos() != mqtt::QoS::kAtMostOnce) {
    publish.partitions = subscribed_;
    for (size_t id = 0; id < filters_.size(); ++id) {
      if (filters_[id] != 0) publish.partitions |= PartitionMask{1} << id;
    }
  }
  publish.set_retained = message->retain() && CheckRetainedRoom(*message).ok();
  ProposeEnqueues(publish);
  growing_->NeedSync();
}

void HostCore::Finish(AnnounceWill& step) {
  const Outcome& outcome = OutcomeAt(step.fire);
  if (outcome.code != OutcomeCode::kOk) return;
  if (!step.message) return metrics_.wills_not_authorized.Add();
  TellOfWill(std::move(step.message), {step.fire.partition, outcome.orphan});
}

void HostCore::Finish(FinishWill& step) { TellOfWill(std::move(step.message), {}); }

// Of sessions whose identifier somebody opened anew while their wills were still due.
void HostCore::PublishPostponedWills() {
  for (mqtt::MessagePtr& message : std::exchange(postponed_wills_, {})) {
    EnqueueWill(message);
    growing_->Then(FinishWill{std::move(message)});
  }
}

void HostCore::TellOfWill(mqtt::MessagePtr message, OrphanRef orphan) {
  metrics_.wills_published.Add();
  RouteMessage route;
  route.message = std::move(message);
  route.orphan = orphan;
  if (orphan) {
    OfferOrphan(orphan, announce_shard_, std::move(route));
  } else {
    Send(announce_shard_, std::move(route));
  }
  announce_shard_ = static_cast<ShardId>((announce_shard_ + 1) % shards_);
}

}  // namespace storage
