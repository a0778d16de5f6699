// A node as one of several: its server and its partition host, and the cluster that they are of.
#ifndef NODE_CLUSTERED_CLUSTER_SEAT_H_
#define NODE_CLUSTERED_CLUSTER_SEAT_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "node/seat.h"

namespace node {

// Whether links can be made with what is configured: reads the files that it names.
// kInvalidArgument, in words.
absl::Status CheckSeat(const config::ClusterOptions& wanted);

// Null: the configuration has no `cluster.listen`. Listens for other nodes. Errors: those of
// cluster::Membership::Create; kFailedPrecondition, the data directory is another's kind.
absl::StatusOr<std::unique_ptr<Seat>> MakeSeat(const config::Config& config);

}  // namespace node

#endif  // NODE_CLUSTERED_CLUSTER_SEAT_H_
