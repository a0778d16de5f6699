// mqttd.admin.v1.Config and Log: what main's thread owns.
#ifndef ADMIN_API_CONFIG_SERVICE_H_
#define ADMIN_API_CONFIG_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"

namespace admin {

// `broker` outlives the handlers.
void AddConfigService(const BrokerAccess& broker, Methods& methods);
void AddLogService(const BrokerAccess& broker, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_CONFIG_SERVICE_H_
