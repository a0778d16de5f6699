#include "storage/leader/publishing.h"

#include <algorithm>
#include <bit>

#include "base/by_name.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/command_codec.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/retained.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

PartitionMask BitOf(PartitionId partition) { return PartitionMask{1} << partition; }

// A chunk entry is so much larger than the message in it at most, without the shared filter.
constexpr uint64_t kEntryOverheadMax = 64;

uint64_t EntrySizeAtMost(const mqtt::Message& message, std::string_view share_filter) {
  return StoredMessageSize(message.parts()) + share_filter.size() + kEntryOverheadMax;
}

SharedTarget TargetOf(const ShareMembers::Member& member) {
  return {.client_id = member.client_id,
          .filter = member.subscription.filter,
          .options = member.subscription.options,
          .subscription_id = member.subscription.subscription_id};
}

}  // namespace

// ---- Asked --------------------------------------------------------------------------------------

void Publishing::Handle(ShardId from, Publish& request) {
  const size_t partitions = node_.leaders.size();
  if (partitions < kPartitionsMax)
    request.partitions &= BitOf(static_cast<PartitionId>(partitions)) - 1;
  const OrphanRef orphan = request.orphan;
  if (orphan && !node_.leaders[orphan.partition]->TakeOffered(orphan.number)) {
    return Refuse(from, request, absl::FailedPreconditionError("somebody has taken it already"));
  }
  if (request.origin.has_value()) {
    Leader& publisher = node_.LeaderOf(request.origin->client_id);
    if (publisher.OwnerOf(request.origin->client_id, request.origin->epoch) == nullptr) {
      return Refuse(from, request, NotOwner());
    }
    // Also while storage fails: what is in doubt is not refused under the same identifier.
    if (publisher.AnswerRepeat(from, request.token, *request.origin)) return;
  }
  absl::Status status = Refusal(request, PartitionsOf(request));
  if (!status.ok() && orphan) node_.leaders[orphan.partition]->ReturnOrphan(orphan.number);
  if (status.ok()) status = Check(request);
  if (!status.ok()) return Refuse(from, request, std::move(status));
  const Settled settled = SettleTargets(from, request);
  if (settled == Settled::kStays) node_.leaders[orphan.partition]->KeepOrphan();
  if (settled != Settled::kGoesOn) {
    return Refuse(from, request, absl::ResourceExhaustedError("no member has room"));
  }
  // A retained message of QoS 0 was promised to nobody: it is on the disk with whatever is synced
  // next. Its answer only tells the shard that it is not on its way any more.
  const bool promised = request.message->qos() != mqtt::QoS::kAtMostOnce || orphan;
  const bool answers = promised || request.token != 0;
  if (Propose(request, answers, from) == 0 && answers) {  // It is for nobody.
    return node_.Send(from, Published{.token = request.token});
  }
  if (promised) node_.growing.needs_sync = true;
}

PartitionMask Publishing::PartitionsOf(const Publish& request) const {
  PartitionMask where = request.partitions;
  for (const SharedTarget& target : request.shared_targets) {
    where |= BitOf(node_.PartitionOf(target.client_id));
  }
  if (request.set_retained) where |= BitOf(node_.HomeOf(request.message->topic()).id());
  if (request.origin.has_value()) where |= BitOf(node_.PartitionOf(request.origin->client_id));
  if (request.orphan) where |= BitOf(request.orphan.partition);
  return where;
}

// Because of storage that fails, here or in one of the partitions.
absl::Status Publishing::Refusal(const Publish& request, PartitionMask where) const {
  // An orphan takes no more room where it goes.
  RETURN_IF_ERROR(node_.Refusal(/*stores=*/!request.orphan));
  for (; where != 0; where &= where - 1) {
    Leader& leader = *node_.leaders[static_cast<size_t>(std::countr_zero(where))];
    if (!leader.replica().status().ok()) return leader.Refusal(/*stores=*/false);
  }
  return absl::OkStatus();
}

absl::Status Publishing::Check(const Publish& request) {
  if (request.set_retained) RETURN_IF_ERROR(CheckRetainedRoom(*request.message));
  return ReserveQueueRoom(request);
}

