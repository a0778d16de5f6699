// The partitions of one node as one machine: no thread, no disk, no clock of its own.
#ifndef STORAGE_LEADER_HOST_H_
#define STORAGE_LEADER_HOST_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/rng.h"
#include "storage/core/command_log.h"
#include "storage/core/host_message.h"
#include "storage/core/log_entry.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "storage/core/partition_api.h"
#include "storage/core/replica.h"
#include "storage/core/state_store.h"
#include "storage/leader/admission.h"
#include "storage/leader/fed_routes.h"
#include "storage/leader/flushing.h"
#include "storage/leader/gauges.h"
#include "storage/leader/leader.h"
#include "storage/leader/log_ledger.h"
#include "storage/leader/node.h"
#include "storage/leader/publishing.h"
#include "storage/leader/read_barriers.h"
#include "storage/leader/retained_scans.h"
#include "storage/leader/routes.h"

namespace storage {

// Schedules: hands each request to the leader it is for, what the leaders have collected to the log
// in one submission, and what is committed to the replicas. Inputs: requests, what the log says,
// time. Outputs: groups for the log, events for shards. The host's thread drives it, and so do the
// tests, on a FakeClock and a disk that forgets:
//
//   host.OnRequest(shard, request);              as many as there are
//   if (auto group = host.TakeSubmission()) …    one at a time goes to the log
//   host.OnLog(event);                           what has become of it, and who leads what
//   host.Run();                                  applies what is committed, timers, deliveries
//   host.TakeEvents(slot)                        for each of shards()
//
// A group is what the leaders have collected when the log is free, at most one entry for each
// partition: while one is being written the next one grows, and that is the group commit. Each
// partition applies its part by itself. A partition whose entry has no fate for long, as when most
// of its replicas are gone, does not hold the others up: what it collects waits for it alone.
//
// What was handed to the log is never refused: it may be on the disk although a write failed. So
// while the log fails nobody hears what became of it. What was collected behind it is refused at
// once, as is what comes meanwhile; what only a connection's end or a client's acknowledgement says
// is collected, and waits.
//
// A host alone begins by closing what was connected when the last process died. In a cluster every
// leader begins as one that follows another: it asks the shards of all nodes who is connected, and
// closes what is of lives that are over.
//
// A partition is led here or elsewhere, as the log says. One that is led elsewhere applies what the
// log has and does nothing else, but that this node's shards hear of its routes: requests about it
// are not taken. One without a replica here is led elsewhere for good, and its leader tells of the
// routes. When one is led here (again) its new leader asks the shards who is connected, and
// they ask again what they do not know to be done.
//
// A partition whose part of the state cannot be read stands still, and is loaded again now and then
// until that works: what concerns it is refused, and the others go on. So it is with one whose log
// has an entry that this release cannot read, but for good: what is behind the entry stays in the
// log for whoever can. A state that cannot be written stops all of them, since they share it.
class Host {
 public:
  Host(const StorageOptions& options, ShardId shards, StateStore& store, HostMetrics& metrics,
       base::Rng& rng);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // ---- Start: Load, then Replay of what the log has above applied(), then Begin.
  absl::Status Load();
  absl::Status Replay(const LogEntry& entry);
  // Instead of Replay: all that a log of another kind had is applied. Writes it to the state store,
  // from which on each partition's log begins anew. Errors: the store's, or a partition has stopped
  // in front of something that is only in the former log.
  absl::Status BeginLogs();
  // When the log has said of every partition who leads it: closes what was connected when the last
  // process died, tells the shards all routes, and calls `ready` when they have them. Until begun()
  // OnRequest must not be called.
  void Begin(std::function<void()> ready);
  bool begun() const { return begun_; }
  // Before that: whose the `shards` are, and of which partitions there is a replica here.
  void SetSelf(NodeId node, Incarnation incarnation, PartitionMask held = ~PartitionMask{0}) {
    node_.shards.SetSelf(node, incarnation);
    node_.held = held;
    fed_.Begin();
  }

  // ---- In a cluster. Each node has a host, whose leaders serve the shards of all.
  // Who else lives, from now on. What a life had that is over is closed by whoever leads; who came
  // is asked what it holds.
  void SetNodes(const std::vector<LiveNode>& others);
  // The link with that node broke, and is there again: what was on its way is lost. All shards are
  // asked again what they hold of the partitions that are led here, and ask again what they want.
  void Resync(NodeId node);
  // From the host of another node, in that life of it. What goes the other way: Node::send.
  void OnHostMessage(NodeId from, Incarnation life, const HostMessage& message);

  // ---- Driving it.
  void SetTime(const HostTime& now) { node_.now = now; }
  // Of nobody who is known: it is dropped.
  void OnRequest(const ShardAddress& from, Addressed&& asked);

  // None: nothing to write, or not yet: as long as something of the last one may have its fate soon
  // there is one write for all. Of a partition of which something is under way there is nothing in
  // it.
  std::optional<Submission> TakeSubmission();
  void OnLog(LogEvent&& event);
  void Run();
  std::vector<Event> TakeEvents(ShardSlot shard) { return node_.TakeEvents(shard); }
  const ShardTable& shards() const { return node_.shards; }
  // When Run must be called if nothing else happens before. Monotonic.
  std::optional<absl::Duration> NextWake() const;

  // The partition gets a new leader, as if the former one was on another node and is gone. Shards
  // hear ClaimsWanted.
  void ReplaceLeader(PartitionId id);

