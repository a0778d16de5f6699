// mqttd.admin.v1.Backup.
#ifndef ADMIN_API_BACKUP_SERVICE_H_
#define ADMIN_API_BACKUP_SERVICE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "admin/api/broker_access.h"
#include "admin/api/method.h"
#include "base/mutex.h"
#include "storage/backup.h"

namespace admin {

// One backup at a time, made or verified, on a thread of its own: it reads and writes for minutes.
class Backups {
 public:
  // `broker` outlives it.
  explicit Backups(const BrokerAccess& broker) : broker_(broker) {}
  ~Backups() { Stop(); }

  // This outlives the handlers.
  void AddTo(Methods& methods);
  // What is under way ends, and leaves nothing.
  void Stop();

 private:
  void Run(const std::shared_ptr<Outlet>& outlet,
           std::function<absl::Status(const std::shared_ptr<Outlet>&)> work);
  absl::Status Create(const std::string& directory, const std::shared_ptr<Outlet>& outlet);
  absl::Status Fix(const std::string& checkpoint);
  storage::GoesOn UntilStopped() const {
    return [this] { return !stop_.load(); };
  }

  const BrokerAccess& broker_;
  base::Mutex mutex_;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> stop_{false};  // Somebody has gone, or the broker stops.
};

}  // namespace admin

#endif  // ADMIN_API_BACKUP_SERVICE_H_
