// What the partition host decides: no thread, no disk, no clock of its own.
#ifndef STORAGE_LEADER_HOST_CORE_H_
#define STORAGE_LEADER_HOST_CORE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "base/rng.h"
#include "storage/core/command_codec.h"
#include "storage/core/effects.h"
#include "storage/core/log_entry.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "storage/core/partition.h"
#include "storage/core/partition_api.h"
#include "storage/core/retained.h"
#include "storage/core/session_queue.h"
#include "storage/core/state_store.h"
#include "storage/leader/claim.h"
#include "storage/leader/commit_group.h"
#include "storage/leader/deadlines.h"
#include "storage/leader/identifier_fights.h"
#include "storage/leader/queue_room.h"
#include "storage/leader/retained_pending.h"
#include "storage/leader/route_ledger.h"
#include "storage/leader/session_census.h"
#include "storage/leader/share_members.h"

namespace mqttd::storage::v1 {
class EnqueueRetainedPage;
}  // namespace mqttd::storage::v1

namespace storage {

// Inputs: requests, what became of writes, time. Outputs: groups for the log, events for shards.
// The host's thread drives it, and so do the tests, on a FakeClock and a disk that forgets:
//
//   core.OnRequest(shard, request);          as many as there are
//   if (auto write = core.TakeWrite()) …     one at a time goes to the log
//   core.OnWritten(status);                  what became of it
//   core.Run();                              applies what is committed, timers, deliveries
//   core.TakeEvents(shard)
//
// Order of a group's life: collected (growing_, then full_ if it is as large as one may be), being
// written (flying_), committed (committed_), applied, and only then answered. While one is being
// written the next one grows: that is the group commit.
//
// Nothing that was collected is ever refused. A write that failed may be on the disk all the same,
// and come back after a crash: so when the log is repaired the same entries are written again under
// the same indexes, and until then nobody hears what became of them. New requests are refused
// meanwhile, at once and before anything is collected of them; what only a connection's end or a
// client's acknowledgement says is collected, and waits.
class HostCore {
 public:
  HostCore(const StorageOptions& options, ShardId shards, StateStore& store, HostMetrics& metrics,
           base::Rng& rng);
  ~HostCore();
  HostCore(const HostCore&) = delete;
  HostCore& operator=(const HostCore&) = delete;

  // ---- Start: Load, then Replay of what the log has above applied(), then Begin.
  absl::Status Load();
  absl::Status Replay(const LogEntry& entry);
  // Closes what was connected when the last process died, tells the shards all routes, and calls
  // `ready` when they have them. Until the first is committed, OnRequest must not be called.
  void Begin(std::function<void()> ready);
  bool begun() const { return begun_; }

  // ---- Driving it.
  void SetTime(const HostTime& now) { now_ = now; }
  void OnRequest(ShardId from, Request request);

  // The entries hold until Run is called after OnWritten.
  struct Write {
    std::vector<LogEntry> entries;
    bool sync = false;
  };
  // None: nothing to write, or not yet, or the last one is not done. After a write that failed, and
  // the repair, the same once more.
  std::optional<Write> TakeWrite();
  void OnWritten(const absl::Status& status);
  void Run();
  std::vector<Event> TakeEvents(ShardId shard);
  // When Run must be called if nothing else happens before. Monotonic.
  std::optional<absl::Duration> NextWake() const;

  // ---- Storage that fails.
  // The log is to be repaired, and no write is under way. `OnRepair` says how it went.
  bool WantsRepair() const;
  void OnRepair(const absl::Status& status);
  // A sync of the log's own accord failed.
  void OnLogError(const absl::Status& status);
  // The state store failed by itself: what it was given before may not be on the disk.
  void OnStateError(const absl::Status& status);
  void SetDiskFree(uint64_t bytes);
  bool healthy() const { return log_status_.ok() && state_status_.ok(); }

