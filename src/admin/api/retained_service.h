// mqttd.admin.v1.Retained: the message that each topic keeps.
#ifndef ADMIN_API_RETAINED_SERVICE_H_
#define ADMIN_API_RETAINED_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/inside_clients.h"
#include "admin/api/method.h"

namespace admin {

// All of it outlives the handlers.
void AddRetainedService(const BrokerAccess& broker, InsideClients& inside, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_RETAINED_SERVICE_H_
