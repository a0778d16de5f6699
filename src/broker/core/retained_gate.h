// When a shard may confirm a route of another node: see RetainedGate.
#ifndef BROKER_CORE_RETAINED_GATE_H_
#define BROKER_CORE_RETAINED_GATE_H_

#include <cstdint>
#include <deque>
#include <utility>

#include "absl/container/btree_set.h"
#include "storage/core/partition_api.h"

namespace broker {

// A retained message that a shard matched before it had a new route goes only to the store, where
// the scan that follows the subscriber's SUBACK is to find it. So the route is confirmed, and
// SUBACK leaves, only when each retained message that was matched without it is stored, or refused.
// Part of one shard, used on its thread.
class RetainedGate {
 public:
  // A retained PUBLISH was asked of its partition, by this token; tokens ascend.
  void Sent(storage::Token token) {
    under_way_.insert(token);
    last_sent_ = token;
  }
  // All of what was asked by the token is answered. Of others too: they are nothing to it.
  void Answered(storage::Token token) { under_way_.erase(token); }

  // The routes of `node` up to `number` are in the router.
  void Came(uint32_t node, uint64_t number) { waiting_.push_back({last_sent_, node, number}); }

  // Calls confirm(node, number) for what may be confirmed, in the order in which it came.
  template <typename Confirm>
  void Release(Confirm&& confirm) {
    while (!waiting_.empty() &&
           (under_way_.empty() || *under_way_.begin() > waiting_.front().sent_before)) {
      const Routes routes = waiting_.front();
      waiting_.pop_front();
      confirm(routes.node, routes.number);
    }
  }

 private:
  struct Routes {
    storage::Token sent_before = 0;  // The last one that may have been matched without them.
    uint32_t node = 0;
    uint64_t number = 0;
  };

  absl::btree_set<storage::Token> under_way_;  // As many as the shard may have unanswered.
  storage::Token last_sent_ = 0;
  std::deque<Routes> waiting_;  // Each node has few blocks of changes on their way.
};

}  // namespace broker
#endif  // BROKER_CORE_RETAINED_GATE_H_