// Nothing of it was proposed. While storage fails the answer does not wait for what is in doubt;
// else it comes in its turn.
void Publishing::Refuse(ShardId from, const Publish& request, absl::Status why) {
  TakeBackReserved();
  if (request.token == 0) return;
  Published refused;
  refused.token = request.token;
  refused.status = std::move(why);
  if (!node_.healthy()) return node_.Send(from, std::move(refused));
  PartitionMask before = 0;
  for (const auto& leader : node_.leaders) {
    if (leader->replica().status().ok()) before |= BitOf(leader->id());
  }
  node_.After(before, [this, from, refused] { node_.Send(from, refused); });
}

// ---- Proposed -----------------------------------------------------------------------------------

// Returns where.
PartitionMask Publishing::Propose(const Publish& request, bool answers, ShardId from) {
  PartitionMask queues = request.partitions;
  TargetPlaces places;
  for (const SharedTarget& target : request.shared_targets) {
    places.push_back(node_.PartitionOf(target.client_id));
    queues |= BitOf(places.back());
  }
  PartitionMask home = 0;
  if (request.set_retained) home = BitOf(node_.HomeOf(request.message->topic()).id());
  PartitionMask publisher = 0;
  if (request.origin.has_value()) publisher = BitOf(node_.PartitionOf(request.origin->client_id));
  const PartitionMask orphanage = request.orphan ? BitOf(request.orphan.partition) : 0;
  const PartitionMask where = queues | home | publisher | orphanage;
  for (PartitionMask rest = where; rest != 0; rest &= rest - 1) {
    const auto id = static_cast<PartitionId>(std::countr_zero(rest));
    Leader& leader = *node_.leaders[id];
    AnswerPublish answer;
    answer.shard = from;
    answer.token = request.token;
    answer.parts = static_cast<uint32_t>(std::popcount(where));
    answer.command = leader.growing_commands();
    if ((queues & BitOf(id)) != 0) {
      ProposeEnqueue(request, places, leader, (request.partitions & BitOf(id)) != 0);
    }
    if ((home & BitOf(id)) != 0) answer.retained = ProposeRetained(request, leader);
    if ((orphanage & BitOf(id)) != 0) {
      leader.ForgetOrphan(request.orphan.number);
      answer.orphan = request.orphan;
    }
    if ((publisher & BitOf(id)) != 0) {
      leader.Remember(*request.origin);
      answer.origin = request.origin;
    }
    answer.commands = leader.growing_commands() - answer.command;
    if (answers) leader.Then(std::move(answer));
  }
  for (const auto& [partition, reservation] : std::exchange(reserved_, {})) {
    node_.leaders[partition]->Keep(reservation);
  }
  return where;
}

void Publishing::ProposeEnqueue(const Publish& request, const TargetPlaces& places, Leader& leader,
                                bool match) {
  absl::InlinedVector<EnqueueTarget, 1> targets;
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i] != leader.id()) continue;
    const SharedTarget& target = request.shared_targets[i];
    targets.push_back({.client_id = target.client_id,
                       .filter = target.filter,
                       .options = target.options,
                       .subscription_id = target.subscription_id,
                       .last_choice = target.last_choice});
  }
  CommandStamp stamp;
  std::string& entry = leader.ProposeTo(request.message, stamp);
  AppendEnqueue(stamp, request.message->parts(), match, targets, entry);
}

CommandPlace Publishing::ProposeRetained(const Publish& request, Leader& home) {
  CommandPlace place = 0;
  pb::SetRetained& set = *home.Propose(request.message, &place).mutable_set_retained();
  set.set_message(EncodeStoredMessage(*request.message));
  set.set_partitions(request.partitions);
  home.SetRetained({set.message().size(), request.partitions, request.message});
  return place;
}

// ---- The host's own -----------------------------------------------------------------------------

PartitionMask Publishing::StoreWill(const mqtt::MessagePtr& message) {
  Publish publish;
  publish.message = message;
  if (message->qos() != mqtt::QoS::kAtMostOnce) {
    for (const auto& leader : node_.leaders) {
      if (leader->may_have_routes()) publish.partitions |= BitOf(leader->id());
    }
  }
  publish.set_retained = message->retain() && CheckRetainedRoom(*message).ok();
  node_.growing.needs_sync = true;
  return Propose(publish, /*answers=*/false, /*from=*/0);
}

