// mqttd.admin.v1.Listeners and Certificates: where clients connect, and what is shown to them.
#ifndef ADMIN_API_LISTENERS_SERVICE_H_
#define ADMIN_API_LISTENERS_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"
#include "admin/api/own_certificates.h"

namespace admin {

// `broker` and `certificates` outlive the handlers.
void AddListenersService(const BrokerAccess& broker, Methods& methods);
void AddCertificatesService(const BrokerAccess& broker, const OwnCertificates& certificates,
                            Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_LISTENERS_SERVICE_H_
