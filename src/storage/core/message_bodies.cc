#include "storage/core/message_bodies.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"

namespace storage {
namespace {

namespace pb = ::mqttd::storage::v1;

absl::Status BadBody(uint64_t number) {
  return absl::DataLossError(absl::StrCat("unreadable message body ", number));
}

}  // namespace

absl::Status MessageBodies::Load(const StateReader& reader) {
  const KeyRange range = RangeOf(partition_, KeyKind::kBodyCount);
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

uint64_t MessageBodies::Share(uint64_t number, std::string_view message) {
  if (number == 0) {
    number = meta_.last_body() + 1;
    meta_.set_last_body(number);
    bodies_[number].bytes = message;
    unflushed_bytes_ += message.size();
  }
  Body& body = bodies_[number];
  ++body.count;
  Touch(number, body);
  return number;
}

void MessageBodies::Touch(uint64_t number, Body& body) {
  if (!std::exchange(body.changed, true)) changed_.push_back(number);
}

void MessageBodies::Release(uint64_t number) {
  const auto found = bodies_.find(number);
  if (found == bodies_.end() || found->second.count == 0) return;  // A damaged entry.
  Body& body = found->second;
  if (--body.count == 0 && !body.stored) {
    unflushed_bytes_ -= body.bytes.size();
    bodies_.erase(found);
    return;
  }
  Touch(number, body);
}

void MessageBodies::Flush(StateBatch& batch) {
  for (const uint64_t number : changed_) {
    const auto found = bodies_.find(number);
    if (found == bodies_.end()) continue;
    Body& body = found->second;
    body.changed = false;
    if (body.count == 0) {
      batch.Delete(BodyKey(partition_, number));
      batch.Delete(BodyCountKey(partition_, number));
      bodies_.erase(found);
      continue;
    }
    if (!std::exchange(body.stored, true)) {
      batch.Put(BodyKey(partition_, number), body.bytes);
      unflushed_bytes_ -= body.bytes.size();
      body.bytes = std::string();
    }
    pb::BodyCount record;
    record.set_count(body.count);
    batch.Put(BodyCountKey(partition_, number), record.SerializeAsString());
  }
  changed_.clear();
}

absl::StatusOr<mqtt::MessagePtr> MessageBodies::Read(uint64_t number, const StateReader& reader) {
  if (last_read_message_ && last_read_ == number) return last_read_message_;
  const auto found = bodies_.find(number);
  if (found == bodies_.end()) return BadBody(number);
  mqtt::MessagePtr message;
  if (!found->second.stored) {
    message = DecodeStoredMessage(found->second.bytes);
  } else {
    std::string bytes;
    const absl::StatusOr<bool> read = reader.Get(BodyKey(partition_, number), bytes);
    if (!read.ok()) return read.status();
    if (*read) message = DecodeStoredMessage(bytes);
  }
  if (!message) return BadBody(number);
  last_read_ = number;
  last_read_message_ = message;
  return message;
}

void MessageBodies::DumpTo(std::string& out) const {
  std::map<uint64_t, uint64_t> counts;
  for (const auto& [number, body] : bodies_) {  // tidy: any order: into a map.
    if (body.count != 0) counts[number] = body.count;
  }
  for (const auto& [number, count] : counts) {
    absl::StrAppend(&out, "body ", number, " of ", count, "\n");
  }
}

}  // namespace storage
