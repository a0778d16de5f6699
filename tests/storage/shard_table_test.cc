#include "storage/leader/shard_table.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

constexpr LiveNode kTwo{.node = NodeId(2), .incarnation = Incarnation(5), .shards = 3};
constexpr LiveNode kThree{.node = NodeId(3), .incarnation = Incarnation(1), .shards = 2};

ShardAddress Shard(const LiveNode& node, ShardId shard) {
  return {.node = node.node, .shard = shard, .incarnation = node.incarnation};
}

TEST(ShardTable, OwnShardsHaveTheFirstSlots) {
  ShardTable table(2);
  table.SetSelf(NodeId(1), Incarnation(7));
  EXPECT_EQ(table.SlotOf({NodeId(1), 1, Incarnation(7)}), 1);
  EXPECT_EQ(table.SlotOf({NodeId(1), 2, Incarnation(7)}), kNoShardSlot);
  EXPECT_EQ(table.SlotOf({NodeId(1), 1, Incarnation(6)}), kNoShardSlot);
  EXPECT_EQ(table.SlotOf({NodeId(0), 1, Incarnation(7)}), kNoShardSlot);
}

TEST(ShardTable, WhoComesGetsWhatOthersLeft) {
  ShardTable table(2);
  table.SetSelf(NodeId(1), Incarnation(1));
  EXPECT_EQ(table.Add(kTwo), 2);
  EXPECT_EQ(table.Add(kThree), 5);
  EXPECT_EQ(table.slots(), 7u);
  EXPECT_EQ(table.SlotOf(Shard(kThree, 1)), 6);
  EXPECT_EQ(table.AddressOf(6), Shard(kThree, 1));

  table.Remove(kTwo);
  EXPECT_EQ(table.SlotOf(Shard(kTwo, 0)), kNoShardSlot);
  EXPECT_TRUE(table.IsFree(2));
  LiveNode next = kTwo;
  next.incarnation = Incarnation(6);
  EXPECT_EQ(table.Add(next), 2);
  EXPECT_EQ(table.SlotOf(Shard(kTwo, 2)), kNoShardSlot);
  EXPECT_EQ(table.SlotOf(Shard(next, 2)), 4);

  LiveNode larger = kThree;
  larger.shards = 4;
  table.Remove(kThree);
  EXPECT_EQ(table.Add(larger), 5);
  EXPECT_EQ(table.slots(), 9u);
}

TEST(ShardTable, KnowsWhichLivesAreOver) {
  using Fate = ShardTable::Fate;
  ShardTable table(2);
  EXPECT_FALSE(table.in_cluster());
  table.SetSelf(NodeId(1), Incarnation(7));
  EXPECT_TRUE(table.in_cluster());
  EXPECT_EQ(table.FateOf(NodeId(1), Incarnation(7)), Fate::kLives);
  EXPECT_EQ(table.FateOf(NodeId(1), Incarnation(6)), Fate::kOver);
  EXPECT_EQ(table.FateOf(NodeId(0), Incarnation(6)), Fate::kOver);  // Alone, before.
  EXPECT_EQ(table.FateOf(NodeId(2), Incarnation(5)), Fate::kUnknown);
  table.Add(kTwo);
  EXPECT_EQ(table.FateOf(NodeId(2), Incarnation(4)), Fate::kOver);
  EXPECT_EQ(table.FateOf(NodeId(2), Incarnation(5)), Fate::kLives);
  EXPECT_EQ(table.FateOf(NodeId(2), Incarnation(6)), Fate::kUnknown);
  table.Remove(kTwo);
  EXPECT_EQ(table.FateOf(NodeId(2), Incarnation(5)), Fate::kOver);
  EXPECT_EQ(table.FateOf(NodeId(2), Incarnation(6)), Fate::kUnknown);
}

class UnknownShards : public HostTest {};

TEST_F(UnknownShards, AreNotHeardAndHearNothing) {
  OpenSession open;
  open.token = 1;
  open.connection = {.node = NodeId(2), .connection = 1};
  open.client_id = "stranger";
  open.window_messages = 1;
  sim_.core().OnRequest(open.connection.address(), Addressed(open));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), testing::IsEmpty());
  EXPECT_FALSE(sim_.core().node().LeaderOf("stranger").ConnectionOf("stranger").has_value());
}

}  // namespace
}  // namespace storage
