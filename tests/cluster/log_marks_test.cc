#include "cluster/raft/log_marks.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace cluster {
namespace {

TEST(LogMarks, WhatIsWrittenIsMarkedEverySoManyBytes) {
  LogMarks marks(100);
  marks.AddStored(5, 5, 0);
  for (uint64_t index = 6; index <= 25; ++index) marks.Append(index, index, 30);
  EXPECT_EQ(marks.bytes(), 600);
  EXPECT_EQ(marks.LastUpTo(5).index, 5);
  EXPECT_EQ(marks.LastUpTo(8).index, 5);
  EXPECT_EQ(marks.LastUpTo(9).index, 9);  // 120 bytes.
  EXPECT_EQ(marks.LastUpTo(12).index, 9);
  EXPECT_EQ(marks.BytesUpTo(marks.LastUpTo(12)), 120);
  EXPECT_EQ(marks.LastWithBehind(480).index, 9);
  EXPECT_EQ(marks.LastWithBehind(481).index, 5);
}

TEST(LogMarks, ACutLogBeginsBehindTheMark) {
  LogMarks marks(100);
  marks.AddStored(5, 5, 0);
  for (uint64_t index = 6; index <= 25; ++index) marks.Append(index, index, 30);
  marks.Cut(marks.LastUpTo(14));
  EXPECT_EQ(marks.bytes(), 360);
  EXPECT_EQ(marks.LastUpTo(3).index, 13);
  EXPECT_EQ(marks.LastWithBehind(361).index, 13);
}

TEST(LogMarks, WhatWasStoredIsTakenForAlike) {
  LogMarks marks(100);
  marks.AddStored(1000, 2000, 1'000'000);
  EXPECT_EQ(marks.bytes(), 1'000'000);
  const LogMarks::Mark middle = marks.LastUpTo(1500);
  EXPECT_GT(middle.index, 1495);
  EXPECT_GT(marks.BytesUpTo(middle), 990 * (middle.index - 1000));
  EXPECT_LT(marks.BytesUpTo(middle), 1010 * (middle.index - 1000));
}

TEST(LogMarks, WhatIsWrittenOverHasNoMark) {
  LogMarks marks(1);
  marks.AddStored(5, 5, 0);
  marks.Append(6, 9, 40);
  marks.Append(10, 12, 30);
  marks.Append(8, 8, 10);
  EXPECT_EQ(marks.LastUpTo(100).index, 8);
  EXPECT_EQ(marks.LastUpTo(7).index, 5);
}

TEST(LogMarks, ALogThatGoesOnElsewhereIsEmpty) {
  LogMarks marks(10);
  marks.AddStored(5, 5, 0);
  marks.Append(6, 9, 40);
  marks.Restart(100);
  EXPECT_EQ(marks.bytes(), 0);
  EXPECT_EQ(marks.LastUpTo(1000).index, 100);
  marks.Append(101, 103, 25);
  EXPECT_EQ(marks.bytes(), 25);
  EXPECT_EQ(marks.LastUpTo(1000).index, 103);
}

// Against a list of all entries.
TEST(LogMarks, AModelAgrees) {
  base::Rng rng(7);
  LogMarks marks(50);
  marks.AddStored(0, 0, 0);
  std::vector<uint64_t> ends = {0};  // Bytes up to each entry.
  uint64_t begin = 0;
  for (int i = 0; i < 2000; ++i) {
    const uint64_t bytes = 1 + rng.Below(40);
    ends.push_back(ends.back() + bytes);
    marks.Append(ends.size() - 1, ends.size() - 1, bytes);
    const uint64_t limit = begin + rng.Below(ends.size() - begin);
    const LogMarks::Mark last = marks.LastUpTo(limit);
    ASSERT_LE(last.index, limit);
    ASSERT_GE(last.index, begin);
    ASSERT_EQ(marks.BytesUpTo(last), ends[last.index] - ends[begin]);
    ASSERT_LT(ends[limit] - ends[last.index], 50 + 40);
    ASSERT_EQ(marks.bytes(), ends.back() - ends[begin]);
    if (rng.Below(20) == 0) {
      marks.Cut(last);
      begin = last.index;
    }
  }
}

}  // namespace
}  // namespace cluster
