// The subscriptions of a shard's clients, for those who count them.
#ifndef BROKER_SHARD_SUBSCRIPTION_WALK_H_
#define BROKER_SHARD_SUBSCRIPTION_WALK_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "broker/shard/shard_core.h"

namespace broker {

struct SubscriptionStep {
  uint64_t next = 0;  // Where to go on.
  bool end = false;   // There is none above.
};

// Visits those of connected sessions, of connections numbered above `after`: of some hundreds, and
// as soon as some thousands of subscriptions were visited of no more. On the shard's thread.
SubscriptionStep VisitSubscriptions(
    const ShardCore& shard, uint64_t after,
    absl::FunctionRef<void(std::string_view filter, bool durable)> visit);

}  // namespace broker

#endif  // BROKER_SHARD_SUBSCRIPTION_WALK_H_