void Publishing::TellOfWill(mqtt::MessagePtr message, OrphanRef orphan) {
  node_.metrics.wills_published.Add();
  RouteMessage route;
  route.message = std::move(message);
  route.orphan = orphan;
  const ShardId shard = node_.announce_shard;
  node_.announce_shard = static_cast<ShardId>((shard + 1) % node_.shards);
  if (!orphan) return node_.Send(shard, std::move(route));
  node_.leaders[orphan.partition]->Offer(orphan.number, shard, std::move(route));
}

bool Publishing::StoreForMember(const std::string& share_filter, const mqtt::MessagePtr& message) {
  const ShareMembers::Member* const member = ChooseWithRoom(share_filter, *message);
  if (member == nullptr) return false;
  Publish publish;
  publish.message = message;
  publish.shared_targets.push_back(TargetOf(*member));
  SettleTargets(/*from=*/0, publish);  // Its room is taken.
  Propose(publish, /*answers=*/false, /*from=*/0);
  return true;
}

// ---- Room for retained messages -----------------------------------------------------------------

// The bounds are the node's, and one message is in one partition: a share of the bound for each
// would refuse what fits. A message over the limit is refused as a whole: with what is on its way
// counted, the partition, which checks its own, has room for all that passes here.
absl::Status Publishing::CheckRetainedRoom(const mqtt::Message& message) {
  if (message.payload().empty()) return absl::OkStatus();
  const uint64_t stored_bytes = StoredMessageSize(message.parts());
  bool count_is_full = false;
  bool bytes_are_full = false;
  const auto sweep_any = [this] {  // What has expired is dropped before this one is set.
    return std::any_of(node_.leaders.begin(), node_.leaders.end(),
                       [](const auto& leader) { return leader->SweepRetained(); });
  };
  do {
    RetainedPending::Room taken;
    for (const auto& leader : node_.leaders) {
      const Leader::RetainedRoom now = leader->RetainedNow();
      const RetainedPending::Room& pending = leader->retained_pending().taken();
      taken.messages += now.messages + pending.messages;
      taken.bytes += now.bytes + pending.bytes;
    }
    const StorageOptions& options = node_.options;
    count_is_full =
        options.retained_messages_max != 0 && taken.messages >= options.retained_messages_max;
    bytes_are_full =
        options.retained_bytes_max != 0 && taken.bytes + stored_bytes > options.retained_bytes_max;
    if (!count_is_full && !bytes_are_full) return absl::OkStatus();
  } while (sweep_any());
  const Leader& home = node_.HomeOf(message.topic());
  uint64_t replaced_bytes = 0;
  if (const RetainedSet* const pending = home.retained_pending().Find(message.topic())) {
    replaced_bytes = pending->removes() ? 0 : pending->bytes;
  } else {
    ASSIGN_OR_RETURN(const mqtt::MessagePtr existing,
                     ReadRetained(node_.reader, home.id(), message.topic()));
    if (existing) replaced_bytes = StoredMessageSize(existing->parts());
  }
  const bool fits = !bytes_are_full || replaced_bytes >= stored_bytes;
  if (replaced_bytes != 0 && fits) return absl::OkStatus();
  return absl::ResourceExhaustedError("retained_messages_max or retained_bytes_max is reached");
}

// ---- Room in queues -----------------------------------------------------------------------------

void Publishing::Reserve(PartitionId partition, const QueueReservation& reservation) {
  node_.leaders[partition]->Promise(reservation);
  reserved_.emplace_back(partition, reservation);
}

void Publishing::TakeBackReserved() {
  for (const auto& [partition, reservation] : std::exchange(reserved_, {})) {
    node_.leaders[partition]->TakeBack(reservation);
  }
}

