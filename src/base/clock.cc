#include "base/clock.h"

#include <ctime>

#include "absl/time/clock.h"

namespace base {

absl::Time RealClock::Now() const { return absl::Now(); }

absl::Duration RealClock::Monotonic() const {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

RealClock& RealClock::Get() {
  static RealClock clock;
  return clock;
}

}  // namespace base
