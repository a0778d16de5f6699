// TimerWheel: nothing early, nothing lost, however far away.
#include "broker/shard/timer_wheel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// The wheel needs of a connection its number and the time it is filed for; the listener is not
// looked into.
std::unique_ptr<Connection> ConnectionOf(uint64_t number) {
  alignas(std::max_align_t) static char nowhere[1];
  return std::make_unique<Connection>(storage::ConnectionRef{.connection = number}, nullptr,
                                      reinterpret_cast<const ListenerTerms&>(nowhere));
}

std::vector<uint64_t> Advance(TimerWheel& wheel, uint32_t now_tick) {
  std::vector<uint64_t> visited;
  wheel.Advance(now_tick, [&](uint64_t number, uint32_t at_tick) {
    EXPECT_LE(at_tick, now_tick);
    visited.push_back(number);
  });
  return visited;
}

TEST(TimerWheel, VisitsAtTheTickItWasFiledFor) {
  TimerWheel wheel;
  const auto connection = ConnectionOf(7);
  EXPECT_THAT(Advance(wheel, 100), IsEmpty());
  wheel.File(*connection, 103);
  EXPECT_THAT(Advance(wheel, 102), IsEmpty());
  EXPECT_THAT(Advance(wheel, 103), ElementsAre(7));
  EXPECT_THAT(Advance(wheel, 5000), IsEmpty());
}

TEST(TimerWheel, DeadlinesRoundsAwayComeInTheirRound) {
  TimerWheel wheel;
  Advance(wheel, 100);
  std::vector<std::unique_ptr<Connection>> connections;
  const uint32_t deadlines[] = {1124, 1123, 2148, 100 + 98'303, 101};
  for (const uint32_t at_tick : deadlines) {
    connections.push_back(ConnectionOf(at_tick));
    wheel.File(*connections.back(), at_tick);
  }
  for (uint32_t now_tick = 101; now_tick < 100'000; ++now_tick) {
    const bool due = std::count(std::begin(deadlines), std::end(deadlines), now_tick) != 0;
    if (due) {
      ASSERT_THAT(Advance(wheel, now_tick), ElementsAre(now_tick));
    } else {
      ASSERT_THAT(Advance(wheel, now_tick), IsEmpty());
    }
  }
}

TEST(TimerWheel, WhatIsFiledBeforeTheFirstAdvanceIsNotLost) {
  TimerWheel wheel;
  const auto early = ConnectionOf(1);
  const auto late = ConnectionOf(2);
  wheel.File(*early, 5);
  wheel.File(*late, 20);
  EXPECT_THAT(Advance(wheel, 10), ElementsAre(1));
  EXPECT_THAT(Advance(wheel, 20), ElementsAre(2));
}

TEST(TimerWheel, TellsWhenToLookNext) {
  TimerWheel wheel;
  Advance(wheel, 100);
  EXPECT_EQ(wheel.Next(10), 110u);
  const auto connection = ConnectionOf(7);
  wheel.File(*connection, 115);
  EXPECT_EQ(wheel.Next(10), 110u);
  EXPECT_THAT(Advance(wheel, 110), IsEmpty());
  EXPECT_EQ(wheel.Next(10), 115u);
  EXPECT_THAT(Advance(wheel, 115), ElementsAre(7));
  EXPECT_EQ(wheel.Next(10), 125u);
}

TEST(TimerWheel, ALongPauseBringsAllThatIsDue) {
  TimerWheel wheel;
  Advance(wheel, 1);
  std::vector<std::unique_ptr<Connection>> connections;
  for (uint64_t i = 2; i <= 5; ++i) {
    connections.push_back(ConnectionOf(i));
    wheel.File(*connections.back(), static_cast<uint32_t>(i * 1000));
  }
  EXPECT_THAT(Advance(wheel, 4500), UnorderedElementsAre(2, 3, 4));
  EXPECT_THAT(Advance(wheel, 5000), ElementsAre(5));
}

TEST(TimerWheel, ATimeThatIsOverComesInTheNextSecond) {
  TimerWheel wheel;
  Advance(wheel, 100);
  const auto connection = ConnectionOf(1);
  wheel.File(*connection, 50);
  EXPECT_THAT(Advance(wheel, 101), ElementsAre(1));
}

TEST(TimerWheel, AnEarlierTimeCountsAndALaterOneDoesNot) {
  TimerWheel wheel;
  Advance(wheel, 100);
  const auto connection = ConnectionOf(1);
  wheel.File(*connection, 200);
  wheel.File(*connection, 300);
  EXPECT_EQ(connection->filed_tick, 200u);
  wheel.File(*connection, 150);
  EXPECT_EQ(connection->filed_tick, 150u);
  EXPECT_THAT(Advance(wheel, 150), ElementsAre(1));
}

// As a shard uses it: packets only move the deadline; the wheel is asked every second, or late.
TEST(TimerWheel, LazyFilingMissesNoDeadline) {
  base::Rng rng(5);
  TimerWheel wheel;
  uint32_t now_tick = 1000;
  Advance(wheel, now_tick);
  std::map<uint64_t, std::unique_ptr<Connection>> connections;
  std::map<uint64_t, uint32_t> deadlines;
  uint64_t last = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (connections.size() < 50) {
      const uint64_t number = ++last;
      const auto after_s = static_cast<uint32_t>(1 + rng.Below(rng.Chance(0.2) ? 5000 : 100));
      connections[number] = ConnectionOf(number);
      deadlines[number] = now_tick + after_s;
      wheel.File(*connections[number], deadlines[number]);
    }
    auto any = connections.lower_bound(1 + rng.Below(last));
    if (any == connections.end()) any = connections.begin();
    if (rng.Chance(0.05)) {  // It goes: the wheel may still visit the number.
      deadlines.erase(any->first);
      connections.erase(any);
    } else {  // Its deadline moves, later without the wheel, earlier with it.
      uint32_t& deadline = deadlines[any->first];
      const auto moved = now_tick + static_cast<uint32_t>(1 + rng.Below(2000));
      if (moved < deadline) wheel.File(*any->second, moved);
      deadline = moved;
    }
    if (!rng.Chance(0.5)) continue;
    now_tick += rng.Chance(0.01) ? 3000 : 1;
    std::vector<uint64_t> over;
    wheel.Advance(now_tick, [&](uint64_t number, uint32_t at_tick) {
      const auto it = connections.find(number);
      if (it == connections.end() || it->second->filed_tick != at_tick) return;
      it->second->filed_tick = 0;
      if (deadlines[number] > now_tick) return wheel.File(*it->second, deadlines[number]);
      over.push_back(number);
    });
    for (const uint64_t number : over) {
      ASSERT_LE(deadlines[number], now_tick);
      deadlines.erase(number);
      connections.erase(number);
    }
    for (const auto& [number, deadline] : deadlines)
      ASSERT_GT(deadline, now_tick) << "missed " << number << " in step " << step;
  }
}

}  // namespace
}  // namespace broker
