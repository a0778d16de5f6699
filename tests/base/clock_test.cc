#include "base/clock.h"

#include <gtest/gtest.h>

#include "tests/support/fake_clock.h"

namespace base {
namespace {

TEST(RealClock, MonotonicNeverGoesBack) {
  const Clock& clock = RealClock::Get();
  absl::Duration last = clock.Monotonic();
  EXPECT_GT(last, absl::ZeroDuration());
  for (int i = 0; i < 1000; ++i) {
    const absl::Duration next = clock.Monotonic();
    ASSERT_GE(next, last);
    last = next;
  }
}

TEST(RealClock, WallClockIsPlausible) {
  EXPECT_GT(RealClock::Get().Now(), absl::FromUnixSeconds(1700000000));
}

TEST(RealClock, TheIntegerIsOfTheSameClock) {
  const Clock& clock = RealClock::Get();
  const absl::Duration before = clock.Monotonic();
  const absl::Duration between = absl::Nanoseconds(clock.MonotonicNs());
  EXPECT_GE(between, before);
  EXPECT_LE(between, clock.Monotonic());
}

TEST(FakeClock, MovesOnlyWhenTold) {
  support::FakeClock clock;
  const absl::Time wall = clock.Now();
  const absl::Duration start = clock.Monotonic();
  EXPECT_EQ(clock.Now(), wall);
  clock.Advance(absl::Seconds(90));
  EXPECT_EQ(clock.Now() - wall, absl::Seconds(90));
  EXPECT_EQ(clock.Monotonic() - start, absl::Seconds(90));
  clock.SetWall(wall - absl::Hours(1));
  EXPECT_EQ(clock.Now(), wall - absl::Hours(1));
  EXPECT_EQ(clock.Monotonic() - start, absl::Seconds(90));
  EXPECT_EQ(clock.MonotonicNs(), absl::ToInt64Nanoseconds(clock.Monotonic()));
}

}  // namespace
}  // namespace base
