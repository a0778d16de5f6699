// A message that is to be stored: for the sessions of several partitions, as the retained message
// of its topic, and under its publisher's Packet Identifier.
#ifndef STORAGE_LEADER_PUBLISHING_H_
#define STORAGE_LEADER_PUBLISHING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "mqtt/message.h"
#include "storage/core/partition_api.h"
#include "storage/core/range_set.h"
#include "storage/leader/asker.h"
#include "storage/leader/node.h"
#include "storage/leader/part.h"
#include "storage/leader/proposal.h"
#include "storage/leader/queue_room.h"

namespace storage {

// What one partition has of messages: the answer to a part that is applied, or can never be; and,
// of those that outboxes pass on, in which order they come.
class PublishedParts : public LeaderPart {
 public:
  explicit PublishedParts(Leader& leader) : LeaderPart(leader) {}

  void Finish(AnswerPublish& step);
  void Refuse(AnswerPublish& step, const absl::Status& why);

  // A part of a record of some outbox is proposed.
  void Arrives(const OutboxRef& record) { arriving_.insert({record.partition, record.number}); }
  // True: it was proposed already, and is answered when that is applied. (Whoever passes it on was
  // told that it is refused, and did not know of another copy on its way.)
  bool IsArriving(const Asker& from, Token token);
  // It is asked for a part of a record, and there is nothing to do here.
  void NothingOf(const OutboxRef& record);
  // Whether the part may be proposed: not before what was passed on before it.
  bool HasWhatIsBefore(const Publish& part) const;

 private:
  void Answer(const AnswerPublish& step, absl::Status status);

  absl::flat_hash_set<std::pair<PartitionId, uint64_t>> arriving_;
  absl::flat_hash_map<PartitionId, RangeSet> nothing_of_;  // By outbox: what is still in it.
};

// Part of the host, used on its thread. The parts of one message, which come one after the other,
// are stored each by itself; but the first of them is decided about for all of them on this node:
// whether they can be stored now, and have room.
class Publishing {
 public:
  explicit Publishing(Node& node) : node_(node) {}

  void Handle(const Asker& from, Publish& part);
  // Whether it is one more part of the message that was decided about last.
  bool IsDecided(const ShardAddress& from, const Publish& part) const {
    return part.token != 0 && verdict_.token == part.token && verdict_.shard == from;
  }
  // Whether a QoS 2 message could be stored where it is to be passed on to, and has room there: as
  // far as that matters the room is `held`. Who has none is replaced among its targets.
  absl::Status CheckAccepted(const ShardAddress& from, AcceptInbound& request, HeldRooms& held);

  // ---- What the host publishes itself. Never refused.
  // The retained message of its topic, which has no payload, is forgotten; nobody hears of it.
  void Remove(mqtt::MessagePtr message);

 private:
  struct Part : Publish {
    Part(Publish&& part, const Asker& from) : Publish(std::move(part)), asker(from) {}

    Asker asker;
  };
  using Parts = std::vector<Part>;  // Of one message, each of another partition.

  // What was decided about a message whose parts are coming.
  struct Verdict {
    ShardAddress shard;
    Token token = 0;
    absl::Status status;
    HeldRooms held;  // For the parts that are still to come.
  };

  enum class ComesFrom { kPublisher, kOutbox };

  bool AnswerRepeat(const Asker& from, const Publish& part);
  void Decide(Parts& parts);
  void DecidePassedOn(Parts& parts);
  void ProposeDecided(const Parts& parts);
  absl::Status Refusal(const Publish& part) const;
  absl::Status VerdictOn(const ShardAddress& from, const Publish& part);
  absl::Status CheckAll(const Publish& part);
  absl::Status CheckPartitions(PartitionMask partitions) const;
  // Each answers, if that is wanted.
  void Propose(const Parts& parts, bool answers);
  void ProposePart(const Part& part, bool answers);
  absl::Status CheckStillRetained(Part& part);
  void ProposeEnqueue(const Part& part, Leader& leader, bool match);
  CommandPlace ProposeRetained(const Part& part, Leader& home);
  void Refuse(const Part& part, const absl::Status& why);

  absl::Status CheckRetainedRoom(const mqtt::Message& message);

  absl::Status ReserveQueueRoom(const mqtt::Message& message, PartitionMask partitions,
                                ComesFrom from);
  absl::Status RefuseForQueue(const mqtt::Message& message, const Session& full, ComesFrom from);
  const ShareMembers::Member* ChooseWithRoom(const std::string& share_filter,
                                             const mqtt::Message& message);
  // False: a target has no room, and the message is refused.
  bool SettleTargets(const ShardAddress& from, Parts& parts);
  std::optional<size_t> PlaceFor(const ShardAddress& from, const Parts& parts, size_t asked,
                                 SharedTarget& target);
  void Reserve(PartitionId partition, const QueueReservation& reservation);
  void TakeBackReserved();

  Node& node_;
  Parts parts_;  // The one that is being decided about. Kept for its memory.
  Verdict verdict_;
  HeldRooms reserved_;  // For what is being decided about.
};

}  // namespace storage

#endif  // STORAGE_LEADER_PUBLISHING_H_
