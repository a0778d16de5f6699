#include "storage/core/partition.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/check.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/log_entry.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"
#include "storage/core/session_records.h"

namespace storage {
namespace {

template <typename Record>
bool Parse(std::string_view bytes, Record& record) {
  return record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace

// ---- Load --------------------------------------------------------------------------------------

absl::Status Partition::Impl::Load(const StateReader& reader) {
  CHECK(sessions_.size() == 0 && meta_.applied_index() == 0) << "loaded twice";
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
  absl::Status status = LoadSessions(reader, id_, sessions_, index_, subscriptions_bytes_);
  if (!status.ok()) return status;
  sessions_.ForEach([&](Session& session) { WatchQueue(session, nullptr); });
  if (status = outbox_.Load(reader); !status.ok()) return status;
  return entries_.Load(reader);
}

// ---- Apply -------------------------------------------------------------------------------------

absl::Status Partition::Impl::ApplyEntry(std::string_view entry,
                                         absl::Span<const mqtt::MessagePtr> messages,
                                         uint64_t index, uint64_t term, const StateReader& reader,
                                         StateBatch& batch, Effects& effects) {
  if (index <= meta_.applied_index()) return absl::OkStatus();
  entries_.BeginEntry();
  ApplyContext ctx{
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
  retained_.EndEntry();
  if (ctx.writes) Flush(batch);
  return absl::OkStatus();
}

void Partition::Impl::ApplyCommands(std::string_view entry,
                                    absl::Span<const mqtt::MessagePtr> messages,
                                    ApplyContext& ctx) {
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

void Partition::Impl::NoteOutcome(const Outcome& outcome, size_t place, const ApplyContext& ctx) {
  const uint64_t flags = uint64_t{static_cast<uint8_t>(outcome.code)} |
                         uint64_t{outcome.session_present} << 8 | uint64_t{outcome.durable} << 9 |
                         uint64_t{outcome.duplicate} << 10;
  digest_.Add(Change::kOutcome, ctx.index, place, flags);
}

// All commands of a request stand in one entry: either all of them are, or none.
bool Partition::Impl::IsRepeat(const CommandStamp& stamp, ApplyContext& ctx) {
  if (stamp.sequence == 0) return false;
  if (stamp.kept_from != 0) origins_.ForgetBelow(stamp.origin, stamp.kept_from);
  if (stamp.origin == ctx.origin && stamp.sequence == ctx.sequence) return false;
  if (!origins_.Take(stamp.origin, stamp.sequence)) return true;
  ctx.origin = stamp.origin;
  ctx.sequence = stamp.sequence;
  return false;
}

Outcome Partition::Impl::ApplyCommand(const CommandView& view, const mqtt::MessagePtr& message,
                                      ApplyContext& ctx) {
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
                                   ApplyContext& ctx) {
  switch (command.kind_case()) {
    case pb::Command::kSetLimits:
      *meta_.mutable_limits() = command.set_limits().limits();
      digest_.Add(Change::kLimits, meta_.limits().queue_messages_max(),
                  meta_.limits().queue_bytes_max(), meta_.limits().retained_messages_max());
      sessions_.ForEach([&](Session& session) { WatchQueue(session, nullptr); });
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
      return retained_.Apply(command.set_retained(), message, ctx);
    case pb::Command::kDropRetained:
      return retained_.Apply(command.drop_retained(), ctx);
    case pb::Command::kEnqueueRetainedPage:
      return Apply(command.enqueue_retained_page(), ctx);
    case pb::Command::kAcceptInbound:
      return Apply(command.accept_inbound(), message, ctx);
    case pb::Command::kOutboxDone:
      return outbox_.Apply(command.outbox_done());
    case pb::Command::kOutboxAssign:
      return outbox_.Apply(command.outbox_assign(), ctx);
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

Outcome Partition::Impl::Apply(const pb::RaiseLevel& command, ApplyContext& ctx) {
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

Outcome Partition::Impl::Apply(const pb::Checksum& command, ApplyContext& ctx) {
  Outcome outcome;
  if (command.index() != meta_.noted_index()) {
    outcome.code = OutcomeCode::kNothing;
  } else if (command.digest() != meta_.noted_digest()) {
    ctx.StopAsDifferent();
  }
  return outcome;
}

// The session if the command comes from its latest connection; else null, and why in `outcome`.
Session* Partition::Impl::FindCurrent(std::string_view client_id, uint64_t epoch,
                                      Outcome& outcome) {
  Session* const session = sessions_.Find(client_id);
  if (session == nullptr) {
    outcome.code = OutcomeCode::kNoSession;
    return nullptr;
  }
  outcome.slot = session->slot;
  if (session->epoch != epoch) {
    outcome.code = OutcomeCode::kStaleEpoch;
    return nullptr;
  }
  return session;
}

// ---- What has changed goes into the batch ------------------------------------------------------

void Partition::Impl::Flush(StateBatch& batch) {
  const std::vector<Session*> changed = sessions_.TakeTouched();
  for (const Session* const session : changed) {
    if (!session->changes.cursor) continue;
    batch.Put(CursorKey(id_, session->client_id), session->queue.EncodeCursor());
  }
  meta_.set_digest(digest_.value());
  origins_.WriteTo(meta_);
  batch.Put(MetaKey(id_), meta_.SerializeAsString());
  for (Session* const session : changed) {
    if (session->changes.cursor) entries_.Flush(*session, batch);
  }
  for (Session* const session : changed) {
    if (session->changes.record) WriteSession(id_, *session, batch);
    if (session->changes.replays) WriteReplays(id_, *session, batch);
    session->changes = {};
  }
  entries_.FlushBodies(batch);
  outbox_.Flush(batch);
  flushed_index_ = meta_.applied_index();
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
      meta_.last_body(), " outbox ", outbox_.records().messages(), " bytes ",
      outbox_.records().bytes(), " last ", meta_.last_outbox(), " level ", meta_.level(),
      " digest ", absl::Hex(digest_.value()), "\n");
  out += origins_.Dump();
  entries_.DumpBodiesTo(out);
  for (const Session* const session : sessions_.InOrder([](const Session&) { return true; })) {
    DumpSession(*session, out);
  }
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
  impl_->sessions_.KeepSlotsOf(before.impl_->sessions_);
}
void Partition::StopKeepingSlots() { impl_->sessions_.StopKeepingSlots(); }

absl::Status Partition::Upgrade(const StateReader& reader, StateBatch& batch) {
  return impl_->retained_.IndexExpiries(reader, batch);
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
  return impl_->entries_.unflushed_bytes() + impl_->outbox_.records().unflushed_bytes();
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
const Outbox& Partition::outbox() const { return impl_->outbox_.records(); }
const Origins& Partition::origins() const { return impl_->origins_; }
uint64_t Partition::last_outbox() const { return impl_->meta_.last_outbox(); }

const Session* Partition::Find(std::string_view client_id) const {
  return impl_->sessions_.Find(client_id);
}
const Session& Partition::session(SessionSlot slot) const { return impl_->sessions_.At(slot); }
const Session* Partition::FindSlot(SessionSlot slot) const {
  return impl_->sessions_.FindSlot(slot);
}
SessionSlot Partition::slots() const { return impl_->sessions_.slots(); }

uint64_t Partition::crowded() const { return impl_->crowded_; }

bool Partition::HasRoom(const Session& session, uint64_t messages, uint64_t bytes,
                        uint64_t size) const {
  return impl_->HasRoom(session, messages, bytes, size);
}

void Partition::ForEachReceiver(const mqtt::MessageParts& message,
                                absl::FunctionRef<void(const Session&, size_t)> visit) const {
  impl_->ForEachReceiver(message, visit);
}

size_t Partition::CountFilters(std::string_view topic) const {
  SubscriptionIndex::Matches matches;
  impl_->index_.Match(topic, matches);
  return matches.size();
}

size_t Partition::session_count() const { return impl_->sessions_.size(); }

void Partition::ForEachSession(absl::FunctionRef<void(const Session&)> visit) const {
  impl_->sessions_.ForEach([&](const Session& session) { visit(session); });
}

void Partition::ForEachFilter(absl::FunctionRef<void(std::string_view)> visit) const {
  impl_->index_.ForEachFilter(visit);
}

std::optional<Partition::SubscriptionPlace> Partition::VisitSubscriptions(
    const SubscriptionPlace& place,
    absl::FunctionRef<bool(const SessionSubscription&)> visit) const {
  std::string_view from = place.filter;
  for (size_t slot = place.slot; slot < slots(); ++slot, from = {}) {
    const Session* const session = FindSlot(static_cast<SessionSlot>(slot));
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
  return impl_->entries_.Read(reader, impl_->sessions_.At(slot), from, limits, now_unix_ms);
}

absl::StatusOr<ExpiredPage> Partition::FindExpired(const StateReader& reader, SessionSlot slot,
                                                   uint64_t from, size_t messages_max,
                                                   int64_t now_unix_ms) {
  Session& session = impl_->sessions_.At(slot);
  return impl_->entries_.FindExpired(reader, session, from, messages_max, now_unix_ms);
}

void Partition::SetNextExpiry(SessionSlot slot, int64_t at_unix_ms) {
  impl_->sessions_.At(slot).queue.SetNextExpiry(at_unix_ms);
}

std::string Partition::Dump() const { return impl_->Dump(); }

}  // namespace storage
