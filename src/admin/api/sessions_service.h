// mqttd.admin.v1.Sessions: what is kept of clients, connected or not.
#ifndef ADMIN_API_SESSIONS_SERVICE_H_
#define ADMIN_API_SESSIONS_SERVICE_H_

#include <cstdint>

#include "admin/api/broker_access.h"
#include "admin/api/fleet.h"
#include "admin/api/method.h"

namespace admin {

// The token of a page that a node lists by itself is a place, "A:B" (PageToken): of a partition and
// a slot; or, when all durable sessions are listed, of a shard and a connection. In A may be:
inline constexpr uint64_t kTransient = uint64_t{1} << 32;  // The latter.
// Only the durable sessions of this partition, and only if this node leads it.
inline constexpr uint64_t kOnePartition = uint64_t{1} << 33;

// Both outlive the handlers.
void AddSessionsService(const BrokerAccess& broker, const Fleet& fleet, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_SESSIONS_SERVICE_H_
