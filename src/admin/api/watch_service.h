// mqttd.admin.v1.Watch: what happens, as it happens.
#ifndef ADMIN_API_WATCH_SERVICE_H_
#define ADMIN_API_WATCH_SERVICE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "admin/api/broker_access.h"
#include "admin/api/method.h"
#include "base/mutex.h"
#include "mqttd/admin/v1/watch.pb.h"

namespace admin {

class EventStream;

// The streams of events under way. Any thread.
class Watches {
 public:
  explicit Watches(const BrokerAccess& broker) : broker_(broker) {}

  // This outlives the handlers.
  void AddTo(Methods& methods);
  // About once a second: tells of drops since, and of a state that is another one.
  void Tick();

 private:
  using Condition = std::pair<pb::NodeState, std::string>;

  void Events(const pb::WatchEventsRequest& request, const std::shared_ptr<Outlet>& outlet);
  void Trace(const pb::TraceRequest& request, const std::shared_ptr<Outlet>& outlet);
  std::map<std::string, uint64_t> Dropped() const;

  const BrokerAccess& broker_;
  base::Mutex mutex_;
  std::vector<std::shared_ptr<EventStream>> streams_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> dropped_ ABSL_GUARDED_BY(mutex_);  // At the last tick, by cause.
  Condition condition_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace admin

#endif  // ADMIN_API_WATCH_SERVICE_H_
