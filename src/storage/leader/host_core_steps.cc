// What follows a commit: the effects of the entries, routes.
#include <memory>
#include <utility>

#include "storage/core/message_codec.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

// Of what is told of at the start in one go; twice as much is on its way.
constexpr size_t kAnnouncedBytesMax = 256 << 10;

}  // namespace

void HostCore::RunEffects(PartitionId partition, Effects& effects) {
  NoteDamage(effects.damage);
  for (Effect& effect : effects.list) {
    std::visit([&](auto& one) { On(partition, one); }, effect);
  }
  const auto dropped = [&](DropCause cause) { return effects.dropped[static_cast<size_t>(cause)]; };
  metrics_.messages_queued.Add(effects.queued);
  metrics_.dropped_queue_full.Add(dropped(DropCause::kQueueMessages) +
                                  dropped(DropCause::kQueueBytes));
  metrics_.dropped_expired.Add(dropped(DropCause::kExpired));
  metrics_.dropped_orphans.Add(dropped(DropCause::kOrphans));
}

Claim* HostCore::AtSlot(PartitionId partition, SessionSlot slot) {
  const auto& slots = slots_[partition];
  return slot < slots.size() ? slots[slot] : nullptr;
}

void HostCore::On(PartitionId partition, Enqueued& effect) {
  Claim* const claim = AtSlot(partition, effect.slot);
  if (claim == nullptr) return;  // Opening or closing: it is read from the queue in its time.
  if (effect.delivery.sequence == 0) {
    DeliverFor(*claim).entries.push_back(std::move(effect.delivery));
    return;
  }
  const Session& session = partitions_[partition]->session(effect.slot);
  const bool in_span = effect.delivery.sequence < session.queue.head() + kSequenceSpan;
  if (claim->feed->behind || !claim->feed->window.HasRoom() || !in_span ||
      effect.delivery.message->has_expired(now_.unix_ms)) {
    claim->feed->behind = true;
    ListForPump(*claim);
    return;
  }
  Push(*claim, std::move(effect.delivery));
}

void HostCore::On(PartitionId partition, Released& effect) {
  const Claim* const claim = AtSlot(partition, effect.slot);
  if (claim == nullptr) return;
  ReleaseDue due;
  due.connection = claim->connection;
  due.epoch = claim->epoch;
  due.sequences.assign(effect.sequences.begin(), effect.sequences.end());
  Send(claim->connection.shard, std::move(due));
}

void HostCore::On(PartitionId partition, Acknowledged& effect) {
  metrics_.messages_delivered.Add(effect.done);
  LookForRoom(partition, effect.slot);
  Claim* const claim = AtSlot(partition, effect.slot);
  if (claim == nullptr) return;
  claim->feed->window.Committed(effect.done + effect.dropped);
  ListForPump(*claim);
}

void HostCore::On(PartitionId partition, SessionEnded& effect) {
  auto& slots = slots_[partition];
  if (effect.slot < slots.size()) slots[effect.slot] = nullptr;
  HasRoomAgain(effect.client_id);
  census_.Went(effect.user_name);
}

void HostCore::On(PartitionId partition, RouteChanged& effect) {
  filters_[partition] = effect.add ? filters_[partition] + 1 : filters_[partition] - 1;
  SendRoute(effect.add, partition, effect.filter);
}

void HostCore::On(PartitionId partition, ShareMemberChanged& effect) {
  share_members_.Change(effect.client_id, effect.subscription, partition, effect.state);
  SendShareMember(effect, partition);
}

// Routed ones are announced by the step that proposed them.
void HostCore::On(PartitionId /*partition*/, WillFired& effect) {
  if (effect.routed) return;
  postponed_wills_.push_back(mqtt::Restamp(*effect.message, now_.unix_ms));
}

void HostCore::On(PartitionId partition, TimersSet& effect) {
  const Session& session = partitions_[partition]->session(effect.slot);
  ArmDeadlines(session);
  NoteAway(partition, session);
}

void HostCore::On(PartitionId partition, ReplayPending& effect) {
  Claim* const claim = AtSlot(partition, effect.slot);
  if (claim != nullptr) ListForPump(*claim);
}

// ---- Routes ------------------------------------------------------------------------------------

void HostCore::SendRoute(bool add, PartitionId partition, const std::string& filter) {
  SendToAll(
      RouteChange{.number = routes_.Next(), .add = add, .partition = partition, .filter = filter});
}

void HostCore::SendShareMember(const ShareMemberChanged& change, PartitionId partition) {
  ShareMemberChange event;
  event.number = routes_.Next();
  event.state = change.state;
  event.partition = partition;
  event.client_id = change.client_id;
  event.subscription = change.subscription;
  const Claim* const claim = FindClaim(change.client_id);
  if (change.state == ShareMemberChange::State::kConnected && claim != nullptr) {
    event.connection = claim->connection;
    if (claim->feed != nullptr) event.packet_size_max = claim->feed->packet_size_max;
  }
  SendToAll(event);
}

// What connected clients were is closed now; everything stored is announced, and then the shards
// may take clients in.
void HostCore::Finish(FinishStart& /*step*/) {
  RecountSessions();
  begun_ = true;
  announcement_.emplace();
  CountGauges();
  AnnounceStored();
}

// A few parts ahead of what all shards have confirmed.
void HostCore::AnnounceStored() {
  while (announcement_.has_value() && routes_.confirmed() >= announcement_->next_after) {
    AnnouncePart();
  }
}

void HostCore::AnnouncePart() {
  Announcement& announcement = *announcement_;
  const PartitionId id = announcement.partition;
  auto filters = std::make_shared<std::vector<std::string>>();
  size_t bytes = 0;
  const auto next = partitions_[id]->VisitSubscriptions(
      announcement.place, [&](const SessionSubscription& subscription) {
        bytes += subscription.record.filter.size() + sizeof(std::string);
        if (subscription.entry != nullptr) {
          filters->push_back(subscription.record.filter);
        } else {
          ShareMemberChanged member{.state = ShareMemberChange::State::kOffline,
                                    .slot = subscription.session->slot,
                                    .client_id = subscription.session->client_id,
                                    .subscription = subscription.record};
          On(id, member);
          bytes += shards_ * (sizeof(Event) + subscription.record.filter.size());
        }
        return bytes < kAnnouncedBytesMax;
      });
  filters_[id] += filters->size();
  if (!filters->empty()) {
    SendToAll(RouteBlock{.number = routes_.Next(), .partition = id, .filters = std::move(filters)});
  }
  announcement.next_after = std::exchange(announcement.sent, routes_.last());
  if (next.has_value()) {
    announcement.place = *next;
  } else {
    announcement.place = {};
    ++announcement.partition;
  }
  if (announcement.partition < partitions_.size()) return;
  announcement_.reset();
  StartOrphans();
  StartExpiry();
  routes_.Wait({.shard = 0, .event = std::nullopt, .replays = {}, .call = std::move(ready_)});
}

}  // namespace storage
