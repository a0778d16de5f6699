// Rates, over years of a clock that the test turns.
#include "base/rate_meter.h"

#include <gtest/gtest.h>

#include <utility>

#include "base/rng.h"

namespace base {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1'000 * kSecond;

TEST(RateMeter, ASecondsWorthMayComeAtOnceAndNoMore) {
  for (const uint64_t rate : {1u, 7u, 1000u, 1'000'000u}) {
    RateMeter meter;
    uint64_t came = 0;
    while (meter.WaitFor(kStart, rate) == 0 && came <= 2 * rate) {
      meter.Take(kStart, rate);
      ++came;
    }
    EXPECT_EQ(came, rate);
  }
}

TEST(RateMeter, AfterThatOneComesWithEachShareOfASecond) {
  RateMeter meter;
  EXPECT_EQ(meter.Take(kStart, 10, 10), 0);
  EXPECT_EQ(meter.WaitFor(kStart, 10), kSecond / 10);
  EXPECT_EQ(meter.WaitFor(kStart + kSecond / 10 - 1, 10), 1);
  EXPECT_EQ(meter.WaitFor(kStart + kSecond / 10, 10), 0);
  EXPECT_EQ(meter.Take(kStart + kSecond / 10, 10), 0);
  EXPECT_EQ(meter.WaitFor(kStart + kSecond / 10, 10), kSecond / 10);
}

TEST(RateMeter, WhatCameTooMuchIsPaidForInFull) {
  RateMeter meter;
  EXPECT_EQ(meter.Take(kStart, 100, 100), 0);
  EXPECT_EQ(meter.Take(kStart, 100, 250), 5 * kSecond / 2);
  EXPECT_EQ(meter.Take(kStart + 5 * kSecond / 2, 100, 1), kSecond / 100);
}

TEST(RateMeter, AnUnusedRateIsNotSavedForLongerThanASecond) {
  RateMeter meter;
  meter.Take(kStart, 5, 5);
  const int64_t years_later = kStart + 100'000'000 * kSecond;
  EXPECT_TRUE(meter.IsRested(years_later));
  EXPECT_EQ(meter.Take(years_later, 5, 5), 0);
  EXPECT_GT(meter.WaitFor(years_later, 5), 0);
  EXPECT_FALSE(meter.IsRested(years_later));
}

TEST(RateMeter, AChangedRateHoldsFromTheNextOneOn) {
  RateMeter meter;
  meter.Take(kStart, 1);
  EXPECT_EQ(meter.WaitFor(kStart, 1), kSecond);
  EXPECT_EQ(meter.WaitFor(kStart, 1000), kSecond / 1000);
}

TEST(RateMeter, TheLargestAmountDoesNotOverflow) {
  RateMeter meter;
  EXPECT_EQ(meter.Take(kStart, 1, RateMeter::kAmountMax), (int64_t{1} << 32) * kSecond - kSecond);
  EXPECT_EQ(RateMeter().Take(kStart, uint64_t{1} << 40, 1), 0);
}

TEST(EvenRateMeter, OneMayAlwaysComeAndAFewMillisecondsWorth) {
  for (const auto& [rate, at_once] : {std::pair{1u, 1u}, {50u, 1u}, {1000u, 20u}, {4000u, 80u}}) {
    EvenRateMeter meter;
    uint64_t came = 0;
    while (meter.WaitFor(kStart, rate) == 0 && came <= rate) {
      meter.Take(kStart, rate);
      ++came;
    }
    EXPECT_EQ(came, at_once) << rate;
    EXPECT_EQ(meter.WaitFor(kStart, rate), kSecond / rate);
  }
}

TEST(EvenRateMeter, IsRestedWhenAnotherMayComeAtOnce) {
  EvenRateMeter meter;
  meter.Take(kStart, 1);
  EXPECT_FALSE(meter.IsRested(kStart + kSecond / 2));
  EXPECT_GT(meter.WaitFor(kStart + kSecond / 2, 1), 0);
  EXPECT_TRUE(meter.IsRested(kStart + kSecond));
  EXPECT_EQ(meter.WaitFor(kStart + kSecond, 1), 0);
}

// Over any time that a client waits as it is told, it is within the rate, and not far below it.
TEST(RateMeter, KeepsTheRateWhateverTheSteps) {
  Rng rng(4711);
  for (const uint64_t rate : {3u, 100u, 50'000u}) {
    RateMeter meter;
    int64_t now = kStart;
    uint64_t came = 0;
    for (int i = 0; i < 10'000; ++i) {
      const uint64_t amount = 1 + rng() % 20;
      came += amount;
      now += meter.Take(now, rate, amount);
    }
    const auto seconds = static_cast<double>(now - kStart) / 1e9;
    EXPECT_LE(static_cast<double>(came), (seconds + 1) * static_cast<double>(rate) + 1);
    EXPECT_GE(static_cast<double>(came), seconds * static_cast<double>(rate) * 0.999);
  }
}

}  // namespace
}  // namespace base
