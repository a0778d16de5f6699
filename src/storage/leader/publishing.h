// A message that is to be stored: for the sessions of several partitions, as the retained message
// of its topic, and under its publisher's Packet Identifier.
#ifndef STORAGE_LEADER_PUBLISHING_H_
#define STORAGE_LEADER_PUBLISHING_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "mqtt/message.h"
#include "storage/core/partition_api.h"
#include "storage/leader/node.h"
#include "storage/leader/queue_room.h"

namespace storage {

// Part of the host, used on its thread. What one message needs of several partitions is decided
// here, at once and for all of them: either none of it is proposed, and the publisher is refused
// with one answer; or all of it is, in the same write, and each partition answers for its part.
class Publishing {
 public:
  explicit Publishing(Node& node) : node_(node) {}

  void Handle(ShardId from, Publish& request);

  // ---- What the host publishes itself. Never refused.
  // What a will is for, in the commit that fires it: durable sessions, the retained message.
  // Members of `$share` groups are chosen by the shard that hears of it, by the strategy it is told
  // to use; for groups that have durable ones the same commit keeps an orphan until that is done.
  // Returns where it goes.
  PartitionMask StoreWill(const mqtt::MessagePtr& message);
  void TellOfWill(mqtt::MessagePtr message, OrphanRef orphan);
  // To a durable member of the group that has room. False: there is none.
  bool StoreForMember(const std::string& share_filter, const mqtt::MessagePtr& message);

 private:
  absl::Status Check(const Publish& request);
  absl::Status Refusal(const Publish& request, PartitionMask where) const;
  PartitionMask PartitionsOf(const Publish& request) const;
  PartitionMask Propose(const Publish& request, bool answers, ShardId from);
  using TargetPlaces = absl::InlinedVector<PartitionId, 1>;  // Of the `shared_targets`, in order.
  void ProposeEnqueue(const Publish& request, const TargetPlaces& places, Leader& leader,
                      bool match);
  CommandPlace ProposeRetained(const Publish& request, Leader& home);
  void Refuse(ShardId from, const Publish& request, absl::Status why);

  absl::Status CheckRetainedRoom(const mqtt::Message& message);

  absl::Status ReserveQueueRoom(const Publish& request);
  absl::Status RefuseForQueue(const Publish& request, const Session& full);
  const ShareMembers::Member* ChooseWithRoom(const std::string& share_filter,
                                             const mqtt::Message& message);
  enum class Settled : uint8_t { kGoesOn, kStays, kRefused };
  Settled SettleTargets(ShardId from, Publish& request);
  void Reserve(PartitionId partition, const QueueReservation& reservation);
  void TakeBackReserved();

  Node& node_;
  // For the message that is being decided about.
  std::vector<std::pair<PartitionId, QueueReservation>> reserved_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_PUBLISHING_H_
