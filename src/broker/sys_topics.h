// The $SYS topics: what mosquitto's users look at, with its names.
#ifndef BROKER_SYS_TOPICS_H_
#define BROKER_SYS_TOPICS_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "broker/metrics.h"

namespace broker {

// Turns snapshots of the counters into topic values. Used on one thread.
class SysTopicSource {
 public:
  using Values = std::vector<std::pair<std::string, std::string>>;

  // Those that changed since the last call; all of them the first time. `now` never goes back.
  Values Update(const MetricsSnapshot& snapshot, absl::Time now);

 private:
  // Exponential averages per minute over 1, 5 and 15 minutes, as uptime(1) shows load.
  struct Load {
    std::array<double, 3> per_minute{};
    uint64_t last = 0;
  };
  void AddLoad(Values& values, const std::string& name, uint64_t total, double seconds);

  std::map<std::string, Load> loads_;
  std::map<std::string, std::string> known_;
  absl::Time last_ = absl::InfinitePast();
};

}  // namespace broker
#endif  // BROKER_SYS_TOPICS_H_
