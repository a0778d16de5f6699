// What is on its way into the mailboxes of the shards here.
#ifndef CLUSTER_TRAFFIC_TASKS_H_
#define CLUSTER_TRAFFIC_TASKS_H_

#include <memory>
#include <utility>
#include <vector>

#include "base/mailbox.h"
#include "broker/shard/shard_task.h"
#include "cluster/traffic/local.h"

namespace cluster {

// A batch for each shard, so that it is woken once. Posted when it ends.
class Tasks {
 public:
  Tasks(TrafficLocal& local, storage::ShardId shards) : local_(local), batches_(shards) {}
  ~Tasks() {
    for (storage::ShardId shard = 0; shard < batches_.size(); ++shard) {
      if (batches_[shard] != nullptr) local_.Post(shard, std::move(batches_[shard]));
    }
  }
  Tasks(const Tasks&) = delete;
  Tasks& operator=(const Tasks&) = delete;

  storage::ShardId shards() const { return static_cast<storage::ShardId>(batches_.size()); }
  std::vector<broker::ShardTask>& For(storage::ShardId shard) {
    auto& batch = batches_[shard];
    if (batch == nullptr) batch = std::make_unique<base::Batch<broker::ShardTask>>();
    return batch->items;
  }
  template <typename Task>
  void ForAll(const Task& task) {
    for (storage::ShardId shard = 0; shard < shards(); ++shard) For(shard).emplace_back(task);
  }

 private:
  TrafficLocal& local_;
  std::vector<std::unique_ptr<base::Batch<broker::ShardTask>>> batches_;
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_TASKS_H_
