// What commands put into a partition's outbox and take out of it: QoS 2 messages that came in,
// wills that fire, and what members of `$share` groups leave.
#ifndef STORAGE_CORE_PARTITION_OUTBOX_H_
#define STORAGE_CORE_PARTITION_OUTBOX_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "mqtt/message.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/apply_context.h"
#include "storage/core/digest.h"
#include "storage/core/effects.h"
#include "storage/core/outbox.h"
#include "storage/core/partition_api.h"
#include "storage/core/session.h"

namespace storage {

// A part of the partition's state machine, and on its thread. Gives the records their numbers, the
// last of which is in `meta`, and keeps what is left to groups within the bounds.
class PartitionOutbox {
 public:
  PartitionOutbox(PartitionId partition, ::mqttd::storage::v1::Meta& meta, Digest& digest)
      : partition_(partition), meta_(meta), digest_(digest) {}

  absl::Status Load(const StateReader& reader) { return records_.Load(reader, partition_); }
  void Flush(StateBatch& batch) { records_.Flush(partition_, batch); }
  const Outbox& records() const { return records_; }

  // There is room: whoever proposed it has seen to that. The record's number.
  uint64_t Add(std::string bytes, mqtt::MessagePtr message, int64_t expires_at_unix_ms,
               ApplyContext& ctx);
  // The session's will, published at that moment. Others hear of it in any case: it takes more than
  // the bound, which its leader keeps by letting wills wait where they are.
  void LeaveWill(const Session& session, int64_t at_unix_ms, ApplyContext& ctx);
  // For whoever of the group is chosen, or dropped if there is no room.
  void LeaveToGroup(std::string_view share_filter, std::string_view message_bytes,
                    ApplyContext& ctx);
  // The same for a record that is for all, as releases of old left wills.
  bool LeaveWithinBounds(const ::mqttd::storage::v1::OutboxRecord& record,
                         int64_t expires_at_unix_ms, ApplyContext& ctx);

  Outcome Apply(const ::mqttd::storage::v1::OutboxDone& command);
  // Of a group of which a durable member has been chosen already nobody else is.
  Outcome Apply(const ::mqttd::storage::v1::OutboxAssign& command, ApplyContext& ctx);

 private:
  bool Remove(uint64_t number);

  const PartitionId partition_;
  ::mqttd::storage::v1::Meta& meta_;
  Digest& digest_;
  Outbox records_;
};

}  // namespace storage

#endif  // STORAGE_CORE_PARTITION_OUTBOX_H_
