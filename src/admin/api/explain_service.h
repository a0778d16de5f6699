// mqttd.admin.v1.Explain: who has a session, and why a message comes to somebody or does not.
#ifndef ADMIN_API_EXPLAIN_SERVICE_H_
#define ADMIN_API_EXPLAIN_SERVICE_H_

#include <cstdint>

#include "admin/api/broker_access.h"
#include "admin/api/fleet.h"
#include "admin/api/method.h"
#include "mqttd/admin/v1/explain.pb.h"

namespace admin {

inline constexpr char kPublisherRefused[] = "the access rules do not let it publish to the topic";
// To how many clients at most it is asked.
uint32_t ExplainedMax(const pb::ExplainDeliveryRequest& request);

// Both outlive the handlers.
void AddExplainService(const BrokerAccess& broker, const Fleet& fleet, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_EXPLAIN_SERVICE_H_
