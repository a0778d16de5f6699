#include "storage/leader/subscriptions.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "mqtt/topic.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/retained_scans.h"
#include "storage/leader/routes.h"

namespace storage {
namespace {

pb::Subscription ToRecord(const SubscriptionRecord& subscription) {
  pb::Subscription record;
  record.set_filter(subscription.filter);
  record.set_options(subscription.options.ToByte());
  record.set_subscription_id(subscription.subscription_id);
  return record;
}

}  // namespace

// ---- Subscribing --------------------------------------------------------------------------------

void Subscriptions::Handle(const Asker& from, Subscribe& request) {
  AnswerSubscribe answer;
  answer.shard = from.shard;
  answer.token = request.token;
  answer.client_id = request.client_id;
  absl::Status status = Refusal(/*stores=*/true);
  if (status.ok() && leader_.sessions().OwnerOf(request.client_id, request.epoch) == nullptr)
    status = NotOwner();
  if (!status.ok()) return Refuse(answer, status);
  pb::Subscribe& subscribe = *ProposeFor(from, &answer.command).mutable_subscribe();
  subscribe.set_client_id(request.client_id);
  subscribe.set_epoch(request.epoch);
  for (const SubscriptionRecord& subscription : request.subscriptions) {
    *subscribe.add_subscriptions() = ToRecord(subscription);
    answer.reads |= node_.scans->PartitionsOf(subscription.filter);
  }
  NeedSync();
  if (node_.options.queue_full == QueueFull::kRefuse) answer.subscribing = Note(request);
  Then(std::move(answer));
}

std::shared_ptr<const Subscribing> Subscriptions::Note(const Subscribe& request) {
  auto subscribing = std::make_shared<Subscribing>();
  subscribing->client_id = request.client_id;
  for (const SubscriptionRecord& subscription : request.subscriptions) {
    const bool queues = subscription.options.qos != mqtt::QoS::kAtMostOnce;
    if (queues && !mqtt::IsShared(subscription.filter))
      subscribing->filters.push_back(subscription.filter);
  }
  std::erase_if(under_way_, [](const auto& each) { return each.expired(); });
  under_way_.push_back(subscribing);
  return subscribing;
}

void Subscriptions::ForEachToBe(std::string_view topic,
                                absl::FunctionRef<void(const Session&, size_t)> visit) const {
  for (const auto& each : under_way_) {
    const std::shared_ptr<const Subscribing> subscribing = each.lock();
    if (subscribing == nullptr) continue;
    const auto matching =
        std::count_if(subscribing->filters.begin(), subscribing->filters.end(),
                      [&](const std::string& filter) { return mqtt::Matches(filter, topic); });
    const Session* const session =
        matching == 0 ? nullptr : partition().Find(subscribing->client_id);
    if (session != nullptr) visit(*session, static_cast<size_t>(matching));
  }
}

void Subscriptions::Finish(AnswerSubscribe& step) {
  if (OutcomeAt(step.command).code != OutcomeCode::kOk) return Refuse(step, NotOwner());
  Answer(step);
}

void Subscriptions::Repeat(const Asker& from, Subscribe& request) {
  AnswerSubscribe answer;
  answer.shard = from.shard;
  answer.token = request.token;
  answer.client_id = request.client_id;
  for (const SubscriptionRecord& subscription : request.subscriptions) {
    answer.reads |= node_.scans->PartitionsOf(subscription.filter);
  }
  Answer(answer);
}

void Subscriptions::Answer(const AnswerSubscribe& step) {
  Confirmed answer{.partition = id_,
                   .life = leader_.life(),
                   .shard = step.shard,
                   .event = SubscribeDone{step.token, absl::OkStatus()},
                   .replays = {},
                   .epoch = 0,
                   .reads = step.reads,
                   .call = nullptr};
  // One that is being opened waits for its own.
  if (Claim* const claim = leader_.sessions().FindClaim(step.client_id);
      claim != nullptr && claim->state == Claim::State::kOpen && claim->stored) {
    ++claim->feed->replays_held;
    answer.replays = step.client_id;
    answer.epoch = claim->epoch;
  }
  node_.routes->Wait(std::move(answer));
}

void Subscriptions::Refuse(AnswerSubscribe& step, const absl::Status& why) {
  node_.Send(step.shard, SubscribeDone{step.token, why});
}

void Subscriptions::On(RouteChanged& effect) { node_.routes->Tell(effect, id_); }

void Subscriptions::On(ShareMemberChanged& effect) { node_.routes->Tell(effect, id_); }

// ---- Unsubscribing ------------------------------------------------------------------------------

void Subscriptions::Handle(const Asker& from, Unsubscribe& request) {
  AnswerUnsubscribe answer;
  answer.shard = from.shard;
  answer.token = request.token;
  absl::Status status = Refusal(/*stores=*/false);
  if (status.ok() && leader_.sessions().OwnerOf(request.client_id, request.epoch) == nullptr)
    status = NotOwner();
  if (!status.ok()) return Refuse(answer, status);
  pb::Unsubscribe& unsubscribe = *ProposeFor(from, &answer.command).mutable_unsubscribe();
  unsubscribe.set_client_id(request.client_id);
  unsubscribe.set_epoch(request.epoch);
  for (const std::string& filter : request.filters) unsubscribe.add_filters(filter);
  NeedSync();
  Then(std::move(answer));
}

void Subscriptions::Finish(AnswerUnsubscribe& step) {
  const Outcome& outcome = OutcomeAt(step.command);
  if (outcome.code != OutcomeCode::kOk) return Refuse(step, NotOwner());
  UnsubscribeDone done{step.token, absl::OkStatus(), {}};
  done.existed.assign(outcome.existed.begin(), outcome.existed.end());
  Answer(step.shard, std::move(done));
}

// What there was before is not known any more.
void Subscriptions::Repeat(const Asker& from, Unsubscribe& request) {
  Answer(from.shard, UnsubscribeDone{request.token, absl::OkStatus(), {}});
}

// After the answers to a SUBSCRIBE before it: the shard does what it hears.
void Subscriptions::Answer(const ShardAddress& shard, UnsubscribeDone done) {
  node_.routes->Wait({.partition = id_,
                      .life = leader_.life(),
                      .shard = shard,
                      .event = std::move(done),
                      .replays = {},
                      .epoch = 0,
                      .reads = 0,
                      .call = nullptr});
}

void Subscriptions::Refuse(AnswerUnsubscribe& step, const absl::Status& why) {
  node_.Send(step.shard, UnsubscribeDone{step.token, why, {}});
}

}  // namespace storage
