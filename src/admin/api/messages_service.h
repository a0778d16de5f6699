// mqttd.admin.v1.Messages: published and received without a client.
#ifndef ADMIN_API_MESSAGES_SERVICE_H_
#define ADMIN_API_MESSAGES_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/inside_clients.h"
#include "admin/api/method.h"

namespace admin {

// All of it outlives the handlers.
void AddMessagesService(const BrokerAccess& broker, InsideClients& inside, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_MESSAGES_SERVICE_H_
