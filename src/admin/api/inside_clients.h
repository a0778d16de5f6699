// The API as a client of the broker: for what it publishes and what it hears.
#ifndef ADMIN_API_INSIDE_CLIENTS_H_
#define ADMIN_API_INSIDE_CLIENTS_H_

#include <memory>
#include <vector>

#include "admin/api/broker_access.h"
#include "base/mutex.h"
#include "inside/client.h"

namespace admin {

// Any thread.
class InsideClients {
 public:
  explicit InsideClients(const BrokerAccess& broker) : broker_(broker) {}

  // One that all publish by, so that their order is kept; made when it is wanted first.
  std::shared_ptr<inside::Client> publisher();
  // One of its own.
  std::shared_ptr<inside::Client> Make() const;
  // Is done with it, perhaps on its own thread: it is let go of at the next Tick.
  void Retire(std::shared_ptr<inside::Client> client);

  void Tick();
  void Stop();

 private:
  const BrokerAccess& broker_;
  base::Mutex mutex_;
  std::shared_ptr<inside::Client> publisher_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<inside::Client>> retired_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace admin

#endif  // ADMIN_API_INSIDE_CLIENTS_H_
