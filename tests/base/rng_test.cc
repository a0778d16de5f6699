#include "base/rng.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace base {
namespace {

TEST(Rng, SameSeedSameSequenceOnEveryMachine) {
  Rng first(4711);
  Rng second(4711);
  Rng other(4712);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t drawn = first();
    ASSERT_EQ(drawn, second());
    differs |= drawn != other();
  }
  EXPECT_TRUE(differs);
  EXPECT_EQ(Rng(0)(), 5987356902031041503u) << "a recorded seed would no longer replay";
}

TEST(Rng, StaysWithinItsBoundsAndReachesThem) {
  Rng rng(1);
  std::vector<int> seen(6, 0);
  for (int i = 0; i < 6000; ++i) ++seen[rng.Below(6)];
  for (const int count : seen) EXPECT_NEAR(count, 1000, 200);
  bool low = false;
  bool high = false;
  for (int i = 0; i < 200; ++i) {
    const int64_t drawn = rng.Between(-2, 2);
    ASSERT_GE(drawn, -2);
    ASSERT_LE(drawn, 2);
    low |= drawn == -2;
    high |= drawn == 2;
  }
  EXPECT_TRUE(low && high);
  rng.Between(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
}

TEST(Rng, UnitIsBelowOneAndChanceFollowsIt) {
  Rng rng(2);
  int hits = 0;
  for (int i = 0; i < 10000; ++i) {
    const double unit = rng.Unit();
    ASSERT_GE(unit, 0.0);
    ASSERT_LT(unit, 1.0);
    hits += rng.Chance(0.25) ? 1 : 0;
  }
  EXPECT_NEAR(hits, 2500, 250);
  EXPECT_FALSE(rng.Chance(0.0));
  EXPECT_TRUE(rng.Chance(1.0));
}

TEST(Rng, AForkDrawsForItself) {
  Rng parent(3);
  Rng same(3);
  Rng child = parent.Fork();
  same();
  for (int i = 0; i < 10; ++i) child();
  EXPECT_EQ(parent(), same());
}

}  // namespace
}  // namespace base
