// Time that moves only when a test says so.
#ifndef TESTS_SUPPORT_FAKE_CLOCK_H_
#define TESTS_SUPPORT_FAKE_CLOCK_H_

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"

namespace support {

// Belongs to one thread, as the test does.
class FakeClock final : public base::Clock {
 public:
  // Starts at 2024-01-01 00:00:00 UTC, an arbitrary moment that is plainly not the epoch.
  explicit FakeClock(absl::Time start = absl::FromUnixSeconds(1704067200)) : now_(start) {}

  absl::Time Now() const override { return now_; }
  absl::Duration Monotonic() const override { return monotonic_; }

  // Both clocks go on.
  void Advance(absl::Duration by) {
    now_ += by;
    monotonic_ += by;
  }
  // The wall clock is set; time since start is not touched.
  void SetWall(absl::Time now) { now_ = now; }

  absl::Duration SinceBoot() const override { return monotonic_ - booted_; }
  std::string BootId() const override { return boot_id_; }
  // The machine is started anew; how long it was off, Advance says.
  void Reboot(std::string boot_id) {
    boot_id_ = std::move(boot_id);
    booted_ = monotonic_;
  }

 private:
  absl::Time now_;
  absl::Duration monotonic_ = absl::Seconds(1000);
  absl::Duration booted_;  // When it showed so much.
  std::string boot_id_ = "first";
};

}  // namespace support

#endif  // TESTS_SUPPORT_FAKE_CLOCK_H_
