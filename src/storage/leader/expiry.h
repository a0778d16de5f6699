// Makes room of what has expired, when it is due and wherever it lies: retained messages by an
// index of their expiries, queued ones by the first of each queue. (Sessions and wills: timers.h.)
#ifndef STORAGE_LEADER_EXPIRY_H_
#define STORAGE_LEADER_EXPIRY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "storage/core/effects.h"
#include "storage/core/session.h"
#include "storage/leader/claim.h"
#include "storage/leader/deadlines.h"
#include "storage/leader/part.h"
#include "storage/leader/retained_pending.h"

namespace storage {

class Expiry : public LeaderPart {
 public:
  explicit Expiry(Leader& leader) : LeaderPart(leader) {}

  void Start();
  void Run();
  std::optional<absl::Duration> Next() const;

  // ---- Retained messages.
  struct RetainedRoom {
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };
  // Without what has expired and is on its way out.
  RetainedRoom RetainedNow() const;
  const RetainedPending& retained_pending() const { return retained_pending_; }
  void Expect(const RetainedSet& set) { retained_pending_.Add(set); }  // It is proposed already.
  void SetRetained(RetainedSet set);        // The last command does that.
  void OnRetained(const RetainedSet& set);  // It is in the store,
  void OnRefused(const RetainedSet& set);   // or never will be.
  // Drops a page of retained messages that have expired. Whether there were any.
  bool SweepRetained();
  void Finish(FinishRetainedSweep& step);

  // ---- Queued messages.
  void On(QueueExpires& effect);
  void Forget(const std::string& client_id);  // Its session has ended.
  // What is kept of when queues are due, of those that have ended included.
  size_t kept() const { return std::max(queue_armed_.size(), queue_deadlines_.size()); }
  void Finish(FinishQueueSweep& step);

 private:
  void ArmQueue(const std::string& client_id, int64_t at_unix_ms);
  bool IsArmed(const Deadline& deadline) const;
  void SweepQueues();
  size_t SweepQueue();
  void DropFromQueue(const Session& session, Claim* claim, const std::vector<uint64_t>& sequences);

  RetainedPending retained_pending_;
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
};

}  // namespace storage

#endif  // STORAGE_LEADER_EXPIRY_H_
