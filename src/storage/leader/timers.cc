#include "storage/leader/timers.h"

#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"

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

void Timers::ProposeWill(const Session& session) {
  pb::Command& command = Propose();
  command.set_level(kLevelOfOutbox);
  pb::FireWill& fire = *command.mutable_fire_will();
  fire.set_client_id(session.client_id);
  fire.set_epoch(session.epoch);
  fire.set_outbox_at_unix_ms(Now());
  node_.ProposedWill(*session.will.message);
}

}  // namespace storage
