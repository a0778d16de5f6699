// Who of the new connections has a turn, by a clock that the test turns.
#include "broker/core/arrivals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Round {
  explicit Round(Arrivals::Bounds bounds) : arrivals(bounds) {}

  // Each takes so long, and leaves so many answers outstanding.
  std::vector<uint64_t> Serve(int64_t each_ns, size_t answers_each = 0) {
    std::vector<uint64_t> served;
    arrivals.ServeRound([this] { return now_ns; }, [this] { return answers; },
                        [&](uint64_t connection) {
                          served.push_back(connection);
                          now_ns += each_ns;
                          answers += answers_each;
                        });
    return served;
  }

  Arrivals arrivals;
  int64_t now_ns = 5000;
  size_t answers = 0;
};

TEST(Arrivals, AreServedInOrderUntilTheTimeOfARoundIsOver) {
  Round round({.round_ns = 200, .waiting_max = 100, .answers_max = 100});
  for (uint64_t connection = 1; connection <= 5; ++connection) round.arrivals.Push(connection);
  EXPECT_THAT(round.Serve(100), ElementsAre(1, 2));
  EXPECT_THAT(round.Serve(67), ElementsAre(3, 4, 5));
  EXPECT_THAT(round.Serve(100), IsEmpty());
}

TEST(Arrivals, OneGoesOnInEachRoundHoweverLongItTakes) {
  Round round({.round_ns = 200, .waiting_max = 100, .answers_max = 100});
  round.arrivals.Push(1);
  round.arrivals.Push(2);
  EXPECT_THAT(round.Serve(5000), ElementsAre(1));
  EXPECT_THAT(round.Serve(5000), ElementsAre(2));
}

TEST(Arrivals, WaitWhileTooManyAnswersAreOutstanding) {
  Round round({.round_ns = 200, .waiting_max = 100, .answers_max = 2});
  for (uint64_t connection = 1; connection <= 4; ++connection) round.arrivals.Push(connection);
  EXPECT_THAT(round.Serve(1, 1), ElementsAre(1, 2));
  EXPECT_FALSE(round.arrivals.Ready(round.answers));
  EXPECT_THAT(round.Serve(1, 1), IsEmpty());
  round.answers = 1;
  EXPECT_TRUE(round.arrivals.Ready(round.answers));
  EXPECT_THAT(round.Serve(1, 1), ElementsAre(3));
}

TEST(Arrivals, TheDoorIsClosedAtTheLimitAndOpenAtHalfOfIt) {
  using enum Arrivals::Door;
  Round round({.round_ns = 0, .waiting_max = 4, .answers_max = 100});
  for (uint64_t connection = 1; connection <= 3; ++connection) round.arrivals.Push(connection);
  EXPECT_EQ(round.arrivals.Decide(), kAsBefore);
  round.arrivals.Push(4);
  EXPECT_EQ(round.arrivals.Decide(), kClose);
  EXPECT_EQ(round.arrivals.Decide(), kAsBefore);
  round.Serve(1);
  EXPECT_EQ(round.arrivals.Decide(), kAsBefore);
  round.Serve(1);
  EXPECT_EQ(round.arrivals.Decide(), kOpen);
  EXPECT_EQ(round.arrivals.Decide(), kAsBefore);
}

}  // namespace
}  // namespace broker
