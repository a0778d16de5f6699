#include "storage/leader/routes.h"

#include <memory>
#include <vector>

#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/retained_scans.h"

namespace storage {
namespace {

// Of what is told of at the start in one go; twice as much is on its way.
constexpr size_t kAnnouncedBytesMax = 256 << 10;

}  // namespace

void Routes::Tell(const RouteChanged& change, PartitionId partition) {
  Tell(RouteChange{.add = change.add, .partition = partition, .filter = change.filter}, partition);
}

void Routes::Tell(const RouteChange& change, PartitionId partition) {
  if (feeds_.Tells(partition)) feeds_.Tell(partition, change);
  RouteChange event = change;
  event.number = ledger_.Next();
  event.partition = partition;
  node_.SendToOwn(event);
}

void Routes::Tell(const ShareMemberChanged& change, PartitionId partition) {
  ShareMemberChange event;
  event.state = change.state;
  event.client_id = change.client_id;
  event.subscription = change.subscription;
  const Leader& leader = *node_.leaders[partition];
  const Session* const session = leader.partition().Find(change.client_id);
  if (change.state != ShareMemberChange::State::kGone && session != nullptr) {
    event.user_name = session->user_name;
    event.listener = session->listener;
  }
  const Claim* const claim = leader.sessions().ClaimOf(change.client_id);
  if (change.state == ShareMemberChange::State::kConnected && session != nullptr) {
    event.connection = session->owner;
    if (claim != nullptr && claim->feed != nullptr) {
      event.packet_size_max = claim->feed->packet_size_max;
    }
  }
  Tell(event, partition);
}

void Routes::Tell(const ShareMemberChange& change, PartitionId partition) {
  if (feeds_.Tells(partition)) feeds_.Tell(partition, change);
  node_.share_members.Change(change.client_id, change.subscription, partition, change.state);
  ShareMemberChange event = change;
  event.number = ledger_.Next();
  event.partition = partition;
  node_.SendToOwn(event);
}

void Routes::Wait(Confirmed waiter) {
  const bool subscribed = waiter.event.has_value()
                              ? std::holds_alternative<SubscribeDone>(*waiter.event)
                              : waiter.call == nullptr;
  if (subscribed) waiter.index = elsewhere_.Want(waiter.partition);
  ledger_.Wait(std::move(waiter));
}

void Routes::ReleaseReady() {
  ledger_.ReleaseReady([this](Confirmed waiter) {
    if (waiter.call != nullptr) return waiter.call();
    std::deque<Confirmed>& waiting = waiting_[waiter.partition];
    if (waiting.empty() && elsewhere_.AllKnow(waiter.partition, waiter.index)) {
      return Release(std::move(waiter));
    }
    waiting.push_back(std::move(waiter));
  });
  for (std::deque<Confirmed>& waiting : waiting_) {
    while (!waiting.empty() &&
           elsewhere_.AllKnow(waiting.front().partition, waiting.front().index)) {
      Confirmed waiter = std::move(waiting.front());
      waiting.pop_front();
      Release(std::move(waiter));
    }
  }
  elsewhere_.Ask();
}

void Routes::Release(Confirmed waiter) {
  if (node_.leaders[waiter.partition]->life() != waiter.life) return;
  if (waiter.event.has_value()) node_.Send(waiter.shard, *std::move(waiter.event));
  if (waiter.replays.empty()) return;
  // What is retained and did not come live is to be found.
  const PartitionMask reads = waiter.reads;
  node_.scans->WhenCurrent(reads, [this, waiter = std::move(waiter)] {
    Leader& leader = *node_.leaders[waiter.partition];
    if (leader.life() != waiter.life) return;
    leader.deliveries().StartReplays(waiter.replays, waiter.epoch);
  });
}

void Routes::BeginAnnouncing(std::function<void()> ready) {
  ready_ = std::move(ready);
  announcement_ = Announcement();
}

bool Routes::Announce() {
  if (!announcement_.has_value()) return false;
  while (announcement_.has_value() && ledger_.confirmed() >= announcement_->next_after) {
    AnnouncePart();
  }
  if (announcement_.has_value()) return false;
  Wait({.partition = 0,
        .life = 0,
        .shard = {},
        .event = std::nullopt,
        .replays = {},
        .epoch = 0,
        .reads = 0,
        .call = std::move(ready_)});
  return true;
}

void Routes::AnnouncePart() {
  Announcement& announcement = *announcement_;
  const PartitionId id = announcement.partition;
  auto filters = std::make_shared<std::vector<std::string>>();
  size_t bytes = 0;
  const auto next = node_.leaders[id]->partition().VisitSubscriptions(
      announcement.place, [&](const SessionSubscription& subscription) {
        bytes += subscription.record.filter.size() + sizeof(std::string);
        if (subscription.entry != nullptr) {
          filters->push_back(subscription.record.filter);
        } else {
          Tell(ShareMemberChanged{.state = ShareMemberChange::State::kOffline,
                                  .slot = subscription.session->slot,
                                  .client_id = subscription.session->client_id,
                                  .subscription = subscription.record},
               id);
          bytes += node_.shards.own() * (sizeof(Event) + subscription.record.filter.size());
        }
        return bytes < kAnnouncedBytesMax;
      });
  if (!filters->empty()) {
    node_.SendToOwn(
        RouteBlock{.number = ledger_.Next(), .partition = id, .filters = std::move(filters)});
  }
  announcement.next_after = std::exchange(announcement.sent, ledger_.last());
  if (next.has_value()) {
    announcement.place = *next;
  } else {
    announcement.place = {};
    ++announcement.partition;
  }
  if (announcement.partition == node_.leaders.size()) announcement_.reset();
}

}  // namespace storage
