// A partition's queues: what is appended, what is acknowledged, what expires, and what is left.
#include <algorithm>
#include <utility>

#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"

namespace storage {

const mqtt::MessagePtr& Partition::Impl::Incoming::Get() {
  if (!message) message = mqtt::Message::Create(parts);
  return message;
}

// ---- Enqueue -----------------------------------------------------------------------------------

Outcome Partition::Impl::Apply(const EnqueueView& command, const mqtt::MessagePtr& message,
                               ApplyContext& ctx) {
  Outcome outcome;
  Incoming incoming;
  incoming.bytes = command.message;
  if (message) {
    incoming.message = message;
    incoming.parts = message->parts();
  } else if (const auto parts = ParseStoredMessage(command.message); parts.has_value()) {
    incoming.parts = *parts;
  } else {
    ctx.StopAtUnreadable("a message");
    return outcome;
  }
  if (command.match) EnqueueMatching(incoming, ctx);
  incoming.shares = false;  // One member of each group has it, and may hand it on.
  for (const EnqueueTarget& target : command.targets) EnqueueFor(target, incoming, ctx);
  return outcome;
}

// What the subscriptions here make of a message of QoS 1 or 2 is decided here alone, down to QoS 0:
// were the shard of the connection to say which copy is its own, the two would disagree while a
// subscription is being replaced.
void Partition::Impl::EnqueueMatching(Incoming& incoming, ApplyContext& ctx) {
  if (incoming.parts.qos == mqtt::QoS::kAtMostOnce) return;  // The shards have sent it.
  SubscriptionIndex::Matches matches;
  index_.Match(incoming.parts.topic, matches);
  if (matches.empty()) return;
  size_t subscribers = 0;
  for (const FilterEntry* const entry : matches) subscribers += entry->value.list.size();
  const size_t copies_bytes = incoming.bytes.size() * subscribers;
  incoming.shares = subscribers > 1 && (incoming.bytes.size() > rules().shared_bytes_min ||
                                        copies_bytes > rules().copies_bytes_max);
  if (matches.size() > 1) {
    EnqueueOverlapping(matches, incoming, ctx);
    return;
  }
  for (const SessionSubscription* const subscription : matches.front()->value.list) {
    const mqtt::SubscriptionOptions options = subscription->record.options;
    Session& session = *subscription->session;
    if (options.no_local && incoming.parts.publisher == session.client_id) continue;
    ChunkEntry how;
    how.qos = mqtt::Min(incoming.parts.qos, options.qos);  // [MQTT5-3.8.4-8] [MQTT311-3.8.4-6]
    how.retain = incoming.parts.retain && options.retain_as_published;  // [MQTT5-3.3.1-12,-13]
    if (subscription->record.subscription_id != 0) {
      how.subscription_ids.push_back(subscription->record.subscription_id);
    }
    AppendOrSend(session, how, incoming, ctx);
  }
}

// A session with several matching subscriptions gets one copy, with the greatest QoS of them
// [MQTT5-3.3.4-2] and the identifier of each that has one [MQTT5-3.3.4-3,-4]. A subscription with
// No Local does not count for what the session's own client published.
void Partition::Impl::EnqueueOverlapping(const SubscriptionIndex::Matches& matches,
                                         Incoming& incoming, ApplyContext& ctx) {
  matched_.clear();
  for (const FilterEntry* const entry : matches) {
    for (const SessionSubscription* const subscription : entry->value.list) {
      if (subscription->record.options.no_local &&
          incoming.parts.publisher == subscription->session->client_id) {
        continue;
      }
      matched_.push_back(subscription);
    }
  }
  std::sort(matched_.begin(), matched_.end(),
            [](const SessionSubscription* a, const SessionSubscription* b) {
              return a->session->slot < b->session->slot;
            });
  for (size_t i = 0; i < matched_.size();) {
    Session& session = *matched_[i]->session;
    ChunkEntry how;
    for (; i < matched_.size() && matched_[i]->session == &session; ++i) {
      const SubscriptionRecord& record = matched_[i]->record;
      how.qos = std::max(how.qos, mqtt::Min(incoming.parts.qos, record.options.qos));
      how.retain |= incoming.parts.retain && record.options.retain_as_published;
      if (record.subscription_id != 0) how.subscription_ids.push_back(record.subscription_id);
    }
    std::sort(how.subscription_ids.begin(), how.subscription_ids.end());  // Replicas are equal.
    AppendOrSend(session, how, incoming, ctx);
  }
}

// One member of a `$share` group. If it went since it was chosen, or its queue has filled up and
// others may have room, the message goes into the outbox, for another member.
void Partition::Impl::EnqueueFor(const EnqueueTarget& target, Incoming& incoming,
                                 ApplyContext& ctx) {
  ChunkEntry how;
  how.qos = mqtt::Min(incoming.parts.qos, target.options.qos);
  how.retain = incoming.parts.retain && target.options.retain_as_published;
  how.share_filter = target.filter;
  if (target.subscription_id != 0) how.subscription_ids.push_back(target.subscription_id);
  Session* const session = sessions_.Find(target.client_id);
  bool member = session != nullptr && session->FindSubscription(how.share_filter) != nullptr;
  if (how.qos == mqtt::QoS::kAtMostOnce) {
    if (member) SendNow(*session, how, incoming, ctx, Source::kLive);
    return;
  }
  if (member && !target.last_choice) {
    how.message = incoming.bytes;
    member = HasRoom(*session, 0, 0, ChunkEntrySize(how));
  }
  if (member) {
    AppendMessage(*session, how, incoming, ctx);
  } else {
    outbox_.LeaveToGroup(how.share_filter, incoming.bytes, ctx);
  }
}

void Partition::Impl::AppendOrSend(Session& session, ChunkEntry& how, Incoming& incoming,
                                   ApplyContext& ctx) {
  if (how.qos == mqtt::QoS::kAtMostOnce) {
    SendNow(session, how, incoming, ctx, Source::kLive);
  } else {
    AppendMessage(session, how, incoming, ctx);
  }
}

void Partition::Impl::AppendMessage(Session& session, ChunkEntry& how, Incoming& incoming,
                                    ApplyContext& ctx) {
  const int64_t expires = incoming.parts.expires_at_unix_ms;
  if (expires != 0 && expires <= ctx.now_unix_ms) {
    ctx.CountDropped(DropCause::kExpired);  // [MQTT5-3.3.2-5]
    return;
  }
  how.message = incoming.bytes;
  const uint32_t size = ChunkEntrySize(how);
  if (!MakeRoom(session, size, ctx)) return;
  if (incoming.shares) {
    entries_.ShareBody(how, size, incoming.body);
    if (!std::exchange(session.had_bodies, true)) {
      sessions_.Touch(session, &Session::Changes::record);
    }
  }
  sessions_.Touch(session, &Session::Changes::cursor);
  const uint64_t sequence = entries_.Append(session, how, size);
  digest_.Add(Change::kAppended, session.epoch, sequence, uint64_t{size} << 32 ^ how.body);
  if (expires != 0) NoteExpiry(session, expires, ctx);
  ++ctx.effects.queued;
  WatchQueue(session, &ctx.effects);
  if (!session.connected || !ctx.effects.wants_deliveries) return;
  Enqueued enqueued;
  enqueued.slot = session.slot;
  enqueued.delivery.sequence = sequence;
  enqueued.delivery.message = incoming.Get();
  enqueued.delivery.qos = how.qos;
  enqueued.delivery.retain = how.retain;
  enqueued.delivery.subscription_ids = std::move(how.subscription_ids);
  ctx.effects.list.push_back(std::move(enqueued));
}

// QoS 0: to the connection, if there is one.
void Partition::Impl::SendNow(Session& session, const ChunkEntry& how, Incoming& incoming,
                              ApplyContext& ctx, Source source) {
  const int64_t expires = incoming.parts.expires_at_unix_ms;
  if (expires != 0 && expires <= ctx.now_unix_ms) {
    ctx.CountDropped(DropCause::kExpired);
    return;
  }
  if (!session.connected) {
    ctx.CountDropped(DropCause::kOffline);
    return;
  }
  if (!ctx.effects.wants_deliveries) return;
  Enqueued enqueued;
  enqueued.slot = session.slot;
  enqueued.delivery.message = incoming.Get();
  enqueued.delivery.retain = how.retain;
  enqueued.delivery.replay = source == Source::kReplay;
  enqueued.delivery.subscription_ids = how.subscription_ids;
  ctx.effects.list.push_back(std::move(enqueued));
}

bool Partition::Impl::HasRoom(const Session& session, uint64_t messages, uint64_t bytes,
                              uint64_t size) const {
  const pb::Limits& limits = meta_.limits();
  const SessionQueue& queue = session.queue;
  const bool too_many = limits.queue_messages_max() != 0 &&
                        queue.messages() + messages + 1 > limits.queue_messages_max();
  const bool too_big =
      limits.queue_bytes_max() != 0 && queue.bytes() + bytes + size > limits.queue_bytes_max();
  return !too_many && !too_big;
}

void Partition::Impl::ForEachReceiver(const mqtt::MessageParts& message,
                                      absl::FunctionRef<void(const Session&, size_t)> visit) const {
  SubscriptionIndex::Matches matches;
  index_.Match(message.topic, matches);
  std::vector<const SessionSubscription*> matched;
  for (const FilterEntry* const entry : matches) {
    for (const SessionSubscription* const subscription : entry->value.list) {
      const mqtt::SubscriptionOptions options = subscription->record.options;
      if (options.no_local && message.publisher == subscription->session->client_id) continue;
      matched.push_back(subscription);
    }
  }
  if (matches.size() > 1) {
    std::sort(matched.begin(), matched.end(),
              [](const SessionSubscription* a, const SessionSubscription* b) {
                return a->session->slot < b->session->slot;
              });
  }
  for (size_t i = 0; i < matched.size();) {
    const Session& session = *matched[i]->session;
    size_t identifiers = 0;
    bool queues = false;
    for (; i < matched.size() && matched[i]->session == &session; ++i) {
      const SubscriptionRecord& record = matched[i]->record;
      queues = queues || record.options.qos != mqtt::QoS::kAtMostOnce;
      if (record.subscription_id != 0) ++identifiers;
    }
    if (queues) visit(session, identifiers);
  }
}

// Notes whether a queue is crowded, with some distance between the two marks: one that stays about
// a mark is told of once. Without effects: before there is anybody to tell.
void Partition::Impl::WatchQueue(Session& session, Effects* effects) {
  const pb::Limits& limits = meta_.limits();
  const uint64_t fifths = session.crowded ? 3 : 4;
  const auto above = [&](uint64_t fill, uint64_t max) {
    return max != 0 && fill * 5 > max * fifths;  // Bounds are far below 2^61.
  };
  const bool crowded = above(session.queue.messages(), limits.queue_messages_max()) ||
                       above(session.queue.bytes(), limits.queue_bytes_max());
  if (crowded == session.crowded) return;
  session.crowded = crowded;
  crowded ? ++crowded_ : --crowded_;
  if (effects != nullptr) effects->list.push_back(QueueCrowded{session.slot, crowded});
}

// Whether one more message of this size may be appended, older ones dropped if the policy is so.
bool Partition::Impl::MakeRoom(Session& session, uint32_t size, ApplyContext& ctx) {
  const pb::Limits& limits = meta_.limits();
  const uint64_t messages_max = limits.queue_messages_max();
  const uint64_t bytes_max = limits.queue_bytes_max();
  while (true) {
    const bool too_many = messages_max != 0 && session.queue.messages() + 1 > messages_max;
    const bool too_big = bytes_max != 0 && session.queue.bytes() + size > bytes_max;
    if (!too_many && !too_big) return true;
    if (DropExpired(session, ctx)) continue;
    if (!ctx.status.ok()) return false;
    const DropCause cause = too_many ? DropCause::kQueueMessages : DropCause::kQueueBytes;
    ctx.CountDropped(cause);
    ++session.dropped;
    ctx.effects.list.push_back(QueueOverflowed{session.slot});
    const bool can_fit = bytes_max == 0 || size <= bytes_max;
    if (limits.queue_policy() != pb::Limits::DROP_OLDEST || !can_fit) return false;
    const uint64_t victim = session.queue.NextOpen(MaybeSentThrough(session) + 1);
    if (victim > session.queue.tail()) return false;  // All of it is in flight.
    if (!Finish(session, victim, ctx)) return false;
  }
}

// ---- Acknowledge -------------------------------------------------------------------------------

Outcome Partition::Impl::Apply(const AcknowledgeView& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id, command.epoch, outcome);
  if (session == nullptr) return outcome;
  SessionQueue& queue = session->queue;
  uint32_t done = 0;
  for (const uint64_t sequence : command.puback) {
    if (queue.IsOpen(sequence) && Finish(*session, sequence, ctx)) ++done;
  }
  Released released;
  released.slot = session->slot;
  for (const uint64_t sequence : command.pubrec) {
    if (!queue.IsOpen(sequence)) continue;
    queue.Release(sequence);
    digest_.Add(Change::kReleased, session->epoch, sequence);
    released.sequences.push_back(sequence);
    sessions_.Touch(*session, &Session::Changes::cursor);
  }
  for (const uint64_t sequence : command.pubcomp) {
    if (queue.IsReleased(sequence) && Finish(*session, sequence, ctx)) ++done;
  }
  if (done == 0 && released.sequences.empty()) outcome.code = OutcomeCode::kNothing;
  if (!released.sequences.empty()) ctx.effects.list.push_back(std::move(released));
  if (done != 0) ctx.effects.list.push_back(Acknowledged{session->slot, done, 0});
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::DropQueued& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  uint32_t done = 0;
  for (const uint64_t sequence : command.sequences()) {
    if (!session->queue.IsOpen(sequence) || session->queue.IsReleased(sequence)) continue;
    if (!Finish(*session, sequence, ctx)) continue;
    ctx.CountDropped(DropCause::kExpired);
    ++done;
  }
  if (done == 0) outcome.code = OutcomeCode::kNothing;
  ctx.effects.list.push_back(
      Acknowledged{session->slot, 0, static_cast<uint32_t>(command.sequences_size())});
  return outcome;
}

