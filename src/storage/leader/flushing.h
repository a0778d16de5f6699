// What is applied and not in the state store.
#ifndef STORAGE_LEADER_FLUSHING_H_
#define STORAGE_LEADER_FLUSHING_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "storage/core/replica.h"

namespace storage {

// Part of the host, used on its thread. Replicas that cannot be read are written when they are made
// again.
class Flushing {
 public:
  Flushing(const StorageOptions& options, const std::vector<std::unique_ptr<Replica>>& replicas,
           HostMetrics& metrics)
      : options_(options), replicas_(replicas), metrics_(metrics) {}

  // All that there is now, a partition with each Some.
  void Want();
  bool done() const { return wanted_ == 0; }
  // As much as is over the bound, and one of the partitions that wait.
  absl::Status Some();
  absl::Status BoundPending();
  absl::Status All();

 private:
  absl::Status Flush(PartitionId id);

  const StorageOptions& options_;
  const std::vector<std::unique_ptr<Replica>>& replicas_;  // By partition.
  HostMetrics& metrics_;
  PartitionMask wanted_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_FLUSHING_H_
