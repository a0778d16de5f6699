// Queues that fill up: what becomes of a message that has no room.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/by_name.h"
#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/message_codec.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

// A chunk entry is so much larger than the message in it at most, without the shared filter.
constexpr uint64_t kEntryOverheadMax = 64;

uint64_t EntrySizeAtMost(const mqtt::Message& message, std::string_view share_filter) {
  return StoredMessageSize(message.parts()) + share_filter.size() + kEntryOverheadMax;
}

}  // namespace

// ---- Room ---------------------------------------------------------------------------------------

bool HostCore::HasRoom(PartitionId partition, const Session& session, uint64_t size) const {
  const QueueRoom::Taken taken = queue_room_.Of(partition, session.slot);
  return partitions_[partition]->HasRoom(session, taken.messages, taken.bytes, size);
}

void HostCore::Reserve(const QueueReservation& reservation) {
  queue_room_.Add(reservation);
  growing_->Reserves(reservation);
}

// With queue_full: refuse. A message that some session's queue has no room for is refused as a
// whole, before anything of it is stored; with what is on its way counted, what passes here fits.
absl::Status HostCore::ReserveQueueRoom(const Publish& request) {
  if (options_.queue_full != QueueFull::kRefuse || request.orphan) return absl::OkStatus();
  if (request.message->qos() == mqtt::QoS::kAtMostOnce) return absl::OkStatus();
  const uint64_t size = EntrySizeAtMost(*request.message, {});
  std::vector<QueueReservation> wanted;
  const Session* full = nullptr;
  for (uint32_t id = 0; id < options_.partitions && full == nullptr; ++id) {
    if ((request.partitions >> id & 1) == 0) continue;
    const auto partition = static_cast<PartitionId>(id);
    if (IsCalm(partition, size)) {  // Whoever gets it has room: no need to know who.
      wanted.push_back({.partition = partition, .slot = kNoSlot, .bytes = size});
      continue;
    }
    partitions_[id]->ForEachReceiver(request.message->parts(), [&](const Session& session) {
      if (full == nullptr && !HasRoom(partition, session, size)) full = &session;
      wanted.push_back({.partition = partition, .slot = session.slot, .bytes = size});
    });
  }
  if (full != nullptr) return RefuseForQueue(request, *full);
  const auto place = [](const QueueReservation& each) {
    return std::pair(each.partition, each.slot);
  };
  std::sort(wanted.begin(), wanted.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  wanted.erase(std::unique(wanted.begin(), wanted.end(),  // A session gets it once.
                           [&](const auto& a, const auto& b) { return place(a) == place(b); }),
               wanted.end());
  for (const QueueReservation& each : wanted) Reserve(each);
  return absl::OkStatus();
}

// Whether all that is on its way, and one more, fits into any queue of the partition.
bool HostCore::IsCalm(PartitionId id, uint64_t size) const {
  if (partitions_[id]->crowded() != 0) return false;  // All are below four fifths.
  const pb::Limits& limits = partitions_[id]->limits();
  const QueueRoom::Taken& taken = queue_room_.Of(id);
  const bool few =
      limits.queue_messages_max() == 0 || taken.messages + 1 <= limits.queue_messages_max() / 5;
  const bool small =
      limits.queue_bytes_max() == 0 || taken.bytes + size <= limits.queue_bytes_max() / 5;
  return few && small;
}

absl::Status HostCore::RefuseForQueue(const Publish& request, const Session& full) {
  metrics_.refused_queue_full.Add();
  base::LogLimited(base::LogLevel::kWarning, "message refused", "a session's queue is full",
                   {{"client", base::Shortened(full.client_id)},
                    {"queued_messages", full.queue.messages()},
                    {"queued_bytes", full.queue.bytes()},
                    {"connected", full.connected},
                    {"publisher", base::Shortened(base::AbslView(request.message->publisher()))},
                    {"topic", base::Shortened(base::AbslView(request.message->topic()))}});
  return absl::ResourceExhaustedError("the queue of a session that it is for is full");
}

// ---- Members of `$share` groups without room ----------------------------------------------------

const ShareMembers::Member* HostCore::ChooseWithRoom(const std::string& share_filter,
                                                     const mqtt::Message& message) {
  const uint64_t size = EntrySizeAtMost(message, share_filter);
  return share_members_.Choose(share_filter, [&](const ShareMembers::Member& member) {
    if (member.subscription.options.qos == mqtt::QoS::kAtMostOnce) return false;
    const Session* const session = partitions_[member.partition]->Find(member.client_id);
    return session != nullptr && HasRoom(member.partition, *session, size);
  });
}

// The shard chose as far as it knew. A member that has no room is passed over while another durable
// one has; and a shard that has not said that nobody else has any hears that this one has none: the
// partition then sets the message aside, and the shard is asked again.
HostCore::Settled HostCore::SettleTargets(ShardId from, Publish& request) {
  for (SharedTarget& target : request.shared_targets) {
    const PartitionId partition = PartitionOf(target.client_id);
    const Session* const session = partitions_[partition]->Find(target.client_id);
    if (session == nullptr) continue;
    const uint64_t size = EntrySizeAtMost(*request.message, target.filter);
    if (HasRoom(partition, *session, size)) {
      Reserve({.partition = partition, .slot = session->slot, .bytes = size});
      continue;
    }
    const uint64_t bytes_max = partitions_[partition]->limits().queue_bytes_max();
    if (bytes_max != 0 && size > bytes_max) {  // It never will have: nor has anybody else.
      target.last_choice = true;
      continue;
    }
    TellWithoutRoom(from, *session);
    if (const ShareMembers::Member* const other = ChooseWithRoom(target.filter, *request.message)) {
      target = TargetOf(*other);
      const Session* const chosen = partitions_[other->partition]->Find(other->client_id);
      Reserve({.partition = other->partition, .slot = chosen->slot, .bytes = size});
      continue;
    }
    if (!target.last_choice) continue;
    if (request.orphan && request.shared_targets.size() == 1) return Settled::kStays;
    if (request.orphan || options_.queue_full != QueueFull::kRefuse) continue;
    RefuseForQueue(request, *session).IgnoreError();
    return Settled::kRefused;
  }
  return Settled::kGoesOn;
}

SharedTarget HostCore::TargetOf(const ShareMembers::Member& member) {
  return {.client_id = member.client_id,
          .filter = member.subscription.filter,
          .options = member.subscription.options,
          .subscription_id = member.subscription.subscription_id};
}

void HostCore::TellWithoutRoom(ShardId shard, const Session& session) {
  without_room_.insert(session.client_id);
  Send(shard, ShareMemberRoom{.client_id = session.client_id, .has_room = false});
}

// All shards: whoever was told, and those that asked meanwhile.
void HostCore::LookForRoom(PartitionId partition, SessionSlot slot) {
  if (without_room_.empty()) return;
  const Session* const session = partitions_[partition]->FindSlot(slot);
  if (session == nullptr || !without_room_.contains(session->client_id)) return;
  // Some distance from the bound, so that not every acknowledgement is news.
  const pb::Limits& limits = partitions_[partition]->limits();
  const uint64_t messages = limits.queue_messages_max() / 8;
  const uint64_t bytes = limits.queue_bytes_max() / 8;
  if (!partitions_[partition]->HasRoom(*session, messages, bytes, 0)) return;
  HasRoomAgain(session->client_id);
}

void HostCore::HasRoomAgain(const std::string& client_id) {
  if (without_room_.erase(client_id) == 0) return;
  SendToAll(ShareMemberRoom{.client_id = client_id, .has_room = true});
  if (orphans_again_at_.has_value()) orphans_again_at_ = now_.monotonic;
}

}  // namespace storage
