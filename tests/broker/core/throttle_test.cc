// Who has to wait, by a clock that the test turns.
#include "broker/core/throttle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace broker {
namespace {

using Kind = Throttle::Verdict::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1'000 * kSecond;

TEST(Throttle, WithoutLimitsNobodyIsConcerned) {
  EXPECT_FALSE(Throttle::Concerns({}, false));
  EXPECT_TRUE(Throttle::Concerns({}, true));
  EXPECT_TRUE(Throttle::Concerns({.publish_rate_max = 1}, false));
  EXPECT_TRUE(Throttle::Concerns({.publish_bytes_rate_max = 1}, false));
}

TEST(Throttle, AClientAboveItsRateWaitsUntilItIsWithinIt) {
  Throttle throttle;
  const Limits limits{.publish_rate_max = 10};
  for (int i = 0; i < 20; ++i) {  // What is saved, and what this second brings.
    const Throttle::Verdict verdict = throttle.OnPublish(1, limits, false, 5, kStart + i);
    ASSERT_EQ(verdict.kind, i <= 9 ? Kind::kGoOn : Kind::kPause) << i;
  }
  const Throttle::Verdict verdict = throttle.OnPublish(1, limits, false, 5, kStart + 20);
  EXPECT_EQ(verdict.cause, ThrottleCause::kRate);
  EXPECT_GE(verdict.until_ns, kStart + 11 * kSecond / 10);
  EXPECT_LE(verdict.until_ns, kStart + 11 * kSecond / 10 + Throttle::kPaceNs);
  EXPECT_EQ(throttle.OnPublish(2, limits, false, 5, kStart).kind, Kind::kGoOn);
}

TEST(Throttle, BytesCountAsMessagesDo) {
  Throttle throttle;
  const Limits limits{.publish_rate_max = 1000, .publish_bytes_rate_max = 100};
  EXPECT_EQ(throttle.OnPublish(1, limits, false, 100, kStart).kind, Kind::kGoOn);
  const Throttle::Verdict verdict = throttle.OnPublish(1, limits, false, 500, kStart);
  EXPECT_EQ(verdict.kind, Kind::kPause);
  EXPECT_EQ(verdict.until_ns, kStart + 5 * kSecond + Throttle::kPaceNs);
}

TEST(Throttle, ByPolicyAClientAboveItsRateIsDisconnected) {
  Throttle throttle;
  const Limits limits{.publish_rate_max = 1, .publish_rate_policy = PublishRatePolicy::kDisconnect};
  EXPECT_EQ(throttle.OnPublish(1, limits, false, 5, kStart).kind, Kind::kGoOn);
  EXPECT_EQ(throttle.OnPublish(1, limits, false, 5, kStart).kind, Kind::kDisconnect);
  throttle.Forget(1);
  EXPECT_EQ(throttle.OnPublish(1, limits, false, 5, kStart).kind, Kind::kGoOn);
}

TEST(Throttle, WithMemoryShortEveryPublisherWaitsButNotForEver) {
  Throttle throttle;
  const Throttle::Verdict verdict = throttle.OnPublish(1, {}, true, 5, kStart);
  EXPECT_EQ(verdict.kind, Kind::kPause);
  EXPECT_EQ(verdict.cause, ThrottleCause::kMemory);
  EXPECT_EQ(verdict.until_ns, kStart + Throttle::kMemoryPauseNs);
  EXPECT_EQ(throttle.OnPublish(1, {}, false, 5, kStart).kind, Kind::kGoOn);
}

TEST(Waiting, TheEarliestMomentComesFirst) {
  Waiting waiting;
  waiting.Add(30, 3);
  waiting.Add(10, 1);
  waiting.Add(20, 2);
  EXPECT_EQ(waiting.next_ns(), 10);
  std::vector<uint64_t> due;
  const auto take = [&](int64_t now_ns) {
    due.clear();
    waiting.TakeDue(now_ns, [&](uint64_t connection) { due.push_back(connection); });
    return due;
  };
  EXPECT_THAT(take(9), IsEmpty());
  EXPECT_THAT(take(20), ElementsAre(1, 2));
  EXPECT_THAT(take(1000), ElementsAre(3));
  EXPECT_TRUE(waiting.empty());
}

}  // namespace
}  // namespace broker
