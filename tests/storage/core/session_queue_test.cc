#include "storage/core/session_queue.h"

#include <set>
#include <string>

#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/range_set.h"

namespace storage {
namespace {

TEST(PacketIdOf, IsNeverZeroAndComesBackAfter65535) {
  EXPECT_EQ(PacketIdOf(1).value, 2);
  EXPECT_EQ(PacketIdOf(65'534).value, 65'535);
  EXPECT_EQ(PacketIdOf(65'535).value, 1);
  EXPECT_EQ(PacketIdOf(65'536), PacketIdOf(1));
}

TEST(SequenceInFlight, FindsTheSequenceAtOrAboveTheHead) {
  for (const uint64_t head : {1ull, 2ull, 65'534ull, 65'535ull, 65'536ull, 10'000'000'000ull}) {
    for (const uint64_t ahead : {0ull, 1ull, 100ull, 65'534ull}) {
      EXPECT_EQ(SequenceInFlight(PacketIdOf(head + ahead), head), head + ahead);
    }
  }
}

TEST(RangeSet, IsASet) {
  base::Rng rng(1);
  for (int round = 0; round < 50; ++round) {
    RangeSet ranges;
    std::set<uint64_t> model;
    for (int i = 0; i < 300; ++i) {
      const uint64_t value = 1 + rng.Below(200);
      EXPECT_EQ(ranges.insert(value), model.insert(value).second);
      const uint64_t asked = rng.Below(210);
      EXPECT_EQ(ranges.contains(asked), model.contains(asked));
      const auto through = std::distance(model.begin(), model.upper_bound(asked));
      EXPECT_EQ(ranges.CountThrough(asked), static_cast<uint64_t>(through));
      EXPECT_EQ(ranges.size(), model.size());
    }
    RangeSet copy;
    for (const RangeSet::Run& run : ranges.runs()) EXPECT_TRUE(copy.Append(run));
    EXPECT_EQ(copy, ranges);
  }
}

TEST(RangeSet, LosesOneNumberOrAllBelowOne) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    base::Rng rng(seed);
    RangeSet ranges;
    std::set<uint64_t> model;
    for (int i = 0; i < 300; ++i) {
      const uint64_t value = rng.Between(1, 40);
      if (rng.Chance(0.6)) {
        EXPECT_EQ(ranges.insert(value), model.insert(value).second);
      } else {
        EXPECT_EQ(ranges.erase(value), model.erase(value) == 1);
      }
      if (rng.Chance(0.03)) {
        ranges.EraseBelow(value);
        model.erase(model.begin(), model.lower_bound(value));
      }
      ASSERT_EQ(ranges.size(), model.size());
      for (uint64_t number = 0; number <= 41; ++number) {
        ASSERT_EQ(ranges.contains(number), model.contains(number)) << number;
        const auto behind = model.lower_bound(number);
        ASSERT_EQ(ranges.LastBelow(number), behind == model.begin() ? 0 : *std::prev(behind));
      }
    }
  }
}

TEST(RangeSet, AppendsOnlyBehindWhatIsThere) {
  RangeSet ranges;
  EXPECT_TRUE(ranges.Append({5, 6}));
  EXPECT_FALSE(ranges.Append({7, 7}));  // Adjacent: it is one run.
  EXPECT_FALSE(ranges.Append({9, 8}));
  EXPECT_TRUE(ranges.Append({8, 8}));
  EXPECT_EQ(ranges.TakeRunAt(8), 0u);
  EXPECT_EQ(ranges.TakeRunAt(5), 6u);
  EXPECT_EQ(ranges.size(), 1u);
}

SessionQueue QueueOf(int messages) {
  SessionQueue queue;
  for (int i = 0; i < messages; ++i) queue.Append(10);
  return queue;
}

TEST(SessionQueue, MovesItsHeadOverWhatIsDone) {
  SessionQueue queue = QueueOf(5);
  queue.MarkDone(2, 10);
  queue.MarkDone(4, 10);
  EXPECT_EQ(queue.head(), 1u);
  EXPECT_EQ(queue.messages(), 3u);
  queue.MarkDone(1, 10);
  EXPECT_EQ(queue.head(), 3u);
  queue.MarkDone(3, 10);
  EXPECT_EQ(queue.head(), 5u);
  EXPECT_EQ(queue.bytes(), 10u);
  queue.MarkDone(5, 10);
  EXPECT_EQ(queue.messages(), 0u);
  EXPECT_EQ(queue.head(), 6u);
}

TEST(SessionQueue, FindsOpenMessagesAmongDoneOnes) {
  SessionQueue queue = QueueOf(10);
  for (const uint64_t done : {1, 3, 4, 8}) queue.MarkDone(done, 10);  // Open: 2 5 6 7 9 10.
  EXPECT_EQ(queue.NthOpen(1), 2u);
  EXPECT_EQ(queue.NthOpen(2), 5u);
  EXPECT_EQ(queue.NthOpen(4), 7u);
  EXPECT_EQ(queue.NthOpen(5), 9u);
  EXPECT_EQ(queue.NthOpen(100), 10u);
  EXPECT_EQ(queue.NextOpen(0), 2u);
  EXPECT_EQ(queue.NextOpen(3), 5u);
  EXPECT_EQ(queue.NextOpen(8), 9u);
  EXPECT_EQ(queue.NextOpen(11), 11u);
}

TEST(SessionQueue, ComesBackFromItsRecord) {
  base::Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    SessionQueue queue = QueueOf(static_cast<int>(rng.Below(40)));
    for (uint64_t i = 0; i < rng.Below(40); ++i) {
      const uint64_t sequence = 1 + rng.Below(40);
      if (!queue.IsOpen(sequence)) continue;
      if (rng.Chance(0.3)) {
        queue.Release(sequence);
      } else {
        queue.MarkDone(sequence, 10);
      }
    }
    for (uint64_t i = 0; i < rng.Below(5); ++i) {
      queue.AddInbound(static_cast<uint16_t>(1 + rng.Below(65'535)));
    }
    queue.MarkSentThrough(rng.Below(50));
    SessionQueue back;
    ASSERT_TRUE(back.DecodeCursor(queue.EncodeCursor()).ok());
    EXPECT_EQ(back.EncodeCursor(), queue.EncodeCursor());
    EXPECT_EQ(back.messages(), queue.messages());
    EXPECT_EQ(back.bytes(), queue.bytes());
    EXPECT_EQ(back.released(), queue.released());
    EXPECT_EQ(back.inbound(), queue.inbound());
    EXPECT_EQ(back.sent_through(), queue.sent_through());
  }
}

TEST(SessionQueue, RefusesARecordThatContradictsItself) {
  SessionQueue queue = QueueOf(1);
  EXPECT_FALSE(queue.DecodeCursor("\xFF").ok());
  EXPECT_FALSE(queue.DecodeCursor("").ok());  // No head.
}

}  // namespace
}  // namespace storage
