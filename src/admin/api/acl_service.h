// mqttd.admin.v1.Acl: access rules.
#ifndef ADMIN_API_ACL_SERVICE_H_
#define ADMIN_API_ACL_SERVICE_H_

#include "admin/api/access_parts.h"
#include "admin/api/method.h"

namespace admin {

void AddAclService(const AccessParts& parts, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_ACL_SERVICE_H_
