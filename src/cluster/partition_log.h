// The log of a node's partitions: each is a Raft group.
#ifndef CLUSTER_PARTITION_LOG_H_
#define CLUSTER_PARTITION_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
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

// Owned and used by the partition host; its own threads are RaftLog's. This node is the only member
// of every group: it elects itself when the log starts, and leads from then on.
class PartitionLog final : public storage::CommandLog {
 public:
  static absl::StatusOr<std::unique_ptr<storage::CommandLog>> Open(
      const storage::CommandLogPlace& place);

  absl::Status ReadAfter(storage::PartitionId partition, uint64_t after,
                         const Visit& visit) override;
  absl::Status Start(absl::Span<const storage::LogStart> partitions, Post post) override;
  std::vector<storage::LogEvent> Submit(storage::Submission submission) override;
  void Flushed(storage::PartitionId partition, uint64_t index) override;
  void Checkpoint(std::string directory, std::function<void(absl::Status)> done) override;
  absl::Status Stop() override;

 private:
  PartitionLog(const storage::CommandLogPlace& place, std::unique_ptr<LogStore> store,
               std::unique_ptr<storage::LogEnd> end);
  absl::Status CheckEnd(absl::Span<const storage::LogStart> partitions);

  const storage::StorageOptions options_;
  storage::HostMetrics& metrics_;
  bool started_ = false;
  Post post_;
  storage::LogEnd* const end_;  // The log's.
  RaftLog raft_;
};

}  // namespace cluster

#endif  // CLUSTER_PARTITION_LOG_H_
