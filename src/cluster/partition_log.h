// The log of a node's partitions: each is a Raft group.
#ifndef CLUSTER_PARTITION_LOG_H_
#define CLUSTER_PARTITION_LOG_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cluster/raft_log.h"
#include "storage/command_log_place.h"
#include "storage/core/command_log.h"
#include "storage/log_end.h"

namespace cluster {

// For a directory with the log of a cluster's member, and without the file that says of which.
absl::Status IsCopyOfMember(const std::string& directory);

// What the log of a cluster's node has beside that of a node alone. Both are called on the loop's
// thread and do not block.
struct LogPeers {
  std::function<void(std::vector<RaftLoop::Message>)> send;
  // What became of groups that are no partitions, in order.
  std::function<void(std::vector<LogEvent>)> others;
};

// Owned and used by the partition host; its own threads are RaftLog's.
//
// Of a node alone it is the only member of every group: it elects itself when the log starts, and
// leads from then on. Of a cluster's node the log starts without a group, and the host hears
// nothing until Join says which replicas there are here.
class PartitionLog final : public storage::CommandLog {
 public:
  static absl::StatusOr<std::unique_ptr<storage::CommandLog>> Open(
      const storage::CommandLogPlace& place);
  static absl::StatusOr<std::unique_ptr<PartitionLog>> OpenInCluster(
      const storage::CommandLogPlace& place, LogPeers peers);

  // ---- Of a cluster's node, when it has started. Any thread.
  // This node is `replica` of the partition's group, one of these members that it began with.
  // `stands`: it is to be led here, and has no leader yet.
  struct Replica {
    storage::PartitionId partition = 0;
    ReplicaId replica = 0;
    std::vector<ReplicaId> members;
    bool stands = false;
  };
  void Join(std::vector<Replica> replicas);
  // For groups that are no partitions, and messages.
  RaftLog& raft() { return raft_; }
  // It has been written by a node that was alone; by a member of a cluster. Neither: it is new.
  bool was_alone() const { return was_alone_; }
  bool was_members() const { return was_members_; }
  // Which of the partition's replicas leads it, as far as the one here knows. 0: nobody, or not
  // known. Any thread.
  ReplicaId leader(storage::PartitionId partition) const {
    return leaders_[partition].load(std::memory_order_relaxed);
  }

  absl::Status ReadAfter(storage::PartitionId partition, uint64_t after,
                         const Visit& visit) override;
  absl::Status Start(absl::Span<const storage::LogStart> partitions, Post post) override;
  std::vector<storage::LogEvent> Submit(storage::Submission submission) override;
  void Flushed(storage::PartitionId partition, uint64_t index) override;
  void TellCommitted(storage::PartitionId partition) override;
  void SetFit(storage::PartitionId partition, bool fit) override;
  void ReadBarrier(storage::PartitionId partition, uint64_t ticket) override;
  absl::Status Checkpoint(const std::string& directory) override;
  absl::Duration writes_since() const override { return raft_.writes_since(); }
  absl::Status Stop() override;

 private:
  PartitionLog(const storage::CommandLogPlace& place, std::unique_ptr<LogStore> store,
               std::unique_ptr<storage::LogEnd> end, std::optional<LogPeers> peers);
  static absl::StatusOr<std::unique_ptr<PartitionLog>> OpenWith(
      const storage::CommandLogPlace& place, std::optional<LogPeers> peers);
  void Take(std::vector<LogEvent> events);
  std::vector<storage::LogEvent> Translated(std::vector<LogEvent> events);
  // 0: the log does not know yet.
  ReplicaId self() const { return peers_.has_value() ? 0 : 1; }
  absl::Status CheckEnd(absl::Span<const storage::LogStart> partitions);

  const storage::StorageOptions options_;
  storage::HostMetrics& metrics_;
  const std::optional<LogPeers> peers_;  // None: alone.
  bool started_ = false;
  bool was_alone_ = false;
  bool was_members_ = false;
  std::vector<storage::LogStart> starts_;
  Post post_;
  std::vector<std::atomic<ReplicaId>> leaders_;  // By partition.
  std::vector<bool> led_;       // By partition: the host was told that it is led here.
  storage::LogEnd* const end_;  // The log's.
  RaftLog raft_;
};

}  // namespace cluster

#endif  // CLUSTER_PARTITION_LOG_H_
