// A partition's large messages: one that is for several queues stands once, and their entries have
// its number. It goes with the last of them.
#ifndef STORAGE_CORE_MESSAGE_BODIES_H_
#define STORAGE_CORE_MESSAGE_BODIES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mqtt/message.h"
#include "storage/core/kv.h"
#include "storage/core/partition_api.h"

namespace mqttd::storage::v1 {
class Meta;
}  // namespace mqttd::storage::v1

namespace storage {

// A part of the partition's state machine, and on its thread.
class MessageBodies {
 public:
  // `meta` has the last number that was given.
  MessageBodies(PartitionId partition, ::mqttd::storage::v1::Meta& meta)
      : partition_(partition), meta_(meta) {}

  // The counts only: as many as there are large messages that wait. Once, before anything else.
  absl::Status Load(const StateReader& reader);
  // What the store has not, and has and should not have any more.
  void Flush(StateBatch& batch);

  // One more entry has the body of that number; 0: the message is no body yet, and becomes one.
  // Returns the number.
  uint64_t Share(uint64_t number, std::string_view message);
  // One entry less has it. A number that nobody knows, of a damaged entry, is ignored.
  void Release(uint64_t number);

  absl::StatusOr<mqtt::MessagePtr> Read(uint64_t number, const StateReader& reader);
  // Bodies may change: what Read keeps for the next one is not to be used any more.
  void ForgetLastRead() { last_read_message_ = mqtt::MessagePtr(); }

  size_t unflushed_bytes() const { return unflushed_bytes_; }
  void DumpTo(std::string& out) const;

 private:
  // What only its count knows is kept in memory.
  struct Body {
    uint64_t count = 0;  // Of queue entries. 0: it is to be deleted.
    bool stored = false;
    bool changed = false;
    std::string bytes;  // Until it is stored.
  };
  void Touch(uint64_t number, Body& body);

  const PartitionId partition_;
  ::mqttd::storage::v1::Meta& meta_;
  absl::flat_hash_map<uint64_t, Body> bodies_;
  std::vector<uint64_t> changed_;
  size_t unflushed_bytes_ = 0;
  // The one that was read last, until the next entry: queues with the same message are often read
  // together.
  uint64_t last_read_ = 0;
  mqtt::MessagePtr last_read_message_;
};

}  // namespace storage

#endif  // STORAGE_CORE_MESSAGE_BODIES_H_
