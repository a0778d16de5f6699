// What falls due: wills, which go into the outbox, and the ends of sessions.
#ifndef STORAGE_LEADER_TIMERS_H_
#define STORAGE_LEADER_TIMERS_H_

#include <cstdint>
#include <optional>

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

 private:
  bool Holds(const Deadline& deadline) const;
  void OnDeadline(const Deadline& deadline);
  void ProposeWill(const Session& session);

  Deadlines deadlines_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_TIMERS_H_