  // ---- The state in memory.
  // Entries of a partition above an index that the log has, in order; how to get at them again.
  using LogReader =
      std::function<absl::Status(PartitionId partition, uint64_t after,
                                 const std::function<absl::Status(const LogEntry&)>& visit)>;
  void SetLogReader(LogReader reader) { read_log_ = std::move(reader); }
  // What the access rules say of somebody's will at the moment at which it is due. Without: yes.
  using MayPublish = std::function<bool(const WillAuthor& author, std::string_view topic)>;
  void SetMayPublish(MayPublish may_publish) { may_publish_ = std::move(may_publish); }
  // Has all that is applied by now written to the state store, a partition with each Run.
  void WantFlush();
  bool FlushIsDone() const { return flush_wanted_ == 0; }
  // At once.
  absl::Status FlushAll();

  // Nothing is collected, being written or waiting to be applied.
  bool Drained() const { return NothingPending() && scans_.empty(); }
  uint32_t partitions() const { return static_cast<uint32_t>(partitions_.size()); }
  const Partition& partition(PartitionId id) const { return *partitions_[id]; }
  uint64_t applied(PartitionId id) const { return partitions_[id]->applied_index(); }
  // The latest time that anything applied bears.
  int64_t last_time_unix_ms() const;

 private:
  using GroupPtr = std::unique_ptr<CommitGroup>;
  // What waits for the shards to know all routes.
  struct ConfirmedAnswer {
    ShardId shard = 0;
    std::optional<Event> event;
    StartReplays replays;        // Of nobody, if there is no client_id.
    std::function<void()> call;  // Of Begin.
  };

  // host_core.cc: the life of a group.
  GroupPtr NewGroup();
  void Recycle(GroupPtr group);
  pb::Command& Propose(PartitionId partition, mqtt::MessagePtr message = {},
                       CommandPlace* place = nullptr);
  // The same for who writes the command by hand, with the stamp it needs.
  std::string& ProposeTo(PartitionId partition, mqtt::MessagePtr message, CommandStamp& stamp);
  bool RoomForBackground() const;
  void After(Step step);  // Once everything proposed so far is applied; now, if nothing is.
  bool NothingPending() const {
    return growing_->empty() && full_.empty() && flying_ == nullptr && committed_.empty();
  }
  bool IsFull(const CommitGroup& group) const;
  bool NextGroup();
  void ApplyCommitted();
  absl::Status ApplyGroup(CommitGroup& group);
  void FinishGroup(CommitGroup& group);
  void RunEffects(PartitionId partition, Effects& effects);
  const Outcome& OutcomeAt(CommandPlace place) const;

  // The state in memory, and storage that fails.
  absl::Status ApplyLogged(Partition& partition, const LogEntry& entry);
  absl::Status ReloadPartition(PartitionId id);
  absl::Status FlushPartition(PartitionId id);
  absl::Status BoundPending();
  absl::Status FlushSome();
  size_t UnflushedBytes() const;
  void ApplyFailed(const absl::Status& status);
  void RetryState();
  absl::Status RepairState();
  void TellStorageState();
  void NoteDamage(const absl::Status& status);
  absl::Status Refusal(bool stores) const;

  void Send(ShardId shard, Event event) { outbox_[shard].push_back(std::move(event)); }
  void SendToAll(const Event& event);
  void CountGauges();
  void CountSessions();
  PartitionId PartitionOf(std::string_view client_id) const;

  // Each file tells one story: what is asked (Handle), what an entry did (On), and what follows its
  // commit (Finish).

  // claims.cc
  Claim* FindClaim(std::string_view client_id);
  Claim* OwnerOf(std::string_view client_id, uint64_t epoch);
  void Handle(ShardId from, OpenSession& request);
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
  void AnswerOpened(Claim& claim, const Outcome& outcome);
  void Handle(ShardId from, CloseSession& request);
  void ProposeClose(Claim& claim, const CloseSession& request);
  void DetachWindow(Claim& claim);
  void Finish(FinishClose& step);
  void On(PartitionId partition, SessionEnded& effect);
  uint64_t StoredSessions() const;
  // kNone: there is room for it, now at least.
  OpenRefusal MakeRoomFor(const OpenSession& request, const Session* stored);
  // False: none may give way.
  bool EndOldestAway(SessionCensus::Holds holds);
  bool StillAway(const SessionCensus::Away& away) const;
  void NoteAway(PartitionId partition, const Session& session);
  void RecountSessions();

