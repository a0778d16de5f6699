// What the leader of one partition decides: no thread, no disk, no clock of its own.
#ifndef STORAGE_LEADER_LEADER_H_
#define STORAGE_LEADER_LEADER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "storage/core/command_codec.h"
#include "storage/core/effects.h"
#include "storage/core/partition.h"
#include "storage/core/partition_api.h"
#include "storage/core/replica.h"
#include "storage/core/retained.h"
#include "storage/leader/claim.h"
#include "storage/leader/deadlines.h"
#include "storage/leader/node.h"
#include "storage/leader/proposal.h"
#include "storage/leader/queue_room.h"
#include "storage/leader/retained_pending.h"
#include "storage/leader/session_census.h"

namespace storage {

// One for each partition, owned by the host, used on its thread. It answers what is asked of its
// partition: who owns a Client Identifier, what goes to whom and how much of it, what is due. What
// it decides becomes commands; what follows from them happens once they are applied to its replica.
//
// Nothing of it survives a crash, and nothing has to: Begin makes what it needs from the replica.
//
// Each file tells one story: what is asked (Handle), what an entry did (On), and what follows when
// it is applied (Finish) or can never be (Refuse).
class Leader {
 public:
  Leader(Replica& replica, Node& node);

  PartitionId id() const { return id_; }
  const Partition& partition() const { return std::as_const(replica_).partition(); }
  Replica& replica() { return replica_; }

  // ---- Start: closes what was connected when the last process died.
  void Begin(const pb::Limits& limits);
  // The shards know all routes: what waited for that.
  void Serve();

  // ---- Requests about one of its sessions.
  void Handle(ShardId from, OpenSession& request);
  void Handle(ShardId from, CloseSession& request);
  void Handle(ShardId from, Subscribe& request);
  void Handle(ShardId from, Unsubscribe& request);
  void Handle(ShardId from, Acknowledge& request);
  void Handle(ShardId from, ReleaseInbound& request);
  void Handle(ShardId from, ReplayTaken& request);
  void Handle(ShardId from, OrphanStays& request);

  // ---- The life of a proposal (leader.cc): it grows, is closed, handed to the log, committed,
  // applied, and only then what follows it happens.
  pb::Command& Propose(mqtt::MessagePtr message = {}, CommandPlace* place = nullptr);
  // The same for who writes the command by hand, with the stamp it needs.
  std::string& ProposeTo(mqtt::MessagePtr message, CommandStamp& stamp,
                         CommandPlace* place = nullptr);
  void Then(Step step) { growing_->Then(std::move(step)); }  // Of what was just proposed.
  void After(Step step);  // Once everything proposed so far is applied; now, if nothing is.
  bool idle() const { return pending_.empty(); }
  bool owes_wills() const { return !postponed_wills_.empty(); }
  size_t steps_pending() const;
  size_t growing_commands() const { return growing_ == nullptr ? 0 : growing_->commands(); }
  size_t growing_bytes() const { return growing_ == nullptr ? 0 : growing_->bytes(); }
  // What grows does not any more. It stays here until it is applied.
  Proposal& CloseGrowing();
  // Nobody has handed it to the log, and the log fails: whoever waits for an answer gets it. What
  // cannot be refused stays, and is all that the proposal is.
  void RefuseCollected(Proposal& proposal, const absl::Status& why);
  void RefuseGrowing(const absl::Status& why) {
    if (growing_ != nullptr) RefuseCollected(*growing_, why);
  }
  // The proposal that is to be applied next; null: it is not committed.
  Proposal* NextCommitted();
  Effects& effects() { return effects_; }  // Of that one, if it is applied.
  void OnApplied();
  // The replica was made again.
  void OnReloaded();

  // ---- A round of the host.
  void RunTimers();
  // When the next session may end, or will fire; and has that happen.
  std::optional<int64_t> NextDeadline() const { return deadlines_.next(); }
  void RunDeadline();
  void Pump();
  std::optional<absl::Duration> NextWake() const;
  // It has work for which there is no room now: the end of a write wakes.
  std::optional<absl::Duration> NextTimer() const;

  // ---- For messages, which concern several partitions (publishing.cc).
  absl::Status Refusal(bool stores) const;
  Claim* OwnerOf(std::string_view client_id, uint64_t epoch);
  // True: the identifier is known, and what it came with. It is answered, or will be.
  bool AnswerRepeat(ShardId from, Token token, const Qos2Origin& origin);
  void Remember(const Qos2Origin& origin);
  // Whether a session may have subscribed to something.
  bool may_have_routes() const { return subscribed_ || filters_ != 0; }

