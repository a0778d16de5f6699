#include "broker/shard/fence.h"

#include <utility>

#include "broker/shard/claims.h"

namespace broker {

void Fence(ShardContext& context, Fenced fenced) {
  const Fenced before = std::exchange(context.fenced, fenced);
  if (fenced == Fenced::kNobody) {
    if (before != Fenced::kNobody) TellLetIn(context);
    return;
  }
  for (const auto& [number, connection] : context.connections) CloseIfFenced(context, *connection);
}

void CloseIfFenced(ShardContext& context, Connection& connection) {
  if (context.fenced == Fenced::kNobody || connection.session == nullptr) return;
  if (context.fenced == Fenced::kSessions && !connection.session->durable) return;
  context.CloseLater(connection,
                     {.cause = CloseCause::kNoQuorum, .say = mqtt::ReasonCode::kServerBusy});
}

}  // namespace broker
