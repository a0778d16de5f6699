// mqttd.admin.v1.Cluster as a node answers it by itself: alone it is a cluster of one.
#ifndef ADMIN_API_CLUSTER_SERVICE_H_
#define ADMIN_API_CLUSTER_SERVICE_H_

#include <string>
#include <utility>

#include "admin/api/broker_access.h"
#include "admin/api/fleet.h"
#include "admin/api/method.h"
#include "mqttd/admin/v1/cluster.pb.h"

namespace admin {

// How this node is, and in words what is wrong with it.
std::pair<pb::NodeState, std::string> ConditionOf(const BrokerAccess& broker,
                                                  const broker::MetricsSnapshot& snapshot);

// `broker` outlives the handlers.
void AddClusterService(const BrokerAccess& broker, Methods& methods);
// Cluster/Join and Cluster/Forget. `fleet` outlives the handlers.
void AddJoin(const Fleet& fleet, Methods& methods);
void AddForget(const Fleet& fleet, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_CLUSTER_SERVICE_H_
