#include "auth/hash_pool.h"

#include <algorithm>
#include <utility>

#include "base/thread_priority.h"

namespace auth {

HashPool::HashPool(Limits limits) : limits_(limits) {
  const size_t threads = std::max<size_t>(limits_.threads, 1);
  threads_.reserve(threads);
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

HashPool::~HashPool() { Stop(); }

void HashPool::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
  }
  changed_.SignalAll();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

HashPool::Submitted HashPool::Submit(std::function<void()> task) {
  base::MutexLock lock(mutex_);
  if (stopping_) return Submitted::kStopping;
  if (queue_.size() >= limits_.queue_max) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    return Submitted::kQueueFull;
  }
  queue_.push_back(std::move(task));
  changed_.SignalOne();
  return Submitted::kAccepted;
}

size_t HashPool::waiting() const {
  base::MutexLock lock(mutex_);
  return queue_.size();
}

void HashPool::Run() {
  base::SetThreadPriority(base::ThreadPriority::kWork);
  for (;;) {
    std::function<void()> task;
    {
      base::MutexLock lock(mutex_);
      while (!stopping_ && queue_.empty()) changed_.Wait(mutex_);
      if (stopping_) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
    completed_.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace auth
