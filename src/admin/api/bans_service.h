// mqttd.admin.v1.Bans: who is kept away.
#ifndef ADMIN_API_BANS_SERVICE_H_
#define ADMIN_API_BANS_SERVICE_H_

#include "admin/api/access_parts.h"
#include "admin/api/method.h"

namespace admin {

void AddBansService(const AccessParts& parts, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_BANS_SERVICE_H_
