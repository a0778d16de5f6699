// What a node of a cluster answers for all of it, where it does not answer for itself alone: from
// what the nodes say by themselves.
#ifndef ADMIN_API_CLUSTER_WIDE_H_
#define ADMIN_API_CLUSTER_WIDE_H_

#include "admin/api/fleet.h"
#include "admin/api/method.h"

namespace admin {

// Adds those methods. A client's and a session's are asked of the node that knows it; sums, counts
// and orders to many of all nodes; lists go from node to node. What of a method is not added
// concerns the node that is asked (docs/decisions/0025-admin-api-of-a-cluster.md). `fleet` outlives
// the handlers.
void AddClusterWide(const Fleet& fleet, Methods& methods);

// Of those the lists: cluster_lists.cc.
void AddClusterLists(const Fleet& fleet, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_CLUSTER_WIDE_H_
