// One partition on this node: its state machine, and the way to the store and back.
#ifndef STORAGE_CORE_REPLICA_H_
#define STORAGE_CORE_REPLICA_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "mqtt/message.h"
#include "storage/core/effects.h"
#include "storage/core/log_entry.h"
#include "storage/core/partition.h"
#include "storage/core/state_store.h"

namespace storage {

// Knows nothing of clients: it applies what the log has, whoever proposed it. Used on the host's
// thread; what it has in memory only is in the log.
//
// When its part of the store cannot be read, this replica stands still with the error in status(),
// and no other one does: it is made again with Reload, from the store and from the log. When an
// entry of the log cannot be read it stands still in front of that, for good: only another release
// goes on from there, with all that the store and the log have. (So too if the store is of an apply
// level that this release does not know.)
class Replica {
 public:
  // Entries of a partition above an index that the log has, in order; how to get at them again.
  using LogReader =
      std::function<absl::Status(PartitionId partition, uint64_t after,
                                 const std::function<absl::Status(const LogEntry&)>& visit)>;

  // `store` is shared by the replicas of a node: each writes its batch before another goes on.
  // Reload keeps no more than `pending_bytes_max` in memory that the store has not.
  Replica(PartitionId id, StateStore& store, uint64_t pending_bytes_max,
          absl::Span<const ApplyRules> rules = kApplyRules);

  PartitionId id() const { return id_; }
  Partition& partition() { return *partition_; }
  const Partition& partition() const { return *partition_; }

  // At the start: what the store has, then, one by one, what the log has beyond it.
  absl::Status Load();
  // Nothing, if it has stopped: what follows is for whoever can read the entry before.
  absl::Status Replay(const LogEntry& entry);

  // The log that follows begins anew behind what is applied, which is written to the store with
  // that. An error if the replica has stopped.
  absl::Status BeginLog();

  // Into memory and the store's batch, which is the caller's to write before anything else is
  // applied. On an error nothing has changed but status().
  absl::Status Apply(const LogEntry& entry, absl::Span<const mqtt::MessagePtr> messages,
                     Effects& effects);

  // Not OK: Reload is needed before anything else, unless it has stopped.
  const absl::Status& status() const { return status_; }
  // It goes no further with this release; status() says why, and what to do. What is in memory is
  // what the entry made of it so far, and is never written.
  bool stopped() const { return stopped_; }
  // The store has lost what it was given: what is in memory does not follow from it any more.
  void Lose(const absl::Status& why) {
    if (!stopped_) status_ = why;
  }
  // To where it was after the last entry that it could apply. Sessions keep their slots.
  absl::Status Reload(const LogReader& read_log);

  // What is applied and not in the store.
  bool has_news() const { return partition_->flushed_index() < partition_->applied_index(); }
  size_t unflushed_bytes() const { return partition_->unflushed_bytes(); }
  absl::Status Flush();

 private:
  absl::Status LoadInto(Partition& partition);
  absl::Status ApplyLogged(Partition& partition, const LogEntry& entry);
  absl::Status MakeAgain(Partition& fresh, const LogReader& read_log);
  absl::Status Stopping(const absl::Status& status);
  void Failed(const absl::Status& status);

  const PartitionId id_;
  StateStore& store_;
  const uint64_t pending_bytes_max_;
  const absl::Span<const ApplyRules> rules_;
  std::unique_ptr<Partition> partition_;
  absl::Status status_;
  bool stopped_ = false;
};

}  // namespace storage

#endif  // STORAGE_CORE_REPLICA_H_
