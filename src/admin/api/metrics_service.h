// mqttd.admin.v1.Metrics: what the nodes count and measure.
#ifndef ADMIN_API_METRICS_SERVICE_H_
#define ADMIN_API_METRICS_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/fleet.h"
#include "admin/api/method.h"
#include "mqttd/admin/v1/metrics.pb.h"

namespace admin {

// This node's. It answers while the broker is starting, too. `broker` outlives the handlers.
void AddMetricsService(const BrokerAccess& broker, Methods& methods);

// Of all nodes of the cluster, or of one.
void ListMetricsOfAll(const Fleet& fleet, const base::ClusterView& view, const Fleet::Passing& call,
                      const pb::ListMetricsRequest& request, Reply<pb::ListMetricsResponse> reply);

}  // namespace admin

#endif  // ADMIN_API_METRICS_SERVICE_H_
