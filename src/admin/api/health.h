// gRPC's health checks: whether the broker serves clients.
#ifndef ADMIN_API_HEALTH_H_
#define ADMIN_API_HEALTH_H_

#include <list>
#include <memory>
#include <string>

#include "admin/api/method.h"
#include "base/mutex.h"

namespace admin {

// Any thread.
class Health {
 public:
  // After all services but reflection: each has the health of the whole. `methods` and this outlive
  // the handlers.
  void AddTo(Methods& methods);

  // Whoever watches is told when it changes.
  void Set(bool serving);

 private:
  bool Knows(const std::string& service) const;

  const Methods* methods_ = nullptr;
  base::Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<std::shared_ptr<Outlet>> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace admin

#endif  // ADMIN_API_HEALTH_H_
