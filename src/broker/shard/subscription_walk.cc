#include "broker/shard/subscription_walk.h"

#include <vector>

#include "broker/shard/client_view.h"

namespace broker {
namespace {

// More are not begun with in one task. A single client may have more.
constexpr size_t kSubscriptionsAtOnce = 4096;

}  // namespace

SubscriptionStep VisitSubscriptions(
    const ShardCore& shard, uint64_t after,
    absl::FunctionRef<void(std::string_view filter, bool durable)> visit) {
  SubscriptionStep step;
  step.next = after;
  size_t visited = 0;
  const std::vector<uint64_t> numbers = NextConnections(shard, after, kClientsLookedMax);
  step.end = numbers.size() < kClientsLookedMax;
  for (const uint64_t number : numbers) {
    if (visited >= kSubscriptionsAtOnce) {
      step.end = false;
      break;
    }
    step.next = number;
    const Connection* const connection = shard.Find(number);
    if (connection == nullptr || connection->session == nullptr || connection->listener.inside)
      continue;
    const Session& session = *connection->session;
    visited += session.subscriptions.size();
    session.subscriptions.ForEach([&](std::string_view filter) { visit(filter, session.durable); });
  }
  return step;
}

}  // namespace broker
