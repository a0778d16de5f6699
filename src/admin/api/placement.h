// mqttd.admin.v1.Cluster's views of what is where: Placement, Links, Ping.
#ifndef ADMIN_API_PLACEMENT_H_
#define ADMIN_API_PLACEMENT_H_

#include "admin/api/broker_access.h"
#include "admin/api/fleet.h"
#include "admin/api/method.h"
#include "mqttd/admin/v1/cluster.pb.h"

namespace admin {

void AskPlacement(const Fleet& fleet, const Caller& caller,
                  const pb::ClusterPlacementRequest& request,
                  const Reply<pb::ClusterPlacementResponse>& reply);

// What this node has. `broker` outlives the handlers.
void AddPlacement(const BrokerAccess& broker, Methods& methods);
// What all have. `fleet` outlives the handlers.
void AddClusterPlacement(const Fleet& fleet, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_PLACEMENT_H_