  bool HasRoom(const Session& session, uint64_t size) const;
  // Whether all that is on its way, and one more, fits into any queue.
  bool IsCalm(uint64_t size) const;
  void Promise(const QueueReservation& reservation) { queue_room_.Add(reservation); }
  void TakeBack(const QueueReservation& reservation) { queue_room_.Remove(reservation); }
  void Keep(const QueueReservation& reservation) { growing_->Reserves(reservation); }
  void TellWithoutRoom(ShardId shard, const Session& session);

  struct RetainedRoom {
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };
  // Without what has expired and is on its way out.
  RetainedRoom RetainedNow() const;
  const RetainedPending& retained_pending() const { return retained_pending_; }
  void SetRetained(RetainedSet set);  // The last command does that.
  // Drops a page of retained messages that have expired. Whether there were any.
  bool SweepRetained();

  // Asks a shard who is to have it: TakeOffered, or OrphanStays.
  void Offer(uint64_t orphan, ShardId shard, RouteMessage route);
  void ForgetOrphan(uint64_t orphan);  // With what is proposed now.
  bool TakeOffered(uint64_t orphan);
  void ReturnOrphan(uint64_t orphan);
  void KeepOrphan();  // It stays where it is, for a while.
  void OfferSoon();   // A member has room again.

  // ---- For the node's census.
  void EndAway(SessionSlot slot);
  bool IsAway(SessionSlot slot, uint64_t epoch) const;
  void NoteAway(const Session& session);
  void CountOpening();

  // ---- For routes.
  const Claim* ClaimOf(std::string_view client_id) const;
  void AddRoutes(uint64_t filters) { filters_ += filters; }
  void StartReplays(const std::string& client_id, uint64_t epoch);

 private:
  Proposal& Grow();
  void NeedSync() { node_.growing.needs_sync = true; }
  void Hurry() { node_.growing.urgent = true; }
  void RunEffects();
  const Outcome& OutcomeAt(CommandPlace place) const { return effects_.outcomes[place]; }
  void Finish(Step& step);

  // claims.cc
  Claim* FindClaim(std::string_view client_id);
  bool BelongsToAnother(const OpenSession& request, const Claim* claim,
                        const Session* stored) const;
  uint32_t OwnerHash(std::string_view user_name) const;
  void RefuseOtherUser(const OpenSession& request);
  void Evict(Claim& claim, OpenSession request);
  void Await(Claim& claim, OpenSession request);
  bool StopAwaiting(Claim& claim, const ConnectionRef& connection);
  void Grant(OpenSession request);
  void GrantUnlogged(const OpenSession& request);
  void RefuseOpen(const OpenSession& request, OpenRefusal refusal, const absl::Status& status);
  void Forget(const std::string& client_id);
  void PassOn(const std::string& client_id);
  void PassOnHeld();

  // sessions.cc
  void ProposeOpen(const OpenSession& request, const Session* stored);
  void Finish(FinishOpen& step);
  void Refuse(FinishOpen& step, const absl::Status& why);
  void AnswerOpened(Claim& claim, const Outcome& outcome);
  void Attach(Claim& claim);
  void ProposeClose(Claim& claim, const CloseSession& request);
  void Detach(Claim& claim);
  void Finish(FinishClose& step);
  void On(SessionEnded& effect);
  // kNone: there is room for it, now at least.
  OpenRefusal MakeRoomFor(const OpenSession& request, const Session* stored);

  // timers.cc
  void On(TimersSet& effect);
  void ArmDeadlines(const Session& session);
  bool Holds(const Deadline& deadline) const;
  void OnDeadline(const Deadline& deadline);
  void Finish(FinishTimer& step);
  void ProposeWill(const Session& session);
  void Finish(AnnounceWill& step);
  void On(WillFired& effect);
  void PublishPostponedWills();

  // subscriptions.cc
  void Finish(AnswerSubscribe& step);
  void Refuse(AnswerSubscribe& step, const absl::Status& why);
  void Finish(AnswerUnsubscribe& step);
  void Refuse(AnswerUnsubscribe& step, const absl::Status& why);
  void On(RouteChanged& effect);
  void On(ShareMemberChanged& effect);

  // inbound.cc: a publisher's part of a PUBLISH, and of its PUBREL.
  void Finish(AnswerPublish& step);
  void Refuse(AnswerPublish& step, const absl::Status& why);
  void Finish(AnswerRelease& step);
  void Refuse(AnswerRelease& step, const absl::Status& why);

