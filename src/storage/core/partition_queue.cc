// A partition's queues: what is appended, what is acknowledged, and reading for delivery.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/check.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"

namespace storage {
namespace {

// How many expired messages one page reports at most.
constexpr size_t kExpiredMax = 1024;
// How many chunks beyond the head a reader's queue remembers at most.
constexpr size_t kKnownByReadingMax = 4 * kKnownChunksMax;
// So many appends that are not needed any more keep so much room at most.
constexpr size_t kAppendsKept = 256;
constexpr size_t kAppendBytesKept = 16 << 10;
// One with fewer messages is not shortened.
constexpr size_t kTrimAppendMin = 32;

absl::Status BadChunk(std::string_view client_id) {
  return absl::DataLossError(
      absl::StrCat("unreadable queue of session '", base::AbslView(client_id), "'"));
}

void Count(Effects& effects, DropCause cause) { ++effects.dropped[static_cast<size_t>(cause)]; }

KnownChunk SizesOf(const ChunkView& view) {
  KnownChunk known;
  known.first = view.first;
  for (const std::string_view entry : view.entries) {
    const EntryFacts facts = FactsOfEntry(entry);
    known.Add(facts.size, facts.body);
  }
  return known;
}

}  // namespace

const mqtt::MessagePtr& Partition::Impl::Incoming::Get() {
  if (!message) message = mqtt::Message::Create(parts);
  return message;
}

// ---- Enqueue -----------------------------------------------------------------------------------

Outcome Partition::Impl::Apply(const EnqueueView& command, const mqtt::MessagePtr& message,
                               Context& ctx) {
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
void Partition::Impl::EnqueueMatching(Incoming& incoming, Context& ctx) {
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
                                         Incoming& incoming, Context& ctx) {
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
void Partition::Impl::EnqueueFor(const EnqueueTarget& target, Incoming& incoming, Context& ctx) {
  ChunkEntry how;
  how.qos = mqtt::Min(incoming.parts.qos, target.options.qos);
  how.retain = incoming.parts.retain && target.options.retain_as_published;
  how.share_filter = target.filter;
  if (target.subscription_id != 0) how.subscription_ids.push_back(target.subscription_id);
  const auto found = sessions_.find(target.client_id);
  bool member =
      found != sessions_.end() && found->second->FindSubscription(how.share_filter) != nullptr;
  if (how.qos == mqtt::QoS::kAtMostOnce) {
    if (member) SendNow(*found->second, how, incoming, ctx, Source::kLive);
    return;
  }
  if (member && !target.last_choice) {
    how.message = incoming.bytes;
    member = HasRoom(*found->second, 0, 0, ChunkEntrySize(how));
  }
  if (member) {
    AppendMessage(*found->second, how, incoming, ctx);
  } else {
    LeaveToGroup(how.share_filter, incoming.bytes, ctx);
  }
}

void Partition::Impl::AppendOrSend(Session& session, ChunkEntry& how, Incoming& incoming,
                                   Context& ctx) {
  if (how.qos == mqtt::QoS::kAtMostOnce) {
    SendNow(session, how, incoming, ctx, Source::kLive);
  } else {
    AppendMessage(session, how, incoming, ctx);
  }
}

void Partition::Impl::AppendMessage(Session& session, ChunkEntry& how, Incoming& incoming,
                                    Context& ctx) {
  const int64_t expires = incoming.parts.expires_at_unix_ms;
  if (expires != 0 && expires <= ctx.now_unix_ms) {
    Count(ctx.effects, DropCause::kExpired);  // [MQTT5-3.3.2-5]
    return;
  }
  how.message = incoming.bytes;
  const uint32_t size = ChunkEntrySize(how);
  if (!MakeRoom(session, size, ctx)) return;
  if (incoming.shares) ShareBody(session, how, incoming, size);
  PendingAppend& append = AppendOf(session);
  const size_t start = append.entries.size();
  AppendChunkEntry(how, append.entries);
  const size_t length = append.entries.size() - start;
  append.items.push_back({start, static_cast<uint32_t>(length), size, how.body});
  ++append.open;
  unflushed_bytes_ += length + sizeof(PendingAppend::Item);
  const uint64_t sequence = session.queue.Append(size);
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
                              Context& ctx, Source source) {
  const int64_t expires = incoming.parts.expires_at_unix_ms;
  if (expires != 0 && expires <= ctx.now_unix_ms) {
    Count(ctx.effects, DropCause::kExpired);
    return;
  }
  if (!session.connected) {
    Count(ctx.effects, DropCause::kOffline);
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
                                      absl::FunctionRef<void(const Session&)> visit) const {
  SubscriptionIndex::Matches matches;
  index_.Match(message.topic, matches);
  for (const FilterEntry* const entry : matches) {
    for (const SessionSubscription* const subscription : entry->value.list) {
      const mqtt::SubscriptionOptions options = subscription->record.options;
      if (options.qos == mqtt::QoS::kAtMostOnce) continue;
      if (options.no_local && message.publisher == subscription->session->client_id) continue;
      visit(*subscription->session);
    }
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
bool Partition::Impl::MakeRoom(Session& session, uint32_t size, Context& ctx) {
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
    Count(ctx.effects, cause);
    ++session.dropped;
    ctx.effects.list.push_back(QueueOverflowed{session.slot});
    const bool can_fit = bytes_max == 0 || size <= bytes_max;
    if (limits.queue_policy() != pb::Limits::DROP_OLDEST || !can_fit) return false;
    const uint64_t victim = session.queue.NextOpen(MaybeSentThrough(session) + 1);
    if (victim > session.queue.tail()) return false;  // All of it is in flight.
    if (!Finish(session, victim, ctx)) return false;
  }
}

// ---- What is not in the store yet --------------------------------------------------------------

Partition::Impl::PendingAppend* Partition::Impl::FindAppend(const Session& session) {
  return session.changes.append == Session::kNone ? nullptr : &appends_[session.changes.append];
}

Partition::Impl::PendingAppend& Partition::Impl::AppendOf(Session& session) {
  if (PendingAppend* const append = FindAppend(session)) return *append;
  Touch(session, &Session::Changes::cursor);
  if (free_appends_.empty()) {
    free_appends_.push_back(static_cast<uint32_t>(appends_.size()));
    appends_.emplace_back();
  }
  session.changes.append = free_appends_.back();
  free_appends_.pop_back();
  PendingAppend& append = appends_[session.changes.append];
  append.first = session.queue.tail() + 1;
  return append;
}

void Partition::Impl::ForgetAppend(Session& session) {
  PendingAppend& append = appends_[session.changes.append];
  unflushed_bytes_ -= append.bytes();
  append.open = 0;
  append.items.clear();
  append.entries.clear();
  const bool keeps_room =
      append.entries.capacity() <= kAppendBytesKept && free_appends_.size() < kAppendsKept;
  if (!keeps_room) append = PendingAppend();
  free_appends_.push_back(std::exchange(session.changes.append, Session::kNone));
}

void Partition::Impl::DoneInAppend(Session& session, uint64_t sequence) {
  PendingAppend* const append = FindAppend(session);
  if (append == nullptr || !append->Holds(sequence)) return;
  if (--append->open == 0) return ForgetAppend(session);
  const size_t items = append->items.size();
  if (items >= kTrimAppendMin && append->open < items / 2) TrimAppend(session, *append);
}

// Lets go of what is done at the front. What it costs is paid for by as many that were done.
void Partition::Impl::TrimAppend(const Session& session, PendingAppend& append) {
  const uint64_t first = session.queue.NextOpen(append.first);
  const size_t gone = first - append.first;
  if (gone < append.items.size() / 4) return;
  unflushed_bytes_ -= append.bytes();
  const size_t start = append.items[gone].start;
  append.entries.erase(0, start);
  append.items.erase(append.items.begin(), append.items.begin() + static_cast<ptrdiff_t>(gone));
  for (PendingAppend::Item& item : append.items) item.start -= start;
  append.first = first;
  unflushed_bytes_ += append.bytes();
}

// ---- Acknowledge -------------------------------------------------------------------------------

Outcome Partition::Impl::Apply(const AcknowledgeView& command, Context& ctx) {
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
    Touch(*session, &Session::Changes::cursor);
  }
  for (const uint64_t sequence : command.pubcomp) {
    if (queue.IsReleased(sequence) && Finish(*session, sequence, ctx)) ++done;
  }
  if (done == 0 && released.sequences.empty()) outcome.code = OutcomeCode::kNothing;
  if (!released.sequences.empty()) ctx.effects.list.push_back(std::move(released));
  if (done != 0) ctx.effects.list.push_back(Acknowledged{session->slot, done, 0});
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::DropQueued& command, Context& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  uint32_t done = 0;
  for (const uint64_t sequence : command.sequences()) {
    if (!session->queue.IsOpen(sequence) || session->queue.IsReleased(sequence)) continue;
    if (!Finish(*session, sequence, ctx)) continue;
    Count(ctx.effects, DropCause::kExpired);
    ++done;
  }
  if (done == 0) outcome.code = OutcomeCode::kNothing;
  ctx.effects.list.push_back(
      Acknowledged{session->slot, 0, static_cast<uint32_t>(command.sequences_size())});
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::RememberInbound& command, Context& ctx) {
  Outcome outcome;
  if (command.packet_id() == 0 || command.packet_id() > 0xFFFF) {
    ctx.StopAtUnreadable("a Packet Identifier");
    return outcome;
  }
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  outcome.duplicate = !session->queue.AddInbound(static_cast<uint16_t>(command.packet_id()));
  if (outcome.duplicate) return outcome;
  digest_.Add(Change::kInbound, session->epoch, command.packet_id());
  Touch(*session, &Session::Changes::cursor);
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::ReleaseInbound& command, Context& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  for (const uint32_t packet_id : command.packet_ids()) {
    if (packet_id > 0xFFFF) {
      ctx.StopAtUnreadable("a Packet Identifier");
      return outcome;
    }
    if (!session->queue.RemoveInbound(static_cast<uint16_t>(packet_id))) continue;
    digest_.Add(Change::kInboundReleased, session->epoch, packet_id);
    Touch(*session, &Session::Changes::cursor);
  }
  return outcome;
}

// Up to which sequence the client may have been sent messages.
uint64_t Partition::Impl::MaybeSentThrough(const Session& session) const {
  if (!session.connected) return session.queue.sent_through();
  return std::max(session.queue.sent_through(),
                  session.queue.NthOpen(rules().run_ahead * session.window_messages));
}

// An open message is done. False if the store failed.
bool Partition::Impl::Finish(Session& session, uint64_t sequence, Context& ctx) {
  const std::optional<uint32_t> size = SizeOf(session, sequence, ctx);
  if (!size.has_value()) return false;
  SessionQueue& queue = session.queue;
  if (const uint64_t body = BodyOf(session, sequence); body != 0) ReleaseBody(body);
  queue.MarkDone(sequence, *size);
  digest_.Add(Change::kDone, session.epoch, sequence);
  WatchQueue(session, &ctx.effects);
  Touch(session, &Session::Changes::cursor);
  DoneInAppend(session, sequence);
  // The head may have jumped over messages that were done before the last load: their chunks must
  // be known to be deleted.
  const uint64_t below = std::min(queue.head() - 1, queue.stored_through());
  if (!queue.known().empty() && queue.known().back().last() < below) {
    ctx.status = LearnChunks(session, below, ctx.reader);
  }
  return ctx.status.ok();
}

std::optional<uint32_t> Partition::Impl::SizeOf(Session& session, uint64_t sequence, Context& ctx) {
  const PendingAppend* const append = FindAppend(session);
  if (append != nullptr && append->Holds(sequence)) {
    return append->items[sequence - append->first].size;
  }
  if (session.queue.known_through() < sequence) {
    absl::Status status = LearnChunks(session, sequence, ctx.reader);
    if (!status.ok()) {
      ctx.status = std::move(status);
      return std::nullopt;
    }
  }
  const std::optional<uint32_t> size = session.queue.KnownSize(sequence);
  if (!size.has_value()) ctx.status = BadChunk(session.client_id);
  return size;
}

// Reads on from the last known chunk until `through` is known.
absl::Status Partition::Impl::LearnChunks(Session& session, uint64_t through,
                                          const StateReader& reader) {
  const KeyRange range = QueueRange(id_, session.client_id);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  it->Seek(QueueKey(id_, session.client_id, session.queue.known_through() + 1));
  for (; it->Valid() && session.queue.known_through() < through; it->Next()) {
    const std::optional<ChunkView> view = ParseChunk(it->value());
    if (!view.has_value()) return BadChunk(session.client_id);
    KnownChunk known = SizesOf(*view);
    if (!session.queue.MayFollow(known)) return BadChunk(session.client_id);
    session.queue.AddKnown(std::move(known));
  }
  return it->status();
}

// Deletes the chunks that lie below the head. All of them are known: what is done was known first.
void Partition::Impl::TrimQueue(Session& session, StateBatch& batch) {
  SessionQueue& queue = session.queue;
  if (queue.known().empty() || queue.known().front().last() >= queue.head()) return;
  std::string key = QueueKey(id_, session.client_id, 0);
  while (!queue.known().empty() && queue.known().front().last() < queue.head()) {
    ReplaceSequence(key, queue.known().front().last());
    batch.Delete(key);
    queue.PopKnown();
  }
}

// ---- What a session leaves ----------------------------------------------------------------------

// The session ends: what others have of its queue. Messages that came through a `$share` group and
// were not acknowledged go to another member (§4.8.2), so they are put into the outbox.
void Partition::Impl::LeaveQueue(Session& session, Context& ctx) {
  if (session.queue.messages() == 0 || !(session.had_shared || session.had_bodies)) return;
  const uint64_t sent_through = MaybeSentThrough(session);
  const KeyRange range = QueueRange(id_, session.client_id);
  const std::unique_ptr<StateIterator> it = ctx.reader.NewIterator(range.begin, range.end);
  it->Seek(QueueKey(id_, session.client_id, session.queue.head()));
  for (; it->Valid(); it->Next()) {
    const std::optional<ChunkView> chunk = ParseChunk(it->value());
    if (!chunk.has_value()) {
      ctx.status = BadChunk(session.client_id);
      return;
    }
    for (size_t i = 0; i < chunk->entries.size(); ++i) {
      LeaveEntry(session, chunk->first + i, sent_through, chunk->entries[i], ctx);
    }
  }
  // A block that is damaged keeps nobody from ending the session.
  (absl::IsDataLoss(it->status()) ? ctx.effects.damage : ctx.status).Update(it->status());
  const PendingAppend* const append = FindAppend(session);
  for (size_t i = 0; append != nullptr && i < append->items.size(); ++i) {
    const uint64_t sequence = append->first + i;
    LeaveEntry(session, sequence, sent_through, append->Entry(sequence), ctx);
  }
}

void Partition::Impl::LeaveEntry(const Session& session, uint64_t sequence, uint64_t sent_through,
                                 std::string_view bytes, Context& ctx) {
  if (!session.queue.IsOpen(sequence)) return;
  const std::optional<ChunkEntry> entry = ParseChunkEntry(bytes);
  if (!entry.has_value()) return;
  if (entry->body != 0) ReleaseBody(entry->body);
  if (!entry->share_filter.empty()) LeaveEntryToGroup(session, sequence, sent_through, *entry, ctx);
}

void Partition::Impl::LeaveEntryToGroup(const Session& session, uint64_t sequence,
                                        uint64_t sent_through, const ChunkEntry& entry,
                                        Context& ctx) {
  if (session.queue.IsReleased(sequence)) return;
  // A QoS 2 message whose delivery may have begun goes to nobody else [MQTT5-4.8.2-5].
  if (entry.qos == mqtt::QoS::kExactlyOnce && sequence <= sent_through) return;
  const std::optional<mqtt::MessageParts> parts = ParseStoredMessage(entry.message);
  if (!parts.has_value()) return;
  if (parts->expires_at_unix_ms != 0 && parts->expires_at_unix_ms <= ctx.now_unix_ms) {
    Count(ctx.effects, DropCause::kExpired);
    return;
  }
  LeaveToGroup(entry.share_filter, entry.message, ctx);
}

// ---- Reading for delivery ----------------------------------------------------------------------

namespace {

// Puts one open entry on the page. False if the page is full: read it again the next time.
bool AddToPage(const SessionQueue& queue, uint64_t sequence, const ChunkEntry& entry,
               const mqtt::MessageParts& parts, const mqtt::MessagePtr& shared,
               const QueueReadLimits& limits, int64_t now_unix_ms, size_t& bytes, QueuePage& page) {
  if (page.entries.size() >= limits.messages_max || page.expired.size() >= kExpiredMax) {
    return false;
  }
  Delivery delivery;
  delivery.sequence = sequence;
  delivery.qos = entry.qos;
  if (queue.IsReleased(sequence)) {
    delivery.release = true;  // The message itself is the client's already.
    page.entries.push_back(std::move(delivery));
    return true;
  }
  const bool sent_before = sequence <= queue.sent_through();
  const int64_t expires = parts.expires_at_unix_ms;
  if (!sent_before && expires != 0 && expires <= now_unix_ms) {  // [MQTT5-3.3.2-5]
    page.expired.push_back(sequence);
    return true;
  }
  const size_t size = parts.payload.size() + parts.topic.size();
  if (bytes + size > limits.bytes_max && !page.entries.empty()) return false;
  bytes += size;
  delivery.message = shared ? shared : mqtt::Message::Create(parts);
  delivery.retain = entry.retain;
  delivery.dup = sent_before;
  delivery.subscription_ids = entry.subscription_ids;
  page.entries.push_back(std::move(delivery));
  return true;
}

}  // namespace

absl::StatusOr<QueuePage> Partition::Impl::ReadQueue(const StateReader& reader, SessionSlot slot,
                                                     uint64_t from, const QueueReadLimits& limits,
                                                     int64_t now_unix_ms) {
  CHECK(slot < slots_.size() && slots_[slot] != nullptr) << "no session in slot " << slot;
  Session& session = *slots_[slot];
  const SessionQueue& queue = session.queue;
  QueuePage page;
  page.next = queue.NextOpen(from);
  size_t bytes = 0;
  // Whether there is room for the entry, and more.
  const auto add = [&](std::string_view raw) -> absl::StatusOr<bool> {
    const std::optional<ChunkEntry> entry = ParseChunkEntry(raw);
    if (!entry.has_value()) return BadChunk(session.client_id);
    mqtt::MessagePtr shared;
    const auto parts = PartsOf(*entry, reader, shared);
    if (!parts.ok()) return parts.status();
    if (!parts->has_value()) return BadChunk(session.client_id);
    if (!AddToPage(queue, page.next, *entry, **parts, shared, limits, now_unix_ms, bytes, page)) {
      return false;
    }
    page.next = queue.NextOpen(page.next + 1);
    return true;
  };
  const absl::StatusOr<bool> end = ReadEntries(reader, session, page.next, add);
  if (!end.ok()) {
    // What was read before a damaged place is handed over; the next page begins with the error.
    if (page.entries.empty() && page.expired.empty()) return end.status();
    return page;
  }
  page.end = *end;
  return page;
}

// The message, or its body, which `shared` then holds.
absl::StatusOr<std::optional<mqtt::MessageParts>> Partition::Impl::PartsOf(
    const ChunkEntry& entry, const StateReader& reader, mqtt::MessagePtr& shared) {
  if (entry.body == 0) return ParseStoredMessage(entry.message);
  absl::StatusOr<mqtt::MessagePtr> read = ReadBody(entry.body, reader);
  if (!read.ok()) return read.status();
  shared = *std::move(read);
  return std::make_optional(shared->parts());
}

// Hands over the open entries from `next` on, stored or not. Whether that were all.
absl::StatusOr<bool> Partition::Impl::ReadEntries(const StateReader& reader, Session& session,
                                                  const uint64_t& next, AddEntry add) {
  const SessionQueue& queue = session.queue;
  const PendingAppend* const append = FindAppend(session);
  const uint64_t stored_through =
      append == nullptr ? queue.tail() : std::min(queue.stored_through(), append->first - 1);
  if (next <= stored_through) {
    const auto read = ReadStored(reader, session, stored_through, next, add);
    if (!read.ok() || !*read) return read;
  }
  while (next <= queue.tail()) {
    if (append == nullptr || !append->Holds(next)) return BadChunk(session.client_id);
    const auto added = add(append->Entry(next));
    if (!added.ok() || !*added) return added;
  }
  return true;
}

// Hands over the entries from `next` on, which `add` moves, until it is behind `through`. False if
// `add` wants no more.
absl::StatusOr<bool> Partition::Impl::ReadStored(const StateReader& reader, Session& session,
                                                 uint64_t through, const uint64_t& next,
                                                 AddEntry add) {
  SessionQueue& queue = session.queue;
  const KeyRange range = QueueRange(id_, session.client_id);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  for (it->Seek(QueueKey(id_, session.client_id, next)); it->Valid() && next <= through;
       it->Next()) {
    const std::optional<ChunkView> chunk = ParseChunk(it->value());
    if (!chunk.has_value()) return BadChunk(session.client_id);
    KnownChunk known = SizesOf(*chunk);
    if (queue.known().size() < kKnownByReadingMax && queue.Follows(known)) {
      queue.AddKnown(std::move(known));
    }
    while (next <= chunk->last()) {
      if (next < chunk->first) return BadChunk(session.client_id);
      const auto added = add(chunk->entries[next - chunk->first]);
      if (!added.ok() || !*added) return added;
    }
  }
  if (!it->status().ok()) return it->status();
  if (next <= through) return BadChunk(session.client_id);
  return true;
}

}  // namespace storage
