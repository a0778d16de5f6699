#include "base/clock.h"

#include <ctime>

#include "absl/time/clock.h"

namespace base {

absl::Time RealClock::Now() const { return absl::Now(); }

absl::Duration RealClock::Monotonic() const { return absl::Nanoseconds(MonotonicNs()); }

int64_t RealClock::UnixMs() const {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

int64_t RealClock::MonotonicNs() const {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

RealClock& RealClock::Get() {
  static RealClock clock;
  return clock;
}

}  // namespace base
