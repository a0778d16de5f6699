// What shards and the leaders of other nodes say to each other, as bytes.
//
// An item is a head (its kind, and whom it is for) and a body, one of the messages of
// proto/mqttd/cluster/v1/traffic.proto. The values are those of storage/core/partition_api.h.
#ifndef CLUSTER_CORE_TRAFFIC_CODEC_H_
#define CLUSTER_CORE_TRAFFIC_CODEC_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "storage/core/partition_api.h"

namespace cluster {

// A request of a shard of the node that the item comes from.
struct RemoteRequest {
  storage::ShardId from = 0;
  storage::Addressed asked;
};

// For a shard of the node that the item goes to.
struct RemoteEvent {
  storage::ShardId to = 0;
  storage::Event event;
};

// Add one item to `out`. `asked.place` stays here: it is the sender's own.
void AppendRequest(storage::ShardId from, const storage::Addressed& asked, std::string& out);
void AppendEvent(storage::ShardId to, const storage::Event& event, std::string& out);

// Of one whole item. Fields that are not known are skipped: a later release wrote them. Error:
// kInvalidArgument, an item that no release writes, or of a kind that a later one has.
absl::StatusOr<RemoteRequest> ParseRequest(std::string_view item);
absl::StatusOr<RemoteEvent> ParseEvent(std::string_view item);

}  // namespace cluster

#endif  // CLUSTER_CORE_TRAFFIC_CODEC_H_
