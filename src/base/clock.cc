#include "base/clock.h"

#include <ctime>
#include <fstream>

#include "absl/time/clock.h"

namespace base {

absl::Time RealClock::Now() const { return absl::Now(); }

absl::Duration RealClock::Monotonic() const { return absl::Nanoseconds(MonotonicNs()); }

absl::Duration RealClock::SinceBoot() const {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return absl::DurationFromTimespec(now);
}

std::string RealClock::BootId() const {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
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
