// The steps in which the process takes leave of its clients, and when it has waited long enough.
#ifndef CMD_MQTTD_LEAVING_H_
#define CMD_MQTTD_LEAVING_H_

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "control.h"

namespace mqttd {

// SIGTERM: /readyz says no at once, after a delay clients are told to go, and when they are gone,
// or have not gone in time, or a second SIGTERM comes, it is over. SIGUSR1: the same, but it is
// over only after a SIGTERM. Used on the main thread; it does nothing itself but say what is to be
// done.
class Leaving {
 public:
  enum class Step { kNone, kRefuseReadiness, kDrain, kDrained };

  explicit Leaving(absl::Duration delay) : delay_(delay) {}

  // What is to be done now that this has happened, or nothing has.
  Step On(Control::Event event, absl::Duration now) {
    if (event == Control::Event::kStop) over_ = std::exchange(stop_, true);
    const bool told = event == Control::Event::kStop || event == Control::Event::kDrain;
    if (told && !begun()) {
      since_ = now;
      return Step::kRefuseReadiness;
    }
    if (event == Control::Event::kDrained) drained_ = true;
    if (stop_ && (drained_ || now >= deadline_)) over_ = true;
    if (event == Control::Event::kDrained) return Step::kDrained;
    if (!begun() || draining_ || now < *since_ + delay_) return Step::kNone;
    draining_ = true;
    return Step::kDrain;
  }

  // After kDrain: until when their end is waited for.
  void ClientsAreTold(absl::Duration deadline) { deadline_ = deadline; }

  bool told_to_stop() const { return stop_; }
  bool begun() const { return since_.has_value(); }
  absl::Duration since() const { return *since_; }
  bool drained() const { return drained_; }
  bool over() const { return over_; }

  // When `On` wants to be called though nothing has happened.
  absl::Duration WaitAtMost(absl::Duration now) const {
    if (!begun()) return absl::InfiniteDuration();
    if (!draining_) return std::max(*since_ + delay_ - now, absl::ZeroDuration());
    if (!stop_) return absl::InfiniteDuration();
    return drained_ ? absl::ZeroDuration() : std::max(deadline_ - now, absl::ZeroDuration());
  }

 private:
  const absl::Duration delay_;
  std::optional<absl::Duration> since_;
  absl::Duration deadline_ = absl::InfiniteDuration();
  bool draining_ = false;
  bool drained_ = false;
  bool stop_ = false;
  bool over_ = false;
};

}  // namespace mqttd
#endif  // CMD_MQTTD_LEAVING_H_
