#include "broker/shard/fence.h"

namespace broker {

void Fence(ShardContext& context, bool fenced) {
  context.fenced = fenced;
  if (!fenced) return;
  for (const auto& [number, connection] : context.connections) {
    if (connection->session == nullptr || !connection->session->durable) continue;
    context.CloseLater(*connection,
                       {.cause = CloseCause::kNoQuorum, .say = mqtt::ReasonCode::kServerBusy});
  }
}

}  // namespace broker
