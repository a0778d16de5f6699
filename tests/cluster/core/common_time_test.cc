#include "cluster/core/common_time.h"

#include "gtest/gtest.h"

namespace cluster {
namespace {

constexpr int64_t kWallMs = 1'790'000'000'000;
constexpr int64_t kDayMs = 86'400'000;

absl::Duration At(double seconds) { return absl::Seconds(1000) + absl::Seconds(seconds); }
TimeSaid Own(int64_t unix_ms) { return {.unix_ms = unix_ms}; }
TimeSaid Agreed(int64_t unix_ms) { return {.unix_ms = unix_ms, .agreed = true}; }

CommonTime Beginning(int64_t unix_ms) {
  CommonTime time;
  time.SetNow(unix_ms, At(0));
  return time;
}

// Of three, itself as node 1, as they ask the one after the other.
int64_t AgreedAs(TimeSaid first, TimeSaid second) {
  CommonTime time = Beginning(kWallMs);
  time.Lead(At(0));
  time.OnAsked(NodeId(1), first, true, 3);
  EXPECT_FALSE(time.agreed());
  time.OnAsked(NodeId(2), second, true, 3);
  EXPECT_TRUE(time.agreed());
  return time.TakeShift();
}

TEST(CommonTime, WhoStartsTakesTheLeadersWhateverItsOwnClockSays) {
  for (const int64_t apart_ms : {kDayMs, -kDayMs, int64_t{5}}) {
    CommonTime time = Beginning(kWallMs);
    time.OnLeader(Agreed(kWallMs + apart_ms));
    EXPECT_EQ(time.TakeShift(), apart_ms);
    EXPECT_EQ(time.TakeShift(), 0);
    EXPECT_EQ(time.Said().unix_ms, kWallMs + apart_ms);
    EXPECT_TRUE(time.Said().agreed);
  }
}

TEST(CommonTime, OfAnEarlierReleaseNothingIsTaken) {
  CommonTime time = Beginning(kWallMs);
  time.OnLeader({});
  EXPECT_TRUE(time.agreed());
  time.OnLeader({});
  EXPECT_EQ(time.TakeShift(), 0);
  EXPECT_EQ(AgreedAs(Own(kWallMs), {}), 0);
  EXPECT_EQ(AgreedAs({}, {}), 0);
}

// A machine whose wall clock was set while it was off may be the one that is elected.
TEST(CommonTime, ALeaderThatHasJustStartedTakesWhatOthersHave) {
  CommonTime time = Beginning(kWallMs + kDayMs);
  time.Lead(At(0));
  time.OnAsked(NodeId(1), Own(kWallMs + kDayMs), true, 3);
  EXPECT_FALSE(time.agreed());
  time.OnAsked(NodeId(9), Agreed(kWallMs), false, 3);
  EXPECT_EQ(time.TakeShift(), -kDayMs);
  EXPECT_TRUE(time.agreed());
}

TEST(CommonTime, WhereAllStartTheMedianOfMostOfThemCounts) {
  EXPECT_EQ(AgreedAs(Own(kWallMs), Own(kWallMs + kDayMs)), 0);
  EXPECT_EQ(AgreedAs(Own(kWallMs), Own(kWallMs - kDayMs)), -kDayMs) << "late, not early";
  CommonTime time = Beginning(kWallMs);
  time.Lead(At(0));
  time.OnAsked(NodeId(1), Own(kWallMs), true, 5);
  time.OnAsked(NodeId(2), Own(kWallMs + kDayMs), true, 5);
  time.OnAsked(NodeId(2), Own(kWallMs + kDayMs), true, 5);  // Again.
  time.OnAsked(NodeId(7), Own(kWallMs), false, 5);          // It has no say.
  EXPECT_FALSE(time.agreed());
  time.OnAsked(NodeId(3), Own(kWallMs + 70), true, 5);
  EXPECT_EQ(time.TakeShift(), 70);
}

TEST(CommonTime, ALeaderOfWhomNobodyAsksGoesOnWithWhatItHas) {
  CommonTime time = Beginning(kWallMs);
  time.Lead(At(0));
  time.OnAsked(NodeId(1), Own(kWallMs), true, 3);
  time.AgreeIfLate(At(9));
  EXPECT_FALSE(time.agreed());
  time.AgreeIfLate(At(11));
  EXPECT_TRUE(time.agreed());
  EXPECT_EQ(time.TakeShift(), 0);
}

// By its drift, and never by much at once.
TEST(CommonTime, WhoIsBehindFollowsSlowly) {
  CommonTime time = Beginning(kWallMs);
  time.OnLeader(Agreed(kWallMs));
  int64_t shifted = 0;
  for (int step = 1; step <= 100; ++step) {
    const int64_t own = kWallMs + step * 500 + shifted;
    time.SetNow(own, At(step * 0.5));
    time.OnLeader(Agreed(own + 3));
    const int64_t shift = time.TakeShift();
    EXPECT_EQ(shift, 3);
    shifted += shift;
  }
  const int64_t own = kWallMs + 3'600'000;
  time.SetNow(own, At(3600));
  time.OnAsked(NodeId(2), Agreed(own + 50'000), true, 3);
  EXPECT_EQ(time.TakeShift(), 1000);
  time.SetNow(own + 2000, At(3601));
  time.OnAsked(NodeId(2), Agreed(own + 50'000), true, 3);
  EXPECT_EQ(time.TakeShift(), 10);
}

TEST(CommonTime, NobodyGoesBackOrFollowsWhoIsWrong) {
  CommonTime time = Beginning(kWallMs);
  time.OnLeader(Agreed(kWallMs));
  for (const int64_t apart_ms : {-kDayMs, int64_t{-1}, int64_t{0}, int64_t{61'000}, kDayMs}) {
    time.SetNow(kWallMs, At(100));
    time.OnLeader(Agreed(kWallMs + apart_ms));
    time.OnAsked(NodeId(2), Agreed(kWallMs + apart_ms), true, 3);
    time.OnAsked(NodeId(3), Own(kWallMs + 100), true, 3);
    EXPECT_EQ(time.TakeShift(), 0) << apart_ms;
  }
}

TEST(CommonTime, OfWhoIsTooFarApartToBeFollowedIsToldOnceAMinute) {
  CommonTime time = Beginning(kWallMs);
  time.OnLeader(Agreed(kWallMs));
  time.OnLeader({});  // Of an earlier release.
  time.OnAsked(NodeId(2), Agreed(kWallMs - 60'000), true, 3);
  EXPECT_FALSE(time.TakeApart().has_value());
  for (const int64_t apart_ms : {kDayMs, -kDayMs}) {
    const double begin_s = apart_ms > 0 ? 100 : 200;
    for (int second = 0; second < 60; ++second) {
      time.SetNow(kWallMs, At(begin_s + second));
      time.OnAsked(NodeId(2), Agreed(kWallMs + apart_ms), true, 3);
      const auto apart = time.TakeApart();
      ASSERT_EQ(apart.has_value(), second == 0) << second;
      if (!apart.has_value()) continue;
      EXPECT_EQ(apart->node, NodeId(2));
      EXPECT_EQ(apart->ahead_ms, apart_ms);
    }
  }
  EXPECT_EQ(time.times_apart(), 120u);
  EXPECT_EQ(time.TakeShift(), 0);
  time.SetNow(kWallMs, At(300));
  time.OnLeader(Agreed(kWallMs + kDayMs));
  EXPECT_EQ(time.TakeApart().value().node, NodeId());
}

}  // namespace
}  // namespace cluster
