// Cluster/ListRoutes: which filters send messages where.
#ifndef ADMIN_API_ROUTES_SERVICE_H_
#define ADMIN_API_ROUTES_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/fleet.h"
#include "admin/api/method.h"

namespace admin {

// This node's part; and all nodes'. What is given outlives the handlers.
void AddRoutes(const BrokerAccess& broker, Methods& methods);
void AddClusterRoutes(const Fleet& fleet, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_ROUTES_SERVICE_H_
