#include "broker/shard/fence.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "broker/shard/claims.h"

namespace broker {
namespace {

void Renew(ShardContext& context) {
  context.fenced = std::max(context.fence_told, context.fence_found);
  if (context.fenced == Fenced::kNobody) return TellLetIn(context);
  for (const auto& [number, connection] : context.connections) CloseIfFenced(context, *connection);
}

}  // namespace

void Fence(ShardContext& context, Fenced fenced) {
  if (std::exchange(context.fence_told, fenced) != fenced) Renew(context);
}

bool FenceByLease(ShardContext& context, const LeaseEnd& lease, absl::Duration since_boot) {
  const int64_t end_ns = lease.since_boot_ns.load(std::memory_order_relaxed);
  const bool over = absl::ToInt64Nanoseconds(since_boot) >= end_ns;
  const Fenced fenced = over ? lease.without : Fenced::kNobody;
  if (std::exchange(context.fence_found, fenced) != fenced) Renew(context);
  return over;
}

void StepAside(ShardContext& context, bool aside) {
  context.aside = aside;
  if (!aside) return;
  // Not later: no more is to be read of them in this round.
  std::vector<Connection*> connected;
  for (const auto& [number, connection] : context.connections) {
    if (connection->session != nullptr) connected.push_back(connection.get());
  }
  for (Connection* const connection : connected) context.Close(*connection, kCloseAside);
}

void CloseIfFenced(ShardContext& context, Connection& connection) {
  if (context.fenced == Fenced::kNobody || connection.session == nullptr) return;
  if (context.fenced == Fenced::kSessions && !connection.session->durable) return;
  context.CloseLater(connection,
                     {.cause = CloseCause::kNoQuorum, .say = mqtt::ReasonCode::kServerBusy});
}

}  // namespace broker
