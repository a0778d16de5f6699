#include "storage/leader/room.h"

#include <algorithm>
#include <limits>

#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/message_codec.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

// A chunk entry is so much larger than the message in it at most, with one Subscription Identifier.
constexpr uint64_t kEntryOverheadMax = 64;

}  // namespace

uint64_t EntrySizeAtMost(const mqtt::Message& message) {
  return StoredMessageSize(message.parts()) + kEntryOverheadMax;
}

bool Room::HasRoom(const Session& session, uint64_t size) const {
  const QueueRoom::Taken taken = promised_.Of(session.slot);
  return partition().HasRoom(session, taken.messages, taken.bytes, size);
}

QueueRoom::Taken Room::LeftFor(const Session& session) const {
  const auto left = [](uint64_t max, uint64_t taken) {
    return max == 0 ? std::numeric_limits<uint64_t>::max() : max - std::min(max, taken);
  };
  const pb::Limits& limits = partition().limits();
  const QueueRoom::Taken promised = promised_.Of(session.slot);
  return {
      .messages = left(limits.queue_messages_max(), session.queue.messages() + promised.messages),
      .bytes = left(limits.queue_bytes_max(), session.queue.bytes() + promised.bytes)};
}

bool Room::HasRoomFor(const Session& session, const std::vector<QueueReservation>& rooms) const {
  uint64_t bytes = 0;
  for (const QueueReservation& room : rooms) bytes += room.bytes;
  const QueueRoom::Taken left = LeftFor(session);
  return rooms.size() <= left.messages && bytes <= left.bytes;
}

void Room::PromiseToLast(const std::vector<QueueReservation>& rooms) {
  for (const QueueReservation& room : rooms) {
    Promise(room);
    proposals_.Keep(room);
  }
}

bool Room::IsCalm(uint64_t size) const {
  if (partition().crowded() != 0) return false;  // All are below four fifths.
  const pb::Limits& limits = partition().limits();
  const QueueRoom::Taken& taken = promised_.OfAll();
  const bool few =
      limits.queue_messages_max() == 0 || taken.messages + 1 <= limits.queue_messages_max() / 5;
  const bool small =
      limits.queue_bytes_max() == 0 || taken.bytes + size <= limits.queue_bytes_max() / 5;
  return few && small;
}

void Room::TellWithoutRoom(const ShardAddress& shard, const Session& session) {
  without_room_.insert(session.client_id);
  node_.Send(shard, ShareMemberRoom{.client_id = session.client_id, .has_room = false});
}

// All shards: whoever was told that the session has no room, and those that asked meanwhile.
void Room::LookForRoom(SessionSlot slot) {
  if (without_room_.empty()) return;
  const Session* const session = partition().FindSlot(slot);
  if (session == nullptr || !without_room_.contains(session->client_id)) return;
  // Some distance from the bound, so that not every acknowledgement is news.
  const pb::Limits& limits = partition().limits();
  const uint64_t messages = limits.queue_messages_max() / 8;
  const uint64_t bytes = limits.queue_bytes_max() / 8;
  if (!partition().HasRoom(*session, messages, bytes, 0)) return;
  HasRoomAgain(session->client_id);
}

void Room::TellAll() {
  partition().ForEachSession([this](const Session& session) {
    if (!session.had_shared) return;
    without_room_.insert(session.client_id);
    HasRoomAgain(session.client_id);
  });
}

void Room::HasRoomAgain(const std::string& client_id) {
  if (without_room_.erase(client_id) == 0) return;
  node_.SendToAll(ShareMemberRoom{.client_id = client_id, .has_room = true});
  for (const auto& leader : node_.leaders) leader->outbox().TellSoon();
}

}  // namespace storage
