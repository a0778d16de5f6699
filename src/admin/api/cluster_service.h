// mqttd.admin.v1.Cluster: a node alone is a cluster of one.
#ifndef ADMIN_API_CLUSTER_SERVICE_H_
#define ADMIN_API_CLUSTER_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"

namespace admin {

// `broker` outlives the handlers.
void AddClusterService(const BrokerAccess& broker, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_CLUSTER_SERVICE_H_
