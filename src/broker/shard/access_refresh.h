// What becomes of connected clients when access rules or accounts have changed.
#ifndef BROKER_SHARD_ACCESS_REFRESH_H_
#define BROKER_SHARD_ACCESS_REFRESH_H_

#include "broker/shard/shard_context.h"

namespace broker {

// Gives the connection the permissions in force now, or sends it away at the end of the turn:
// false.
bool RefreshPermissions(ShardContext& context, Connection& connection);

// Those of the members of shared subscriptions, wherever they are connected.
void RenewReaders(ShardContext& context);

}  // namespace broker

#endif  // BROKER_SHARD_ACCESS_REFRESH_H_
