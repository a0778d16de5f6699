// mqttd.admin.v1.Listeners and Certificates: where clients connect, and what is shown to them.
#ifndef ADMIN_API_LISTENERS_SERVICE_H_
#define ADMIN_API_LISTENERS_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"

namespace admin {

// `broker` outlives the handlers.
void AddListenersService(const BrokerAccess& broker, Methods& methods);
void AddCertificatesService(const BrokerAccess& broker, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_LISTENERS_SERVICE_H_