// Up to which sequence the client may have been sent messages.
uint64_t Partition::Impl::MaybeSentThrough(const Session& session) const {
  if (!session.connected) return session.queue.sent_through();
  return std::max(session.queue.sent_through(),
                  session.queue.NthOpen(rules().run_ahead * session.window_messages));
}

// An open message is done. False if the store failed.
bool Partition::Impl::Finish(Session& session, uint64_t sequence, ApplyContext& ctx) {
  ctx.status = entries_.Finish(session, sequence, ctx.reader);
  if (!ctx.status.ok()) return false;
  digest_.Add(Change::kDone, session.epoch, sequence);
  WatchQueue(session, &ctx.effects);
  sessions_.Touch(session, &Session::Changes::cursor);
  return true;
}

// ---- What waits longer than its Message Expiry Interval
// -------------------------------------------

// It counts for no bound, and is dropped when it is found [MQTT5-3.3.2-5].
void Partition::Impl::NoteExpiry(Session& session, int64_t expires_at_unix_ms, ApplyContext& ctx) {
  if (expires_at_unix_ms >= session.queue.next_expiry_ms()) return;
  session.queue.SetNextExpiry(expires_at_unix_ms);
  ctx.effects.list.push_back(QueueExpires{session.client_id, expires_at_unix_ms});
}

