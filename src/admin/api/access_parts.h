// What the services share that set users, rules and bans.
#ifndef ADMIN_API_ACCESS_PARTS_H_
#define ADMIN_API_ACCESS_PARTS_H_

#include "admin/api/access_store.h"
#include "admin/api/broker_access.h"
#include "auth/run_time_access.h"

namespace admin {

// All outlive the handlers.
struct AccessParts {
  const BrokerAccess& broker;
  const auth::RunTimeAccess& access;
  AccessStore& store;
};

}  // namespace admin

#endif  // ADMIN_API_ACCESS_PARTS_H_
