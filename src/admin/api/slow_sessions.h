// Sessions/ListSlow: whose messages wait most.
#ifndef ADMIN_API_SLOW_SESSIONS_H_
#define ADMIN_API_SLOW_SESSIONS_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"

namespace admin {

// `broker` outlives the handler.
void AddSlowSessions(const BrokerAccess& broker, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_SLOW_SESSIONS_H_
