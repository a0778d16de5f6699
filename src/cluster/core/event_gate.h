// Whether what the partition host says to another node's shards may leave.
#ifndef CLUSTER_CORE_EVENT_GATE_H_
#define CLUSTER_CORE_EVENT_GATE_H_

#include <variant>
#include <vector>

#include "storage/core/partition_api.h"

namespace cluster {

// A shard that got half a stream of events would take what it missed for done: a delivery that was
// lost and followed by another one counts as acknowledged. So when something may be lost nothing
// more leaves until the host begins anew, which it does with a question for Claims. Of the batch
// that has the first one everything else is from before: what is after it waits for the answer. Of
// one node, used by one thread at a time.
class EventGate {
 public:
  // What was sent may be lost.
  void Close() { open_ = false; }
  // The host begins anew with that node: to each of its shards.
  void Open() {
    open_ = true;
    begun_.clear();
  }

  // Takes out what is not to leave, of all that the host has for the shard at the end of a turn.
  void Filter(storage::ShardId to, std::vector<storage::Event>& events) {
    if (!open_) return events.clear();
    if (begun_.size() <= to) begun_.resize(to + 1U, false);
    if (begun_[to]) return;
    std::erase_if(events, [](const storage::Event& event) {
      return !std::holds_alternative<storage::ClaimsWanted>(event);
    });
    begun_[to] = !events.empty();
  }

 private:
  bool open_ = false;
  std::vector<bool> begun_;  // By shard.
};

}  // namespace cluster

#endif  // CLUSTER_CORE_EVENT_GATE_H_