// With queue_full: refuse. A message that some session's queue has no room for is refused as a
// whole, before anything of it is stored; with what is on its way counted, what passes here fits.
absl::Status Publishing::ReserveQueueRoom(const Publish& request) {
  if (node_.options.queue_full != QueueFull::kRefuse || request.orphan) return absl::OkStatus();
  if (request.message->qos() == mqtt::QoS::kAtMostOnce) return absl::OkStatus();
  const uint64_t size = EntrySizeAtMost(*request.message, {});
  std::vector<std::pair<PartitionId, QueueReservation>> wanted;
  const Session* full = nullptr;
  for (PartitionMask rest = request.partitions; rest != 0 && full == nullptr; rest &= rest - 1) {
    const auto id = static_cast<PartitionId>(std::countr_zero(rest));
    const Leader& leader = *node_.leaders[id];
    if (leader.IsCalm(size)) {  // Whoever gets it has room: no need to know who.
      wanted.push_back({id, {.slot = kNoSlot, .bytes = size}});
      continue;
    }
    leader.partition().ForEachReceiver(request.message->parts(), [&](const Session& session) {
      if (full == nullptr && !leader.HasRoom(session, size)) full = &session;
      wanted.push_back({id, {.slot = session.slot, .bytes = size}});
    });
  }
  if (full != nullptr) return RefuseForQueue(request, *full);
  const auto place = [](const auto& each) { return std::pair(each.first, each.second.slot); };
  std::sort(wanted.begin(), wanted.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  wanted.erase(std::unique(wanted.begin(), wanted.end(),  // A session gets it once.
                           [&](const auto& a, const auto& b) { return place(a) == place(b); }),
               wanted.end());
  for (const auto& [id, each] : wanted) Reserve(id, each);
  return absl::OkStatus();
}

absl::Status Publishing::RefuseForQueue(const Publish& request, const Session& full) {
  node_.metrics.refused_queue_full.Add();
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

const ShareMembers::Member* Publishing::ChooseWithRoom(const std::string& share_filter,
                                                       const mqtt::Message& message) {
  const uint64_t size = EntrySizeAtMost(message, share_filter);
  return node_.share_members.Choose(share_filter, [&](const ShareMembers::Member& member) {
    if (member.subscription.options.qos == mqtt::QoS::kAtMostOnce) return false;
    const Leader& leader = *node_.leaders[member.partition];
    if (!leader.Refusal(/*stores=*/false).ok()) return false;
    const Session* const session = leader.partition().Find(member.client_id);
    if (session == nullptr || !leader.HasRoom(*session, size)) return false;
    return node_.may_read == nullptr ||
           node_.may_read({session->client_id, session->user_name, session->listener},
                          message.topic());
  });
}

// The shard chose as far as it knew. A member that has no room is passed over while another durable
// one has; and a shard that has not said that nobody else has any hears that this one has none: the
// partition then sets the message aside, and the shard is asked again.
Publishing::Settled Publishing::SettleTargets(ShardId from, Publish& request) {
  for (SharedTarget& target : request.shared_targets) {
    Leader& leader = node_.LeaderOf(target.client_id);
    const Session* const session = leader.partition().Find(target.client_id);
    if (session == nullptr) continue;
    const uint64_t size = EntrySizeAtMost(*request.message, target.filter);
    if (leader.HasRoom(*session, size)) {
      Reserve(leader.id(), {.slot = session->slot, .bytes = size});
      continue;
    }
    const uint64_t bytes_max = leader.partition().limits().queue_bytes_max();
    if (bytes_max != 0 && size > bytes_max) {  // It never will have: nor has anybody else.
      target.last_choice = true;
      continue;
    }
    leader.TellWithoutRoom(from, *session);
    if (const ShareMembers::Member* const other = ChooseWithRoom(target.filter, *request.message)) {
      target = TargetOf(*other);
      const Leader& others = *node_.leaders[other->partition];
      const Session* const chosen = others.partition().Find(other->client_id);
      Reserve(others.id(), {.slot = chosen->slot, .bytes = size});
      continue;
    }
    if (!target.last_choice) continue;
    if (request.orphan && request.shared_targets.size() == 1) return Settled::kStays;
    if (request.orphan || node_.options.queue_full != QueueFull::kRefuse) continue;
    RefuseForQueue(request, *session).IgnoreError();
    return Settled::kRefused;
  }
  return Settled::kGoesOn;
}

}  // namespace storage
