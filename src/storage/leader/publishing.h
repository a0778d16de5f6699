// A message that is to be stored: for the sessions of several partitions, as the retained message
// of its topic, and under its publisher's Packet Identifier.
#ifndef STORAGE_LEADER_PUBLISHING_H_
#define STORAGE_LEADER_PUBLISHING_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "mqtt/message.h"
#include "storage/core/partition_api.h"
#include "storage/leader/asker.h"
#include "storage/leader/node.h"
#include "storage/leader/queue_room.h"

namespace storage {

// Part of the host, used on its thread. The parts of one message that come together are decided
// about here, at once and for all of them: either none is proposed and each is refused; or all are,
// in the same write, and each partition answers for its part.
class Publishing {
 public:
  explicit Publishing(Node& node) : node_(node) {}

  void Handle(const Asker& from, Publish& part);
  // What comes next is no part of the message: what its other parts have become is known to who
  // asks, so these are decided about without them.
  void DecideAlone() {
    if (!parts_.empty()) DecideGathered();
  }
  // A part that is asked for again, of a message that is decided about. False: it is new.
  bool AnswerDecided(const Asker& from, const Publish& part);
  void ForgetDecided();  // Of what no shard may ask again.

  // ---- What the host publishes itself. Never refused.
  // The retained message of its topic, which has no payload, is forgotten; nobody hears of it.
  void Remove(mqtt::MessagePtr message);

 private:
  struct Part : Publish {
    Part(Publish&& part, const Asker& from) : Publish(std::move(part)), asker(from) {}

    Asker asker;
  };
  using Parts = std::vector<Part>;  // Of one message, each of another partition.

  // What each part of a message was answered, or would have been, that left nothing in its
  // partition's log: asked for again, it is answered so again, and not decided about alone.
  struct Decision {
    absl::Status status;
    bool duplicate = false;
    std::vector<std::pair<PartitionId, Asker>> askers;
  };
  static constexpr size_t kDecisionsMax = 10'000;  // Then they are forgotten.

  PartitionMask Gathered() const;
  void DecideGathered();
  void Remember(const Parts& parts, const absl::Status& status, bool duplicate);
  void Decide(const ShardAddress& from, Parts& parts);
  bool AnswerRepeat(const ShardAddress& from, const Parts& parts, size_t publisher);
  absl::Status Check(const Parts& parts);
  absl::Status Refusal(const Parts& parts) const;
  // Each answers, if that is wanted. Returns where they go.
  PartitionMask Propose(const Parts& parts, bool answers, const ShardAddress& from);
  // Whether there was anything for its partition.
  bool ProposePart(const Part& part, bool answers, const ShardAddress& from);
  void ProposeEnqueue(const Part& part, Leader& leader, bool match);
  CommandPlace ProposeRetained(const Part& part, Leader& home);
  void Refuse(const ShardAddress& from, const Parts& parts, const absl::Status& why);

  absl::Status CheckRetainedRoom(const mqtt::Message& message);

  absl::Status ReserveQueueRoom(const Parts& parts);
  absl::Status RefuseForQueue(const mqtt::Message& message, const Session& full);
  const ShareMembers::Member* ChooseWithRoom(const std::string& share_filter,
                                             const mqtt::Message& message);
  // False: a target has no room, and the message is refused.
  bool SettleTargets(const ShardAddress& from, Parts& parts);
  std::optional<size_t> PlaceFor(const ShardAddress& from, const Parts& parts, size_t asked,
                                 SharedTarget& target);
  void Reserve(PartitionId partition, const QueueReservation& reservation);
  void TakeBackReserved();

  Node& node_;
  Parts parts_;  // Of the message whose last part is still to come.
  absl::flat_hash_map<std::pair<ShardAddress, Token>, Decision> decisions_;
  // For the message that is being decided about.
  std::vector<std::pair<PartitionId, QueueReservation>> reserved_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_PUBLISHING_H_
