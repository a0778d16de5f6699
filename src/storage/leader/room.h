// Room in the queues of sessions: what is promised to messages on their way, and which members of
// groups were said to have none.
#ifndef STORAGE_LEADER_ROOM_H_
#define STORAGE_LEADER_ROOM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "mqtt/message.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/core/session.h"
#include "storage/leader/part.h"
#include "storage/leader/queue_room.h"

namespace storage {

// What the message takes in a queue at most, beside the filter of a `$share` group and Subscription
// Identifiers after the first.
uint64_t EntrySizeAtMost(const mqtt::Message& message);

class Room : public LeaderPart {
 public:
  explicit Room(Leader& leader) : LeaderPart(leader) {}

  bool HasRoom(const Session& session, uint64_t size) const;
  // How much the session's queue may still get, beside what is on its way.
  QueueRoom::Taken LeftFor(const Session& session) const;
  bool HasRoomFor(const Session& session, const std::vector<QueueReservation>& rooms) const;
  // Whether all that is on its way, and one more, fits into any queue.
  bool IsCalm(uint64_t size) const;
  void Promise(const QueueReservation& reservation) { promised_.Add(reservation); }
  // To the command that was proposed last.
  void PromiseToLast(const std::vector<QueueReservation>& rooms);
  // It is applied, or never will be.
  void TakeBack(const QueueReservation& reservation) { promised_.Remove(reservation); }

  void TellWithoutRoom(const ShardAddress& shard, const Session& session);
  // Something has left the session's queue.
  void LookForRoom(SessionSlot slot);
  void HasRoomAgain(const std::string& client_id);
  // Under a new leader: nobody knows of whom the former one said that it has none.
  void TellAll();

 private:
  QueueRoom promised_;
  absl::flat_hash_set<std::string> without_room_;  // Clients that a shard was told so of.
};

}  // namespace storage

#endif  // STORAGE_LEADER_ROOM_H_
