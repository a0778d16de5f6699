// What a shard does while its node has no lease in the cluster, or has stepped aside.
#ifndef BROKER_SHARD_FENCE_H_
#define BROKER_SHARD_FENCE_H_

#include "absl/time/time.h"
#include "broker/core/lease_end.h"
#include "broker/shard/shard_context.h"

namespace broker {

// Fenced: most nodes cannot be reached, and may give sessions that are kept to clients of theirs.
// So connections with such sessions are closed, and refused until it is over; who has nothing kept
// is served on, or closed and refused as well. They are let in without asking anybody: when it is
// over, leaders hear of them (TellLetIn).
void Fence(ShardContext& context, Fenced fenced);
// The same by what the shard sees of the lease: a process that stood still hears so too late, when
// it has worked off what came meanwhile. Fenced until both say otherwise. True: the lease is over.
bool FenceByLease(ShardContext& context, const LeaseEnd& lease, absl::Duration since_boot);
// The storage of this node takes nothing, and its shards do not hear of routes: everybody is
// closed, before anything more is read, and refused until it is over, whatever the lease. See
// storage/leader/aside.h.
void StepAside(ShardContext& context, bool aside);
inline constexpr CloseOrder kCloseAside = {.cause = CloseCause::kAside,
                                           .say = mqtt::ReasonCode::kServerBusy};
// Closes a connection that is not to be served just now, such as one whose session was opened on
// the way there.
void CloseIfFenced(ShardContext& context, Connection& connection);

}  // namespace broker

#endif  // BROKER_SHARD_FENCE_H_
