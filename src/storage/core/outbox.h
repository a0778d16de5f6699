// What a partition is to pass on: QoS 2 messages of its publishers, wills that have fired, and what
// members of `$share` groups left.
#ifndef STORAGE_CORE_OUTBOX_H_
#define STORAGE_CORE_OUTBOX_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mqtt/message.h"
#include "storage/core/kv.h"
#include "storage/core/partition_api.h"

namespace mqttd::storage::v1 {
class Limits;
class SharedTarget;
}  // namespace mqttd::storage::v1

namespace storage {

// One record, read: see OutboxRecord in records.proto.
struct OutboxRecord {
  enum class Kind : uint8_t { kLeft, kWill, kInbound };
  uint64_t number = 0;
  Kind kind = Kind::kLeft;
  std::string share_filter;
  mqtt::MessagePtr message;
  std::string client_id;  // Of a will's author.
  std::string user_name;
  std::string listener;
  std::vector<SharedTarget> targets;
  bool clears_only = false;
};

void StoreTarget(const SharedTarget& target, ::mqttd::storage::v1::SharedTarget& stored);

// Part of a partition's state. Records are numbered from 1 in the order in which they came, and no
// number is used again: so whoever gets what one holds knows it again (Origins). Of each the
// partition keeps some words in memory; the record itself only until the next flush, so that one
// that is passed on sooner is never written.
class Outbox {
 public:
  // Of all records in the store. Once, before anything else.
  absl::Status Load(const StateReader& reader, PartitionId partition);
  // What the store has not, and has and should not have any more.
  void Flush(PartitionId partition, StateBatch& batch);

  // `bytes`: an OutboxRecord, which holds a message that expires then (0: never). `message`: that
  // one, if it is at hand.
  void Add(uint64_t number, std::string bytes, mqtt::MessagePtr message,
           int64_t expires_at_unix_ms);
  // Whether it was there.
  bool Remove(uint64_t number);
  // The same record, with other bytes. It is there.
  void Replace(uint64_t number, std::string bytes);

  bool Contains(uint64_t number) const { return entries_.contains(number); }
  // Whether one of so many bytes more is within the bounds.
  bool HasRoom(const ::mqttd::storage::v1::Limits& limits, uint64_t messages, uint64_t bytes) const;
  // The number of one that has expired; 0: none has.
  uint64_t FirstExpired(int64_t now_unix_ms) const;

  size_t messages() const { return entries_.size(); }
  uint64_t bytes() const { return bytes_; }
  uint64_t first() const { return entries_.empty() ? 0 : entries_.begin()->first; }
  size_t unflushed_bytes() const { return unflushed_bytes_; }

  // The bytes of one that is there.
  absl::StatusOr<std::string> ReadBytes(const StateReader& reader, PartitionId partition,
                                        uint64_t number) const;
  // Those numbered above `after`, in order. Cost: a seek for each that is in the store.
  absl::StatusOr<std::vector<OutboxRecord>> Read(const StateReader& reader, PartitionId partition,
                                                 uint64_t after, size_t records_max) const;

 private:
  struct Entry {
    uint32_t size = 0;
    bool stored = false;     // The store has the record, though it may be an older one.
    bool unwritten = false;  // `bytes` are to be written.
    int64_t expires_at_unix_ms = 0;
    std::string bytes;         // While `unwritten`.
    mqtt::MessagePtr message;  // Likewise, if it was at hand.
  };
  void Hold(Entry& entry, std::string bytes);
  void Forget(Entry& entry);

  absl::btree_map<uint64_t, Entry> entries_;                // By number.
  absl::btree_set<std::pair<int64_t, uint64_t>> expiries_;  // Of those that do: when, number.
  absl::btree_set<uint64_t> unwritten_;
  std::vector<uint64_t> removed_;  // That the store has.
  uint64_t bytes_ = 0;             // Of all records.
  size_t unflushed_bytes_ = 0;
};

}  // namespace storage

#endif  // STORAGE_CORE_OUTBOX_H_
