// mqttd.admin.v1.Clients: who is connected.
#ifndef ADMIN_API_CLIENTS_SERVICE_H_
#define ADMIN_API_CLIENTS_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"

namespace admin {

// `broker` outlives the handlers.
void AddClientsService(const BrokerAccess& broker, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_CLIENTS_SERVICE_H_
