// What a shard tells a partition's new leader, and whom it listens to from then on.
#ifndef BROKER_CLAIMS_H_
#define BROKER_CLAIMS_H_

#include "broker/shard/publish_flow.h"
#include "broker/shard/shard_context.h"
#include "broker/shard/subscribe_flow.h"
#include "storage/core/partition_api.h"

namespace broker {

// Asks the partition what its former leader may not have heard of, behind what this shard's
// connections hold of it. What that leader has sent and is not on the wire is forgotten: the new
// one sends it again. Cost: all connections of the shard.
void TellClaims(ShardContext& context, SubscribeFlow& subscribing, const PublishFlow& publishing,
                const storage::ClaimsWanted& wanted);

// Of a session whose client was let in without asking anybody: beside those that leaders give to
// transient sessions, above all of records.
inline constexpr uint64_t kLetInEpochs = uint64_t{3} << 62;

// The node has a lease again: leaders that have asked already are told whom this shard has let in
// without asking. Each Client Identifier gets one owner then; another leader asks for all of them.
void TellLetIn(ShardContext& context);

// Whether it comes from whom the shard has told its claims last, or is about no partition. What a
// former leader, on whatever node, sent before it knew that it leads no more is to be dropped: the
// new one has been told what the connections hold, and sends and answers the rest itself.
bool IsOfLeader(const ShardContext& context, const PublishFlow& publishing, storage::NodeId self,
                storage::NodeId from, const storage::Event& event);

}  // namespace broker
#endif  // BROKER_CLAIMS_H_
