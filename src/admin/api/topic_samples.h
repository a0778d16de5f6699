// Counts what is published, for some seconds, by listening.
#ifndef ADMIN_API_TOPIC_SAMPLES_H_
#define ADMIN_API_TOPIC_SAMPLES_H_

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "admin/api/broker_access.h"
#include "admin/api/inside_clients.h"
#include "admin/api/method.h"
#include "base/mutex.h"
#include "mqttd/admin/v1/topics.pb.h"

namespace admin {

// Any thread. A sample is a client of the process's own that subscribes at QoS 0, so that what is
// not sampled costs nothing, and a broker that has no time for it drops instead of waiting.
class TopicSamples {
 public:
  // Both outlive it.
  TopicSamples(const BrokerAccess& broker, InsideClients& inside)
      : broker_(broker), inside_(inside) {}

  void Start(const pb::BusiestTopicsRequest& request, Reply<pb::BusiestTopicsResponse> reply);
  // About once a second: ends those that have lasted long enough.
  void Tick();
  void Stop();

 private:
  struct Sample;

  void End(const std::shared_ptr<Sample>& sample);

  const BrokerAccess& broker_;
  InsideClients& inside_;
  base::Mutex mutex_;
  std::vector<std::shared_ptr<Sample>> running_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace admin

#endif  // ADMIN_API_TOPIC_SAMPLES_H_
