#include "storage/core/outbox.h"

#include <memory>
#include <optional>

#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"

namespace storage {
namespace {

namespace pb = ::mqttd::storage::v1;

absl::Status Unreadable() { return absl::DataLossError("unreadable record of the outbox"); }

bool Parse(std::string_view bytes, pb::OutboxRecord& record) {
  return record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

SharedTarget ReadTarget(const pb::SharedTarget& target) {
  return {.client_id = target.client_id(),
          .filter = target.subscription().filter(),
          .options = mqtt::SubscriptionOptions::FromByte(
              static_cast<uint8_t>(target.subscription().options())),
          .subscription_id = target.subscription().subscription_id(),
          .last_choice = target.last_choice(),
          .transient = target.transient()};
}

OutboxRecord::Kind KindOf(const pb::OutboxRecord& record) {
  switch (record.kind()) {
    case pb::OutboxRecord::WILL:
      return OutboxRecord::Kind::kWill;
    case pb::OutboxRecord::INBOUND:
      return OutboxRecord::Kind::kInbound;
    default:
      return OutboxRecord::Kind::kLeft;
  }
}

}  // namespace

void StoreTarget(const SharedTarget& target, pb::SharedTarget& stored) {
  stored.set_client_id(target.client_id);
  stored.mutable_subscription()->set_filter(target.filter);
  stored.mutable_subscription()->set_options(target.options.ToByte());
  stored.mutable_subscription()->set_subscription_id(target.subscription_id);
  stored.set_last_choice(target.last_choice);
  stored.set_transient(target.transient);
}

absl::Status Outbox::Load(const StateReader& reader, PartitionId partition) {
  const KeyRange range = RangeOf(partition, KeyKind::kOutbox);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  for (it->Seek(range.begin); it->Valid(); it->Next()) {
    const std::optional<uint64_t> number = SequenceOf(it->key());
    pb::OutboxRecord record;
    if (!number.has_value() || !Parse(it->value(), record)) return Unreadable();
    const auto parts = ParseStoredMessage(record.message());
    Entry& entry = entries_[*number];
    entry.size = static_cast<uint32_t>(it->value().size());
    entry.stored = true;
    entry.expires_at_unix_ms = parts.has_value() ? parts->expires_at_unix_ms : 0;
    bytes_ += entry.size;
    if (entry.expires_at_unix_ms != 0) expiries_.insert({entry.expires_at_unix_ms, *number});
  }
  return it->status();
}

void Outbox::Flush(PartitionId partition, StateBatch& batch) {
  for (const uint64_t number : removed_) batch.Delete(OutboxKey(partition, number));
  removed_.clear();
  for (const uint64_t number : std::exchange(unwritten_, {})) {
    Entry& entry = entries_.at(number);
    batch.Put(OutboxKey(partition, number), entry.bytes);
    entry.stored = true;
    Forget(entry);
  }
}

void Outbox::Hold(Entry& entry, std::string bytes) {
  entry.size = static_cast<uint32_t>(bytes.size());
  entry.bytes = std::move(bytes);
  entry.unwritten = true;
  bytes_ += entry.size;
  unflushed_bytes_ += entry.size;
}

// What it has in memory beside the words about it.
void Outbox::Forget(Entry& entry) {
  if (!entry.unwritten) return;
  unflushed_bytes_ -= entry.size;
  entry.unwritten = false;
  entry.bytes = {};
  entry.message = {};
}

void Outbox::Add(uint64_t number, std::string bytes, mqtt::MessagePtr message,
                 int64_t expires_at_unix_ms) {
  Entry& entry = entries_[number];
  Hold(entry, std::move(bytes));
  unwritten_.insert(number);
  entry.message = std::move(message);
  entry.expires_at_unix_ms = expires_at_unix_ms;
  if (expires_at_unix_ms != 0) expiries_.insert({expires_at_unix_ms, number});
}

bool Outbox::Remove(uint64_t number) {
  const auto found = entries_.find(number);
  if (found == entries_.end()) return false;
  Entry& entry = found->second;
  if (entry.stored) removed_.push_back(number);
  Forget(entry);
  unwritten_.erase(number);
  bytes_ -= entry.size;
  expiries_.erase({entry.expires_at_unix_ms, number});
  entries_.erase(found);
  return true;
}

void Outbox::Replace(uint64_t number, std::string bytes) {
  Entry& entry = entries_.at(number);
  mqtt::MessagePtr message = entry.message;
  Forget(entry);
  bytes_ -= entry.size;
  Hold(entry, std::move(bytes));
  unwritten_.insert(number);
  entry.message = std::move(message);
}

bool Outbox::HasRoom(const pb::Limits& limits, uint64_t messages, uint64_t bytes) const {
  const bool too_many = limits.outbox_messages_max() != 0 &&
                        entries_.size() + messages > limits.outbox_messages_max();
  const bool too_big = limits.outbox_bytes_max() != 0 && bytes_ + bytes > limits.outbox_bytes_max();
  return !too_many && !too_big;
}

uint64_t Outbox::FirstExpired(int64_t now_unix_ms) const {
  if (expiries_.empty() || expiries_.begin()->first > now_unix_ms) return 0;
  return expiries_.begin()->second;
}

absl::StatusOr<std::string> Outbox::ReadBytes(const StateReader& reader, PartitionId partition,
                                              uint64_t number) const {
  const Entry& entry = entries_.at(number);
  if (entry.unwritten) return entry.bytes;
  std::string bytes;
  const absl::StatusOr<bool> found = reader.Get(OutboxKey(partition, number), bytes);
  if (!found.ok()) return found.status();
  if (!*found) return Unreadable();
  return bytes;
}

absl::StatusOr<std::vector<OutboxRecord>> Outbox::Read(const StateReader& reader,
                                                       PartitionId partition, uint64_t after,
                                                       size_t records_max) const {
  std::vector<OutboxRecord> records;
  pb::OutboxRecord stored;
  for (auto it = entries_.upper_bound(after); it != entries_.end() && records.size() < records_max;
       ++it) {
    const absl::StatusOr<std::string> bytes = ReadBytes(reader, partition, it->first);
    if (!bytes.ok()) return bytes.status();
    if (!Parse(*bytes, stored)) return Unreadable();
    OutboxRecord& record = records.emplace_back();
    record.number = it->first;
    record.kind = KindOf(stored);
    record.share_filter = stored.share_filter();
    record.message =
        it->second.message ? it->second.message : DecodeStoredMessage(stored.message());
    if (!record.message) return Unreadable();
    record.client_id = stored.client_id();
    record.user_name = stored.user_name();
    record.listener = stored.listener();
    record.clears_only = stored.clears_only();
    for (const pb::SharedTarget& target : stored.targets()) {
      record.targets.push_back(ReadTarget(target));
    }
  }
  return records;
}

}  // namespace storage
