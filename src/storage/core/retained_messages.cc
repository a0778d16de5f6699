#include "storage/core/retained_messages.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/retained_record.h"

namespace storage {

namespace pb = ::mqttd::storage::v1;

// §3.3.1.3: replaces the topic's message [MQTT-3.3.1-5]; an empty payload removes it
// [MQTT5-3.3.1-6] [MQTT311-3.3.1-10].
Outcome RetainedMessages::Apply(const pb::SetRetained& command, const mqtt::MessagePtr& message,
                                ApplyContext& ctx) {
  Outcome outcome;
  std::optional<mqtt::MessageParts> parts;
  parts = message ? message->parts() : ParseStoredMessage(command.message());
  if (!parts.has_value()) {
    ctx.StopAtUnreadable("a retained message");
    return outcome;
  }
  const std::string topic(parts->topic);
  const std::optional<State> before = Now(topic, ctx);
  if (!ctx.status.ok()) return outcome;
  if (parts->payload.empty()) {
    if (before.has_value()) Remove(topic, *before, ctx);
    return outcome;
  }
  const uint64_t old_bytes = before.has_value() ? before->bytes : 0;
  const uint64_t new_bytes = command.message().size();
  const uint64_t messages = meta_.retained_messages() + (before.has_value() ? 0 : 1);
  const uint64_t bytes = meta_.retained_bytes() - old_bytes + new_bytes;
  const uint64_t messages_max = meta_.limits().retained_messages_max();
  const uint64_t bytes_max = meta_.limits().retained_bytes_max();
  // What is there already may become smaller when a limit was lowered below it.
  const bool too_many = messages_max != 0 && messages > messages_max && !before.has_value();
  const bool too_big = bytes_max != 0 && bytes > bytes_max && new_bytes > old_bytes;
  if (too_many || too_big) {
    outcome.code = OutcomeCode::kLimit;
    return outcome;
  }
  meta_.set_retained_messages(messages);
  meta_.set_retained_bytes(bytes);
  const State now{new_bytes, ctx.order, parts->expires_at_unix_ms};
  if (before.has_value()) ForgetExpiry(topic, *before, ctx);
  if (now.expires_at_unix_ms != 0) {
    ctx.Batch().Put(RetainedExpiryKey(partition_, now.expires_at_unix_ms, topic),
                    EncodeRetainedExpiry({now.order, now.bytes}));
  }
  digest_.Add(Change::kRetained, StableHash(topic), now.order, now.bytes);
  set_by_entry_[topic] = now;
  ctx.Batch().Put(RetainedKey(partition_, topic),
                  EncodeRetained({command.message(), ctx.order, command.partitions(),
                                  command.of_partitions()}));
  return outcome;
}

Outcome RetainedMessages::Apply(const pb::DropRetained& command, ApplyContext& ctx) {
  Outcome outcome;
  outcome.code = OutcomeCode::kNothing;
  for (const pb::DropRetained::Item& item : command.items()) {
    const std::optional<State> now = Now(item.topic(), ctx);
    if (!ctx.status.ok()) return outcome;
    if (item.expires_at_unix_ms() != 0) ForgetExpiry(item, now, ctx);
    if (!now.has_value() || now->order != item.order()) continue;
    Remove(item.topic(), *now, ctx);
    outcome.code = OutcomeCode::kOk;
  }
  return outcome;
}

// What is retained for the topic, by this entry or before it.
std::optional<RetainedMessages::State> RetainedMessages::Now(const std::string& topic,
                                                             ApplyContext& ctx) {
  if (const auto found = set_by_entry_.find(topic); found != set_by_entry_.end()) {
    return found->second;
  }
  std::string bytes;
  const absl::StatusOr<bool> found = ctx.reader.Get(RetainedKey(partition_, topic), bytes);
  if (!found.ok()) {
    ctx.status = found.status();
    return std::nullopt;
  }
  if (!*found) return std::nullopt;
  const std::optional<RetainedView> record = ParseRetained(bytes);
  if (!record.has_value()) {
    ctx.status = absl::DataLossError(absl::StrCat("unreadable retained message of '", topic, "'"));
    return std::nullopt;
  }
  const std::optional<mqtt::MessageParts> parts = ParseStoredMessage(record->message);
  return State{record->message.size(), record->order,
               parts.has_value() ? parts->expires_at_unix_ms : 0};
}

void RetainedMessages::ForgetExpiry(const std::string& topic, const State& state,
                                    ApplyContext& ctx) {
  if (state.expires_at_unix_ms == 0) return;
  ctx.Batch().Delete(RetainedExpiryKey(partition_, state.expires_at_unix_ms, topic));
}

// An entry of the index that no message has, as an earlier release may leave it, goes too.
void RetainedMessages::ForgetExpiry(const pb::DropRetained::Item& item,
                                    const std::optional<State>& now, ApplyContext& ctx) {
  if (now.has_value() && now->expires_at_unix_ms == item.expires_at_unix_ms()) return;
  ctx.Batch().Delete(RetainedExpiryKey(partition_, item.expires_at_unix_ms(), item.topic()));
}

void RetainedMessages::Remove(const std::string& topic, const State& state, ApplyContext& ctx) {
  meta_.set_retained_messages(meta_.retained_messages() - 1);
  meta_.set_retained_bytes(meta_.retained_bytes() - state.bytes);
  digest_.Add(Change::kRetainedRemoved, StableHash(topic), state.order);
  set_by_entry_[topic] = std::nullopt;
  ForgetExpiry(topic, state, ctx);
  ctx.Batch().Delete(RetainedKey(partition_, topic));
}

// For a store of a release that kept no index: all retained messages are read, once.
absl::Status RetainedMessages::IndexExpiries(const StateReader& reader, StateBatch& batch) {
  if (meta_.retained_expiry()) return absl::OkStatus();
  meta_.set_retained_expiry(true);
  if (meta_.retained_messages() == 0) return absl::OkStatus();  // Written with the next flush.
  const KeyRange range = RangeOf(partition_, KeyKind::kRetained);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  for (it->Seek(range.begin); it->Valid(); it->Next()) {
    const std::optional<RetainedView> record = ParseRetained(it->value());
    const auto parts = record.has_value() ? ParseStoredMessage(record->message) : std::nullopt;
    if (!parts.has_value() || parts->expires_at_unix_ms == 0) continue;  // Found when it is read.
    batch.Put(RetainedExpiryKey(partition_, parts->expires_at_unix_ms, parts->topic),
              EncodeRetainedExpiry({record->order, record->message.size()}));
  }
  meta_.set_digest(digest_.value());
  batch.Put(MetaKey(partition_), meta_.SerializeAsString());
  return it->status();
}

}  // namespace storage