  // timers.cc
  void On(PartitionId partition, TimersSet& effect);
  void ArmDeadlines(const Session& session);
  bool Holds(const Deadline& deadline) const;
  void RunDeadlines();
  void OnDeadline(const Deadline& deadline);
  void Finish(FinishTimer& step);
  void ProposeWill(const Session& session);
  void EnqueueWill(const mqtt::MessagePtr& message);
  void Finish(AnnounceWill& step);
  void On(PartitionId partition, WillFired& effect);
  void PublishPostponedWills();
  void Finish(FinishWill& step);
  void TellOfWill(mqtt::MessagePtr message, OrphanRef orphan);

  // subscriptions.cc
  void Handle(ShardId from, Subscribe& request);
  void Finish(AnswerSubscribe& step);
  void Handle(ShardId from, Unsubscribe& request);
  void Finish(AnswerUnsubscribe& step);
  void On(PartitionId partition, RouteChanged& effect);
  void SendRoute(bool add, PartitionId partition, const std::string& filter);
  void On(PartitionId partition, ShareMemberChanged& effect);
  void SendShareMember(const ShareMemberChanged& change, PartitionId partition);
  void Handle(ShardId from, ConfirmRoutes& request);
  void ReleaseConfirmed();
  void Finish(FinishStart& step);
  void AnnounceStored();
  void AnnouncePart();

  // publishing.cc
  void Handle(ShardId from, Publish& request);
  absl::Status Check(const Publish& request, AnswerPublish& answer);
  void AnswerRefused(Step step);
  bool IsRepeat(const Qos2Origin& origin) const;
  std::optional<CommandPlace> ProposeEnqueues(const Publish& request);
  void ProposeEnqueue(const Publish& request, PartitionId partition, bool match);
  void Finish(AnswerPublish& step);
  absl::Status CheckRetainedRoom(const mqtt::Message& message);
  void Handle(ShardId from, ReleaseInbound& request);
  void Finish(AnswerRelease& step);

  // queue_bounds.cc
  bool HasRoom(PartitionId partition, const Session& session, uint64_t size) const;
  void Reserve(const QueueReservation& reservation);
  absl::Status ReserveQueueRoom(const Publish& request);
  bool IsCalm(PartitionId id, uint64_t size) const;
  absl::Status RefuseForQueue(const Publish& request, const Session& full);
  const ShareMembers::Member* ChooseWithRoom(const std::string& share_filter,
                                             const mqtt::Message& message);
  enum class Settled : uint8_t { kGoesOn, kStays, kRefused };
  Settled SettleTargets(ShardId from, Publish& request);
  static SharedTarget TargetOf(const ShareMembers::Member& member);
  void TellWithoutRoom(ShardId shard, const Session& session);
  void LookForRoom(PartitionId partition, SessionSlot slot);
  void HasRoomAgain(const std::string& client_id);

  // delivery.cc
  Claim* AtSlot(PartitionId partition, SessionSlot slot);
  void On(PartitionId partition, Enqueued& effect);
  Deliver& DeliverFor(Claim& claim);
  void Push(Claim& claim, Delivery delivery);
  void ListForPump(Claim& claim);
  void Pump();
  bool PumpOne(Claim& claim);
  bool PumpPage(Claim& claim);
  bool SendPage(Claim& claim, QueuePage& page, uint64_t head);
  void Handle(ShardId from, Acknowledge& request);
  void On(PartitionId partition, Acknowledged& effect);
  void On(PartitionId partition, Released& effect);
  void On(PartitionId partition, QueueCrowded& effect);
  void On(PartitionId partition, QueueOverflowed& effect);

