// What a shard holds in memory for its connections, and what it does when that is too much.
#ifndef BROKER_SHARD_SHARD_MEMORY_H_
#define BROKER_SHARD_SHARD_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "broker/core/memory_relief.h"
#include "broker/shard/input_buffer.h"
#include "broker/shard/shard_context.h"
#include "mqtt/types.h"

namespace broker {

// Part of one shard, used on its thread.
class ShardMemory {
 public:
  // `all`: what all shards count, this one included.
  ShardMemory(ShardContext& context, const std::vector<const ShardMetrics*>& all)
      : context_(context), all_(all), input_(context.memory()), budget_(context.shards) {}

  InputBuffers& input() { return input_; }

  // Keeps what came while reading was paused.
  void KeepUnread(Connection& connection, mqtt::Bytes bytes);
  // Keeps the beginning of a packet, or more of it. `packet_bytes`: of all of it; 0: not known yet.
  void KeepHalfSent(Connection& connection, mqtt::Bytes bytes, size_t packet_bytes);
  // There is no room for half-sent packets: read little at a time.
  bool input_full() const { return budget_.full(); }
  // Connections wait for such room: OnTick at the next tick.
  bool anyone_starves() const { return !starved_.empty(); }

  void OnTick();
  // This shard gives up its part of what all hold of half-sent packets.
  void CloseHalfSent();
  // Memory is short, or enough again.
  void UseMemoryState(bool high);

 private:
  int64_t InputBytesMax() const;
  int64_t InputBytesHeld() const;
  void RelieveInput();
  void RelieveMemory();
  void CloseHolders(std::vector<MemoryHolder>& holders, int64_t bytes, const char* what_happened);
  static uint64_t HeldBytes(const Connection& connection);

  ShardContext& context_;
  const std::vector<const ShardMetrics*>& all_;
  InputBuffers input_;
  SharedBudget budget_;
  std::vector<uint64_t> starved_;  // Connections that wait for room in it.
  uint32_t relief_tick_ = 0;       // While memory is short: when to look who holds it.
  // Closed to have memory back since the log last said so.
  uint64_t relief_closed_ = 0;
  uint64_t relief_bytes_ = 0;
  std::string relief_example_;
  uint32_t relief_log_tick_ = 0;
};

}  // namespace broker
#endif  // BROKER_SHARD_SHARD_MEMORY_H_
