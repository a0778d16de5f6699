// mqttd.admin.v1.Users: users with passwords.
#ifndef ADMIN_API_USERS_SERVICE_H_
#define ADMIN_API_USERS_SERVICE_H_

#include "admin/api/access_parts.h"
#include "admin/api/method.h"

namespace admin {

void AddUsersService(const AccessParts& parts, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_USERS_SERVICE_H_
