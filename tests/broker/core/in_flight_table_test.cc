// InFlightTable against a std::map.
#include "broker/core/in_flight_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <map>

#include "base/rng.h"

namespace broker {
namespace {

using State = InFlightTable::State;
using mqtt::PacketId;

State RandomState(base::Rng& rng) { return static_cast<State>(1 + rng.Below(4)); }

TEST(InFlightTable, IsEmptyAndSmallAtFirst) {
  const InFlightTable table;
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.Find(PacketId{1}), State::kFree);
  EXPECT_EQ(table.Find(PacketId{65'535}), State::kFree);
  EXPECT_LE(sizeof(InFlightTable), 32u);
}

TEST(InFlightTable, IdentifiersThatShareASlotAreApart) {
  InFlightTable table;
  table.Set(PacketId{1}, State::kAwaitingPubAck);
  table.Set(PacketId{32'769}, State::kAwaitingPubRec);
  EXPECT_EQ(table.Find(PacketId{1}), State::kAwaitingPubAck);
  EXPECT_EQ(table.Find(PacketId{32'769}), State::kAwaitingPubRec);
  EXPECT_EQ(table.Find(PacketId{17}), State::kFree);
  table.Erase(PacketId{17});
  EXPECT_EQ(table.size(), 2u);
}

TEST(InFlightTable, ErasingTheLastOneLeavesAUsableTable) {
  InFlightTable table;
  for (int round = 0; round < 3; ++round) {
    for (uint16_t id = 1; id <= 100; ++id) table.Set(PacketId{id}, State::kAwaitingPubAck);
    for (uint16_t id = 1; id <= 100; ++id) table.Erase(PacketId{id});
    EXPECT_TRUE(table.empty());
    EXPECT_EQ(table.Find(PacketId{50}), State::kFree);
  }
}

TEST(InFlightTable, IdentifiersGoRoundFromOneTo65535) {
  InFlightTable table;
  for (uint32_t i = 0; i < 65'535 * 2; ++i)
    ASSERT_EQ(table.NextFree(), PacketId{static_cast<uint16_t>(i % 65'535 + 1)});
}

TEST(InFlightTable, FindsTheOneFreeIdentifierOfAFullWindow) {
  InFlightTable table;
  for (uint32_t id = 1; id <= 65'535; ++id) {
    if (id != 40'000) table.Set(PacketId{static_cast<uint16_t>(id)}, State::kAwaitingPubAck);
  }
  EXPECT_EQ(table.size(), 65'534u);
  EXPECT_EQ(table.NextFree(), PacketId{40'000});
  EXPECT_EQ(table.NextFree(), PacketId{40'000});
  table.Erase(PacketId{39'999});
  EXPECT_EQ(table.NextFree(), PacketId{39'999});
}

// A window that moves along, as sessions have it, acknowledged in order or not.
struct WindowCase {
  uint64_t seed;
  size_t window;
  double in_order;
};
class InFlightWindow : public ::testing::TestWithParam<WindowCase> {};

TEST_P(InFlightWindow, DoesWhatAMapDoes) {
  base::Rng rng(GetParam().seed);
  InFlightTable table;
  std::map<uint16_t, State> model;
  std::deque<uint16_t> order;
  for (int step = 0; step < 200'000; ++step) {
    if (model.size() < GetParam().window && rng.Chance(0.6)) {
      const PacketId id = table.NextFree();
      ASSERT_NE(id.value, 0);
      ASSERT_FALSE(model.contains(id.value)) << id.value << " is in use";
      const State state = RandomState(rng);
      table.Set(id, state);
      model[id.value] = state;
      order.push_back(id.value);
    } else if (!order.empty()) {
      const size_t place = rng.Chance(GetParam().in_order) ? 0 : rng.Below(order.size());
      const uint16_t id = order[place];
      ASSERT_EQ(table.Find(PacketId{id}), model[id]);
      if (rng.Chance(0.3)) {
        const State state = RandomState(rng);
        table.Set(PacketId{id}, state);
        model[id] = state;
      } else {
        table.Erase(PacketId{id});
        model.erase(id);
        order.erase(order.begin() + static_cast<ptrdiff_t>(place));
      }
    }
    ASSERT_EQ(table.size(), model.size());
    const auto any = static_cast<uint16_t>(rng.Below(65'536));
    const auto known = model.find(any);
    ASSERT_EQ(table.Find(PacketId{any}), known == model.end() ? State::kFree : known->second);
  }
  for (uint32_t id = 0; id <= 65'535; ++id) {
    const auto known = model.find(static_cast<uint16_t>(id));
    ASSERT_EQ(table.Find(PacketId{static_cast<uint16_t>(id)}),
              known == model.end() ? State::kFree : known->second);
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, InFlightWindow,
                         ::testing::Values(WindowCase{1, 1, 1.0}, WindowCase{2, 10, 0.9},
                                           WindowCase{3, 1000, 0.5}, WindowCase{4, 65'000, 0.99},
                                           WindowCase{5, 65'534, 0.999}));

TEST(InFlightTable, DoesWhatAMapDoesWithIdentifiersFromAnywhere) {
  base::Rng rng(7);
  InFlightTable table;
  std::map<uint16_t, State> model;
  for (int step = 0; step < 100'000; ++step) {
    const auto id = static_cast<uint16_t>(1 + rng.Below(step < 50'000 ? 300 : 65'535));
    if (rng.Chance(0.5)) {
      const State state = RandomState(rng);
      table.Set(PacketId{id}, state);
      model[id] = state;
    } else {
      table.Erase(PacketId{id});
      model.erase(id);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  for (const auto& [id, state] : model) ASSERT_EQ(table.Find(PacketId{id}), state);
}

// Of a window as wide as can be, all acknowledged and filled again, over the wrap-around.
TEST(InFlightTable, A65000WideWindowWrapsAround) {
  InFlightTable table;
  std::deque<uint16_t> order;
  for (int i = 0; i < 200'000; ++i) {
    if (order.size() == 65'000) {
      table.Erase(PacketId{order.front()});
      order.pop_front();
    }
    const PacketId id = table.NextFree();
    ASSERT_EQ(table.Find(id), State::kFree);
    table.Set(id, State::kAwaitingPubAck);
    order.push_back(id.value);
  }
  ASSERT_EQ(table.size(), 65'000u);
  for (const uint16_t id : order) ASSERT_EQ(table.Find(PacketId{id}), State::kAwaitingPubAck);
}

}  // namespace
}  // namespace broker
