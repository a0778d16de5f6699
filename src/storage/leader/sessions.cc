// Stored sessions: opened, closed, and ended where there is no room for another.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/message_codec.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

// Sessions without content that end for each client that is refused while memory is short.
constexpr int kGiveWayAtOnce = 32;

}  // namespace

// ---- Opening ------------------------------------------------------------------------------------

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

// ---- Closing ------------------------------------------------------------------------------------

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

void HostCore::On(PartitionId partition, SessionEnded& effect) {
  auto& slots = slots_[partition];
  if (effect.slot < slots.size()) slots[effect.slot] = nullptr;
  HasRoomAgain(effect.client_id);
  census_.Went(effect.user_name);
}

// ---- Room for sessions --------------------------------------------------------------------------

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

}  // namespace storage
