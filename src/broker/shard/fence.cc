#include "broker/shard/fence.h"

namespace broker {

void Fence(ShardContext& context, Fenced fenced) {
  context.fenced = fenced;
  if (fenced == Fenced::kNobody) return;
  for (const auto& [number, connection] : context.connections) {
    if (connection->session == nullptr) continue;
    if (fenced == Fenced::kSessions && !connection->session->durable) continue;
    context.CloseLater(*connection,
                       {.cause = CloseCause::kNoQuorum, .say = mqtt::ReasonCode::kServerBusy});
  }
}

}  // namespace broker
