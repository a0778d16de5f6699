// mqttd.admin.v1.Sessions: what is kept of clients, connected or not.
#ifndef ADMIN_API_SESSIONS_SERVICE_H_
#define ADMIN_API_SESSIONS_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"

namespace admin {

// `broker` outlives the handlers.
void AddSessionsService(const BrokerAccess& broker, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_SESSIONS_SERVICE_H_
