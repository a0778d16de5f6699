// A partition's subscriptions, and the replay of retained messages that they ask for.
#include <utility>

#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"

namespace storage {
namespace {

// §3.8.3.1 Retain Handling. A shared subscription gets no retained messages when it is made
// (§4.8.2).
bool WantsReplay(const SubscriptionRecord& record, bool existed) {
  if (mqtt::IsShared(record.filter)) return false;
  switch (record.options.retain_handling) {
    case mqtt::RetainHandling::kSend:
      return true;  // [MQTT5-3.3.1-9]
    case mqtt::RetainHandling::kSendIfNew:
      return !existed;  // [MQTT5-3.3.1-10]
    case mqtt::RetainHandling::kDoNotSend:
      return false;  // [MQTT5-3.3.1-11]
  }
  return false;
}

}  // namespace

Outcome Partition::Impl::Apply(const pb::Subscribe& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  const uint64_t last_replay = session->last_replay;
  for (const pb::Subscription& wanted : command.subscriptions()) {
    outcome.existed.push_back(Subscribe(*session, wanted, ctx));
  }
  if (session->last_replay != last_replay) {
    ctx.effects.list.push_back(ReplayPending{session->slot});
  }
  return outcome;
}

// Makes or replaces a subscription [MQTT-3.8.4-3]. Whether it existed.
bool Partition::Impl::Subscribe(Session& session, const pb::Subscription& wanted,
                                ApplyContext& ctx) {
  const auto found = session.subscriptions.find(wanted.filter());
  const bool existed = found != session.subscriptions.end();
  SessionSubscription* subscription = nullptr;
  if (existed) {
    subscription = found->second.get();
  } else {
    auto made = std::make_unique<SessionSubscription>();
    subscription = made.get();
    subscription->session = &session;
    subscription->record.filter = wanted.filter();
    session.subscriptions.emplace(subscription->record.filter, std::move(made));
    subscriptions_bytes_ += SubscriptionBytes(subscription->record.filter);
  }
  SubscriptionRecord& record = subscription->record;
  record.options = mqtt::SubscriptionOptions::FromByte(static_cast<uint8_t>(wanted.options()));
  record.subscription_id = wanted.subscription_id();

  if (mqtt::IsShared(record.filter)) {
    if (!session.had_shared) {
      session.had_shared = true;
      sessions_.Touch(session, &Session::Changes::record);
    }
    const auto state = session.connected ? ShareMemberChange::State::kConnected
                                         : ShareMemberChange::State::kOffline;
    ctx.effects.list.push_back(ShareMemberChanged{state, session.slot, session.client_id, record});
  } else if (!existed && index_.Add(*subscription)) {
    ctx.effects.list.push_back(RouteChanged{true, record.filter});
  }
  if (WantsReplay(record, existed)) {
    session.replays.EraseOf(record.filter);  // It starts again.
    session.replays.Add({++session.last_replay, record.filter, ctx.order, {}});
    sessions_.Touch(session, &Session::Changes::record);
    sessions_.Touch(session, &Session::Changes::replays);
  }
  digest_.Add(Change::kSubscribed, session.epoch, StableHash(record.filter),
              uint64_t{record.options.ToByte()} << 32 | record.subscription_id);
  pb::Subscription stored = wanted;
  stored.clear_filter();
  ctx.Batch().Put(SubscriptionKey(id_, session.client_id, record.filter),
                  stored.SerializeAsString());
  return existed;
}

Outcome Partition::Impl::Apply(const pb::Unsubscribe& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  for (const std::string& filter : command.filters()) {
    outcome.existed.push_back(Unsubscribe(*session, filter, ctx));
  }
  return outcome;
}

// What is queued already stays: it may be sent, and what is in flight must be [MQTT-3.10.4-2,-3].
bool Partition::Impl::Unsubscribe(Session& session, std::string_view filter, ApplyContext& ctx) {
  const auto found = session.subscriptions.find(filter);
  if (found == session.subscriptions.end()) return false;
  SessionSubscription& subscription = *found->second;
  if (mqtt::IsShared(filter)) {
    ctx.effects.list.push_back(ShareMemberChanged{ShareMemberChange::State::kGone, session.slot,
                                                  session.client_id, subscription.record});
  }
  RemoveFromIndex(subscription, ctx);
  digest_.Add(Change::kUnsubscribed, session.epoch, StableHash(filter));
  subscriptions_bytes_ -= SubscriptionBytes(filter);
  if (session.replays.EraseOf(filter)) sessions_.Touch(session, &Session::Changes::replays);
  ctx.Batch().Delete(SubscriptionKey(id_, session.client_id, filter));
  const std::unique_ptr<SessionSubscription> doomed = std::move(found->second);  // Holds the key.
  session.subscriptions.erase(found);
  return true;
}

void Partition::Impl::RemoveFromIndex(SessionSubscription& subscription, ApplyContext& ctx) {
  if (subscription.entry == nullptr) return;
  if (index_.Remove(subscription)) {
    ctx.effects.list.push_back(RouteChanged{false, subscription.record.filter});
  }
}

Outcome Partition::Impl::Apply(const pb::EnqueueRetainedPage& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  for (const uint64_t number : command.over()) {
    if (session->replays.Find(number) == nullptr) continue;
    session->replays.Erase(number);
    sessions_.Touch(*session, &Session::Changes::replays);
  }
  const RetainedReplay* const replay = session->replays.Find(command.replay());
  if (replay == nullptr) {
    outcome.code = OutcomeCode::kNothing;
    return outcome;
  }
  const SubscriptionRecord& record = session->FindSubscription(replay->filter)->record;
  for (const std::string& bytes : command.messages()) {
    const std::optional<mqtt::MessageParts> parts = ParseStoredMessage(bytes);
    if (!parts.has_value()) {
      ctx.StopAtUnreadable("a retained message");
      return outcome;
    }
    if (record.options.no_local && parts->publisher == session->client_id) continue;
    Incoming incoming{bytes, *parts, {}};
    ChunkEntry how;
    how.qos = mqtt::Min(parts->qos, record.options.qos);
    how.retain = true;  // [MQTT311-3.3.1-8]
    if (record.subscription_id != 0) how.subscription_ids.push_back(record.subscription_id);
    if (how.qos == mqtt::QoS::kAtMostOnce) {
      SendNow(*session, how, incoming, ctx, Source::kReplay);
    } else {
      AppendMessage(*session, how, incoming, ctx);
    }
    if (!ctx.status.ok()) return outcome;
  }
  if (command.last()) {
    session->replays.Erase(command.replay());
  } else {
    session->replays.MoveOn(command.replay(), command.next_cursor());
    ctx.effects.list.push_back(ReplayPending{session->slot});
  }
  digest_.Add(Change::kReplayed, session->epoch, command.replay(), command.last() ? 1 : 0);
  sessions_.Touch(*session, &Session::Changes::replays);
  return outcome;
}

}  // namespace storage
