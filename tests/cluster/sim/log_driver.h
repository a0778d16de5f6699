// The thread of a simulated node's log: what RaftLog and PartitionLog are over a real disk.
#ifndef TESTS_CLUSTER_SIM_LOG_DRIVER_H_
#define TESTS_CLUSTER_SIM_LOG_DRIVER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/rng.h"
#include "cluster/raft/raft_loop.h"
#include "storage/core/command_log.h"
#include "storage/core/log_entry.h"
#include "tests/cluster/sim/journal.h"
#include "tests/cluster/sim/machine.h"

namespace simulator {

inline constexpr uint32_t kPartitions = 4;
// Behind all partitions, as in cluster/membership.
inline constexpr cluster::GroupId kMetaGroup = 0x100;

class LogDriver {
 public:
  struct Parts {
    std::function<void(const std::vector<cluster::RaftLoop::Message>&)> send;
    std::function<void(std::vector<storage::LogEvent>)> to_host;
    std::function<void(std::vector<cluster::LogEvent>)> to_meta;
    bool acknowledges_early = false;  // It says that all is on the disk when it is being written.
  };

  LogDriver(Machine& machine, Life& life, const Journal& journal, base::Rng rng, Parts parts);

  // On the log's thread, in order.
  void Run(std::function<void(cluster::RaftLoop&)> task) {
    inbox_.push_back(std::move(task));
    Plan();
  }
  void Submit(storage::Submission submission);
  // What this node knows to be committed, when it starts. Behind kGroupBegin.
  absl::Status ReplayAfter(storage::PartitionId partition, uint64_t after,
                           const std::function<absl::Status(const storage::LogEntry&)>& visit) {
    return ReadUpTo(partition, after, Committed(partition), visit);
  }
  absl::Status ReadAfter(storage::PartitionId partition, uint64_t after,
                         const std::function<absl::Status(const storage::LogEntry&)>& visit) {
    return ReadUpTo(partition, after, UINT64_MAX, visit);
  }
  void StartTicking();
  // The process or the machine dies in the middle of a write: it may be there all the same.
  void Die();

  uint64_t elections() const { return elections_; }

 private:
  void Plan();
  void Turn();
  void HandOut();
  void BeginWrite();
  void EndWrite();
  void Tick();
  uint64_t Committed(storage::PartitionId partition);
  absl::Status ReadUpTo(storage::PartitionId partition, uint64_t after, uint64_t end,
                        const std::function<absl::Status(const storage::LogEntry&)>& visit);

  Machine& machine_;
  Life& life_;
  const Journal& journal_;
  base::Rng rng_;
  const Parts parts_;
  cluster::RaftLoop loop_;
  std::vector<std::function<void(cluster::RaftLoop&)>> inbox_;
  std::optional<cluster::RaftLoop::Write> writing_;
  bool planned_ = false;
  absl::StatusCode health_ = absl::StatusCode::kOk;
  std::vector<bool> led_ = std::vector<bool>(kPartitions, false);
  uint64_t elections_ = 0;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_LOG_DRIVER_H_
