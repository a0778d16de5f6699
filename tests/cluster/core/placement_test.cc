#include "cluster/core/placement.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cluster {
namespace {

using storage::NodeId;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<PlacementNode> Nodes(std::initializer_list<int> numbers) {
  std::vector<PlacementNode> nodes;
  for (const int number : numbers) nodes.push_back({NodeId(static_cast<uint16_t>(number)), ""});
  return nodes;
}

std::map<NodeId, size_t> Replicas(const std::vector<GroupNodes>& groups) {
  std::map<NodeId, size_t> counts;
  for (const GroupNodes& group : groups) {
    for (const NodeId node : group.replicas) ++counts[node];
  }
  return counts;
}

std::map<NodeId, size_t> Leads(const std::vector<GroupNodes>& groups) {
  std::map<NodeId, size_t> counts;
  for (const GroupNodes& group : groups) ++counts[group.leader];
  return counts;
}

// Greatest less least, over all nodes.
size_t Spread(const std::map<NodeId, size_t>& counts, const std::vector<PlacementNode>& nodes) {
  size_t least = SIZE_MAX;
  size_t greatest = 0;
  for (const PlacementNode& node : nodes) {
    const auto it = counts.find(node.node);
    const size_t count = it == counts.end() ? 0 : it->second;
    least = std::min(least, count);
    greatest = std::max(greatest, count);
  }
  return greatest - least;
}

TEST(Placement, ThreeNodesHaveAReplicaOfEachGroupAndShareTheLeaderships) {
  const auto nodes = Nodes({1, 2, 3});
  const auto placed = PlaceGroups(nodes, 3, std::vector<GroupNodes>(16));
  for (const GroupNodes& group : placed)
    EXPECT_THAT(group.replicas, ElementsAre(NodeId(1), NodeId(2), NodeId(3)));
  EXPECT_LE(Spread(Leads(placed), nodes), 1u);
}

TEST(Placement, FewerNodesThanReplicasHaveOneEach) {
  const auto placed = PlaceGroups(Nodes({7}), 3, std::vector<GroupNodes>(2));
  for (const GroupNodes& group : placed) {
    EXPECT_THAT(group.replicas, ElementsAre(NodeId(7)));
    EXPECT_EQ(group.leader, NodeId(7));
  }
}

TEST(Placement, ANodeThatComesGetsItsShareAndNothingElseMoves) {
  const auto before = PlaceGroups(Nodes({1, 2, 3}), 3, std::vector<GroupNodes>(16));
  const auto nodes = Nodes({1, 2, 3, 4});
  const auto after = PlaceGroups(nodes, 3, before);
  EXPECT_LE(Spread(Replicas(after), nodes), 1u);
  EXPECT_LE(Spread(Leads(after), nodes), 1u);
  const auto moves = MovesBetween(before, after);
  EXPECT_EQ(moves.size(), 12u);  // 48 replicas on four nodes.
  for (const PlacementMove& move : moves) EXPECT_EQ(move.to, NodeId(4));
}

TEST(Placement, WhatANodeHadThatGoesIsSharedByTheOthers) {
  const auto before = PlaceGroups(Nodes({1, 2, 3, 4}), 3, std::vector<GroupNodes>(16));
  const auto nodes = Nodes({1, 2, 4});
  const auto after = PlaceGroups(nodes, 3, before);
  EXPECT_LE(Spread(Replicas(after), nodes), 1u);
  for (const PlacementMove& move : MovesBetween(before, after)) EXPECT_EQ(move.from, NodeId(3));
}

TEST(Placement, ReplicasOfAGroupAreInDifferentZones) {
  const std::vector<PlacementNode> nodes = {{NodeId(1), "a"}, {NodeId(2), "a"}, {NodeId(3), "b"},
                                            {NodeId(4), "b"}, {NodeId(5), "c"}, {NodeId(6), "c"}};
  const auto placed = PlaceGroups(nodes, 3, std::vector<GroupNodes>(16));
  for (const GroupNodes& group : placed) {
    std::set<int> zones;
    for (const NodeId node : group.replicas) zones.insert((node.value() - 1) / 2);
    EXPECT_EQ(zones.size(), 3u);
  }
  EXPECT_LE(Spread(Replicas(placed), nodes), 1u);
  // All in one zone, before zones were told of.
  std::vector<GroupNodes> crowded(4, {.replicas = {NodeId(1), NodeId(2)}, .leader = NodeId(1)});
  for (const GroupNodes& group : PlaceGroups(nodes, 2, crowded))
    EXPECT_NE((group.replicas[0].value() - 1) / 2, (group.replicas[1].value() - 1) / 2);
}

// Whatever was there before: balanced, nothing moves that need not, and it is the end of it.
TEST(Placement, IsBalancedAndMovesNoMoreThanItMustFromAnywhere) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    base::Rng rng(seed);
    const size_t groups = 1 + rng.Below(32);
    const size_t all = 1 + rng.Below(9);
    const auto replicas = static_cast<uint32_t>(1 + rng.Below(4));
    std::vector<GroupNodes> current(groups);
    for (GroupNodes& group : current) {
      std::set<NodeId> had;
      const size_t count = rng.Below(5);
      for (size_t i = 0; i < count; ++i)
        had.insert(NodeId(static_cast<uint16_t>(1 + rng.Below(all + 2))));
      group.replicas.assign(had.begin(), had.end());
      if (!had.empty()) group.leader = group.replicas[rng.Below(had.size())];
    }
    std::vector<PlacementNode> nodes;
    for (size_t i = 1; i <= all; ++i) nodes.push_back({NodeId(static_cast<uint16_t>(i)), ""});
    const auto placed = PlaceGroups(nodes, replicas, current);
    ASSERT_LE(Spread(Replicas(placed), nodes), 1u);
    for (const GroupNodes& group : placed) {
      ASSERT_EQ(group.replicas.size(), std::min<size_t>(replicas, all));
      ASSERT_TRUE(std::is_sorted(group.replicas.begin(), group.replicas.end()));
      ASSERT_EQ(std::count(group.replicas.begin(), group.replicas.end(), group.leader), 1);
    }
    if (all <= replicas) {
      ASSERT_LE(Spread(Leads(placed), nodes), 1u);
    }
    EXPECT_EQ(PlaceGroups(nodes, replicas, placed), placed);
    std::shuffle(nodes.begin(), nodes.end(), rng);
    EXPECT_EQ(PlaceGroups(nodes, replicas, current), placed);

    // From a balanced one, a node that comes gets exactly its share.
    nodes.push_back({NodeId(100), ""});
    const auto grown = PlaceGroups(nodes, replicas, placed);
    size_t moved = 0;
    for (const PlacementMove& move : MovesBetween(placed, grown)) {
      EXPECT_EQ(move.to, NodeId(100));
      ++moved;
    }
    const size_t total = groups * std::min<size_t>(replicas, all + 1);
    if (all >= replicas) {
      EXPECT_EQ(moved, total / (all + 1));
    }
  }
}

TEST(Placement, SixtyFourNodesAndGroupsTakeNoTimeWorthMentioning) {
  std::vector<PlacementNode> nodes;
  for (uint16_t i = 1; i <= 64; ++i) nodes.push_back({NodeId(i), absl::StrCat("zone", i % 3)});
  auto placed = PlaceGroups(nodes, 3, std::vector<GroupNodes>(65));
  EXPECT_LE(Spread(Leads(placed), nodes), 1u);
  nodes.resize(20);
  placed = PlaceGroups(nodes, 3, placed);
  EXPECT_THAT(MovesBetween(placed, PlaceGroups(nodes, 3, placed)), IsEmpty());
}

}  // namespace
}  // namespace cluster
