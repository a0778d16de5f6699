// A value that one thread replaces now and then while others read it.
#ifndef BROKER_PUBLISHED_H_
#define BROKER_PUBLISHED_H_

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"

namespace broker {

// Each version lives as long as somebody reads it. Any thread; not on a shard's fast path.
template <typename Value>
class Published {
 public:
  std::shared_ptr<const Value> Get() const ABSL_LOCKS_EXCLUDED(mutex_) {
    base::MutexLock lock(mutex_);
    return now_;
  }
  void Set(Value value) ABSL_LOCKS_EXCLUDED(mutex_) {
    auto next = std::make_shared<const Value>(std::move(value));
    base::MutexLock lock(mutex_);
    now_.swap(next);  // The former one goes when the lock is released.
  }

 private:
  mutable base::Mutex mutex_;
  std::shared_ptr<const Value> now_ ABSL_GUARDED_BY(mutex_) = std::make_shared<const Value>();
};

}  // namespace broker
#endif  // BROKER_PUBLISHED_H_
