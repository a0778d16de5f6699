#include "storage/core/partition_outbox.h"

#include <optional>
#include <utility>

#include "storage/core/message_codec.h"

namespace storage {
namespace {

namespace pb = ::mqttd::storage::v1;

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

}  // namespace

void PartitionOutbox::LeaveToGroup(std::string_view share_filter, std::string_view message_bytes,
                                   ApplyContext& ctx) {
  pb::OutboxRecord record;
  record.set_share_filter(share_filter.data(), share_filter.size());
  record.set_message(message_bytes.data(), message_bytes.size());
  if (!LeaveWithinBounds(record, ExpiryOf(message_bytes), ctx)) {
    ctx.CountDropped(DropCause::kOutbox);
  }
}

void PartitionOutbox::LeaveWill(const Session& session, int64_t at_unix_ms, ApplyContext& ctx) {
  mqtt::MessagePtr message = mqtt::Restamp(*session.will.message, at_unix_ms);
  pb::OutboxRecord record;
  record.set_kind(pb::OutboxRecord::WILL);
  record.set_message(EncodeStoredMessage(*message));
  record.set_client_id(session.client_id);
  record.set_user_name(session.user_name);
  record.set_listener(session.listener);
  const int64_t expires = message->expires_at_unix_ms();
  Add(record.SerializeAsString(), std::move(message), expires, ctx);
}

// False: there are as many as may be. Those that have expired make room.
bool PartitionOutbox::LeaveWithinBounds(const pb::OutboxRecord& record, int64_t expires_at_unix_ms,
                                        ApplyContext& ctx) {
  while (const uint64_t expired = records_.FirstExpired(ctx.now_unix_ms)) {
    Remove(expired);
    ctx.CountDropped(DropCause::kExpired);
  }
  if (!records_.HasRoom(meta_.limits(), 1, record.ByteSizeLong())) return false;
  Add(record.SerializeAsString(), {}, expires_at_unix_ms, ctx);
  return true;
}

uint64_t PartitionOutbox::Add(std::string bytes, mqtt::MessagePtr message,
                              int64_t expires_at_unix_ms, ApplyContext& ctx) {
  const uint64_t number = meta_.last_outbox() + 1;
  meta_.set_last_outbox(number);
  digest_.Add(Change::kOutboxAdded, number, bytes.size());
  records_.Add(number, std::move(bytes), std::move(message), expires_at_unix_ms);
  ctx.effects.list.push_back(OutboxGrew{});
  return number;
}

bool PartitionOutbox::Remove(uint64_t number) {
  if (!records_.Remove(number)) return false;
  digest_.Add(Change::kOutboxDone, number);
  return true;
}

Outcome PartitionOutbox::Apply(const pb::OutboxDone& command) {
  Outcome outcome{.code = OutcomeCode::kNothing};
  for (const uint64_t number : command.numbers()) {
    if (Remove(number)) outcome.code = OutcomeCode::kOk;
  }
  return outcome;
}

Outcome PartitionOutbox::Apply(const pb::OutboxAssign& command, ApplyContext& ctx) {
  Outcome outcome{.code = OutcomeCode::kNothing};
  if (!records_.Contains(command.number())) return outcome;
  absl::StatusOr<std::string> bytes = records_.ReadBytes(ctx.reader, partition_, command.number());
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
  records_.Replace(command.number(), std::move(changed));
  outcome.code = OutcomeCode::kOk;
  return outcome;
}

}  // namespace storage
