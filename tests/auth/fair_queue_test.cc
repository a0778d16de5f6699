#include "auth/core/fair_queue.h"

#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace auth {
namespace {

using ::testing::ElementsAre;
using Queue = FairQueue<std::string>;

std::vector<std::string> PopAll(Queue& queue) {
  std::vector<std::string> popped;
  while (auto item = queue.Pop()) popped.push_back(*item);
  return popped;
}

TEST(FairQueue, GroupsTakeTurnsAndWithinAGroupItsLanes) {
  Queue queue;
  for (const std::string item : {"1", "2", "3", "4"}) queue.Push({1, 1}, "flood" + item);
  queue.Push({1, 2}, "neighbour");
  queue.Push({2, 1}, "other1");
  queue.Push({2, 1}, "other2");
  EXPECT_EQ(queue.groups(), 2u);
  EXPECT_THAT(PopAll(queue),
              ElementsAre("flood1", "other1", "neighbour", "other2", "flood2", "flood3", "flood4"));
  EXPECT_EQ(queue.groups(), 0u);
}

TEST(FairQueue, WhatIsRemovedLeavesItsTurnToOthers) {
  Queue queue;
  const Queue::Id first = queue.Push({1, 1}, "a");
  queue.Push({1, 1}, "b");
  const Queue::Id alone = queue.Push({2, 1}, "c");
  EXPECT_EQ(queue.Remove(first), "a");
  EXPECT_EQ(queue.Remove(first), std::nullopt);
  EXPECT_EQ(queue.Remove(alone), "c");
  EXPECT_THAT(PopAll(queue), ElementsAre("b"));
}

TEST(FairQueue, RoomIsMadeAtTheCostOfWhoHasMost) {
  Queue queue;
  queue.Push({1, 1}, "a1");
  queue.Push({1, 1}, "a2");
  queue.Push({1, 2}, "a3");
  queue.Push({2, 1}, "b1");
  EXPECT_EQ(queue.RemoveForRoom({1, 1}), std::nullopt) << "nobody has more";
  EXPECT_EQ(queue.RemoveForRoom({1, 2}), "a2") << "a neighbour in its own group has more";
  queue.Push({1, 2}, "a4");
  EXPECT_EQ(queue.RemoveForRoom({3, 1}), "a4");
  EXPECT_EQ(queue.RemoveForRoom({3, 1}), "a3") << "the newest of the largest group";
  EXPECT_EQ(queue.RemoveForRoom({3, 1}), std::nullopt) << "all have one";
  EXPECT_THAT(PopAll(queue), ElementsAre("a1", "b1"));
}

// Random pushes, pops and removals against what must hold: nothing is lost or doubled, each lane
// stays in order, and between two turns of a waiting group every other has at most one.
TEST(FairQueue, KeepsItsPromisesUnderRandomUse) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    FairQueue<uint64_t> queue;
    std::vector<FairQueue<uint64_t>::Id> ids;
    uint64_t pushed = 0;
    uint64_t taken = 0;
    for (int step = 0; step < 2000; ++step) {
      const uint64_t what = rng() % 8;
      if (what < 4) {
        ids.push_back(queue.Push({rng() % 5, rng() % 3}, ++pushed));
      } else if (what < 6) {
        taken += queue.Pop().has_value() ? 1 : 0;
      } else if (what == 6 && !ids.empty()) {
        taken += queue.Remove(ids[rng() % ids.size()]).has_value() ? 1 : 0;
      } else {
        taken += queue.RemoveForRoom({rng() % 5, rng() % 3}).has_value() ? 1 : 0;
      }
      ASSERT_EQ(queue.size(), pushed - taken);
    }
    while (queue.Pop().has_value()) ++taken;
    EXPECT_EQ(pushed, taken);
  }
}

// Nanoseconds for an item of one address's flood: pushed, and half of them taken, half removed.
double CostPerItem(uint64_t items) {
  const base::Clock& clock = base::RealClock::Get();
  FairQueue<uint64_t> queue;
  std::vector<FairQueue<uint64_t>::Id> ids;
  ids.reserve(items);
  const int64_t begin = clock.MonotonicNs();
  for (uint64_t i = 0; i < items; ++i) ids.push_back(queue.Push({i % 3, i}, i));
  for (uint64_t i = 0; i < items / 2; ++i) {
    queue.Pop();
    queue.Remove(ids[items - 1 - i]);
  }
  return static_cast<double>(clock.MonotonicNs() - begin) / static_cast<double>(items);
}

TEST(FairQueue, AnItemCostsTheSameAmongFewAndAmongMany) {
  CostPerItem(1000);  // Warm.
  const double few = CostPerItem(10'000);
  const double many = CostPerItem(100'000);
  std::cout << "an item costs " << few << " ns among 10,000, " << many << " ns among 100,000\n";
  EXPECT_LT(many, few * 8) << "quadratic would be ten times";
}

}  // namespace
}  // namespace auth
