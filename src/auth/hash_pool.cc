#include "auth/hash_pool.h"

#include <algorithm>
#include <atomic>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/thread_priority.h"

namespace auth {

struct HashPool::Queue {
  explicit Queue(Limits bounds) : limits(bounds) {}

  const Limits limits;
  std::atomic<uint64_t> completed{0};
  std::atomic<uint64_t> refused{0};
  std::atomic<uint64_t> abandoned{0};
  base::Mutex mutex;
  base::CondVar changed;
  FairQueue<Task> tasks ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;
};

HashPool::Ticket& HashPool::Ticket::operator=(Ticket&& other) noexcept {
  if (this == &other) return *this;
  Cancel();
  queue_ = std::move(other.queue_);
  id_ = std::exchange(other.id_, 0);
  return *this;
}

void HashPool::Ticket::Cancel() {
  if (queue_ == nullptr) return;
  std::optional<Task> task;  // Freed without the lock.
  {
    base::MutexLock lock(queue_->mutex);
    task = queue_->tasks.Remove(id_);
  }
  if (task.has_value()) queue_->abandoned.fetch_add(1, std::memory_order_relaxed);
  queue_.reset();
}

HashPool::HashPool(Limits limits) : queue_(std::make_shared<Queue>(limits)) {
  const size_t threads = std::max<size_t>(limits.threads, 1);
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(*queue_); });
}

HashPool::~HashPool() { Stop(); }

void HashPool::Stop() {
  FairQueue<Task> dropped;
  {
    base::MutexLock lock(queue_->mutex);
    queue_->stopping = true;
    std::swap(dropped, queue_->tasks);
  }
  queue_->changed.SignalAll();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

HashPool::Submitted HashPool::Submit(Task task, Ticket* ticket) {
  std::optional<Task> gives_way;
  uint64_t id = 0;
  {
    base::MutexLock lock(queue_->mutex);
    if (queue_->stopping) return Submitted::kStopping;
    if (queue_->tasks.size() >= queue_->limits.queue_max) {
      queue_->refused.fetch_add(1, std::memory_order_relaxed);
      gives_way = queue_->tasks.RemoveForRoom(task.place);
      if (!gives_way.has_value()) return Submitted::kQueueFull;
    }
    id = queue_->tasks.Push(task.place, std::move(task));
  }
  queue_->changed.SignalOne();
  if (gives_way.has_value() && gives_way->refuse != nullptr) gives_way->refuse();
  if (ticket != nullptr) *ticket = Ticket(queue_, id);
  return Submitted::kAccepted;
}

uint64_t HashPool::completed() const { return queue_->completed.load(std::memory_order_relaxed); }
uint64_t HashPool::refused() const { return queue_->refused.load(std::memory_order_relaxed); }
uint64_t HashPool::abandoned() const { return queue_->abandoned.load(std::memory_order_relaxed); }

size_t HashPool::waiting() const {
  base::MutexLock lock(queue_->mutex);
  return queue_->tasks.size();
}

void HashPool::Run(Queue& queue) {
  base::SetThreadPriority(base::ThreadPriority::kWork);
  for (;;) {
    std::optional<Task> task;
    {
      base::MutexLock lock(queue.mutex);
      while (!queue.stopping && queue.tasks.empty()) queue.changed.Wait(queue.mutex);
      if (queue.stopping) return;
      task = queue.tasks.Pop();
    }
    task->run();
    queue.completed.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace auth
