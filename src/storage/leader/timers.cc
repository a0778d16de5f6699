#include "storage/leader/timers.h"

#include <memory>
#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/publishing.h"

namespace storage {

// ---- Deadlines ----------------------------------------------------------------------------------

void Timers::On(TimersSet& effect) {
  const Session& session = partition().session(effect.slot);
  ArmDeadlines(session);
  leader_.sessions().NoteAway(session);
}

void Timers::ArmDeadlines(const Session& session) {
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
bool Timers::Holds(const Deadline& deadline) const {
  const Session* const session = partition().Find(deadline.client_id);
  if (session == nullptr || session->connected || session->epoch != deadline.epoch) return false;
  const bool will_is_due =
      session->will.message && session->will.due_at_unix_ms == deadline.at_unix_ms;
  return will_is_due || session->ends_at_unix_ms == deadline.at_unix_ms;
}

void Timers::RunDeadline() {
  if (const auto deadline = deadlines_.Take(Now())) OnDeadline(*deadline);
}

void Timers::OnDeadline(const Deadline& deadline) {
  if (leader_.sessions().FindClaim(deadline.client_id) != nullptr)
    return;  // Open again, or just being changed.
  if (!Holds(deadline)) return;
  const Session* const session = partition().Find(deadline.client_id);
  const bool fires = session->will.message && session->will.due_at_unix_ms != 0 &&
                     session->will.due_at_unix_ms <= Now();
  if (fires) ProposeWill(*session);
  const bool ends = session->ends_at_unix_ms != 0 && session->ends_at_unix_ms <= Now();
  if (ends) {
    pb::ExpireSession& expire = *Propose().mutable_expire_session();
    expire.set_client_id(session->client_id);
    expire.set_epoch(session->epoch);
  }
  leader_.sessions().Occupy(deadline.client_id);
  NeedSync();
  Then(FinishTimer{deadline.client_id, ends});
}

void Timers::Finish(FinishTimer& step) {
  // A deadline that was due meanwhile has been passed over.
  const Session* const session = partition().Find(step.client_id);
  if (session != nullptr) ArmDeadlines(*session);
  if (session == nullptr && step.ends) node_.metrics.sessions_expired.Add();
  if (step.gives_way) {
    --node_.giving_way;
    if (session == nullptr) node_.metrics.sessions_gave_way.Add();
    if (session != nullptr) leader_.sessions().NoteAway(*session);
  }
  leader_.sessions().Forget(step.client_id);
}

// ---- Wills --------------------------------------------------------------------------------------

void Timers::ProposeWill(const Session& session) {
  AnnounceWill step;
  // Rights are those of the moment: without them the will is deleted, and nobody hears of it.
  const SessionUser author{session.client_id, session.user_name, session.listener};
  if (node_.may_publish == nullptr || node_.may_publish(author, session.will.message->topic())) {
    step.message = mqtt::Restamp(*session.will.message, Now());
  }
  pb::FireWill& fire = *Propose(&step.command).mutable_fire_will();
  fire.set_client_id(session.client_id);
  fire.set_epoch(session.epoch);
  if (step.message && step.message->qos() != mqtt::QoS::kAtMostOnce &&
      node_.share_members.AnyFor(step.message->topic())) {
    fire.set_orphan_at_unix_ms(Now());
  }
  if (step.message) {
    const PartitionMask where = node_.publishing->StoreWill(step.message);
    node_.ProposedWill(*step.message, where);
  }
  Then(std::move(step));
}

void Timers::Finish(AnnounceWill& step) {
  const Outcome& outcome = OutcomeAt(step.command);
  if (outcome.code != OutcomeCode::kOk) return;
  if (!step.message) return node_.metrics.wills_not_authorized.Add();
  node_.publishing->TellOfWill(std::move(step.message), {id_, outcome.orphan});
}

// Routed ones are announced by the step that proposed them.
void Timers::On(WillFired& effect) {
  if (effect.routed) return;
  postponed_wills_.push_back(mqtt::Restamp(*effect.message, Now()));
}

// Of sessions whose identifier somebody opened anew while their wills were still due.
void Timers::PublishPostponedWills() {
  while (!postponed_wills_.empty() && node_.RoomForWills()) {
    mqtt::MessagePtr message = std::move(postponed_wills_.front());
    postponed_wills_.pop_front();
    const PartitionMask where = node_.publishing->StoreWill(message);
    if (where != 0) node_.ProposedWill(*message, where);
    node_.After(where, [&node = node_, message = std::move(message)] {
      node.publishing->TellOfWill(message, {});
    });
  }
}

}  // namespace storage
