// A partition's large messages: one that is for several queues stands once, and their entries have
// its number. It goes with the last of them.
#include <utility>

#include "absl/strings/str_cat.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"

namespace storage {
namespace {

absl::Status BadBody(uint64_t number) {
  return absl::DataLossError(absl::StrCat("unreadable message body ", number));
}

}  // namespace

// The counts only. As many as there are large messages that wait.
absl::Status Partition::Impl::LoadBodies(const StateReader& reader) {
  const KeyRange range = RangeOf(id_, KeyKind::kBodyCount);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  for (it->Seek(range.begin); it->Valid(); it->Next()) {
    const uint64_t number = SequenceOf(it->key()).value_or(0);
    const std::string_view value = it->value();
    pb::BodyCount record;
    if (!record.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
      return BadBody(number);
    }
    Body& body = bodies_[number];
    body.count = record.count();
    body.stored = true;
  }
  return it->status();
}

uint64_t Partition::Impl::BodyOf(const Session& session, uint64_t sequence) {
  if (!session.had_bodies) return 0;
  const PendingAppend* const append = FindAppend(session);
  if (append != nullptr && append->Holds(sequence)) {
    return append->items[sequence - append->first].body;
  }
  return session.queue.KnownBody(sequence);
}

// The entry, of that size with the message in it, gets the message's body in its place.
void Partition::Impl::ShareBody(Session& session, ChunkEntry& how, Incoming& incoming,
                                uint32_t size) {
  if (incoming.body == 0) {
    incoming.body = meta_.last_body() + 1;
    meta_.set_last_body(incoming.body);
    bodies_[incoming.body].bytes = incoming.bytes;
    unflushed_bytes_ += incoming.bytes.size();
  }
  Body& body = bodies_[incoming.body];
  ++body.count;
  TouchBody(incoming.body, body);
  how.message = {};
  how.body = incoming.body;
  how.size = size;
  if (std::exchange(session.had_bodies, true)) return;
  Touch(session, &Session::Changes::record);
}

void Partition::Impl::TouchBody(uint64_t number, Body& body) {
  if (!std::exchange(body.changed, true)) changed_bodies_.push_back(number);
}

void Partition::Impl::ReleaseBody(uint64_t number) {
  const auto found = bodies_.find(number);
  if (found == bodies_.end() || found->second.count == 0) return;  // A damaged entry.
  Body& body = found->second;
  if (--body.count == 0 && !body.stored) {
    unflushed_bytes_ -= body.bytes.size();
    bodies_.erase(found);
    return;
  }
  TouchBody(number, body);
}

void Partition::Impl::FlushBodies(StateBatch& batch) {
  for (const uint64_t number : changed_bodies_) {
    const auto found = bodies_.find(number);
    if (found == bodies_.end()) continue;
    Body& body = found->second;
    body.changed = false;
    if (body.count == 0) {
      batch.Delete(BodyKey(id_, number));
      batch.Delete(BodyCountKey(id_, number));
      bodies_.erase(found);
      continue;
    }
    if (!std::exchange(body.stored, true)) {
      batch.Put(BodyKey(id_, number), body.bytes);
      unflushed_bytes_ -= body.bytes.size();
      body.bytes = std::string();
    }
    pb::BodyCount record;
    record.set_count(body.count);
    batch.Put(BodyCountKey(id_, number), record.SerializeAsString());
  }
  changed_bodies_.clear();
}

absl::StatusOr<mqtt::MessagePtr> Partition::Impl::ReadBody(uint64_t number,
                                                           const StateReader& reader) {
  if (last_read_message_ && last_read_ == number) return last_read_message_;
  const auto found = bodies_.find(number);
  if (found == bodies_.end()) return BadBody(number);
  mqtt::MessagePtr message;
  if (!found->second.stored) {
    message = DecodeStoredMessage(found->second.bytes);
  } else {
    std::string bytes;
    const absl::StatusOr<bool> read = reader.Get(BodyKey(id_, number), bytes);
    if (!read.ok()) return read.status();
    if (*read) message = DecodeStoredMessage(bytes);
  }
  if (!message) return BadBody(number);
  last_read_ = number;
  last_read_message_ = message;
  return message;
}

}  // namespace storage
