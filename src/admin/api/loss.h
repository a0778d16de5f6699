// Explain/Loss: what would be lost if a node died now.
#ifndef ADMIN_API_LOSS_H_
#define ADMIN_API_LOSS_H_

#include "admin/api/broker_access.h"
#include "admin/api/fleet.h"
#include "admin/api/method.h"

namespace admin {

// Of this node, as if it were alone. `broker` outlives the handler.
void AddLoss(const BrokerAccess& broker, Methods& methods);
// Of any of a cluster. `fleet` outlives the handler.
void AddClusterLoss(const Fleet& fleet, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_LOSS_H_
