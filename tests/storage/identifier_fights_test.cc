// Fights for a Client Identifier: noticed, said once, and cheap to follow however many there are.
#include "storage/leader/identifier_fights.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/cpu_cost.h"

namespace storage {
namespace {

TEST(IdentifierFights, OneThatComesBackNowAndThenNeverWaits) {
  IdentifierFights fights(absl::Seconds(1));
  absl::Duration now;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(fights.OnTakeover("device", now).takeovers, 0u);
    EXPECT_EQ(fights.PauseOf("device", now), absl::ZeroDuration());
    now += absl::Seconds(3);
  }
}

TEST(IdentifierFights, ThePauseGrowsToItsBoundAndPassesWithTime) {
  IdentifierFights fights(absl::Seconds(1));
  const absl::Duration now = absl::Hours(1);
  absl::Duration last;
  for (int i = 0; i < 100; ++i) {
    fights.OnTakeover("device", now);
    const absl::Duration pause = fights.PauseOf("device", now);
    EXPECT_GE(pause, last);
    EXPECT_LE(pause, absl::Seconds(1));
    last = pause;
  }
  EXPECT_EQ(last, absl::Seconds(1));
  EXPECT_EQ(fights.PauseOf("another", now), absl::ZeroDuration());
  EXPECT_EQ(fights.PauseOf("device", now + absl::Minutes(1)), absl::ZeroDuration());
  IdentifierFights off{absl::ZeroDuration()};
  for (int i = 0; i < 100; ++i) off.OnTakeover("device", now);
  EXPECT_EQ(off.PauseOf("device", now), absl::ZeroDuration());
}

TEST(IdentifierFights, EachIsReportedOnceInAWindowWithItsCountAndNotTooManyOfThem) {
  IdentifierFights fights(absl::Seconds(1));
  absl::Duration now;
  uint64_t reports = 0;
  uint64_t takeovers = 0;
  for (int i = 0; i < 1000; ++i) {
    now += absl::Milliseconds(100);
    const auto report = fights.OnTakeover("device", now);
    if (report.takeovers > 0) ++reports;
    takeovers += report.takeovers;
  }
  EXPECT_GE(reports, 9u);
  EXPECT_LE(reports, 11u);
  EXPECT_GE(takeovers, 850u);
  now += absl::Minutes(1);
  reports = 0;
  for (int device = 0; device < 100; ++device) {
    for (int i = 0; i < 20; ++i) {
      if (fights.OnTakeover(std::to_string(device), now).takeovers > 0) ++reports;
    }
  }
  EXPECT_EQ(reports, IdentifierFights::kReportsMax);
  now += absl::Minutes(1);
  uint64_t left_out = 0;
  for (int i = 0; i < 20; ++i) left_out += fights.OnTakeover("device", now).left_out;
  EXPECT_EQ(left_out, 100 - IdentifierFights::kReportsMax);
}

// However many fight: what a takeover costs, and that they do not pile up.
TEST(IdentifierFights, ATakeoverCostsAsMuchHoweverManyFight) {
  const auto ns_each = [](size_t count) {
    std::vector<std::string> ids;
    for (size_t i = 0; i < count; ++i) ids.push_back("device-" + std::to_string(i));
    return support::CpuNsPerItem(20 * count, 3, [&] {
      IdentifierFights fights(absl::Seconds(1));
      absl::Duration now;
      for (int round = 0; round < 20; ++round) {
        for (const std::string& id : ids) {
          fights.OnTakeover(id, now);
          fights.PauseOf(id, now);
          now += absl::Microseconds(100);
        }
      }
      EXPECT_LE(fights.size(), IdentifierFights::kFightsMax);
    });
  };
  EXPECT_LT(support::PrintedRatio("a takeover", ns_each(2'000), ns_each(20'000)), 5);
}

}  // namespace
}  // namespace storage
