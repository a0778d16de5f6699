// The retained messages of one partition: what commands set and remove, and how much that is.
#ifndef STORAGE_CORE_RETAINED_MESSAGES_H_
#define STORAGE_CORE_RETAINED_MESSAGES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "mqtt/message.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/apply_context.h"
#include "storage/core/digest.h"
#include "storage/core/effects.h"
#include "storage/core/kv.h"
#include "storage/core/partition_api.h"

namespace storage {

// A part of the partition's state machine, and on its thread. The messages are in the store only,
// their count and bytes in `meta`. Who looks for them: retained.h.
class RetainedMessages {
 public:
  RetainedMessages(PartitionId partition, ::mqttd::storage::v1::Meta& meta, Digest& digest)
      : partition_(partition), meta_(meta), digest_(digest) {}

  Outcome Apply(const ::mqttd::storage::v1::SetRetained& command, const mqtt::MessagePtr& message,
                ApplyContext& ctx);
  Outcome Apply(const ::mqttd::storage::v1::DropRetained& command, ApplyContext& ctx);
  // All commands of an entry are applied: its batch is written before the next one.
  void EndEntry() { set_by_entry_.clear(); }

  // See Partition::Upgrade.
  absl::Status IndexExpiries(const StateReader& reader, StateBatch& batch);

 private:
  struct State {
    uint64_t bytes = 0;
    uint64_t order = 0;
    int64_t expires_at_unix_ms = 0;
  };
  std::optional<State> Now(const std::string& topic, ApplyContext& ctx);
  void Remove(const std::string& topic, const State& state, ApplyContext& ctx);
  void ForgetExpiry(const std::string& topic, const State& state, ApplyContext& ctx);
  void ForgetExpiry(const ::mqttd::storage::v1::DropRetained::Item& item,
                    const std::optional<State>& now, ApplyContext& ctx);

  const PartitionId partition_;
  ::mqttd::storage::v1::Meta& meta_;
  Digest& digest_;
  // By the entry that is being applied, or removed: none. The reader does not show it.
  absl::flat_hash_map<std::string, std::optional<State>> set_by_entry_;
};

}  // namespace storage

#endif  // STORAGE_CORE_RETAINED_MESSAGES_H_