  // replays.cc
  void On(PartitionId partition, ReplayPending& effect);
  void Finish(StartReplays& step);
  void ReplayPage(Claim& claim);
  mqtt::MessagePtr ToReplay(const Claim& claim, const mqtt::MessagePtr& message) const;
  void SendReplayed(Claim& claim, const SubscriptionRecord& subscription, mqtt::MessagePtr message);
  void Handle(ShardId from, ReplayTaken& request);
  void Finish(FinishReplay& step);

  // retained_scans.cc
  void Handle(ShardId from, ScanRetained& request);
  void Finish(RunScan& step);
  void RunScans();
  struct ScanPage {
    std::vector<mqtt::MessagePtr> messages;
    std::string cursor;
  };
  absl::StatusOr<ScanPage> Scan(std::string_view filter, std::string_view cursor,
                                const RetainedScanOptions& options);

  // expiry.cc
  void StartExpiry();
  void RunExpiry();
  std::optional<absl::Duration> NextExpiry() const;
  bool SweepRetained(PartitionId id);
  bool SweepAnyRetained();
  void Finish(FinishRetainedSweep& step);
  void NoteRetained(const RetainedSet& set);
  struct RetainedRoom {
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };
  RetainedRoom RetainedNow(PartitionId id) const;
  void On(PartitionId partition, QueueExpires& effect);
  void ArmQueue(const std::string& client_id, int64_t at_unix_ms);
  bool IsArmed(const Deadline& deadline) const;
  void SweepQueues();
  size_t SweepQueue();
  void DropFromQueue(const Session& session, Claim* claim, const std::vector<uint64_t>& sequences);
  void Finish(FinishQueueSweep& step);

  // orphans.cc
  void StartOrphans();
  void On(PartitionId partition, Orphaned& effect);
  void PassOnOrphans();
  void PassOnOrphan(PartitionId partition, const Orphaned& orphan);
  void OfferOrphan(OrphanRef ref, ShardId shard, RouteMessage route);
  void ForgetOrphan(OrphanRef ref);
  void Finish(FinishOrphan& step);
  bool TakeOffered(OrphanRef ref);
  void ReturnOrphan(OrphanRef ref);
  void Handle(ShardId from, OrphanStays& request);
  void KeepOrphan(OrphanRef ref);
  void OfferAgain();

  const StorageOptions options_;
  const ShardId shards_;
  StateStore& store_;
  HostMetrics& metrics_;
  HostTime now_;
  MayPublish may_publish_;
  const uint64_t owner_key_;  // Random: nobody can choose a user name with another one's hash.
  bool begun_ = false;
  bool shutting_down_ = false;

  std::vector<std::unique_ptr<Partition>> partitions_;
  std::vector<uint64_t> last_index_;        // Of entries handed to the log, by partition.
  std::vector<uint64_t> filters_;           // Routes, by partition.
  PartitionMask subscribed_ = 0;            // Where they may be more: somebody has subscribed.
  std::vector<std::vector<Claim*>> slots_;  // By partition and slot; null: not connected.
  std::vector<Effects> effects_;            // Of the group being finished, by partition.
  uint64_t last_order_ = 0;
  uint64_t last_unlogged_epoch_ = 0;

  GroupPtr growing_;
  std::deque<GroupPtr> full_;  // Before it. How many: who asks waits for answers.
  GroupPtr flying_;            // Handed to the log, and not known to be there.
  bool writing_ = false;       // It is there now. Else it failed and waits for the repair.
  std::deque<GroupPtr> committed_;
  std::vector<GroupPtr> spare_groups_;
  absl::Duration growing_since_;  // When its first command came.
  bool applying_failed_ = false;  // What is committed waits for the state to work again.
  PartitionMask reload_ = 0;      // What they have in memory is not what the state is to have.
  PartitionMask flush_wanted_ = 0;
  LogReader read_log_;

