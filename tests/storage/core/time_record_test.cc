#include "storage/core/time_record.h"

#include <gtest/gtest.h>

namespace storage {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t k1977 = 230'000'000'000;
constexpr int64_t k2026 = 1'790'000'000'000;

TimeRecord Recorded(int64_t wall_ms, int64_t unix_ms) {
  return {.clocks = {.boot_id = "one", .boot_ms = 10 * kHourMs, .wall_ms = wall_ms},
          .unix_ms = unix_ms};
}

TEST(TimeRecord, IsReadAsItWasWritten) {
  const auto read = ParseTimeRecord(EncodeTimeRecord(Recorded(k2026, k1977)));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->clocks.boot_id, "one");
  EXPECT_EQ(read->clocks.boot_ms, 10 * kHourMs);
  EXPECT_EQ(read->clocks.wall_ms, k2026);
  EXPECT_EQ(read->unix_ms, k1977);
  EXPECT_FALSE(ParseTimeRecord("boot_id: one\nboot_ms: 10\nwall").has_value());
  EXPECT_FALSE(ParseTimeRecord("").has_value());
}

TEST(TimeAtStart, BeginsAsTheWallClocksButNotBeforeWhatIsStored) {
  EXPECT_EQ(TimeAtStart({}, {.wall_ms = k2026}, 0), k2026);
  EXPECT_EQ(TimeAtStart({}, {.wall_ms = k1977}, k2026), k2026);
  EXPECT_EQ(TimeAtStart(Recorded(k2026, k2026), {"two", 0, k2026}, k2026 + 5), k2026 + 5);
}

TEST(TimeAtStart, GoesByTheMachinesClockUntilItIsRestarted) {
  for (const int64_t wall_ms : {k1977, k2026, 2 * k2026}) {
    EXPECT_EQ(TimeAtStart(Recorded(k2026, k2026), {"one", 11 * kHourMs, wall_ms}, 0),
              k2026 + kHourMs);
  }
}

TEST(TimeAtStart, GoesByTheWallClockOverARestartOfTheMachine) {
  // The difference counts, not what it shows: the broker began when it showed 1977.
  EXPECT_EQ(TimeAtStart(Recorded(k2026, k1977), {"two", 60'000, k2026 + 2 * kHourMs}, 0),
            k1977 + 2 * kHourMs);
  // Put back: nobody knows for how long it was off.
  EXPECT_EQ(TimeAtStart(Recorded(k2026, k2026), {"two", 60'000, k2026 - kHourMs}, 0), k2026);
  // Another machine that is up for long, or a virtual one that was put back to a snapshot.
  EXPECT_EQ(TimeAtStart(Recorded(k2026, k2026), {"two", 1000 * kHourMs, k2026 + 5'000}, 0),
            k2026 + 5'000);
  EXPECT_EQ(TimeAtStart(Recorded(k2026, k2026), {"one", 9 * kHourMs, k2026 + 5'000}, 0),
            k2026 + 5'000);
}

TEST(TimeAtStart, DoesNotBelieveAWallClockThatIsNotSet) {
  EXPECT_EQ(TimeAtStart(Recorded(k2026, k2026), {"two", 60'000, k1977}, 0), k2026 + 60'000);
  EXPECT_EQ(TimeAtStart(Recorded(k1977, k1977), {"two", 60'000, k2026}, 0), k1977 + 60'000);
}

TEST(TimeRecord, IsDueAgainWhenTheWallClockWasSet) {
  const TimeRecord last = Recorded(k2026, k1977);
  EXPECT_FALSE(WallClockWasSet(last, Recorded(k2026 + kHourMs, k1977 + kHourMs)));
  EXPECT_FALSE(WallClockWasSet(last, Recorded(k2026 + 50, k1977)));  // Slewed.
  EXPECT_TRUE(WallClockWasSet(last, Recorded(k2026 + 2'000, k1977)));
  EXPECT_TRUE(WallClockWasSet(last, Recorded(k1977, k1977 + kHourMs)));
}

}  // namespace
}  // namespace storage