// For a message that finds the queue full. Whether there is more room.
bool Partition::Impl::DropExpired(Session& session, ApplyContext& ctx) {
  if (session.queue.next_expiry_ms() > ctx.now_unix_ms) return false;
  const auto page = entries_.FindExpired(ctx.reader, session, MaybeSentThrough(session) + 1,
                                         rules().expired_looked_at_max, ctx.now_unix_ms);
  if (!page.ok()) {
    ctx.status = page.status();
    return false;
  }
  for (const uint64_t sequence : page->sequences) {
    if (!Finish(session, sequence, ctx)) return false;
    ctx.CountDropped(DropCause::kExpired);
  }
  return !page->sequences.empty();
}

// ---- What a session leaves ----------------------------------------------------------------------

// The session ends: what others have of its queue. Messages that came through a `$share` group and
// were not acknowledged go to another member (§4.8.2), so they are put into the outbox.
void Partition::Impl::LeaveQueue(Session& session, ApplyContext& ctx) {
  if (session.queue.messages() == 0 || !(session.had_shared || session.had_bodies)) return;
  const uint64_t sent_through = MaybeSentThrough(session);
  ctx.status.Update(entries_.Leave(ctx.reader, session, ctx.effects.damage,
                                   [&](uint64_t sequence, const ChunkEntry& entry) {
                                     if (entry.share_filter.empty()) return;
                                     LeaveEntryToGroup(session, sequence, sent_through, entry, ctx);
                                   }));
}

void Partition::Impl::LeaveEntryToGroup(const Session& session, uint64_t sequence,
                                        uint64_t sent_through, const ChunkEntry& entry,
                                        ApplyContext& ctx) {
  if (session.queue.IsReleased(sequence)) return;
  // A QoS 2 message whose delivery may have begun goes to nobody else [MQTT5-4.8.2-5].
  if (entry.qos == mqtt::QoS::kExactlyOnce && sequence <= sent_through) return;
  const std::optional<mqtt::MessageParts> parts = ParseStoredMessage(entry.message);
  if (!parts.has_value()) return;
  if (parts->expires_at_unix_ms != 0 && parts->expires_at_unix_ms <= ctx.now_unix_ms) {
    ctx.CountDropped(DropCause::kExpired);
    return;
  }
  outbox_.LeaveToGroup(entry.share_filter, entry.message, ctx);
}

}  // namespace storage