  Claims claims_;
  absl::flat_hash_set<std::pair<std::string, uint16_t>> inbound_pending_;  // Not applied yet.
  RetainedPending retained_pending_;
  QueueRoom queue_room_;
  absl::flat_hash_set<std::string> without_room_;  // Clients that a shard was told so of.
  IdentifierFights fights_;
  std::multimap<absl::Duration, std::string> held_;  // Who waits for them is let in then.
  Deadlines deadlines_;
  // Retained messages that have expired, by partition.
  struct RetainedSweep {
    int64_t next_unix_ms = 0;  // When to look for more.
    std::string through;       // The index was read up to here, and all of it is on its way out:
    uint32_t pages = 0;        // in so many commands that are not applied.
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };
  std::vector<RetainedSweep> retained_sweeps_;
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
  absl::Duration queue_sweep_again_at_ = -absl::InfiniteDuration();
  ShareMembers share_members_;
  SessionCensus census_;
  uint64_t opening_new_ = 0;  // Sessions that are being made.
  uint64_t giving_way_ = 0;   // Sessions whose end to make room is being committed.
  RouteLedger<ConfirmedAnswer> routes_;
  // What was stored at the start, as far as the shards do not know it yet.
  struct Announcement {
    PartitionId partition = 0;
    Partition::SubscriptionPlace place;
    uint64_t next_after = 0;  // The next part leaves when this number is confirmed,
    uint64_t sent = 0;        // and the one behind it when this one is.
  };
  std::optional<Announcement> announcement_;
  std::deque<std::string> pump_list_;  // Client Identifiers.
  std::deque<RunScan> scans_;  // One per shard's request; a shard asks for a page at a time.
  size_t work_left_ = 0;       // Of this round, for reading: messages and seeks.
  absl::Duration pump_again_at_ = -absl::InfiniteDuration();  // After an error.
  std::vector<std::vector<Event>> outbox_;
  uint64_t outbox_round_ = 1;
  ShardId announce_shard_ = 0;
  std::function<void()> ready_;

  absl::Status told_status_;  // What the shards were told last.
  absl::Status log_status_;
  absl::Status state_status_;
  bool disk_low_ = false;
  bool damage_told_ = false;
  absl::Duration repair_at_;  // The log, when `log_status_` is an error.
  absl::Duration retry_at_;   // The state, when `applying_failed_`.
  absl::Duration repaired_at_ = -absl::InfiniteDuration();  // The last try, of the state.
  // What sessions hold together, by partition, as it was counted last.
  struct Counts {
    int64_t messages = 0;
    int64_t bytes = 0;
    int64_t subscriptions = 0;
    int64_t wills = 0;
  };
  std::vector<Counts> counts_;
  size_t count_next_ = 0;
  size_t counts_due_ = 0;  // Partitions to count until all is as new as the last commit.
  absl::Duration count_at_ = -absl::InfiniteDuration();
  struct OrphanScan {
    uint64_t passed = 0;     // Those up to here have been passed on, or kept.
    bool wanted = false;     // There are more.
    bool keeps = false;      // Some of those passed wait for the next try.
    uint64_t recovered = 0;  // Those up to here were there at the start.
  };
  std::vector<OrphanScan> orphan_scans_;  // By partition.
  // At a shard, which is to answer; with their filters. No more are offered than may be.
  absl::flat_hash_map<OrphanRef, std::string> orphans_offered_;
  absl::flat_hash_set<OrphanRef> orphans_moving_;    // In a group that is not applied.
  absl::flat_hash_set<std::string> groups_without_;  // Members, as a shard said since the last try.
  std::optional<absl::Duration> orphans_again_at_;   // Monotonic.
  absl::Duration orphan_patience_ends_;
  std::vector<mqtt::MessagePtr> postponed_wills_;  // Of which nobody was told.
};

}  // namespace storage

#endif  // STORAGE_LEADER_HOST_CORE_H_
