// Calls that wait for a moment until they try again.
#ifndef ADMIN_API_MOMENTS_H_
#define ADMIN_API_MOMENTS_H_

#include <functional>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace admin {

// Any thread. Its bound is that of calls under way: each waits once at a time.
class Moments {
 public:
  // Runs the task at the next tick, or when it stops. False, and the task is not run: it has
  // stopped.
  bool Wait(std::function<void()> task) {
    base::MutexLock lock(mutex_);
    if (stopped_) return false;
    waiting_.push_back(std::move(task));
    return true;
  }
  void Tick() {
    for (const auto& task : Take()) task();
  }
  void Stop() {
    {
      base::MutexLock lock(mutex_);
      stopped_ = true;
    }
    Tick();
  }

 private:
  std::vector<std::function<void()>> Take() {
    base::MutexLock lock(mutex_);
    return std::exchange(waiting_, {});
  }

  base::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace admin

#endif  // ADMIN_API_MOMENTS_H_
