#include "storage/core/partition.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/check.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/log_entry.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"

namespace storage {
namespace {

// A chunk that is so large already takes no further message: who reads one reads the chunk.
constexpr size_t kChunkBytesMax = 64 << 10;

template <typename Record>
bool Parse(std::string_view bytes, Record& record) {
  return record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

absl::Status Unreadable(std::string_view what, std::string_view client_id) {
  return absl::DataLossError(absl::StrCat("unreadable ", base::AbslView(what), " of session '",
                                          base::AbslView(client_id), "'"));
}

// Calls `visit(key, value)` for every key of the kind until it fails.
template <typename Visit>
absl::Status ForEachKey(const StateReader& reader, PartitionId partition, KeyKind kind,
                        const Visit& visit) {
  const KeyRange range = RangeOf(partition, kind);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  for (it->Seek(range.begin); it->Valid(); it->Next()) {
    if (absl::Status status = visit(it->key(), it->value()); !status.ok()) return status;
  }
  return it->status();
}

absl::Status Fill(const pb::Session& record, Session& session) {
  session.user_name = record.user_name();
  session.listener = record.listener();
  session.version = static_cast<mqtt::Version>(record.version());
  session.epoch = record.epoch();
  session.expiry_s = record.expiry_s();
  session.window_messages = record.window_messages();
  session.connected = record.connected();
  session.resumed = record.resumed();
  session.owner = ReadOwner(record.owner());
  session.created_at_unix_ms = record.created_at_unix_ms();
  session.disconnected_at_unix_ms = record.disconnected_at_unix_ms();
  session.ends_at_unix_ms = record.ends_at_unix_ms();
  session.last_replay = record.last_replay();
  session.had_shared = record.had_shared();
  session.had_bodies = record.had_bodies();
  if (record.has_will()) {
    session.will.message = DecodeStoredMessage(record.will().message());
    session.will.delay_s = record.will().delay_s();
    session.will.due_at_unix_ms = record.will().due_at_unix_ms();
    if (!session.will.message) return Unreadable("will", session.client_id);
  }
  return absl::OkStatus();
}

}  // namespace

// ---- Load --------------------------------------------------------------------------------------

absl::Status Partition::Impl::Load(const StateReader& reader) {
  CHECK(sessions_.empty() && meta_.applied_index() == 0) << "loaded twice";
  std::string bytes;
  const absl::StatusOr<bool> found = reader.Get(MetaKey(id_), bytes);
  if (!found.ok()) return found.status();
  if (!*found) {
    meta_.set_format(kStateFormat);
    meta_.set_retained_expiry(true);
    return absl::OkStatus();
  }
  if (!Parse(bytes, meta_)) return absl::DataLossError("unreadable meta record");
  if (meta_.format() != kStateFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat("state format ", meta_.format(), " is of ",
                     meta_.format() > kStateFormat ? "a later" : "an earlier",
                     " release: this one reads ", kStateFormat));
  }
  flushed_index_ = meta_.applied_index();
  if (meta_.level() > GreatestLevel(rules_)) {
    stopped_ = true;
    return absl::FailedPreconditionError(
        absl::StrCat("partition ", id_, " is at apply level ", meta_.level(),
                     ", and this release of mqttd knows ", GreatestLevel(rules_),
                     ". Nothing is lost: start the release that raised it, or a later one"));
  }
  digest_ = Digest(meta_.digest());
  if (absl::Status status = origins_.ReadFrom(meta_); !status.ok()) return status;
  if (absl::Status status = LoadSessions(reader); !status.ok()) return status;
  if (absl::Status status = LoadCursors(reader); !status.ok()) return status;
  if (absl::Status status = LoadSubscriptions(reader); !status.ok()) return status;
  if (absl::Status status = LoadReplays(reader); !status.ok()) return status;
  if (absl::Status status = outbox_.Load(reader, id_); !status.ok()) return status;
  return LoadBodies(reader);
}

absl::Status Partition::Impl::LoadSessions(const StateReader& reader) {
  return ForEachKey(reader, id_, KeyKind::kSession,
                    [&](std::string_view key, std::string_view value) -> absl::Status {
                      pb::Session record;
                      const std::optional<std::string_view> client_id = ClientIdOf(key);
                      if (!client_id.has_value()) return absl::DataLossError("a bad session key");
                      if (!Parse(value, record)) return Unreadable("record", *client_id);
                      Session& session = AddSession(std::string(*client_id));
                      for (pb::Replay& replay : *record.mutable_replays()) {
                        replays_of_records_.emplace_back(&session, std::move(replay));
                      }
                      return Fill(record, session);
                    });
}

absl::Status Partition::Impl::LoadCursors(const StateReader& reader) {
  return ForEachKey(reader, id_, KeyKind::kCursor,
                    [&](std::string_view key, std::string_view value) -> absl::Status {
                      const auto found = sessions_.find(ClientIdOf(key).value_or(""));
                      if (found == sessions_.end()) {
                        return absl::DataLossError("a cursor without a session");
                      }
                      absl::Status status = found->second->queue.DecodeCursor(value);
                      if (status.ok()) WatchQueue(*found->second, nullptr);
                      return status;
                    });
}

absl::Status Partition::Impl::LoadSubscriptions(const StateReader& reader) {
  return ForEachKey(reader, id_, KeyKind::kSubscription,
                    [&](std::string_view key, std::string_view value) -> absl::Status {
                      const auto found = sessions_.find(ClientIdOf(key).value_or(""));
                      if (found == sessions_.end()) {
                        return absl::DataLossError("a subscription without a session");
                      }
                      pb::Subscription record;
                      if (!Parse(value, record)) return Unreadable("subscription", found->first);
                      auto subscription = std::make_unique<SessionSubscription>();
                      subscription->session = found->second;
                      subscription->record = {std::string(FilterOf(key).value_or("")),
                                              mqtt::SubscriptionOptions::FromByte(
                                                  static_cast<uint8_t>(record.options())),
                                              record.subscription_id()};
                      if (!mqtt::IsShared(subscription->record.filter)) index_.Add(*subscription);
                      const std::string_view filter = subscription->record.filter;
                      subscriptions_bytes_ += SubscriptionBytes(filter);
                      found->second->subscriptions.emplace(filter, std::move(subscription));
                      return absl::OkStatus();
                    });
}

// None without its subscription: with that it ends.
absl::Status Partition::Impl::LoadReplays(const StateReader& reader) {
  const auto parsed = [](const Session& session, const pb::Replay& record) {
    const SessionSubscription* const subscription = session.FindSubscription(record.filter());
    std::string_view filter;
    if (subscription != nullptr) filter = subscription->record.filter;
    return RetainedReplay{record.number(), filter, record.since_order(), record.cursor()};
  };
  // Where an earlier release wrote them; with the next flush they get records of their own.
  for (const auto& [session, record] : std::exchange(replays_of_records_, {})) {
    RetainedReplay replay = parsed(*session, record);
    if (replay.filter.empty()) continue;
    session->replays.Add(std::move(replay));
    Touch(*session, &Session::Changes::replays);
    Touch(*session, &Session::Changes::record);
  }
  return ForEachKey(reader, id_, KeyKind::kReplay,
                    [&](std::string_view key, std::string_view value) -> absl::Status {
                      const auto found = sessions_.find(ClientIdOf(key).value_or(""));
                      if (found == sessions_.end()) {
                        return absl::DataLossError("a replay without a session");
                      }
                      pb::Replay record;
                      if (!Parse(value, record)) return Unreadable("replay", found->first);
                      RetainedReplay replay = parsed(*found->second, record);
                      if (replay.filter.empty()) return Unreadable("replay", found->first);
                      found->second->replays.AddStored(std::move(replay));
                      return absl::OkStatus();
                    });
}

// ---- Apply -------------------------------------------------------------------------------------

absl::Status Partition::Impl::ApplyEntry(std::string_view entry,
                                         absl::Span<const mqtt::MessagePtr> messages,
                                         uint64_t index, uint64_t term, const StateReader& reader,
                                         StateBatch& batch, Effects& effects) {
  if (index <= meta_.applied_index()) return absl::OkStatus();
  last_read_message_ = mqtt::MessagePtr();
  Context ctx{
      .partition = id_, .index = index, .reader = reader, .batch = batch, .effects = effects};
  ApplyCommands(entry, messages, ctx);
  if (!ctx.status.ok()) {
    stopped_ = ctx.stops;
    return ctx.status;
  }
  meta_.set_applied_index(index);
  meta_.set_applied_term(term);
  if (index % rules().digest_noted_every == 0) {
    meta_.set_noted_index(index);
    meta_.set_noted_digest(digest_.value());
  }
  retained_now_.clear();
  if (ctx.writes) Flush(batch);
  return absl::OkStatus();
}

void Partition::Impl::ApplyCommands(std::string_view entry,
                                    absl::Span<const mqtt::MessagePtr> messages, Context& ctx) {
  static const mqtt::MessagePtr kNoMessage;
  bool ok = true;
  std::string_view bytes;
  for (size_t i = 0; NextCommand(entry, bytes, ok); ++i) {
    const std::optional<CommandView> command = ParseCommand(bytes);
    if (!command.has_value()) return ctx.StopAtUnreadable("a command");
    if (command->level > GreatestLevel(rules_)) return ctx.StopAtUnknown();
    ctx.order = command->stamp.order;
    meta_.set_last_order(std::max(meta_.last_order(), ctx.order));
    ctx.now_unix_ms = StampAt(command->stamp.time_unix_ms);  // Whoever proposed it.
    meta_.set_last_time_unix_ms(ctx.now_unix_ms);
    CHECK(messages.empty() || i < messages.size())
        << "one message for each command, or none at all";
    if (IsRepeat(command->stamp, ctx)) {
      ctx.effects.outcomes.emplace_back().code = OutcomeCode::kRepeat;
      continue;
    }
    ctx.effects.outcomes.push_back(
        ApplyCommand(*command, messages.empty() ? kNoMessage : messages[i], ctx));
    if (!ctx.status.ok()) return;
    NoteOutcome(ctx.effects.outcomes.back(), i, ctx);
  }
  if (!ok) ctx.StopAtUnreadable("its commands");
}

void Partition::Impl::NoteOutcome(const Outcome& outcome, size_t place, const Context& ctx) {
  const uint64_t flags = uint64_t{static_cast<uint8_t>(outcome.code)} |
                         uint64_t{outcome.session_present} << 8 | uint64_t{outcome.durable} << 9 |
                         uint64_t{outcome.duplicate} << 10;
  digest_.Add(Change::kOutcome, ctx.index, place, flags);
}

void Partition::Impl::Context::StopAtUnknown() {
  stops = true;
  status = absl::FailedPreconditionError(absl::StrCat(
      "entry ", index, " in the log of partition ", partition,
      " was written by a newer release of mqttd, and this one does not know what it means. Nothing "
      "is lost: start the release that wrote it, or a later one"));
}

void Partition::Impl::Context::StopAtUnreadable(std::string_view what) {
  stops = true;
  status = absl::DataLossError(absl::StrCat(
      "entry ", index, " in the log of partition ", partition, " cannot be read (",
      base::AbslView(what),
      "): a newer release of mqttd wrote it, or it is damaged. Nothing was changed. Start the "
      "newest release that ran on this data_dir; if that cannot read it either, restore a backup"));
}

void Partition::Impl::Context::StopAsDifferent() {
  stops = true;
  status = absl::DataLossError(absl::StrCat(
      "partition ", partition,
      " is not what the other replicas have made of the same log, as entry ", index,
      " says: this is a fault of mqttd. It stops here, before anybody is served "
      "by it; report this, with the log of mqttd, and have this replica made again from another"));
}

// All commands of a request stand in one entry: either all of them are, or none.
bool Partition::Impl::IsRepeat(const CommandStamp& stamp, Context& ctx) {
  if (stamp.sequence == 0) return false;
  if (stamp.kept_from != 0) origins_.ForgetBelow(stamp.origin, stamp.kept_from);
  if (stamp.origin == ctx.origin && stamp.sequence == ctx.sequence) return false;
  if (!origins_.Take(stamp.origin, stamp.sequence)) return true;
  ctx.origin = stamp.origin;
  ctx.sequence = stamp.sequence;
  return false;
}

Outcome Partition::Impl::ApplyCommand(const CommandView& view, const mqtt::MessagePtr& message,
                                      Context& ctx) {
  switch (view.kind) {
    case CommandKind::kEnqueue:
      if (const std::optional<EnqueueView> enqueue = ParseEnqueue(view.body)) {
        return Apply(*enqueue, message, ctx);
      }
      ctx.StopAtUnreadable("an Enqueue");
      break;
    case CommandKind::kAcknowledge:
      if (const std::optional<AcknowledgeView> acknowledge = ParseAcknowledge(view.body)) {
        return Apply(*acknowledge, ctx);
      }
      ctx.StopAtUnreadable("an Acknowledge");
      break;
    case CommandKind::kOther:
      if (pb::Command command; Parse(view.bytes, command)) return ApplyRare(command, message, ctx);
      ctx.StopAtUnreadable("a command");
      break;
  }
  return {};
}

Outcome Partition::Impl::ApplyRare(const pb::Command& command, const mqtt::MessagePtr& message,
                                   Context& ctx) {
  switch (command.kind_case()) {
    case pb::Command::kSetLimits:
      *meta_.mutable_limits() = command.set_limits().limits();
      digest_.Add(Change::kLimits, meta_.limits().queue_messages_max(),
                  meta_.limits().queue_bytes_max(), meta_.limits().retained_messages_max());
      for (const auto& [client_id, session] : sessions_) WatchQueue(*session, nullptr);
      return {};
    case pb::Command::kOpenSession:
      return Apply(command.open_session(), ctx);
    case pb::Command::kCloseSession:
      return Apply(command.close_session(), ctx);
    case pb::Command::kCloseNode:
      return Apply(command.close_node(), ctx);
    case pb::Command::kExpireSession:
      return Apply(command.expire_session(), ctx);
    case pb::Command::kFireWill:
      return Apply(command.fire_will(), ctx);
    case pb::Command::kSubscribe:
      return Apply(command.subscribe(), ctx);
    case pb::Command::kUnsubscribe:
      return Apply(command.unsubscribe(), ctx);
    case pb::Command::kDropQueued:
      return Apply(command.drop_queued(), ctx);
    case pb::Command::kRememberInbound:
      return Apply(command.remember_inbound(), ctx);
    case pb::Command::kReleaseInbound:
      return Apply(command.release_inbound(), ctx);
    case pb::Command::kSetRetained:
      return Apply(command.set_retained(), message, ctx);
    case pb::Command::kDropRetained:
      return Apply(command.drop_retained(), ctx);
    case pb::Command::kEnqueueRetainedPage:
      return Apply(command.enqueue_retained_page(), ctx);
    case pb::Command::kAcceptInbound:
      return Apply(command.accept_inbound(), message, ctx);
    case pb::Command::kOutboxDone:
      return Apply(command.outbox_done(), ctx);
    case pb::Command::kOutboxAssign:
      return Apply(command.outbox_assign(), ctx);
    case pb::Command::kRaiseLevel:
      return Apply(command.raise_level(), ctx);
    case pb::Command::kChecksum:
      return Apply(command.checksum(), ctx);
    case pb::Command::kEnqueue:
    case pb::Command::kAcknowledge:
    case pb::Command::KIND_NOT_SET:
      break;
  }
  ctx.StopAtUnknown();
  return {};
}

Outcome Partition::Impl::Apply(const pb::RaiseLevel& command, Context& ctx) {
  Outcome outcome;
  if (command.level() > GreatestLevel(rules_)) {
    ctx.StopAtUnknown();
  } else if (command.level() <= meta_.level()) {
    outcome.code = OutcomeCode::kNothing;
  } else {
    meta_.set_level(command.level());
    digest_.Add(Change::kLevel, command.level());
  }
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::Checksum& command, Context& ctx) {
  Outcome outcome;
  if (command.index() != meta_.noted_index()) {
    outcome.code = OutcomeCode::kNothing;
  } else if (command.digest() != meta_.noted_digest()) {
    ctx.StopAsDifferent();
  }
  return outcome;
}

const Session* Partition::Impl::Find(std::string_view client_id) const {
  const auto found = sessions_.find(client_id);
  return found == sessions_.end() ? nullptr : found->second;
}

// The session if the command comes from its latest connection; else null, and why in `outcome`.
Session* Partition::Impl::FindCurrent(std::string_view client_id, uint64_t epoch,
                                      Outcome& outcome) {
  const auto found = sessions_.find(client_id);
  if (found == sessions_.end()) {
    outcome.code = OutcomeCode::kNoSession;
    return nullptr;
  }
  outcome.slot = found->second->slot;
  if (found->second->epoch != epoch) {
    outcome.code = OutcomeCode::kStaleEpoch;
    return nullptr;
  }
  return found->second;
}

Session& Partition::Impl::AddSession(std::string client_id) {
  auto made = std::make_unique<Session>();
  made->client_id = std::move(client_id);
  made->slot = TakeSlot(made->client_id);
  Session& session = *made;
  sessions_.emplace(session.client_id, &session);
  slots_[session.slot] = std::move(made);
  return session;
}

SessionSlot Partition::Impl::TakeSlot(std::string_view client_id) {
  if (slots_of_ != nullptr) {
    // One that will have ended takes a slot that nobody has there.
    const Session* const before = slots_of_->Find(client_id);
    const size_t slot =
        before != nullptr ? before->slot : std::max(slots_.size(), slots_of_->slots_.size());
    if (slots_.size() <= slot) slots_.resize(slot + 1);
    return static_cast<SessionSlot>(slot);
  }
  if (free_slots_.empty()) {
    slots_.emplace_back();
    return static_cast<SessionSlot>(slots_.size() - 1);
  }
  const SessionSlot slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void Partition::Impl::StopKeepingSlots() {
  slots_of_ = nullptr;
  free_slots_.clear();
  for (size_t slot = slots_.size(); slot-- > 0;) {
    if (slots_[slot] == nullptr) free_slots_.push_back(static_cast<SessionSlot>(slot));
  }
}

void Partition::Impl::RemoveSession(Session& session) {
  if (session.crowded) --crowded_;
  if (session.changes.touched != Session::kNone) touched_[session.changes.touched] = nullptr;
  if (session.changes.append != Session::kNone) ForgetAppend(session);
  sessions_.erase(session.client_id);
  free_slots_.push_back(session.slot);
  slots_[session.slot].reset();
}

void Partition::Impl::Touch(Session& session, bool Session::Changes::*what) {
  session.changes.*what = true;
  if (session.changes.touched != Session::kNone) return;
  session.changes.touched = static_cast<uint32_t>(touched_.size());
  touched_.push_back(&session);
}

// ---- What has changed goes into the batch ------------------------------------------------------

// In the order of keys, which an ordered store takes several times as fast.
void Partition::Impl::Flush(StateBatch& batch) {
  std::vector<std::pair<uint64_t, Session*>> changed;
  changed.reserve(touched_.size());
  for (Session* const session : touched_) {
    if (session != nullptr) changed.emplace_back(StableHash(session->client_id), session);
  }
  touched_.clear();
  std::sort(changed.begin(), changed.end());
  for (const auto& [hash, session] : changed) {
    if (!session->changes.cursor) continue;
    batch.Put(CursorKey(id_, session->client_id), session->queue.EncodeCursor());
  }
  meta_.set_digest(digest_.value());
  origins_.WriteTo(meta_);
  batch.Put(MetaKey(id_), meta_.SerializeAsString());
  for (const auto& [hash, session] : changed) {
    if (!session->changes.cursor) continue;
    TrimQueue(*session, batch);
    if (session->changes.append != Session::kNone) WriteAppend(*session, batch);
    session->queue.SetStoredThrough(session->queue.tail());
  }
  for (const auto& [hash, session] : changed) {
    if (session->changes.record) WriteSession(*session, batch);
    if (session->changes.replays) WriteReplays(*session, batch);
    session->changes = {};
  }
  FlushBodies(batch);
  outbox_.Flush(id_, batch);
  flushed_index_ = meta_.applied_index();
}

void Partition::Impl::WriteSession(const Session& session, StateBatch& batch) {
  pb::Session record;
  record.set_client_id(session.client_id);
  record.set_epoch(session.epoch);
  record.set_user_name(session.user_name);
  record.set_listener(session.listener);
  record.set_version(static_cast<uint32_t>(session.version));
  record.set_expiry_s(session.expiry_s);
  record.set_connected(session.connected);
  record.set_resumed(session.resumed);
  if (session.connected && session.owner != ConnectionRef{})
    WriteOwner(session.owner, *record.mutable_owner());
  record.set_disconnected_at_unix_ms(session.disconnected_at_unix_ms);
  record.set_ends_at_unix_ms(session.ends_at_unix_ms);
  record.set_window_messages(session.window_messages);
  record.set_created_at_unix_ms(session.created_at_unix_ms);
  record.set_last_replay(session.last_replay);
  record.set_had_shared(session.had_shared);
  record.set_had_bodies(session.had_bodies);
  if (session.will.message) {
    record.mutable_will()->set_message(EncodeStoredMessage(*session.will.message));
    record.mutable_will()->set_delay_s(session.will.delay_s);
    record.mutable_will()->set_due_at_unix_ms(session.will.due_at_unix_ms);
  }
  batch.Put(SessionKey(id_, session.client_id), record.SerializeAsString());
}

void Partition::Impl::WriteReplays(Session& session, StateBatch& batch) {
  std::vector<uint64_t> changed = session.replays.TakeChanged();
  std::sort(changed.begin(), changed.end());
  changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
  pb::Replay record;
  for (const uint64_t number : changed) {
    const std::string key = ReplayKey(id_, session.client_id, number);
    const RetainedReplay* const replay = session.replays.Find(number);
    if (replay == nullptr) {
      batch.Delete(key);
      continue;
    }
    record.set_number(number);
    record.set_filter(std::string(replay->filter));
    record.set_since_order(replay->since_order);
    record.set_cursor(replay->cursor);
    batch.Put(key, record.SerializeAsString());
  }
}

// Cuts what is appended to a queue, and is not done, into chunks.
void Partition::Impl::WriteAppend(Session& session, StateBatch& batch) {
  const PendingAppend& append = appends_[session.changes.append];
  std::string key = QueueKey(id_, session.client_id, 0);
  std::string bytes;
  const uint64_t end = append.first + append.items.size();
  for (uint64_t sequence = session.queue.NextOpen(append.first); sequence < end;) {
    KnownChunk chunk;
    chunk.first = sequence;
    bytes.clear();
    BeginChunk(sequence, bytes);
    while (sequence < end && chunk.sizes.size() < kChunkEntriesMax &&
           bytes.size() < kChunkBytesMax) {
      const PendingAppend::Item& item = append.items[sequence - append.first];
      AddToChunk(append.Entry(sequence), bytes);
      chunk.Add(item.size, item.body);
      ++sequence;
    }
    ReplaceSequence(key, chunk.last());
    batch.Put(key, bytes);
    SessionQueue& queue = session.queue;
    const uint64_t last = chunk.last();
    const bool is_next = queue.Follows(chunk) || queue.known_through() >= queue.stored_through();
    if (queue.known().size() < kKnownChunksMax && is_next) queue.AddKnown(std::move(chunk));
    queue.SetStoredThrough(last);
    sequence = queue.NextOpen(sequence);
  }
  ForgetAppend(session);
}

// ---- Dump --------------------------------------------------------------------------------------

namespace {

void DumpQueue(const SessionQueue& queue, std::string& out) {
  absl::StrAppend(&out, "  queue ", queue.head(), "..", queue.tail(), " messages ",
                  queue.messages(), " bytes ", queue.bytes(), " sent ", queue.sent_through(),
                  "\n  inbound");
  for (const uint16_t id : queue.inbound()) absl::StrAppend(&out, " ", id);
  absl::StrAppend(&out, "\n  released");
  for (const uint64_t sequence : queue.released()) absl::StrAppend(&out, " ", sequence);
  absl::StrAppend(&out, "\n  done");
  for (uint64_t sequence = queue.head(); sequence <= queue.tail(); ++sequence) {
    if (queue.IsDone(sequence)) absl::StrAppend(&out, " ", sequence);
  }
  absl::StrAppend(&out, "\n");
}

void DumpSession(const Session& session, std::string& out) {
  absl::StrAppend(&out, "session '", session.client_id, "' user '", session.user_name, "' version ",
                  static_cast<int>(session.version), " epoch ", session.epoch, " expiry ",
                  session.expiry_s, " window ", session.window_messages, " connected ",
                  session.connected, " owner ", session.owner.node.value(), ".",
                  session.owner.incarnation.value(), "/", session.owner.shard, "/",
                  session.owner.connection, " resumed ", session.resumed, " created ",
                  session.created_at_unix_ms, " disconnected ", session.disconnected_at_unix_ms,
                  " ends ", session.ends_at_unix_ms, "\n");
  if (session.will.message) {
    absl::StrAppend(&out, "  will '", base::AbslView(session.will.message->topic()), "' '",
                    base::AbslView(session.will.message->payload()), "' delay ",
                    session.will.delay_s, " due ", session.will.due_at_unix_ms, "\n");
  }
  for (const auto& [filter, subscription] : session.subscriptions) {
    absl::StrAppend(&out, "  subscription '", base::AbslView(filter), "' options ",
                    subscription->record.options.ToByte(), " id ",
                    subscription->record.subscription_id, "\n");
  }
  session.replays.ForEach([&](const RetainedReplay& replay) {
    absl::StrAppend(&out, "  replay ", replay.number, " '", base::AbslView(replay.filter),
                    "' since ", replay.since_order, " cursor '", replay.cursor, "'\n");
  });
  DumpQueue(session.queue, out);
}

}  // namespace

std::string Partition::Impl::Dump() const {
  std::string out = absl::StrCat(
      "partition ", id_, " applied ", meta_.applied_index(), " term ", meta_.applied_term(),
      " epoch ", meta_.last_epoch(), " order ", meta_.last_order(), " retained ",
      meta_.retained_messages(), " bytes ", meta_.retained_bytes(), " last body ",
      meta_.last_body(), " outbox ", outbox_.messages(), " bytes ", outbox_.bytes(), " last ",
      meta_.last_outbox(), " level ", meta_.level(), " digest ", absl::Hex(digest_.value()), "\n");
  out += origins_.Dump();
  std::map<uint64_t, uint64_t> bodies;
  for (const auto& [number, body] : bodies_) {
    if (body.count != 0) bodies[number] = body.count;
  }
  for (const auto& [number, count] : bodies) {
    absl::StrAppend(&out, "body ", number, " of ", count, "\n");
  }
  std::vector<const Session*> sorted;
  for (const auto& [client_id, session] : sessions_) sorted.push_back(session);
  std::sort(sorted.begin(), sorted.end(),
            [](const Session* a, const Session* b) { return a->client_id < b->client_id; });
  for (const Session* session : sorted) DumpSession(*session, out);
  std::vector<std::string_view> filters;
  index_.ForEachFilter([&](std::string_view filter) { filters.push_back(filter); });
  std::sort(filters.begin(), filters.end());
  for (const std::string_view filter : filters)
    absl::StrAppend(&out, "filter '", base::AbslView(filter), "'\n");
  return out;
}

// ---- Partition ---------------------------------------------------------------------------------

Partition::Partition(PartitionId id, absl::Span<const ApplyRules> rules)
    : id_(id), impl_(std::make_unique<Impl>(id, rules)) {}
Partition::~Partition() = default;

absl::Status Partition::Load(const StateReader& reader) { return impl_->Load(reader); }

void Partition::KeepSlotsOf(const Partition& before) {
  CHECK(impl_->slots_.empty()) << "loaded already";
  impl_->slots_of_ = before.impl_.get();
}
void Partition::StopKeepingSlots() { impl_->StopKeepingSlots(); }

absl::Status Partition::Upgrade(const StateReader& reader, StateBatch& batch) {
  return impl_->IndexRetained(reader, batch);
}

absl::Status Partition::ApplyEntry(std::string_view entry,
                                   absl::Span<const mqtt::MessagePtr> messages, uint64_t index,
                                   uint64_t term, const StateReader& reader, StateBatch& batch,
                                   Effects& effects) {
  return impl_->ApplyEntry(entry, messages, index, term, reader, batch, effects);
}

void Partition::BeginLog() {
  impl_->meta_.set_applied_index(std::max(impl_->meta_.applied_index(), kLogBegin.index));
  impl_->meta_.set_applied_term(kLogBegin.term);
}

void Partition::Flush(StateBatch& batch) { impl_->Flush(batch); }

bool Partition::stopped() const { return impl_->stopped_; }
uint64_t Partition::flushed_index() const { return impl_->flushed_index_; }
size_t Partition::unflushed_bytes() const {
  return impl_->unflushed_bytes_ + impl_->outbox_.unflushed_bytes();
}
uint64_t Partition::applied_index() const { return impl_->meta_.applied_index(); }
uint64_t Partition::applied_term() const { return impl_->meta_.applied_term(); }
uint32_t Partition::level() const { return impl_->meta_.level(); }
uint64_t Partition::digest() const { return impl_->digest_.value(); }
uint64_t Partition::last_order() const { return impl_->meta_.last_order(); }
int64_t Partition::last_time_unix_ms() const { return impl_->meta_.last_time_unix_ms(); }
int64_t Partition::StampAt(int64_t unix_ms) const { return impl_->StampAt(unix_ms); }
const pb::Limits& Partition::limits() const { return impl_->meta_.limits(); }
uint64_t Partition::retained_messages() const { return impl_->meta_.retained_messages(); }
uint64_t Partition::retained_bytes() const { return impl_->meta_.retained_bytes(); }
uint64_t Partition::subscriptions_bytes() const { return impl_->subscriptions_bytes_; }
const Outbox& Partition::outbox() const { return impl_->outbox_; }
const Origins& Partition::origins() const { return impl_->origins_; }
uint64_t Partition::last_outbox() const { return impl_->meta_.last_outbox(); }

const Session* Partition::Find(std::string_view client_id) const { return impl_->Find(client_id); }

const Session& Partition::session(SessionSlot slot) const {
  CHECK(slot < impl_->slots_.size() && impl_->slots_[slot] != nullptr)
      << "no session in slot " << slot;
  return *impl_->slots_[slot];
}

const Session* Partition::FindSlot(SessionSlot slot) const {
  return slot < impl_->slots_.size() ? impl_->slots_[slot].get() : nullptr;
}

SessionSlot Partition::slots() const { return static_cast<SessionSlot>(impl_->slots_.size()); }

uint64_t Partition::crowded() const { return impl_->crowded_; }

bool Partition::HasRoom(const Session& session, uint64_t messages, uint64_t bytes,
                        uint64_t size) const {
  return impl_->HasRoom(session, messages, bytes, size);
}

void Partition::ForEachReceiver(const mqtt::MessageParts& message,
                                absl::FunctionRef<void(const Session&)> visit) const {
  impl_->ForEachReceiver(message, visit);
}

size_t Partition::session_count() const { return impl_->sessions_.size(); }

void Partition::ForEachSession(absl::FunctionRef<void(const Session&)> visit) const {
  for (const std::unique_ptr<Session>& session : impl_->slots_) {
    if (session != nullptr) visit(*session);
  }
}

void Partition::ForEachFilter(absl::FunctionRef<void(std::string_view)> visit) const {
  impl_->index_.ForEachFilter(visit);
}

std::optional<Partition::SubscriptionPlace> Partition::VisitSubscriptions(
    const SubscriptionPlace& place,
    absl::FunctionRef<bool(const SessionSubscription&)> visit) const {
  std::string_view from = place.filter;
  for (size_t slot = place.slot; slot < impl_->slots_.size(); ++slot, from = {}) {
    const Session* const session = impl_->slots_[slot].get();
    if (session == nullptr) continue;
    for (auto it = session->subscriptions.lower_bound(from); it != session->subscriptions.end();
         ++it) {
      const SessionSubscription& subscription = *it->second;
      if (subscription.entry != nullptr && subscription.position != 0) continue;
      if (visit(subscription)) continue;
      if (++it != session->subscriptions.end()) {
        return SubscriptionPlace{static_cast<SessionSlot>(slot), std::string(it->first)};
      }
      return SubscriptionPlace{static_cast<SessionSlot>(slot + 1), {}};
    }
  }
  return std::nullopt;
}

absl::StatusOr<QueuePage> Partition::ReadQueue(const StateReader& reader, SessionSlot slot,
                                               uint64_t from, const QueueReadLimits& limits,
                                               int64_t now_unix_ms) {
  return impl_->ReadQueue(reader, slot, from, limits, now_unix_ms);
}

absl::StatusOr<ExpiredPage> Partition::FindExpired(const StateReader& reader, SessionSlot slot,
                                                   uint64_t from, size_t messages_max,
                                                   int64_t now_unix_ms) {
  CHECK(slot < impl_->slots_.size() && impl_->slots_[slot] != nullptr)
      << "no session in slot " << slot;
  return impl_->FindExpired(reader, *impl_->slots_[slot], from, messages_max, now_unix_ms);
}

void Partition::SetNextExpiry(SessionSlot slot, int64_t at_unix_ms) {
  CHECK(slot < impl_->slots_.size() && impl_->slots_[slot] != nullptr)
      << "no session in slot " << slot;
  impl_->slots_[slot]->queue.SetNextExpiry(at_unix_ms);
}

std::string Partition::Dump() const { return impl_->Dump(); }

}  // namespace storage
