// A few threads for work that is too slow for a shard: password hashing.
#ifndef AUTH_HASH_POOL_H_
#define AUTH_HASH_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"

namespace auth {

// Any thread may submit. Tasks start in the order of submission; nothing survives a crash.
class HashPool {
 public:
  struct Limits {
    size_t threads = 1;  // At least 1.
    // Tasks that wait, not counting those that run. Further logins are answered with 0x89.
    size_t queue_max = 1024;
  };

  explicit HashPool(Limits limits);

  ~HashPool();  // Stops, if Stop was not called.
  HashPool(const HashPool&) = delete;
  HashPool& operator=(const HashPool&) = delete;

  enum class Submitted : uint8_t { kAccepted, kQueueFull, kStopping };

  // Waits for the tasks that run. Those that wait are dropped without being run: at that point the
  // connections they were for are closing too. Afterwards no task touches anything. Only its owner
  // calls it, more than once if it likes.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Policy when full (or stopped): refuse, and do not run the task. A login storm costs an
  // answer, never memory nor the shards' time.
  Submitted Submit(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mutex_);

  // Metrics; each is exact by itself, not as a set.
  uint64_t completed() const { return completed_.load(std::memory_order_relaxed); }
  uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }
  size_t waiting() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();

  const Limits limits_;
  std::atomic<uint64_t> completed_{0};
  std::atomic<uint64_t> refused_{0};
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // Last: they use everything above.
};

}  // namespace auth

#endif  // AUTH_HASH_POOL_H_
