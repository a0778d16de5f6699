// What falls due: wills, and the ends of sessions.
#include <memory>
#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {

// ---- Deadlines ----------------------------------------------------------------------------------

void HostCore::On(PartitionId partition, TimersSet& effect) {
  const Session& session = partitions_[partition]->session(effect.slot);
  ArmDeadlines(session);
  NoteAway(partition, session);
}

void HostCore::ArmDeadlines(const Session& session) {
  if (session.will.message && session.will.due_at_unix_ms != 0) {
    deadlines_.Add(session.client_id, session.epoch, session.will.due_at_unix_ms);
  }
  if (session.ends_at_unix_ms != 0) {
    deadlines_.Add(session.client_id, session.epoch, session.ends_at_unix_ms);
  }
  if (!deadlines_.WantsPrune()) return;
  deadlines_.Prune([this](const Deadline& deadline) { return Holds(deadline); });
}

// Whether the session still says so.
bool HostCore::Holds(const Deadline& deadline) const {
  const Session* const session =
      partitions_[PartitionOf(deadline.client_id)]->Find(deadline.client_id);
  if (session == nullptr || session->connected || session->epoch != deadline.epoch) return false;
  const bool will_is_due =
      session->will.message && session->will.due_at_unix_ms == deadline.at_unix_ms;
  return will_is_due || session->ends_at_unix_ms == deadline.at_unix_ms;
}

// While the server ends nothing fires: nobody would hear it. It is due at the next start.
void HostCore::RunDeadlines() {
  while (!shutting_down_ && RoomForBackground()) {
    const auto deadline = deadlines_.Take(now_.unix_ms);
    if (!deadline.has_value()) return;
    OnDeadline(*deadline);
  }
}

void HostCore::OnDeadline(const Deadline& deadline) {
  if (FindClaim(deadline.client_id) != nullptr) return;  // Open again, or just being changed.
  if (!Holds(deadline)) return;
  const PartitionId partition = PartitionOf(deadline.client_id);
  const Session* const session = partitions_[partition]->Find(deadline.client_id);
  const bool fires = session->will.message && session->will.due_at_unix_ms != 0 &&
                     session->will.due_at_unix_ms <= now_.unix_ms;
  if (fires) ProposeWill(*session);
  const bool ends = session->ends_at_unix_ms != 0 && session->ends_at_unix_ms <= now_.unix_ms;
  if (ends) {
    pb::ExpireSession& expire = *Propose(partition).mutable_expire_session();
    expire.set_client_id(session->client_id);
    expire.set_epoch(session->epoch);
  }
  claims_.insert(std::make_unique<Claim>(deadline.client_id, partition, Claim::State::kBusy));
  growing_->NeedSync();
  growing_->Then(FinishTimer{deadline.client_id, ends});
}

void HostCore::Finish(FinishTimer& step) {
  // A deadline that was due meanwhile has been passed over.
  const Session* const session = partitions_[PartitionOf(step.client_id)]->Find(step.client_id);
  if (session != nullptr) ArmDeadlines(*session);
  if (session == nullptr && step.ends) metrics_.sessions_expired.Add();
  if (step.gives_way) {
    --giving_way_;
    if (session == nullptr) metrics_.sessions_gave_way.Add();
    if (session != nullptr) NoteAway(PartitionOf(step.client_id), *session);
  }
  Forget(step.client_id);
}

// ---- Wills --------------------------------------------------------------------------------------

void HostCore::ProposeWill(const Session& session) {
  AnnounceWill step;
  // Rights are those of the moment: without them the will is deleted, and nobody hears of it.
  const WillAuthor author{session.client_id, session.user_name, session.listener};
  if (may_publish_ == nullptr || may_publish_(author, session.will.message->topic())) {
    step.message = mqtt::Restamp(*session.will.message, now_.unix_ms);
  }
  pb::FireWill& fire = *Propose(PartitionOf(session.client_id), {}, &step.fire).mutable_fire_will();
  fire.set_client_id(session.client_id);
  fire.set_epoch(session.epoch);
  if (step.message && step.message->qos() != mqtt::QoS::kAtMostOnce &&
      share_members_.AnyFor(step.message->topic())) {
    fire.set_orphan_at_unix_ms(now_.unix_ms);
  }
  if (step.message) EnqueueWill(step.message);
  growing_->Then(std::move(step));
}

// What a will is for, in the commit that fires it: durable sessions, the retained message. Members
// of `$share` groups are chosen by the shard that hears of it, by the strategy it is told to use;
// for groups that have durable ones the same commit keeps an orphan until that is done.
void HostCore::EnqueueWill(const mqtt::MessagePtr& message) {
  Publish publish;
  publish.message = message;
  if (message->qos() != mqtt::QoS::kAtMostOnce) {
    publish.partitions = subscribed_;
    for (size_t id = 0; id < filters_.size(); ++id) {
      if (filters_[id] != 0) publish.partitions |= PartitionMask{1} << id;
    }
  }
  publish.set_retained = message->retain() && CheckRetainedRoom(*message).ok();
  ProposeEnqueues(publish);
  growing_->NeedSync();
}

void HostCore::Finish(AnnounceWill& step) {
  const Outcome& outcome = OutcomeAt(step.fire);
  if (outcome.code != OutcomeCode::kOk) return;
  if (!step.message) return metrics_.wills_not_authorized.Add();
  TellOfWill(std::move(step.message), {step.fire.partition, outcome.orphan});
}

// Routed ones are announced by the step that proposed them.
void HostCore::On(PartitionId /*partition*/, WillFired& effect) {
  if (effect.routed) return;
  postponed_wills_.push_back(mqtt::Restamp(*effect.message, now_.unix_ms));
}

// Of sessions whose identifier somebody opened anew while their wills were still due.
void HostCore::PublishPostponedWills() {
  for (mqtt::MessagePtr& message : std::exchange(postponed_wills_, {})) {
    EnqueueWill(message);
    growing_->Then(FinishWill{std::move(message)});
  }
}

void HostCore::Finish(FinishWill& step) { TellOfWill(std::move(step.message), {}); }

void HostCore::TellOfWill(mqtt::MessagePtr message, OrphanRef orphan) {
  metrics_.wills_published.Add();
  RouteMessage route;
  route.message = std::move(message);
  route.orphan = orphan;
  if (orphan) {
    OfferOrphan(orphan, announce_shard_, std::move(route));
  } else {
    Send(announce_shard_, std::move(route));
  }
  announce_shard_ = static_cast<ShardId>((announce_shard_ + 1) % shards_);
}

}  // namespace storage
