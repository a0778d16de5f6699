// Who owns a Client Identifier, and what becomes of its session.
#ifndef STORAGE_LEADER_SESSIONS_H_
#define STORAGE_LEADER_SESSIONS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/core/session.h"
#include "storage/leader/claim.h"
#include "storage/leader/part.h"

namespace storage {

// claims.cc: asked for, taken over, waited for, let go. sessions.cc: opened, closed, and ended to
// make room.
class Sessions : public LeaderPart {
 public:
  explicit Sessions(Leader& leader) : LeaderPart(leader) {}

  void Handle(const Asker& from, OpenSession& request);
  void Handle(const Asker& from, CloseSession& request);
  void Finish(FinishOpen& step);
  void Refuse(FinishOpen& step, const absl::Status& why);
  void Finish(FinishClose& step);
  void On(SessionEnded& effect);
  // Half an entry may have ended a session, and another have taken its slot.
  void OnReloaded();

  // ---- Claims. Null: nobody has it.
  Claim* FindClaim(std::string_view client_id);
  const Claim* ClaimOf(std::string_view client_id) const;
  // The last of the session's queue that was, or may have been, sent to its client.
  uint64_t SentThrough(const Session& session) const;
  // If it is open, has a record, and the request comes from its connection.
  Claim* OwnerOf(std::string_view client_id, uint64_t epoch);
  Claim* AtSlot(SessionSlot slot) { return slot < slots_.size() ? slots_[slot] : nullptr; }
  // Nobody has the identifier: its record is being changed, and until Forget nobody gets it.
  void Occupy(std::string_view client_id);
  // Nobody has it any more; whoever waits for it gets it, in a fight after a pause.
  void Forget(const std::string& client_id);
  void PassOnHeld();
  std::optional<absl::Duration> NextHeld() const;

  // ---- A change of leader.
  // It is not the partition's any more.
  void Withdraw();
  // Who is connected, by the partition's state and by what the shards say, by their slots.
  void Restore(const std::vector<std::optional<Claims>>& claims);
  void RestoreHeld(const Claims::Held& held);
  // All shards have told: those that waited for that.
  void GrantUnknown();
  // No shard knows of some that the state says are connected, or of some that was sent to them.
  void CloseUnclaimed();

  // ---- Nodes that come and go (lives.cc).
  // Lets go of what lives have that are over, and of what is still to come of those that have just
  // `left`; `unknown`: also of those of which this node knows nothing.
  void CloseGone(bool unknown, absl::Span<const LiveNode> left = {});
  // Nobody has told this node of some for so long that they are over.
  void CloseStrangers();
  std::optional<absl::Duration> NextStrangers() const { return strangers_until_; }

  // ---- For the node's census.
  // To make room for another, or because an operator asked.
  enum class Why : uint8_t { kGivesWay, kAsked };
  void EndAway(SessionSlot slot, Why why);
  bool IsAway(SessionSlot slot, uint64_t epoch) const;
  void NoteAway(const Session& session);
  void CountOpening();

 private:
  bool BelongsToAnother(const OpenSession& request, const Claim* claim,
                        const Session* stored) const;
  uint32_t OwnerHash(std::string_view user_name) const;
  void RefuseOtherUser(const OpenSession& request);
  void Evict(Claim& claim, OpenSession request);
  void Await(Claim& claim, OpenSession request);
  bool StopAwaiting(Claim& claim, const ConnectionRef& connection);
  void AwaitAllClaims(OpenSession request);
  void Grant(OpenSession request);
  void GrantUnlogged(const OpenSession& request);
  void RefuseOpen(const OpenSession& request, OpenRefusal refusal, const absl::Status& status);
  void PassOn(const std::string& client_id);

  void ProposeOpen(const OpenSession& request, const Session* stored);
  void AnswerOpened(Claim& claim, const Outcome& outcome);
  bool AnswerRepeat(Claim& claim, const OpenSession& request);
  void RestoreStored(const Session& session);
  void Confirm(Claim& claim, const Claims::Held& held);
  void HoldReplays(Claim& claim, const Session& session);
  void DropPassedOver(Claim& claim);
  bool IsStranger(const ConnectionRef& connection) const;
  void Attach(Claim& claim);
  void ProposeClose(Claim& claim, const CloseSession& request);
  void Detach(Claim& claim);
  // kNone: there is room for it, now at least.
  OpenRefusal MakeRoomFor(const OpenSession& request, const Session* stored);

  ClaimSet claims_;
  std::vector<Claim*> slots_;                      // By slot; null: not connected.
  uint64_t last_unlogged_epoch_ = 0;               // Of this leader's.
  std::optional<absl::Duration> strangers_until_;  // Their sessions are closed then.
  // Client Identifiers that somebody may have who has not told yet: those that want them wait.
  std::set<std::string> unknown_;
  std::multimap<absl::Duration, std::string> held_;  // Who waits for them is let in then.
};

}  // namespace storage

#endif  // STORAGE_LEADER_SESSIONS_H_
