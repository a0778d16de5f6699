// What an operator hears of all partitions together.
#ifndef STORAGE_LEADER_GAUGES_H_
#define STORAGE_LEADER_GAUGES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "storage/leader/node.h"

namespace storage {

// Part of the host, used on its thread.
class Gauges {
 public:
  explicit Gauges(Node& node) : node_(node), counts_(node.options.partitions) {}

  // Something was applied.
  void Count();
  // What takes long to count, a partition at a time; and all, when other partitions are led here.
  void Run();
  std::optional<absl::Duration> Next() const;

 private:
  void CountSessions();
  void SumUp();

  Node& node_;
  // What sessions hold together, by partition, as it was counted last.
  struct Counts {
    int64_t messages = 0;
    int64_t bytes = 0;
    int64_t subscriptions = 0;
    int64_t wills = 0;
  };
  std::vector<Counts> counts_;
  size_t next_ = 0;
  PartitionMask counted_ = 0;  // What was led when all was counted last.
  size_t due_ = 0;             // Partitions to count until all is as new as the last commit.
  absl::Duration at_ = -absl::InfiniteDuration();
};

}  // namespace storage

#endif  // STORAGE_LEADER_GAUGES_H_
