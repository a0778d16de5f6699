// What was set about access at one node, brought to all others: at once to those that answer, and
// to those that did not as soon as they do.
#ifndef ADMIN_API_ACCESS_SPREAD_H_
#define ADMIN_API_ACCESS_SPREAD_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "admin/api/access_store.h"
#include "admin/api/broker_access.h"
#include "admin/api/fleet.h"
#include "admin/api/method.h"
#include "admin/api/spare_thread.h"
#include "base/mutex.h"
#include "mqttd/access/v1/spread.pb.h"

namespace admin {

// Any thread. Outlives every call.
class AccessSpread {
 public:
  // All outlive it.
  AccessSpread(const BrokerAccess& broker, const Fleet& fleet, AccessStore& store)
      : broker_(broker), fleet_(fleet), store_(store) {}
  AccessSpread(const AccessSpread&) = delete;
  AccessSpread& operator=(const AccessSpread&) = delete;

  struct Done {
    uint64_t disconnected = 0;  // Clients, on all nodes that answered.
    // Nodes where it does not hold yet: they get it as soon as they can be reached.
    std::vector<pb::MissingNode> missing;
  };
  enum class Users : bool { kStay, kDisconnect };
  // A change that this node's store has made holds on all nodes. `users`: of one whose password was
  // set.
  void Everywhere(const Caller& caller, const Kept& change, Users users,
                  std::function<void(absl::StatusOr<Done>)> done) const;

  // What other nodes ask for.
  void AddTo(Methods& here);
  // Once a second: compares what it has with what the others have, and fetches what it lacks. What
  // could not be written is tried again.
  void Tick();
  // What was taken is written, if the disk lets it.
  void Stop() { keeper_.Stop(); }

 private:
  class Fetching;
  struct Compared {
    absl::Duration at;
    uint64_t link = 0;  // How often it was connected by then.
    bool busy = false;
  };

  void Enforce(const std::vector<Kept>& changes, Users users,
               std::function<void(absl::StatusOr<uint64_t>)> done) const;
  void KeepSoon();
  void Compare(uint32_t node);
  void Ended(uint32_t node, bool compared);

  const BrokerAccess& broker_;
  const Fleet& fleet_;
  AccessStore& store_;
  // Nobody else waits for the disk.
  SpareThread keeper_;
  std::atomic<bool> keeping_{false};
  base::Mutex mutex_;
  std::map<uint32_t, Compared> compared_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace admin

#endif  // ADMIN_API_ACCESS_SPREAD_H_
