// Sessions/ListSlow: whose messages wait most.
#ifndef ADMIN_API_SLOW_SESSIONS_H_
#define ADMIN_API_SLOW_SESSIONS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "admin/api/broker_access.h"
#include "admin/api/method.h"
#include "mqttd/admin/v1/sessions.pb.h"

namespace admin {

// How many are asked for.
uint32_t SlowCountOf(const pb::ListSlowSessionsRequest& request);
// The first of them, slowest first.
std::vector<pb::SlowSession> Slowest(std::vector<pb::SlowSession> sessions, size_t count);

// `broker` outlives the handler.
void AddSlowSessions(const BrokerAccess& broker, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_SLOW_SESSIONS_H_
