#include "base/check.h"

#include <gtest/gtest.h>

namespace base {
namespace {

TEST(Check, HoldsSilentlyAndEvaluatesNoWords) {
  int evaluated = 0;
  CHECK(1 + 1 == 2) << "words " << ++evaluated;
  DCHECK(true) << "words " << ++evaluated;
  EXPECT_EQ(evaluated, 0);
}

TEST(Check, IsOneStatementInsideAnIf) {
  bool reached_else = false;
  if (false)
    CHECK(true) << "never";
  else
    reached_else = true;
  EXPECT_TRUE(reached_else);
}

TEST(CheckDeathTest, EndsTheProcessWithPlaceConditionAndWords) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const int cursor = 7;
  EXPECT_DEATH(CHECK(cursor < 5) << "the cursor ran away to " << cursor,
               "check_test.cc:[0-9]+: CHECK\\(cursor < 5\\) failed: the cursor ran away to 7");
}

TEST(CheckDeathTest, DebugChecksAreEvaluatedInDebugBuildsOnly) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  int evaluated = 0;
  DCHECK(++evaluated > 0) << "cannot fail";
#ifdef NDEBUG
  EXPECT_EQ(evaluated, 0);
#else
  EXPECT_EQ(evaluated, 1);
  EXPECT_DEATH(DCHECK(evaluated == 2) << "counted", "counted");
#endif
}

}  // namespace
}  // namespace base
