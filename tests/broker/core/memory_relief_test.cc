// Who goes when clients hold too much memory, and what it costs to find out.
#include "broker/core/memory_relief.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "tests/support/cpu_cost.h"

namespace broker {
namespace {

TEST(SharedBudget, ManyShardsStayWithinTheBoundTogetherButForAStepEach) {
  constexpr int64_t kMax = 100 << 20;
  constexpr uint32_t kShards = 8;
  base::Rng rng(4711);
  std::vector<SharedBudget> budgets(kShards, SharedBudget(kShards));
  std::vector<int64_t> held(kShards, 0);
  int looks = 0;
  const auto sum = [&] {
    ++looks;
    int64_t all = 0;
    for (const int64_t one : held) all += one;
    return all;
  };
  int grown = 0;
  for (int full = 0; full < 100;) {
    const size_t shard = rng() % kShards;
    held[shard] += 4096;
    ++grown;
    if (!budgets[shard].Fits(held[shard], kMax, sum)) ++full;
    ASSERT_LE(sum(), kMax + kShards * SharedBudget::kStepBytes + 4096);
    --looks;
  }
  EXPECT_GT(sum(), kMax / 8 * 7);
  EXPECT_LT(looks, grown / 8) << "a look is dear: one for many steps";
}

TEST(SharedBudget, ThereIsRoomAgainWhenItIsToldSo) {
  SharedBudget budget(1);
  EXPECT_FALSE(budget.Fits(101, 100, [] { return 101; }));
  EXPECT_TRUE(budget.full());
  EXPECT_FALSE(budget.Fits(101, 100, [] { return 101; }));
  budget.LookAgain();
  EXPECT_FALSE(budget.full());
  EXPECT_TRUE(budget.Fits(50, 100, [] { return 50; }));
}

TEST(ChooseWhoGoes, ThoseOfMostWeightUntilEnoughIsFree) {
  std::vector<MemoryHolder> holders = {
      {1, 100, 100}, {2, 10, 5000}, {3, 100, 400}, {4, 50, 1}, {5, 100, 300}};
  ASSERT_EQ(ChooseWhoGoes(holders, 111), 3u);
  EXPECT_EQ(holders[0].connection, 2u);
  EXPECT_EQ(holders[1].connection, 3u);
  EXPECT_EQ(holders[2].connection, 5u);
  EXPECT_EQ(ChooseWhoGoes(holders, 0), 0u);
  EXPECT_EQ(ChooseWhoGoes(holders, 1'000'000), 5u);
}

TEST(ShareOfRelief, EachGivesInProportionAndTogetherTheyGiveEnough) {
  EXPECT_EQ(ShareOfRelief(0, 1000, 0), 0);
  EXPECT_GE(ShareOfRelief(250, 1000, 100) + ShareOfRelief(750, 1000, 100), 100);
  EXPECT_LE(ShareOfRelief(250, 1000, 100), 26);
}

// Cost of each that goes, with N and with 10 N that hold something, an eighth of which go.
TEST(ChooseWhoGoes, CostsAsMuchForEachHoweverManyThereAre) {
  const auto ns_each = [](size_t count) {
    base::Rng rng(7);
    std::vector<MemoryHolder> all(count);
    for (MemoryHolder& one : all) one = {rng(), 1000, rng() % 1'000'000};
    return support::CpuNsPerItem(count / 8, 5, [&] {
      std::vector<MemoryHolder> holders = all;
      EXPECT_EQ(ChooseWhoGoes(holders, static_cast<int64_t>(count) * 1000 / 8), count / 8);
    });
  };
  EXPECT_LT(support::PrintedRatio("one that goes", ns_each(10'000), ns_each(100'000)), 5);
}

}  // namespace
}  // namespace broker