  // ---- Storage that fails.
  // The state store failed by itself: what it was given before may not be on the disk.
  void OnStateError(const absl::Status& status);
  void SetDiskFree(uint64_t bytes);
  // Everything can be read and written, as far as this release knows what it means.
  bool healthy() const;

  // ---- The state in memory.
  void SetLogReader(Replica::LogReader reader) { read_log_ = std::move(reader); }
  // Has all that is applied by now written to the state store, a partition with each Run.
  void WantFlush() { flushing_.Want(); }
  bool FlushIsDone() const { return flushing_.done(); }
  // At once.
  absl::Status FlushAll() { return flushing_.All(); }

  // Nothing is collected, being written or waiting to be applied, but to a partition that cannot be
  // read.
  bool Drained() const;
  uint32_t partitions() const { return static_cast<uint32_t>(replicas_.size()); }
  const Partition& partition(PartitionId id) const { return replicas_[id]->partition(); }

  // ---- For who looks at the partitions from outside, and steers them: see session_view.h.
  Node& node() { return node_; }
  // A page, as RetainedScans says; `done` once what was published before is applied. Errors: those
  // of the store, or a cursor of another filter.
  void ReadRetained(std::string filter, std::string cursor, const RetainedScanOptions& options,
                    std::function<void(absl::StatusOr<RetainedScans::Page>)> done);
  // Forgets the retained messages of these topics; `done` when that is committed, or refused with
  // why.
  void RemoveRetained(const std::vector<std::string>& topics,
                      std::function<void(absl::Status)> done);

  uint64_t applied(PartitionId id) const { return partition(id).applied_index(); }
  // The last entry of it that the log has said to be committed: beyond applied(), if the replica
  // has stopped.
  uint64_t logged(PartitionId id) const { return log_.last(id); }
  bool leads(PartitionId id) const { return log_.leads(id); }
  // The latest time that anything applied bears.
  int64_t last_time_unix_ms() const;

 private:
  struct Group {
    std::vector<Proposal*> parts;  // Their leaders own them, and have not lent them to the log.
    bool sync = false;
    uint64_t will_bytes = 0;
  };
  // Of each partition's replica, when it is to be made again.
  struct Retry {
    absl::Duration at;
    absl::Duration tried_at = -absl::InfiniteDuration();
  };

  void Dispatch(ShardSlot from, Addressed& asked);
  Leader& LeaderFor(const Addressed& asked);
  void HandOn(ShardSlot from, Addressed& asked);
  void ServeNewLeaders();
  Group CloseGrowing();
  Group TakeGroup();
  void RefuseCollected();

  void OnRole(const RoleChange& change);
  void AskForClaims(PartitionId id);
  void HearFurther(ShardSlot from, Claims& claims);
  void AskAllForClaims();
  void ForgetShards(ShardSlot first, ShardId shards);
  void BeginAmongOthers();
  void Follow(PartitionId id);
  void BeginIfAllIsKnown();

  void ApplyCommitted();
  void Apply(PartitionId id);
  absl::Status ApplyNext(PartitionId id, const Committed& next, const Proposal* own);
  void ReplicaFailed(PartitionId id, const absl::Status& status);
  void ReloadFailed();
  void RetryState();
  absl::Status RepairState();

  void RunLeaders();
  void RunDeadlines();
  void TellStorageState();

  const StorageOptions options_;
  StateStore& store_;
  HostMetrics& metrics_;
  Node node_;
  Publishing publishing_;
  RetainedScans scans_;
  Routes routes_;
  FedRoutes fed_;
  Admission admission_;
  ReadBarriers barriers_;
  std::vector<std::unique_ptr<Replica>> replicas_;  // By partition; their leaders are the node's.
  Replica::LogReader read_log_;
  std::function<void()> ready_;
  bool beginning_ = true;  // Not all is known of who leads.
  // What others have acknowledged before this node came: asked for, and applied.
  bool catches_up_ = false;
  bool caught_up_ = false;
  bool begun_ = false;
  bool all_told_ = false;  // The shards know all routes that there were.
  // And those that others count on: clients are let in, and new leaders serve.
  bool serves_ = false;
  absl::Duration serves_by_ = absl::InfiniteDuration();  // Else others lead for it.
  bool resync_ = false;                                  // Something of a shard was lost.
  // By partition.
  std::vector<uint64_t> terms_;           // In which this node has led it last.
  std::vector<absl::Duration> heard_by_;  // Until then a new leader waits for all shards.
  size_t first_ = 0;                      // The leader whose turn comes first.

  LogLedger log_;
  std::deque<Group> full_;  // Before what grows. How many: who asks waits for answers.
  // By partition, before those: something of it is under way, and the others went on.
  std::vector<std::deque<Proposal*>> held_;
  absl::Duration submitted_at_ = -absl::InfiniteDuration();
  uint64_t flying_will_bytes_ = 0;  // Of what was handed to the log and has no fate yet.

  absl::Duration stalled_since_;
  std::vector<Retry> retries_;
  absl::Status told_status_;                                // What the shards were told last.
  PartitionMask unfit_told_ = 0;                            // What the log was told last.
  absl::Duration retry_at_;                                 // The state, when it is stalled.
  absl::Duration repaired_at_ = -absl::InfiniteDuration();  // The last try, of the state.

  Flushing flushing_;
  Gauges gauges_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_HOST_H_
