// What the services share that set users, rules and bans.
#ifndef ADMIN_API_ACCESS_PARTS_H_
#define ADMIN_API_ACCESS_PARTS_H_

#include "admin/api/access_spread.h"
#include "admin/api/access_store.h"
#include "admin/api/broker_access.h"
#include "auth/run_time_access.h"

namespace admin {

// All outlive the handlers.
struct AccessParts {
  const BrokerAccess& broker;
  const auth::RunTimeAccess& access;
  AccessStore& store;
  const AccessSpread& spread;
};

// Names nodes where a change does not hold yet in the answer about it.
template <typename Response>
void AddMissing(const AccessSpread::Done& done, Response& response) {
  for (const pb::MissingNode& missing : done.missing) *response.add_missing() = missing;
}

}  // namespace admin

#endif  // ADMIN_API_ACCESS_PARTS_H_
