// Until this node has applied what was committed by now.
#ifndef STORAGE_LEADER_READ_BARRIERS_H_
#define STORAGE_LEADER_READ_BARRIERS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "storage/core/command_log.h"
#include "storage/leader/node.h"

namespace storage {

// Part of the host, used on its thread. A node's replica of a partition is behind what the
// partition's leader has acknowledged: whoever reads it for somebody who may know better
// waits here. Asks of a partition are gathered: one is under way at a time, and serves all that
// waited when it left. Bounded by what waits: who does no more is forgotten, though no partition
// ever answers, or nothing is applied.
class ReadBarriers {
 public:
  explicit ReadBarriers(Node& node);

  // See CommandLog::ReadBarrier.
  using Ask = std::function<void(PartitionId partition, uint64_t ticket)>;
  void SetAsk(Ask ask) { ask_ = std::move(ask); }

  // Calls `then` once all of these partitions are applied as far as anybody can know of them; after
  // `within` in any case: without most nodes nobody says how far that is. At once on a node alone.
  void Wait(PartitionMask reads, absl::Duration within, std::function<void()> then);
  // For a node that starts: calls `then` once everything is applied that was committed by now, for
  // as long as that takes, and what was committed meanwhile too, but for the last few entries. What
  // comes so fast that this is never so is waited for at most a minute.
  void CatchUp(std::function<void()> then);
  // Of which partitions somebody waits for something.
  PartitionMask waited_for() const;

  void Hear(const Readable& readable);
  void Hear(const NotReadable& refused);
  // When entries were applied, or time has passed.
  void Run();
  std::optional<absl::Duration> Next() const;
  // Places that who waits, or did, has in the lists of partitions.
  size_t listed() const;

 private:
  using WaiterId = std::pair<absl::Duration, uint64_t>;  // Until when it waits at most.
  struct Waiter {
    PartitionMask left = 0;
    std::function<void()> then;
  };
  struct Answered {
    uint64_t index = 0;
    std::vector<WaiterId> waiters;
  };
  struct OfPartition {
    uint64_t ticket = 0;  // Of what is under way. 0: nothing is.
    absl::Duration ask_at = -absl::InfiniteDuration();
    std::vector<WaiterId> asked;
    std::vector<WaiterId> to_ask;
    std::deque<Answered> answered;  // Not applied so far yet.
    size_t answered_waiters = 0;    // Of all of these.
  };

  void CatchUpBy(absl::Duration by, std::function<void()> then);
  void ForgetGone(std::vector<WaiterId>& waiters) const;
  void ForgetGone(OfPartition& partition) const;
  void Pass(const std::vector<WaiterId>& waiters, PartitionId partition);

  Node& node_;
  Ask ask_;
  std::vector<OfPartition> partitions_;
  std::map<WaiterId, Waiter> waiters_;
  uint64_t last_ = 0;
  // Of a node that catches up: how many entries a partition lacked at most when it heard how far it
  // is committed.
  uint64_t lacked_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_READ_BARRIERS_H_
