// What the admin API sets about access, kept in the data directory: DATA_DIR/admin/access.
#ifndef ADMIN_API_ACCESS_STORE_H_
#define ADMIN_API_ACCESS_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "admin/api/method.h"
#include "admin/run_time_files.h"
#include "auth/run_time_access.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "mqttd/access/v1/access.pb.h"

namespace admin {

// As it is kept, for those who make a Change.
void ToKept(const auth::BanTarget& target, mqttd::access::v1::BanTarget& kept);
void ToKept(const auth::RunTimeRule::Key& key, mqttd::access::v1::Rule& kept);

// A log of changes, each a line of JSON (proto/mqttd/access/v1): one change costs one write and one
// fsync, however much there is. When most of its lines say nothing any more it is written anew.
// Any thread; its callers are not those of the broker.
class AccessStore {
 public:
  // Both outlive it.
  AccessStore(const std::string& data_dir, const base::Clock& clock, auth::RunTimeAccess& access)
      : files_(data_dir), clock_(clock), access_(access) {}

  // Before clients are let in. A last line that is not whole was never acknowledged and is cut off.
  // Errors: the file cannot be read, or another line is damaged.
  absl::Status Load() ABSL_LOCKS_EXCLUDED(mutex_);

  // One change: `make` fills it in, or refuses, while nobody else changes anything. On the disk
  // first: what holds now holds after a crash, too. Errors: those of `make`; kResourceExhausted,
  // kUnavailable: it cannot be written, and nothing has changed.
  absl::Status Change(const Caller& caller,
                      const std::function<absl::Status(mqttd::access::v1::Change&)>& make)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Status Replay(absl::string_view text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Compact() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RunTimeFiles files_;
  const base::Clock& clock_;
  auth::RunTimeAccess& access_;
  base::Mutex mutex_;
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t lines_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace admin

#endif  // ADMIN_API_ACCESS_STORE_H_
