// What this node wants, told to others; and what another one wants, told to the shards here.
#include "cluster/core/own_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cluster/core/routes_of_node.h"

namespace cluster {
namespace {

using storage::NodeId;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Confirmed(OwnRoutes& own) {
  std::vector<std::string> all;
  for (const OwnRoutes::Confirmed& one : own.TakeConfirmed())
    all.push_back(
        absl::StrCat("shard ", one.shard, ": ", one.number, one.taken_back == 0 ? "" : " anew"));
  return all;
}

std::vector<std::string> KeysIn(const RoutesTold& told) {
  std::vector<std::string> keys;
  for (const RouteDelta& change : told.frame.changes)
    keys.push_back(absl::StrCat(change.add ? "+" : "-", change.key));
  return keys;
}

TEST(OwnRoutes, AreConfirmedAtOnceWhereThereIsNoOtherNode) {
  OwnRoutes own({}, 1, 2);
  own.Change(1, 7, "a/#", std::nullopt, RouteLevel::kAll);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 1: 7"));
  EXPECT_THAT(Confirmed(own), IsEmpty());
}

TEST(OwnRoutes, AreConfirmedWhenEveryNodeHasThem) {
  OwnRoutes own({}, 1, 2);
  own.Join(NodeId(2));
  own.Join(NodeId(3));
  own.Change(0, 1, "a/#", std::nullopt, RouteLevel::kAll);
  own.Change(1, 1, "b/#", std::nullopt, RouteLevel::kAll);
  own.Change(0, 2, "c/#", std::nullopt, RouteLevel::kAll);
  own.OnTaken(NodeId(2), {.life = 1, .number = 3});
  EXPECT_THAT(Confirmed(own), IsEmpty());
  own.OnTaken(NodeId(3), {.life = 9, .number = 3});
  EXPECT_THAT(Confirmed(own), IsEmpty()) << "of another life";
  own.OnTaken(NodeId(3), {.life = 1, .number = 2});
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 1", "shard 1: 1"));
  own.Leave(NodeId(3));
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 2")) << "who has gone is not waited for";
}

TEST(OwnRoutes, WithoutMostNodesOnlyThoseThatAskAreWaitedFor) {
  OwnRoutes own({}, 1, 1);
  own.Join(NodeId(2));
  own.Join(NodeId(3));
  own.OnWanted(NodeId(2), {.ask = 5});
  own.Change(0, 1, "a", std::nullopt, RouteLevel::kAll);
  own.OnTaken(NodeId(2), {.life = 1, .number = 1});
  EXPECT_THAT(Confirmed(own), IsEmpty());
  own.SetDegraded(true);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 1"));
  own.Change(0, 2, "b", std::nullopt, RouteLevel::kAll);
  EXPECT_THAT(Confirmed(own), IsEmpty());
  own.OnLost(NodeId(2));
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 2"));
}

TEST(OwnRoutes, WhatWasConfirmedWithoutANodeIsTakenBackWhenThereAreMostNodesAgain) {
  OwnRoutes own({}, 1, 3);
  own.Join(NodeId(2));
  own.Join(NodeId(3));
  own.OnWanted(NodeId(2), {.ask = 5});
  const auto taken = [&](uint16_t node, uint64_t number) {
    own.OnTaken(NodeId(node), {.life = 1, .number = number});
  };
  own.Change(0, 1, "known", std::nullopt, RouteLevel::kAll);
  own.Change(1, 1, "known", std::nullopt, RouteLevel::kAll);
  taken(2, 2);
  taken(3, 2);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 1", "shard 1: 1"));
  own.SetDegraded(true);
  for (uint64_t number = 2; number < 5; ++number)
    own.Change(0, number, absl::StrCat("new ", number), std::nullopt, RouteLevel::kAll);
  EXPECT_THAT(Confirmed(own), IsEmpty()) << "node 2 can be reached";
  EXPECT_THAT(own.Unaware(), IsEmpty());
  taken(2, 5);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 4"));
  EXPECT_THAT(own.Unaware(), ElementsAre(NodeId(3)));
  own.Change(0, 5, "later", std::nullopt, RouteLevel::kAll);
  own.SetDegraded(false);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 1 anew")) << "of the others nothing was owed";
  taken(2, 6);
  taken(3, 4);
  EXPECT_THAT(Confirmed(own), IsEmpty());
  EXPECT_THAT(own.Unaware(), ElementsAre(NodeId(3)));
  taken(3, 6);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 5 anew"));
  EXPECT_THAT(own.Unaware(), IsEmpty());
}

// Who comes later knows that it does not know yet, and sends everything until it does.
TEST(OwnRoutes, ALaterLifeOfANodeIsOwedNothing) {
  OwnRoutes own({}, 1, 1);
  own.Join(NodeId(2));
  own.Join(NodeId(3));
  own.SetDegraded(true);
  own.Change(0, 1, "a", std::nullopt, RouteLevel::kAll);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 1"));
  EXPECT_THAT(own.Unaware(), ElementsAre(NodeId(2), NodeId(3)));
  own.OnTaken(NodeId(2), {.life = 1, .number = 1});
  EXPECT_THAT(own.Unaware(), ElementsAre(NodeId(3)));
  own.SetDegraded(false);
  for (const uint16_t node : {uint16_t{2}, uint16_t{3}}) {
    own.Leave(NodeId(node));
    own.Join(NodeId(node));
  }
  EXPECT_THAT(own.Unaware(), IsEmpty());
}

TEST(OwnRoutes, NothingIsTakenBackThatAllHaveHeardOfMeanwhile) {
  OwnRoutes own({}, 1, 1);
  own.Join(NodeId(2));
  own.SetDegraded(true);
  own.Change(0, 1, "a", std::nullopt, RouteLevel::kAll);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 1"));
  own.OnWanted(NodeId(2), {.ask = 5});
  own.OnTaken(NodeId(2), {.life = 1, .number = 1});
  own.SetDegraded(false);
  EXPECT_THAT(Confirmed(own), IsEmpty());
  own.SetDegraded(true);
  own.OnLost(NodeId(2));
  own.Change(0, 2, "b", std::nullopt, RouteLevel::kAll);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 2"));
  own.Leave(NodeId(2));
  own.SetDegraded(false);
  EXPECT_THAT(Confirmed(own), IsEmpty()) << "it is gone";
  own.Change(0, 3, "c", std::nullopt, RouteLevel::kAll);
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 3"));
}

TEST(OwnRoutes, AreCountedOverShardsAndByQos) {
  OwnRoutes own({}, 1, 2);
  own.OnWanted(NodeId(2), {.ask = 5});
  EXPECT_TRUE(own.Next(NodeId(2))->frame.whole) << "there is nothing";
  own.Change(0, 1, "a/#", std::nullopt, RouteLevel::kQos0);
  own.Change(1, 1, "a/#", std::nullopt, RouteLevel::kQos0);
  own.Change(1, 2, "a/#", RouteLevel::kQos0, RouteLevel::kAll);
  own.Change(0, 2, "a/#", RouteLevel::kQos0, std::nullopt);
  const std::optional<RoutesTold> told = own.Next(NodeId(2));
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(told->ask, 5u);
  EXPECT_THAT(KeysIn(*told), ElementsAre("+Ta/#", "+ta/#", "-Ta/#"));
  EXPECT_FALSE(own.Next(NodeId(2)).has_value());
  own.OnLost(NodeId(2));
  own.Change(0, 3, "b/#", std::nullopt, RouteLevel::kAll);
  EXPECT_FALSE(own.Next(NodeId(2)).has_value()) << "it has not asked since";
}

TEST(OwnRoutes, AMemberOfAGroupHasOneKeyThatChangesWithItsOptions) {
  OwnRoutes own({}, 1, 2);
  own.OnWanted(NodeId(2), {.ask = 5});
  EXPECT_TRUE(own.Next(NodeId(2))->frame.whole);
  MemberOfKey member{.shard = 1,
                     .connection = 300,
                     .filter = "$share/g/a",
                     .options = {.qos = mqtt::QoS::kAtLeastOnce},
                     .packet_size_max = 1000,
                     .client_id = "c"};
  MemberOfKey longer = member;
  longer.filter = "$share/g/a/b";
  const std::string first = MemberKeyOf(member);
  own.Join(NodeId(2));
  own.ChangeMember(1, 1, member, true);
  own.ChangeMember(1, 2, longer, true);
  own.ChangeMember(1, 3, member, true);  // Subscribed again, as before.
  member.subscription_id = 9;
  own.ChangeMember(1, 4, member, true);
  own.ChangeMember(1, 5, {.shard = 1, .connection = 300, .filter = "$share/g/a/b"}, false);
  own.ChangeMember(0, 1, {.shard = 0, .connection = 300, .filter = "$share/g/a"}, false);
  EXPECT_THAT(KeysIn(*own.Next(NodeId(2))),
              ElementsAre("+" + first, "+" + MemberKeyOf(longer), "-" + first,
                          "+" + MemberKeyOf(member), "-" + MemberKeyOf(longer)));
  EXPECT_EQ(own.keys(), 1u);
  EXPECT_THAT(Confirmed(own), IsEmpty());
  own.OnTaken(NodeId(2), {.life = 1, .number = 6});
  EXPECT_THAT(Confirmed(own), ElementsAre("shard 0: 1", "shard 1: 5"));
}

TEST(OwnRoutes, WhoDoesNotTakeFramesGetsNoMoreOfThem) {
  OwnRoutes own({}, 1, 1);
  for (uint64_t i = 1; i <= 40'000; ++i)
    own.Change(0, i, absl::StrCat("f", i), std::nullopt, RouteLevel::kAll);
  own.OnWanted(NodeId(2), {.ask = 1});
  uint64_t frames = 0;
  while (own.Next(NodeId(2)).has_value()) ++frames;
  EXPECT_EQ(frames, OwnRoutes::kFramesMax);
  own.OnTaken(NodeId(2), {.ask = 0, .frames = 3});
  EXPECT_FALSE(own.Next(NodeId(2)).has_value()) << "of an earlier asking";
  own.OnTaken(NodeId(2), {.ask = 1, .frames = 3});
  while (own.Next(NodeId(2)).has_value()) ++frames;
  EXPECT_EQ(frames, OwnRoutes::kFramesMax + 3);
}

TEST(RouteKeys, AreReadAsTheyWereWritten) {
  const std::string exact = RouteKeyOf("a/b");
  const std::string wildcard = RouteKeyOf("a/+", RouteLevel::kQos0);
  EXPECT_EQ(ParseRouteKey(exact)->level, RouteLevel::kAll);
  EXPECT_EQ(RouteKeyOf("a/b", RouteLevel::kQos0).substr(1), exact.substr(1));
  EXPECT_NE(ParseRouteKey(exact)->hash, 0u);
  EXPECT_EQ(ParseRouteKey(wildcard)->wildcard, "a/+");
  EXPECT_EQ(ParseRouteKey(wildcard)->level, RouteLevel::kQos0);
  const MemberOfKey member{.shard = 700,
                           .connection = uint64_t{1} << 40,
                           .filter = "$share/g/a",
                           .options = {.qos = mqtt::QoS::kExactlyOnce, .retain_as_published = true},
                           .subscription_id = 268'435'455,
                           .packet_size_max = 4'000'000'000,
                           .client_id = "client"};
  const std::string key = MemberKeyOf(member);
  const std::optional<RouteOfKey> read = ParseRouteKey(key);
  ASSERT_TRUE(read.has_value() && read->member.has_value());
  EXPECT_EQ(MemberKeyOf(*read->member), key);
  EXPECT_EQ(read->member->client_id, "client");
  EXPECT_EQ(read->member->packet_size_max, 4'000'000'000u);
  for (size_t size = 0; size < key.size() - member.client_id.size(); ++size)
    EXPECT_FALSE(ParseRouteKey(key.substr(0, size)).has_value()) << size;
  EXPECT_FALSE(ParseRouteKey("").has_value());
  EXPECT_FALSE(ParseRouteKey("hshort").has_value());
  EXPECT_FALSE(ParseRouteKey("x12345678").has_value());
}

TEST(RoutesOfNode, AreTakenWhenEveryShardHasThem) {
  RoutesOfNode routes(2);
  routes.Begin();
  EXPECT_TRUE(routes.stale());
  const RoutesWanted wanted = routes.Ask();
  RoutesTold told{.ask = wanted.ask, .frame = {}};
  told.frame = {.life = 4, .begin = true, .after = 9, .through = 9, .whole = true, .changes = {}};
  EXPECT_EQ(routes.OnTold({.ask = wanted.ask - 1, .frame = told.frame}),
            RoutesOfNode::Told::kBefore);
  EXPECT_EQ(routes.OnTold(told), RoutesOfNode::Told::kNews);
  EXPECT_FALSE(routes.stale());
  routes.Posted(100);
  EXPECT_FALSE(routes.OnShardTook(1, 100));
  EXPECT_EQ(routes.taken().number, 0u);
  EXPECT_TRUE(routes.OnShardTook(0, 100));
  EXPECT_EQ(routes.taken().number, 9u);
  EXPECT_EQ(routes.taken().frames, 1u);
  const RoutesWanted again = routes.Ask();
  EXPECT_TRUE(routes.stale());
  EXPECT_EQ(again.life, 4u);
  EXPECT_EQ(again.number, 9u);
  EXPECT_EQ(routes.OnTold(told), RoutesOfNode::Told::kBefore) << "it was on its way";
}

}  // namespace
}  // namespace cluster
