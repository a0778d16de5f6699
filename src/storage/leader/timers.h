// What falls due: wills, and the ends of sessions.
#ifndef STORAGE_LEADER_TIMERS_H_
#define STORAGE_LEADER_TIMERS_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "mqtt/message.h"
#include "storage/core/effects.h"
#include "storage/core/session.h"
#include "storage/leader/deadlines.h"
#include "storage/leader/part.h"

namespace storage {

class Timers : public LeaderPart {
 public:
  explicit Timers(Leader& leader) : LeaderPart(leader) {}

  void ArmDeadlines(const Session& session);
  // When the next session may end, or will fire; and has that happen.
  std::optional<int64_t> NextDeadline() const { return deadlines_.next(); }
  void RunDeadline();
  void On(TimersSet& effect);
  void Finish(FinishTimer& step);

  void ProposeWill(const Session& session);
  void Finish(AnnounceWill& step);
  void On(WillFired& effect);
  void PublishPostponedWills();
  void TakeOver(Timers& former) { postponed_wills_ = std::move(former.postponed_wills_); }
  bool owes_wills() const { return !postponed_wills_.empty(); }

 private:
  bool Holds(const Deadline& deadline) const;
  void OnDeadline(const Deadline& deadline);

  Deadlines deadlines_;
  std::deque<mqtt::MessagePtr> postponed_wills_;  // Of which nobody was told.
};

}  // namespace storage

#endif  // STORAGE_LEADER_TIMERS_H_
