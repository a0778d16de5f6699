// How long to wait before the next try to connect.
#ifndef CLIENT_CORE_BACKOFF_H_
#define CLIENT_CORE_BACKOFF_H_

#include <algorithm>

#include "absl/time/time.h"
#include "base/rng.h"
#include "client/core/options.h"

namespace mqttd::client {

// Doubles from `first` to `most`; each wait is drawn from its upper half, so that clients that lost
// the same server do not return in step.
class Backoff {
 public:
  Backoff(const BackoffOptions& options, base::Rng rng)
      : options_(options), rng_(rng), bound_(options.first) {}

  absl::Duration Next() {
    const absl::Duration wait = bound_ * (0.5 + 0.5 * rng_.Unit());
    bound_ = std::min(bound_ * 2, options_.most);
    return wait;
  }
  // A connection stood: the next failure begins anew.
  void Reset() { bound_ = options_.first; }

 private:
  const BackoffOptions options_;
  base::Rng rng_;
  absl::Duration bound_;
};

}  // namespace mqttd::client

#endif  // CLIENT_CORE_BACKOFF_H_
