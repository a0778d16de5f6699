// How a shard sends its clients away before the node stops.
#ifndef BROKER_SHARD_DRAIN_H_
#define BROKER_SHARD_DRAIN_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "broker/shard/shard_context.h"

namespace broker {

// DISCONNECT 0x8B, or where there is another server, for the connections of the moment at which it
// begins, some at a time; whoever comes after that is refused. Sessions are kept, wills stand. Part
// of one shard, used on its thread.
class Drain {
 public:
  explicit Drain(ShardContext& shard) : shard_(shard) {}

  // Evenly over `ticks` tenths of a second, the first at once.
  void Begin(uint32_t ticks);
  bool begun() const { return begun_; }
  // The last connection is gone.
  bool done() const { return begun_ && left_.empty() && shard_.connections.empty(); }

  // Tells those that are due by now. It wants to be called at `due_ns`.
  void GoOn();
  int64_t due_ns() const {
    return left_.empty() ? std::numeric_limits<int64_t>::max()
                         : int64_t{told_tick_} * ShardContext::kTickNs;
  }
  // Whoever is left.
  void TellAll();

 private:
  void TellNext();

  ShardContext& shard_;
  std::vector<uint64_t> left_;  // Numbers of connections, which may be gone already.
  size_t total_ = 0;
  uint32_t began_tick_ = 0;
  uint32_t told_tick_ = 0;  // The last one at which some were told.
  uint32_t ticks_ = 1;
  bool begun_ = false;
};

}  // namespace broker
#endif  // BROKER_SHARD_DRAIN_H_