  // delivery.cc
  Claim* AtSlot(SessionSlot slot);
  void On(Enqueued& effect);
  Deliver& DeliverFor(Claim& claim);
  void Push(Claim& claim, Delivery delivery);
  void ListForPump(Claim& claim);
  bool PumpOne(Claim& claim);
  bool PumpPage(Claim& claim);
  bool SendPage(Claim& claim, QueuePage& page, uint64_t head);
  void On(Acknowledged& effect);
  void On(Released& effect);
  void On(QueueCrowded& effect);
  void On(QueueOverflowed& effect);
  void LookForRoom(SessionSlot slot);
  void HasRoomAgain(const std::string& client_id);

  // replays.cc
  void On(ReplayPending& effect);
  void ReplayPage(Claim& claim);
  mqtt::MessagePtr ToReplay(const mqtt::MessagePtr& message) const;
  void SendReplayed(Claim& claim, const SubscriptionRecord& subscription, mqtt::MessagePtr message);
  void Finish(FinishReplay& step);

  // expiry.cc
  void StartExpiry();
  void RunExpiry();
  std::optional<absl::Duration> NextExpiry() const;
  void Finish(FinishRetainedSweep& step);
  void NoteRetained(const RetainedSet& set);
  void On(QueueExpires& effect);
  void ArmQueue(const std::string& client_id, int64_t at_unix_ms);
  bool IsArmed(const Deadline& deadline) const;
  void SweepQueues();
  size_t SweepQueue();
  void DropFromQueue(const Session& session, Claim* claim, const std::vector<uint64_t>& sequences);
  void Finish(FinishQueueSweep& step);

  // orphans.cc
  void StartOrphans();
  void On(Orphaned& effect);
  void PassOnOrphans();
  void PassOnOrphan(const Orphaned& orphan);
  void Finish(FinishOrphan& step);
  void OfferAgain();

  const PartitionId id_;
  Replica& replica_;
  Node& node_;

  std::deque<std::unique_ptr<Proposal>> pending_;  // In the order in which they are applied.
  Proposal* growing_ = nullptr;                    // The last of them, if it does.
  std::vector<std::unique_ptr<Proposal>> spare_;
  Effects effects_;

  Claims claims_;
  std::vector<Claim*> slots_;  // By slot; null: not connected.
  uint64_t last_unlogged_epoch_ = 0;
  std::multimap<absl::Duration, std::string> held_;  // Who waits for them is let in then.
  Deadlines deadlines_;
  std::deque<mqtt::MessagePtr> postponed_wills_;  // Of which nobody was told.

  uint64_t filters_ = 0;     // Routes to this partition.
  bool subscribed_ = false;  // They may be more: somebody has subscribed.

  // Not applied yet, with the proposal in which they are remembered.
  absl::flat_hash_map<std::pair<std::string, uint16_t>, Proposal*> inbound_pending_;
  RetainedPending retained_pending_;
  QueueRoom queue_room_;
  absl::flat_hash_set<std::string> without_room_;  // Clients that a shard was told so of.

  std::deque<std::string> pump_list_;                         // Client Identifiers.
  absl::Duration read_again_at_ = -absl::InfiniteDuration();  // After an error.

  // Retained messages that have expired.
  struct RetainedSweep {
    int64_t next_unix_ms = 0;  // When to look for more.
    std::string through;       // The index was read up to here, and all of it is on its way out:
    uint32_t pages = 0;        // in so many commands that are not applied.
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };
  RetainedSweep retained_sweep_;
  // When queues are to be looked at for what has expired, by client identifier and by time; and
  // how far the one is that is being read.
  absl::flat_hash_map<std::string, int64_t> queue_armed_;
  Deadlines queue_deadlines_;
  struct QueueSweep {
    std::string client_id;  // Empty: none.
    uint64_t from = 0;
    int64_t next_unix_ms = kNeverExpires;
  };
  QueueSweep queue_sweep_;

  struct OrphanScan {
    uint64_t passed = 0;     // Those up to here have been passed on, or kept.
    bool wanted = false;     // There are more.
    bool keeps = false;      // Some of those passed wait for the next try.
    uint64_t recovered = 0;  // Those up to here were there at the start.
  };
  OrphanScan orphan_scan_;
  // At a shard, which is to answer; with their filters. No more are offered than may be.
  absl::flat_hash_map<uint64_t, std::string> orphans_offered_;
  absl::flat_hash_set<uint64_t> orphans_moving_;     // In a proposal that is not applied.
  absl::flat_hash_set<std::string> groups_without_;  // Members, as a shard said since the last try.
  std::optional<absl::Duration> orphans_again_at_;   // Monotonic.
  absl::Duration orphan_patience_ends_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_LEADER_H_
