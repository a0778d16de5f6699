// The thread of a simulated node's partition host: what PartitionHost is over RocksDB.
#ifndef TESTS_CLUSTER_SIM_HOST_DRIVER_H_
#define TESTS_CLUSTER_SIM_HOST_DRIVER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/timeline.h"
#include "storage/leader/aside.h"
#include "storage/leader/host.h"
#include "tests/cluster/sim/log_driver.h"
#include "tests/cluster/sim/machine.h"

namespace simulator {

inline constexpr storage::ShardId kShards = 2;

class HostDriver {
 public:
  using Post = std::function<void(const storage::ShardAddress&, std::vector<storage::Event>)>;

  HostDriver(const storage::StorageOptions& options, Machine& machine, Life& life, LogDriver& log,
             base::Rng rng, Post post);

  // ---- From other threads, in order.
  void Submit(const storage::ShardAddress& from, std::vector<storage::Addressed> requests);
  void OnLog(std::vector<storage::LogEvent> events);
  void Tell(std::function<void(storage::Host&)> news);
  void OnHostMessage(cluster::NodeLife from, const storage::HostMessage& message);

  // Its node is that life of it, with replicas of these, among these others; from here on it takes
  // turns.
  void Start(storage::NodeId node, storage::Incarnation incarnation, storage::PartitionMask held,
             const std::vector<storage::LiveNode>& others,
             std::function<void(storage::NodeId to, storage::HostMessage message)> send,
             std::function<void(bool closed, std::function<void()> done)> close,
             std::function<void()> ready);

  // As DATA_DIR/time has it after the wall clock was set.
  void NoteClocks();

  storage::Host& host() { return host_; }
  bool is_aside() const { return aside_.is_aside(); }
  base::Timeline& timeline() { return timeline_; }
  cluster::Place applied(storage::PartitionId id) const {
    const storage::Partition& partition = host_.partition(id);
    return {partition.applied_index(), partition.applied_term()};
  }

 private:
  void Plan(absl::Duration delay);
  void PlanSoon() { Plan(absl::Microseconds(rng_.Between(1, 400))); }
  void Turn();
  void BeginTurn();
  void DriveLog();
  void CheckDisk();
  void FlushNowAndThen();
  void PlanWake();
  storage::HostTime Now() const;
  storage::ClockReading ReadClocks() const;

  Machine& machine_;
  Life& life_;
  LogDriver& log_;
  base::Rng rng_;
  const Post post_;
  storage::HostMetrics metrics_;
  storage::Host host_;
  storage::Aside aside_{kPartitions};
  std::function<void(bool closed, std::function<void()> done)> close_;
  base::Timeline timeline_;
  std::vector<std::function<void()>> inbox_;
  std::vector<std::function<void()>> held_;  // Requests, until the start is committed.
  bool started_ = false;
  bool planned_ = false;
  bool flushing_ = false;
  int64_t wake_ns_ = 0;  // As it is planned.
  absl::Duration next_disk_check_ = -absl::InfiniteDuration();
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_HOST_DRIVER_H_
