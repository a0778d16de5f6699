// A few threads for work that is too slow for a shard: password hashing.
#ifndef AUTH_HASH_POOL_H_
#define AUTH_HASH_POOL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "auth/core/fair_queue.h"

namespace auth {

// Any thread may submit; nothing survives a crash. Tasks start in turns: one of each source, and
// within a source one of each user name, so that who floods it waits behind himself.
class HashPool {
 public:
  struct Limits {
    size_t threads = 1;  // At least 1.
    // Tasks that wait, not counting those that run. Further logins are answered with 0x89: first
    // those of the source, and of the user name, that has most.
    size_t queue_max = 1024;
  };

  struct Task {
    std::function<void()> run;
    // Called instead of `run` if it was accepted and then had to make room for another, on the
    // thread that submitted that one. Null: nothing is to be said.
    std::function<void()> refuse = {};
    // Whose turn it takes: the source (an address), then the lane (the user name).
    FairPlace place = {};
  };

 private:
  struct Queue;

 public:
  // Somebody who waits for a task. When it goes, a task that has not begun is not run any more, and
  // nothing is called. May outlive the pool. Empty: of no task.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept { *this = std::move(other); }
    Ticket& operator=(Ticket&& other) noexcept;
    ~Ticket() { Cancel(); }

   private:
    friend class HashPool;
    Ticket(std::shared_ptr<Queue> queue, uint64_t id) : queue_(std::move(queue)), id_(id) {}
    void Cancel();

    std::shared_ptr<Queue> queue_;
    uint64_t id_ = 0;
  };

  explicit HashPool(Limits limits);

  ~HashPool();  // Stops, if Stop was not called.
  HashPool(const HashPool&) = delete;
  HashPool& operator=(const HashPool&) = delete;

  enum class Submitted : uint8_t { kAccepted, kQueueFull, kStopping };

  // Waits for the tasks that run. Those that wait are dropped without being run: at that point the
  // connections they were for are closing too. Afterwards no task touches anything. Only its owner
  // calls it, more than once if it likes.
  void Stop();

  // Policy when full: whoever has most in the queue gives way, and that may be this task; then (or
  // when stopped) it is refused and neither run nor told. A login storm costs an answer, never
  // memory nor the shards' time. `ticket` is set if it was accepted; without one it runs in any
  // case.
  Submitted Submit(Task task, Ticket* ticket = nullptr);

  // Metrics; each is exact by itself, not as a set.
  uint64_t completed() const;
  uint64_t refused() const;
  uint64_t abandoned() const;  // Not run, because nobody waited any more.
  size_t waiting() const;

 private:
  static void Run(Queue& queue);

  const std::shared_ptr<Queue> queue_;  // Tickets may outlive the pool.
  std::vector<std::thread> threads_;
};

}  // namespace auth

#endif  // AUTH_HASH_POOL_H_
