// SUBSCRIBE and UNSUBSCRIBE of durable sessions, and the routes that follow: each shard knows them
// before anybody is answered.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

// Of what is told of at the start in one go; twice as much is on its way.
constexpr size_t kAnnouncedBytesMax = 256 << 10;

pb::Subscription ToRecord(const SubscriptionRecord& subscription) {
  pb::Subscription record;
  record.set_filter(subscription.filter);
  record.set_options(subscription.options.ToByte());
  record.set_subscription_id(subscription.subscription_id);
  return record;
}

}  // namespace

// ---- Subscribing --------------------------------------------------------------------------------

void HostCore::Handle(ShardId from, Subscribe& request) {
  absl::Status status = Refusal(/*stores=*/true);
  if (status.ok() && OwnerOf(request.client_id, request.epoch) == nullptr) status = NotOwner();
  AnswerSubscribe answer;
  answer.shard = from;
  answer.token = request.token;
  answer.client_id = request.client_id;
  answer.status = std::move(status);
  if (!answer.status.ok()) return AnswerRefused(std::move(answer));
  const PartitionId partition = PartitionOf(request.client_id);
  subscribed_ |= PartitionMask{1} << partition;
  pb::Subscribe& subscribe = *Propose(partition, {}, &answer.subscribe).mutable_subscribe();
  subscribe.set_client_id(request.client_id);
  subscribe.set_epoch(request.epoch);
  for (const SubscriptionRecord& subscription : request.subscriptions) {
    *subscribe.add_subscriptions() = ToRecord(subscription);
  }
  growing_->NeedSync();
  growing_->Then(std::move(answer));
}

void HostCore::Finish(AnswerSubscribe& step) {
  SubscribeDone done{step.token, std::move(step.status)};
  if (done.status.ok() && OutcomeAt(step.subscribe).code != OutcomeCode::kOk) {
    done.status = NotOwner();
  }
  if (!done.status.ok()) return Send(step.shard, std::move(done));
  ConfirmedAnswer answer{
      .shard = step.shard, .event = std::move(done), .replays = {}, .call = nullptr};
  if (Claim* const claim = FindClaim(step.client_id); claim != nullptr && claim->feed != nullptr) {
    ++claim->feed->replays_held;
    answer.replays = {step.client_id, claim->epoch};
  }
  routes_.Wait(std::move(answer));
}

// ---- Unsubscribing ------------------------------------------------------------------------------

void HostCore::Handle(ShardId from, Unsubscribe& request) {
  absl::Status status = Refusal(/*stores=*/false);
  if (status.ok() && OwnerOf(request.client_id, request.epoch) == nullptr) status = NotOwner();
  AnswerUnsubscribe answer;
  answer.shard = from;
  answer.token = request.token;
  answer.status = std::move(status);
  if (!answer.status.ok()) return AnswerRefused(std::move(answer));
  pb::Unsubscribe& unsubscribe =
      *Propose(PartitionOf(request.client_id), {}, &answer.unsubscribe).mutable_unsubscribe();
  unsubscribe.set_client_id(request.client_id);
  unsubscribe.set_epoch(request.epoch);
  for (const std::string& filter : request.filters) unsubscribe.add_filters(filter);
  growing_->NeedSync();
  growing_->Then(std::move(answer));
}

void HostCore::Finish(AnswerUnsubscribe& step) {
  UnsubscribeDone done{step.token, std::move(step.status), {}};
  if (!done.status.ok()) return Send(step.shard, std::move(done));
  const Outcome& outcome = OutcomeAt(step.unsubscribe);
  if (outcome.code == OutcomeCode::kOk) {
    done.existed.assign(outcome.existed.begin(), outcome.existed.end());
  } else {
    done.status = NotOwner();
  }
  // After the answers to a SUBSCRIBE before it: the shard does what it hears.
  routes_.Wait({.shard = step.shard, .event = std::move(done), .replays = {}, .call = nullptr});
}

// ---- Routes -------------------------------------------------------------------------------------

void HostCore::On(PartitionId partition, RouteChanged& effect) {
  filters_[partition] = effect.add ? filters_[partition] + 1 : filters_[partition] - 1;
  SendRoute(effect.add, partition, effect.filter);
}

void HostCore::SendRoute(bool add, PartitionId partition, const std::string& filter) {
  SendToAll(
      RouteChange{.number = routes_.Next(), .add = add, .partition = partition, .filter = filter});
}

void HostCore::On(PartitionId partition, ShareMemberChanged& effect) {
  share_members_.Change(effect.client_id, effect.subscription, partition, effect.state);
  SendShareMember(effect, partition);
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

void HostCore::Handle(ShardId from, ConfirmRoutes& request) {
  routes_.Confirm(from, request.number);
}

void HostCore::ReleaseConfirmed() {
  routes_.ReleaseReady([this](ConfirmedAnswer answer) {
    if (answer.call != nullptr) answer.call();
    if (answer.event.has_value()) Send(answer.shard, *std::move(answer.event));
    if (!answer.replays.client_id.empty()) After(std::move(answer.replays));
  });
}

// ---- What was stored at the start ---------------------------------------------------------------

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
