#include "storage/leader/sessions.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/message_codec.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/retained_scans.h"
#include "storage/leader/routes.h"

namespace storage {
namespace {

// Sessions without content that end for each client that is refused while memory is short.
constexpr int kGiveWayAtOnce = 32;

}  // namespace

// ---- Opening ------------------------------------------------------------------------------------

void Sessions::ProposeOpen(const OpenSession& request, const Session* stored) {
  auto claim = std::make_unique<Claim>(request.client_id, Claim::State::kOpening);
  claim->connection = request.connection;
  claim->owner = OwnerHash(request.user_name);
  claim->feed = std::make_unique<Claim::Feed>();
  claim->feed->window_messages = request.window_messages;
  claim->feed->window_bytes = request.window_bytes;
  claim->feed->packet_size_max = request.packet_size_max;
  Claim::Opening& opening = claim->opening_state();
  opening.token = request.token;
  opening.user_name = request.user_name;
  opening.counted = stored == nullptr || request.clean_start;
  if (opening.counted) node_.census.Came(request.user_name);
  FinishOpen step;
  step.client_id = request.client_id;
  if (stored != nullptr) step.former_user = stored->user_name;
  step.adds = stored == nullptr;
  if (step.adds) ++node_.opening_new;
  pb::OpenSession& open = *Propose(&step.command).mutable_open_session();
  open.set_client_id(request.client_id);
  open.set_user_name(request.user_name);
  open.set_listener(request.listener);
  WriteOwner(request.connection, *open.mutable_owner());
  open.set_version(static_cast<uint32_t>(request.version));
  open.set_clean_start(request.clean_start);
  open.set_expiry_s(request.expiry_s);
  open.set_window_messages(std::max<uint32_t>(request.window_messages, 1));
  if (request.will) {
    open.set_will(EncodeStoredMessage(*request.will));
    open.set_will_delay_s(request.will_delay_s);
  }
  NeedSync();
  Then(std::move(step));
  claims_.insert(std::move(claim));
}

void Sessions::Finish(FinishOpen& step) {
  Claim* const claim = FindClaim(step.client_id);
  CHECK(claim != nullptr) << "a claim stays until its open is committed";
  const Outcome& outcome = OutcomeAt(step.command);
  CHECK(outcome.code == OutcomeCode::kOk) << "an open has no reason to fail";
  Claim::Opening& opening = *claim->opening;
  const std::string user_name = std::move(opening.user_name);
  const bool counted = std::exchange(opening.counted, false);
  if (step.adds) --node_.opening_new;
  if (counted && outcome.slot == kNoSlot) node_.census.Went(user_name);  // Nothing to keep.
  if (!counted && outcome.slot != kNoSlot) {
    if (outcome.session_present) node_.census.Went(step.former_user);
    node_.census.Came(user_name);
  }
  claim->epoch = outcome.epoch;
  claim->stored = outcome.slot != kNoSlot;
  claim->feed->slot = outcome.slot;
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
  node_.Send(claim->connection.address(),
             TakenOver{claim->connection, step.client_id, claim->epoch});
}

void Sessions::Refuse(FinishOpen& step, const absl::Status& why) {
  Claim* const claim = FindClaim(step.client_id);
  const Claim::Opening& opening = *claim->opening;
  if (step.adds) --node_.opening_new;
  if (opening.counted) node_.census.Went(opening.user_name);
  if (!opening.closed_early.has_value()) {
    SessionOpened refused;
    refused.token = opening.token;
    refused.refusal = OpenRefusal::kStorage;
    refused.status = why;
    node_.Send(claim->connection.address(), std::move(refused));
  }
  Forget(step.client_id);
  if (FindClaim(step.client_id) != nullptr) return;
  // It stays away. While it was about to come, what was due has been passed over, and so may the
  // session have been when another was to give way.
  const Session* const session = partition().Find(step.client_id);
  if (session == nullptr || session->connected) return;
  leader_.timers().ArmDeadlines(*session);
  NoteAway(*session);
}

void Sessions::AnswerOpened(Claim& claim, const Outcome& outcome) {
  SessionOpened opened;
  opened.token = claim.opening->token;
  opened.session_present = outcome.session_present;
  opened.durable = outcome.durable;
  opened.partition = id_;
  opened.epoch = claim.epoch;
  if (!claim.stored) {
    claim.feed.reset();
    node_.Send(claim.connection.address(), std::move(opened));
    return;
  }
  const Session& session = partition().session(claim.feed->slot);
  for (const auto& [filter, subscription] : session.subscriptions) {
    opened.subscriptions.push_back(subscription->record);
  }
  opened.inbound_qos2 = session.queue.inbound();
  node_.Send(claim.connection.address(), std::move(opened));

  Attach(claim);
  claim.feed->confirmed = true;
  claim.feed->window =
      DeliveryWindow(claim.feed->window_messages, claim.feed->window_bytes, session.queue.head());
  claim.feed->behind = session.queue.messages() > 0;
  node_.metrics.sessions_connected.Add();
  leader_.deliveries().ListForPump(claim);
  HoldReplays(claim, session);
}

// The connection before may have gone before all shards knew its routes.
void Sessions::HoldReplays(Claim& claim, const Session& session) {
  if (session.replays.empty()) return;
  ++claim.feed->replays_held;
  PartitionMask reads = 0;
  session.replays.ForEach(
      [&](const RetainedReplay& replay) { reads |= node_.scans->PartitionsOf(replay.filter); });
  node_.routes->Wait({.partition = id_,
                      .life = leader_.life(),
                      .shard = {},
                      .event = std::nullopt,
                      .replays = std::string(claim.client_id),
                      .epoch = claim.epoch,
                      .reads = reads,
                      .call = nullptr});
}

void Sessions::Attach(Claim& claim) {
  const SessionSlot slot = claim.feed->slot;
  if (slots_.size() <= slot) slots_.resize(slot + 1, nullptr);
  slots_[slot] = &claim;
}

void Sessions::OnReloaded() {
  slots_.clear();
  for (const auto& claim : claims_) {
    if (claim->state != Claim::State::kOpen || !claim->stored) continue;
    const Session* const session = partition().Find(claim->client_id);
    if (session == nullptr) continue;
    claim->feed->slot = session->slot;
    Attach(*claim);
  }
}

// ---- Closing ------------------------------------------------------------------------------------

void Sessions::Handle(const Asker& from, CloseSession& request) {
  if (request.cause == CloseCause::kServerShutdown && node_.shards.IsOwn(from.slot)) {
    node_.shutting_down = true;
  }
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

void Sessions::ProposeClose(Claim& claim, const CloseSession& request) {
  FinishClose step;
  step.client_id = claim.client_id.view();
  pb::CloseSession& close = *Propose().mutable_close_session();
  close.set_client_id(step.client_id);
  close.set_epoch(claim.epoch);
  close.set_cause(request.cause == CloseCause::kNormal ? pb::CloseSession::NORMAL
                                                       : pb::CloseSession::WITH_WILL);
  if (request.expiry_s.has_value()) close.set_expiry_s(*request.expiry_s);
  close.set_sent_through(request.sent_through.value_or(claim.feed->window.sent_through()));
  Detach(claim);
  claim.state = Claim::State::kBusy;
  claim.connection = {};
  NeedSync();
  Then(std::move(step));
}

void Sessions::Detach(Claim& claim) {
  if (claim.state != Claim::State::kOpen || !claim.stored) return;
  if (AtSlot(claim.feed->slot) == &claim) slots_[claim.feed->slot] = nullptr;
  claim.feed->behind = false;
  node_.metrics.sessions_connected.Add(-1);
}

void Sessions::Finish(FinishClose& step) { Forget(step.client_id); }

void Sessions::On(SessionEnded& effect) {
  if (effect.slot < slots_.size()) slots_[effect.slot] = nullptr;
  leader_.room().HasRoomAgain(effect.client_id);
  leader_.expiry().Forget(effect.client_id);
  node_.census.Went(effect.user_name);
}

// ---- Room for sessions --------------------------------------------------------------------------

OpenRefusal Sessions::MakeRoomFor(const OpenSession& request, const Session* stored) {
  using Holds = SessionCensus::Holds;
  if (request.only_known && stored == nullptr) {
    for (int i = 0; i < kGiveWayAtOnce && node_.EndOldestAway(Holds::kNothing); ++i) {
    }
    return OpenRefusal::kNewWhileMemoryIsShort;
  }
  if (request.expiry_s == 0) return OpenRefusal::kNone;
  const bool is_new = stored == nullptr || stored->user_name != request.user_name;
  if (is_new && request.user_sessions_max != 0 && !request.user_name.empty() &&
      node_.census.OfUser(request.user_name) >= request.user_sessions_max) {
    return OpenRefusal::kUserSessionsMax;
  }
  if (stored != nullptr || node_.options.sessions_max == 0 ||
      node_.StoredSessions() + node_.opening_new < node_.options.sessions_max + node_.giving_way) {
    return OpenRefusal::kNone;
  }
  if (node_.EndOldestAway(Holds::kNothing)) return OpenRefusal::kNone;
  if (node_.options.sessions_full == SessionsFull::kEndOldest &&
      node_.EndOldestAway(Holds::kSomething)) {
    return OpenRefusal::kNone;
  }
  return OpenRefusal::kSessionsMax;
}

// As if its client had come with Clean Start and gone: a will that waits for its delay is
// published.
void Sessions::EndAway(SessionSlot slot, Why why) {
  const Session& session = partition().session(slot);
  pb::OpenSession& open = *Propose().mutable_open_session();
  open.set_client_id(session.client_id);
  open.set_version(static_cast<uint32_t>(session.version));
  open.set_clean_start(true);
  Occupy(session.client_id);
  const bool gives_way = why == Why::kGivesWay;
  if (gives_way) ++node_.giving_way;
  NeedSync();
  Then(FinishTimer{.client_id = session.client_id, .gives_way = gives_way});
}

bool Sessions::IsAway(SessionSlot slot, uint64_t epoch) const {
  const Session* const session = partition().FindSlot(slot);
  return leader_.serving() && replica_.status().ok() && session != nullptr &&
         session->epoch == epoch && !session->connected && ClaimOf(session->client_id) == nullptr;
}

void Sessions::NoteAway(const Session& session) {
  const bool nothing = session.subscriptions.empty() && session.queue.messages() == 0 &&
                       session.queue.inbound().empty() && !session.will.message;
  node_.census.IsAway({session.epoch, session.slot, id_},
                      nothing ? SessionCensus::Holds::kNothing : SessionCensus::Holds::kSomething);
  if (!node_.census.WantsPrune()) return;
  node_.census.Prune([this](const SessionCensus::Away& away) { return node_.StillAway(away); });
}

// Those that the replica has not yet.
void Sessions::CountOpening() {
  for (const auto& claim : claims_) {
    const Claim::Opening* const opening = claim->opening.get();
    if (opening != nullptr && opening->counted) node_.census.Came(opening->user_name);
  }
}

}  // namespace storage
