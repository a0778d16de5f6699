// Whether this node should be sent clients, and if not, why.
#ifndef ADMIN_READINESS_H_
#define ADMIN_READINESS_H_

#include <string>
#include <utility>

#include "base/mutex.h"

namespace admin {

// Set by main, read by the endpoint's thread.
class Readiness {
 public:
  enum class State { kStarting, kReady, kDraining };

  // `why` is a sentence for the operator: "reading the store", "stopping on SIGTERM".
  void Set(State state, std::string why) {
    base::MutexLock lock(mutex_);
    state_ = state;
    why_ = std::move(why);
  }

  State state() const {
    base::MutexLock lock(mutex_);
    return state_;
  }
  bool ready() const { return state() == State::kReady; }
  bool draining() const { return state() == State::kDraining; }
  std::string why() const {
    base::MutexLock lock(mutex_);
    return why_;
  }

 private:
  mutable base::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kStarting;
  std::string why_ ABSL_GUARDED_BY(mutex_) = "starting";
};

}  // namespace admin

#endif  // ADMIN_READINESS_H_
