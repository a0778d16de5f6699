#include "base/glob.h"

#include <gtest/gtest.h>

#include <string>

namespace base {
namespace {

TEST(Glob, StarIsAnyTextAndQuestionMarkOneByte) {
  EXPECT_TRUE(GlobMatches("", ""));
  EXPECT_TRUE(GlobMatches("*", ""));
  EXPECT_TRUE(GlobMatches("sensor-*", "sensor-"));
  EXPECT_TRUE(GlobMatches("sensor-?", "sensor-7"));
  EXPECT_TRUE(GlobMatches("*-7", "a-7-7"));
  EXPECT_TRUE(GlobMatches("a*b*c", "axxbyybzzc"));
  EXPECT_FALSE(GlobMatches("sensor-?", "sensor-"));
  EXPECT_FALSE(GlobMatches("sensor", "sensors"));
  EXPECT_FALSE(GlobMatches("a*b", "abc"));
  EXPECT_FALSE(GlobMatches("", "a"));
}

// Neither recursion nor exponential time, whatever is asked.
TEST(Glob, ManyStarsTakeNoMoreThanPatternTimesText) {
  std::string pattern;
  for (int i = 0; i < 1000; ++i) pattern += "a*";
  EXPECT_FALSE(GlobMatches(pattern + "b", std::string(10'000, 'a')));
}

}  // namespace
}  // namespace base
