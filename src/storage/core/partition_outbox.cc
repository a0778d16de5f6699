// A partition's outbox: what goes into it, who is chosen of groups, and what is passed on.
#include <utility>

#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"
#include "storage/core/wire.h"

namespace storage {
namespace {

int64_t ExpiryOf(std::string_view message_bytes) {
  const std::optional<mqtt::MessageParts> parts = ParseStoredMessage(message_bytes);
  return parts.has_value() ? parts->expires_at_unix_ms : 0;
}

pb::SharedTarget* FindTargetOf(pb::OutboxRecord& record, const std::string& share_filter) {
  for (pb::SharedTarget& target : *record.mutable_targets()) {
    if (target.subscription().filter() == share_filter) return &target;
  }
  return nullptr;
}

// The StoredMessage in a record. None if it is not one.
std::optional<mqtt::MessageParts> MessageIn(std::string_view record) {
  wire::Reader reader(record);
  std::string_view message;
  while (reader.Next()) {
    if (reader.field() == pb::OutboxRecord::kMessageFieldNumber) message = reader.bytes();
  }
  return reader.ok() ? ParseStoredMessage(message) : std::nullopt;
}

}  // namespace

// There is room: whoever proposed it has seen to that. (A publisher that was refused now might use
// the identifier for its next message, and that would be taken for a repeat.)
Outcome Partition::Impl::Apply(const pb::AcceptInbound& command, const mqtt::MessagePtr& message,
                               Context& ctx) {
  Outcome outcome;
  const std::optional<mqtt::MessageParts> parts =
      message ? message->parts() : MessageIn(command.record());
  if (!parts.has_value() || command.packet_id() == 0 || command.packet_id() > 0xFFFF) {
    ctx.StopAtUnreadable("a QoS 2 message");
    return outcome;
  }
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  outcome.duplicate = !session->queue.AddInbound(static_cast<uint16_t>(command.packet_id()));
  if (outcome.duplicate) return outcome;
  digest_.Add(Change::kInbound, session->epoch, command.packet_id());
  Touch(*session, &Session::Changes::cursor);
  AddToOutbox(command.record(), message, parts->expires_at_unix_ms, ctx);
  outcome.outbox = meta_.last_outbox();
  return outcome;
}

void Partition::Impl::LeaveToGroup(std::string_view share_filter, std::string_view message_bytes,
                                   Context& ctx) {
  pb::OutboxRecord record;
  record.set_share_filter(share_filter.data(), share_filter.size());
  record.set_message(message_bytes.data(), message_bytes.size());
  if (!AddLeft(record, ExpiryOf(message_bytes), ctx)) {
    ++ctx.effects.dropped[static_cast<size_t>(DropCause::kOutbox)];
  }
}

// The session's will, published at that moment. Others hear of it in any case: it takes more than
// the bound, which its leader keeps by letting wills wait where they are.
void Partition::Impl::LeaveWill(const Session& session, int64_t at_unix_ms, Context& ctx) {
  mqtt::MessagePtr message = mqtt::Restamp(*session.will.message, at_unix_ms);
  pb::OutboxRecord record;
  record.set_kind(pb::OutboxRecord::WILL);
  record.set_message(EncodeStoredMessage(*message));
  record.set_client_id(session.client_id);
  record.set_user_name(session.user_name);
  record.set_listener(session.listener);
  const int64_t expires = message->expires_at_unix_ms();
  AddToOutbox(record.SerializeAsString(), std::move(message), expires, ctx);
}

// False: there are as many as may be. Those that have expired make room.
bool Partition::Impl::AddLeft(const pb::OutboxRecord& record, int64_t expires_at_unix_ms,
                              Context& ctx) {
  while (const uint64_t expired = outbox_.FirstExpired(ctx.now_unix_ms)) {
    RemoveFromOutbox(expired);
    ++ctx.effects.dropped[static_cast<size_t>(DropCause::kExpired)];
  }
  if (!outbox_.HasRoom(meta_.limits(), 1, record.ByteSizeLong())) return false;
  AddToOutbox(record.SerializeAsString(), {}, expires_at_unix_ms, ctx);
  return true;
}

void Partition::Impl::AddToOutbox(std::string bytes, mqtt::MessagePtr message,
                                  int64_t expires_at_unix_ms, Context& ctx) {
  const uint64_t number = meta_.last_outbox() + 1;
  meta_.set_last_outbox(number);
  digest_.Add(Change::kOutboxAdded, number, bytes.size());
  outbox_.Add(number, std::move(bytes), std::move(message), expires_at_unix_ms);
  ctx.effects.list.push_back(OutboxGrew{});
}

bool Partition::Impl::RemoveFromOutbox(uint64_t number) {
  if (!outbox_.Remove(number)) return false;
  digest_.Add(Change::kOutboxDone, number);
  return true;
}

Outcome Partition::Impl::Apply(const pb::OutboxDone& command, Context& /*ctx*/) {
  Outcome outcome{.code = OutcomeCode::kNothing};
  for (const uint64_t number : command.numbers()) {
    if (RemoveFromOutbox(number)) outcome.code = OutcomeCode::kOk;
  }
  return outcome;
}

// Of a group of which a durable member has been chosen already nobody else is.
Outcome Partition::Impl::Apply(const pb::OutboxAssign& command, Context& ctx) {
  Outcome outcome{.code = OutcomeCode::kNothing};
  if (!outbox_.Contains(command.number())) return outcome;
  absl::StatusOr<std::string> bytes = outbox_.ReadBytes(ctx.reader, id_, command.number());
  pb::OutboxRecord record;
  if (bytes.ok() && !record.ParseFromString(*bytes)) {
    bytes = absl::DataLossError("unreadable record of the outbox");
  }
  if (!bytes.ok()) {
    ctx.status = bytes.status();
    return outcome;
  }
  for (const pb::SharedTarget& target : command.targets()) {
    pb::SharedTarget* const chosen = FindTargetOf(record, target.subscription().filter());
    if (chosen == nullptr) {
      *record.add_targets() = target;
    } else if (chosen->transient()) {
      *chosen = target;
    }
  }
  std::string changed = record.SerializeAsString();
  digest_.Add(Change::kOutboxAssigned, command.number(), changed.size());
  outbox_.Replace(command.number(), std::move(changed));
  outcome.code = OutcomeCode::kOk;
  return outcome;
}

}  // namespace storage
