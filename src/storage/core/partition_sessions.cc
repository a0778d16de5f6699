// A partition's sessions: who has which, until when, and what becomes of wills.
#include <algorithm>
#include <utility>

#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"

namespace storage {
namespace {

constexpr int64_t kMsPerSecond = 1000;

bool HasEnded(const Session& session, int64_t now_unix_ms) {
  return !session.connected && session.ends_at_unix_ms != 0 &&
         session.ends_at_unix_ms <= now_unix_ms;
}

}  // namespace

// §3.1.2.4 Clean Start, §3.1.2.11.2 Session Expiry Interval. Every opening takes a new epoch, kept
// or not, so that whatever an older connection still sends is known as stale.
Outcome Partition::Impl::Apply(const pb::OpenSession& command, ApplyContext& ctx) {
  Outcome outcome;
  mqtt::MessagePtr will;
  if (!command.will().empty() && !(will = DecodeStoredMessage(command.will()))) {
    ctx.StopAtUnreadable("a will");
    return outcome;
  }
  outcome.epoch = meta_.last_epoch() + 1;
  meta_.set_last_epoch(outcome.epoch);
  Session* session = sessions_.Find(command.client_id());

  // The host said nothing of its end: as if the connection was lost. No timers are reported: the
  // session goes on, or ends with this command and leaves its slot to others.
  if (session != nullptr && session->connected && !Close(*session, {}, ctx)) session = nullptr;
  if (session != nullptr) {
    if (FateOfWill(*session, command.clean_start(), ctx.now_unix_ms) == WillFate::kFire &&
        rules().wills_in_outbox) {
      outbox_.LeaveWill(*session, ctx.now_unix_ms, ctx);
    }
    session->will = {};
    if (command.clean_start() || HasEnded(*session, ctx.now_unix_ms)) {  // [MQTT5-3.1.2-4]
      End(*session, ctx);
      session = nullptr;
    }
  }
  outcome.session_present = session != nullptr;
  outcome.durable = session != nullptr || command.expiry_s() > 0;
  if (session == nullptr) {
    if (command.expiry_s() == 0 && !will) return outcome;  // Nothing to keep.
    session = &sessions_.Add(command.client_id());
    session->created_at_unix_ms = ctx.now_unix_ms;
  }
  outcome.slot = session->slot;
  session->user_name = command.user_name();
  session->listener = command.listener();
  session->version = static_cast<mqtt::Version>(command.version());
  session->epoch = outcome.epoch;
  session->expiry_s = command.expiry_s();
  session->window_messages = std::max(command.window_messages(), 1u);
  session->connected = true;
  session->resumed = outcome.session_present;
  session->owner = ReadOwner(command.owner());
  session->disconnected_at_unix_ms = 0;
  session->ends_at_unix_ms = 0;
  session->will = {std::move(will), command.will_delay_s(), 0};
  digest_.Add(Change::kOpened, session->epoch, StableHash(session->client_id),
              uint64_t{session->expiry_s} << 32 | session->window_messages);
  sessions_.Touch(*session, &Session::Changes::record);
  ReportMembership(*session, ShareMemberChange::State::kConnected, ctx);
  if (!session->replays.empty()) ctx.effects.list.push_back(ReplayPending{session->slot});
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::CloseSession& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  if (!session->connected) {
    outcome.code = OutcomeCode::kNothing;
    return outcome;
  }
  Ending ending;
  ending.cause = command.cause();
  if (command.has_expiry_s()) ending.expiry_s = command.expiry_s();
  if (command.has_sent_through()) ending.sent_through = command.sent_through();
  if (Close(*session, ending, ctx)) {
    ReportTimers(*session, ctx);
  } else {
    outcome.slot = kNoSlot;
  }
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::CloseNode& command, ApplyContext& ctx) {
  const NodeId node(static_cast<uint16_t>(command.node()));
  const auto is_meant = [&](const Session& session) {
    return session.connected && session.owner.node == node &&
           (command.incarnation() == 0 ||
            session.owner.incarnation.value() <= command.incarnation());
  };
  // In an order that does not depend on memory: records of the outbox are numbered.
  for (Session* const session : sessions_.InOrder(is_meant)) {
    if (Close(*session, {}, ctx)) ReportTimers(*session, ctx);
  }
  origins_.ForgetNode(node, Incarnation(command.incarnation()));
  return {};
}

Outcome Partition::Impl::Apply(const pb::ExpireSession& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  if (!HasEnded(*session, ctx.now_unix_ms) || session->will.message) {
    outcome.code = OutcomeCode::kNotDue;
    return outcome;
  }
  End(*session, ctx);
  outcome.slot = kNoSlot;
  return outcome;
}

// At most once: the will is gone from its session with the entry that puts it into the outbox.
Outcome Partition::Impl::Apply(const pb::FireWill& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  if (session->connected || !session->will.message) {
    outcome.code = OutcomeCode::kNothing;
    return outcome;
  }
  if (command.outbox_at_unix_ms() != 0) {
    outbox_.LeaveWill(*session, command.outbox_at_unix_ms(), ctx);
  } else if (command.orphan_at_unix_ms() != 0) {  // Of an earlier release.
    const mqtt::MessagePtr published =
        mqtt::Restamp(*session->will.message, command.orphan_at_unix_ms());
    pb::OutboxRecord record;
    record.set_message(EncodeStoredMessage(*published));
    outbox_.LeaveWithinBounds(record, published->expires_at_unix_ms(), ctx);
  }
  session->will = {};
  if (HasEnded(*session, ctx.now_unix_ms)) {
    End(*session, ctx);
    outcome.slot = kNoSlot;
    return outcome;
  }
  sessions_.Touch(*session, &Session::Changes::record);
  return outcome;
}

// The connection is gone. The session may end with it: then `session` is no more.
bool Partition::Impl::Close(Session& session, const Ending& ending, ApplyContext& ctx) {
  session.queue.MarkSentThrough(ending.sent_through.value_or(MaybeSentThrough(session)));
  session.connected = false;
  session.owner = {};
  session.disconnected_at_unix_ms = ctx.now_unix_ms;
  if (ending.expiry_s.has_value()) session.expiry_s = *ending.expiry_s;
  session.ends_at_unix_ms =
      session.expiry_s == kExpiryNever ? 0 : ctx.now_unix_ms + session.expiry_s * kMsPerSecond;
  if (ending.cause == pb::CloseSession::NORMAL) session.will = {};  // [MQTT-3.1.2-10]
  if (session.will.message) {
    int64_t due = ctx.now_unix_ms + session.will.delay_s * kMsPerSecond;
    // When the session ends before the delay is over, the will is due then [MQTT5-3.1.2-8].
    if (session.ends_at_unix_ms != 0) due = std::min(due, session.ends_at_unix_ms);
    session.will.due_at_unix_ms = due;
  } else if (session.expiry_s == 0) {
    End(session, ctx);
    return false;
  }
  digest_.Add(Change::kClosed, session.epoch, session.queue.sent_through(),
              static_cast<uint64_t>(session.will.message ? session.will.due_at_unix_ms
                                                         : session.ends_at_unix_ms));
  sessions_.Touch(session, &Session::Changes::record);
  sessions_.Touch(session, &Session::Changes::cursor);
  ReportMembership(session, ShareMemberChange::State::kOffline, ctx);
  return true;
}

void Partition::Impl::ReportTimers(const Session& session, ApplyContext& ctx) {
  ctx.effects.list.push_back(
      TimersSet{session.slot, session.epoch, session.will.due_at_unix_ms, session.ends_at_unix_ms});
}

void Partition::Impl::End(Session& session, ApplyContext& ctx) {
  LeaveQueue(session, ctx);
  digest_.Add(Change::kEnded, session.epoch, session.queue.messages(), session.queue.bytes());
  ReportMembership(session, ShareMemberChange::State::kGone, ctx);
  for (const auto& [filter, subscription] : session.subscriptions) {
    RemoveFromIndex(*subscription, ctx);
    subscriptions_bytes_ -= SubscriptionBytes(filter);
    ctx.Batch().Delete(SubscriptionKey(id_, session.client_id, filter));
  }
  session.replays.ForEach([&](const RetainedReplay& replay) {
    ctx.Batch().Delete(ReplayKey(id_, session.client_id, replay.number));
  });
  for (const uint64_t number : session.replays.TakeChanged()) {
    ctx.Batch().Delete(ReplayKey(id_, session.client_id, number));
  }
  ctx.Batch().Delete(SessionKey(id_, session.client_id));
  ctx.Batch().Delete(CursorKey(id_, session.client_id));
  entries_.Delete(session, ctx.Batch());
  ctx.effects.list.push_back(
      SessionEnded{session.slot, session.client_id, session.user_name, session.epoch});
  if (session.crowded) --crowded_;
  sessions_.Remove(session);
}

void Partition::Impl::ReportMembership(const Session& session, ShareMemberChange::State state,
                                       ApplyContext& ctx) {
  for (const auto& [filter, subscription] : session.subscriptions) {
    if (!mqtt::IsShared(filter)) continue;
    ctx.effects.list.push_back(
        ShareMemberChanged{state, session.slot, session.client_id, subscription->record});
  }
}

}  // namespace storage
