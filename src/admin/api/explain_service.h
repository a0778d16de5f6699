// mqttd.admin.v1.Explain: who has a session, and why a message comes to somebody or does not.
#ifndef ADMIN_API_EXPLAIN_SERVICE_H_
#define ADMIN_API_EXPLAIN_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"

namespace admin {

// `broker` outlives the handlers.
void AddExplainService(const BrokerAccess& broker, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_EXPLAIN_SERVICE_H_
