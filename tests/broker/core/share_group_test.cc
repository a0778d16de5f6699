// Who of a `$share` group gets a message, by strategy.
#include "broker/core/share_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "broker/core/session.h"

namespace broker {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Le;
using ::testing::UnorderedElementsAre;

constexpr ShareStrategy kStrategies[] = {ShareStrategy::kRoundRobin,    ShareStrategy::kRandom,
                                         ShareStrategy::kLeastInFlight, ShareStrategy::kSticky,
                                         ShareStrategy::kHashClient,    ShareStrategy::kHashTopic};

ShareMember Member(std::string client_id, bool connected = true) {
  ShareMember member;
  member.client_id = std::move(client_id);
  member.connected = connected;
  member.durable = !connected;
  member.options.qos = mqtt::QoS::kAtLeastOnce;
  return member;
}

using Verdict = ShareGroup::Verdict;
using Asked = ShareGroup::Asked;

Verdict AcceptAll(const ShareMember&, Asked) { return Verdict::kTakes; }

class ShareGroupTest : public ::testing::Test {
 protected:
  void Add(std::initializer_list<const char*> ids) {
    for (const char* const id : ids) group_.Set(Member(id));
  }
  template <typename Wanted>
  std::string ChooseIf(Wanted&& wanted) {
    const ShareGroup::Choice choice =
        group_.Choose(question_, rng_, [&](const ShareMember& member, Asked) {
          return wanted(member) ? Verdict::kTakes : Verdict::kPasses;
        });
    return choice.member == nullptr ? "nobody" : choice.member->client_id;
  }
  std::string Choose() {
    return ChooseIf([](const ShareMember&) { return true; });
  }
  std::string ChooseButNot(std::string_view id) {
    return ChooseIf([&](const ShareMember& member) { return member.client_id != id; });
  }
  std::vector<std::string> Choose(size_t times) {
    std::vector<std::string> chosen;
    for (size_t i = 0; i < times; ++i) chosen.push_back(Choose());
    return chosen;
  }
  std::map<std::string, size_t> Count(size_t times) {
    std::map<std::string, size_t> counts;
    for (size_t i = 0; i < times; ++i) ++counts[Choose()];
    return counts;
  }

  FullClients full_;
  ShareGroup group_{"$share/g/t", full_};
  ShareGroup::Question question_{.topic = "t", .publisher = "p", .qos = mqtt::QoS::kAtLeastOnce};
  base::Rng rng_{1};
};

// ---- Members of other nodes ----

TEST_F(ShareGroupTest, AnIdentifierThatTwoNodesTellOfIsTwoMembers) {
  for (const ShareStrategy strategy : kStrategies) {
    question_.strategy = strategy;
    ShareMember at_2 = Member("c");
    at_2.of_node = storage::NodeId(2);
    ShareMember at_3 = Member("c");
    at_3.of_node = storage::NodeId(3);
    Add({"c"});
    group_.Set(at_2);
    group_.Set(at_3);
    EXPECT_EQ(group_.size(), 3u);
    group_.Remove("c");
    EXPECT_EQ(group_.Find("c"), nullptr);
    ASSERT_NE(group_.Find("c", storage::NodeId(3)), nullptr);
    group_.Remove("c", storage::NodeId(2));
    EXPECT_EQ(Choose(3), (std::vector<std::string>{"c", "c", "c"})) << "the one that is left";
    group_.Remove("c", storage::NodeId(3));
    EXPECT_EQ(Choose(), "nobody");
  }
}

TEST_F(ShareGroupTest, WhoIsFullHereSaysNothingOfAnotherNodesMember) {
  ShareMember elsewhere = Member("c");
  elsewhere.of_node = storage::NodeId(2);
  group_.Set(elsewhere);
  full_.Add("c");
  EXPECT_FALSE(group_.Choose(question_, rng_, AcceptAll).regardless);
}

// ---- Every strategy ----

class EveryStrategy : public ShareGroupTest, public ::testing::WithParamInterface<ShareStrategy> {
 protected:
  EveryStrategy() { question_.strategy = GetParam(); }
};

TEST_P(EveryStrategy, AnEmptyGroupHasNobody) {
  EXPECT_TRUE(group_.empty());
  EXPECT_EQ(Choose(), "nobody");
  Add({"a"});
  group_.Remove("a");
  EXPECT_TRUE(group_.empty());
  EXPECT_EQ(Choose(), "nobody");
}

TEST_P(EveryStrategy, TheOnlyMemberGetsAll) {
  Add({"a"});
  EXPECT_THAT(Choose(5), Each("a"));
}

TEST_P(EveryStrategy, ConnectedMembersGoBeforeOfflineOnes) {
  for (const char* const id : {"a", "b", "d", "e"}) group_.Set(Member(id, false));
  Add({"c"});
  EXPECT_THAT(Choose(20), Each("c"));
  EXPECT_NE(ChooseButNot("c"), "nobody") << "an offline one is better than none";
  EXPECT_NE(ChooseButNot("c"), "c");
}

TEST_P(EveryStrategy, OfflineMembersGetItWhenNobodyIsConnected) {
  for (const char* const id : {"a", "b"}) group_.Set(Member(id, false));
  EXPECT_NE(Choose(), "nobody");
}

TEST_P(EveryStrategy, WhoRefusesPassesItOn) {
  Add({"a", "b", "c"});
  for (const std::string only : {"a", "b", "c"}) {
    EXPECT_EQ(ChooseIf([&](const ShareMember& member) { return member.client_id == only; }), only);
  }
}

TEST_P(EveryStrategy, EachCandidateIsAskedOnceAndNobodyTakesWhatAllRefuse) {
  Add({"a", "b"});
  group_.Set(Member("c", false));
  std::vector<std::string> asked;
  const auto refuse = [&](const ShareMember& member, Asked how) {
    if (how == Asked::kForRoom) asked.push_back(member.client_id);
    return Verdict::kPasses;
  };
  EXPECT_EQ(group_.Choose(question_, rng_, refuse).member, nullptr);
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_EQ(asked[2], "c");
  EXPECT_NE(asked[0], asked[1]);
}

TEST_P(EveryStrategy, WhoLeftGetsNothing) {
  Add({"a", "b", "c"});
  Choose(4);
  group_.Remove("b");
  group_.Remove("unknown");
  for (const std::string& id : Choose(20)) EXPECT_NE(id, "b");
}

TEST_P(EveryStrategy, AMemberIsThereOnce) {
  Add({"c", "a", "b", "a", "c"});
  std::vector<std::string> ids;
  group_.ForEachMember([&](const ShareMember& member) { ids.push_back(member.client_id); });
  EXPECT_THAT(ids, UnorderedElementsAre("a", "b", "c"));
}

TEST_P(EveryStrategy, NothingOfQoS0IsForThoseWhoAreAway) {
  group_.Set(Member("a", false));
  ShareMember granted_0 = Member("b", false);
  granted_0.options.qos = mqtt::QoS::kAtMostOnce;
  group_.Set(granted_0);
  EXPECT_THAT(Choose(4), Each("a"));
  question_.qos = mqtt::QoS::kAtMostOnce;
  EXPECT_EQ(Choose(), "nobody");
}

TEST_P(EveryStrategy, WhoHasNoRoomIsPassedOverUntilItHas) {
  Add({"a", "b", "c"});
  group_.Set(Member("d", false));
  full_.Add("a");
  for (const std::string& id : Choose(20)) EXPECT_NE(id, "a");
  full_.Add("b");
  full_.Add("c");
  EXPECT_THAT(Choose(4), Each("d")) << "who is away and has room goes before who is full";
  full_.Add("d");
  const ShareGroup::Choice choice = group_.Choose(question_, rng_, AcceptAll);
  ASSERT_NE(choice.member, nullptr);
  EXPECT_TRUE(choice.regardless);
  full_.Remove("b");
  EXPECT_THAT(Choose(4), Each("b"));
  for (const char* const id : {"a", "c", "d"}) full_.Remove(id);
  EXPECT_TRUE(full_.empty());
  if (question_.strategy == ShareStrategy::kRoundRobin) {
    EXPECT_EQ(Count(30)["a"], 10u);
  }
}

TEST_P(EveryStrategy, WhoSaysThatItHasNoRoomIsNotAskedAgain) {
  Add({"a", "b"});
  size_t asked = 0;
  const auto ask = [&](const ShareMember& member, Asked how) {
    if (member.client_id != "a" || how == Asked::kRegardless) return Verdict::kTakes;
    ++asked;
    return Verdict::kWithoutRoom;
  };
  for (int i = 0; i < 10; ++i) {
    const ShareGroup::Choice choice = group_.Choose(question_, rng_, ask);
    EXPECT_EQ(choice.member->client_id, "b");
    EXPECT_FALSE(choice.regardless);
  }
  EXPECT_LE(asked, 1u);
  group_.Remove("b");
  const ShareGroup::Choice last = group_.Choose(question_, rng_, ask);
  EXPECT_EQ(last.member->client_id, "a");
  EXPECT_TRUE(last.regardless);
  EXPECT_TRUE(full_.Contains("a"));
}

TEST_P(EveryStrategy, WhatOneCannotTakeGoesToAnotherAndToSomebodyIfNobodyCan) {
  Add({"a", "b"});
  const auto only = [](std::string_view id) {
    return [id](const ShareMember& member, Asked how) {
      const bool takes = member.client_id == id || how == Asked::kRegardless;
      return takes ? Verdict::kTakes : Verdict::kPasses;
    };
  };
  for (int i = 0; i < 6; ++i) {
    const ShareGroup::Choice choice = group_.Choose(question_, rng_, only("b"));
    EXPECT_EQ(choice.member->client_id, "b");
    EXPECT_FALSE(choice.regardless);
  }
  const ShareGroup::Choice choice = group_.Choose(question_, rng_, only("nobody"));
  ASSERT_NE(choice.member, nullptr);
  EXPECT_TRUE(choice.regardless);
}

TEST_P(EveryStrategy, AReplacedMemberHasItsNewState) {
  Add({"a"});
  ShareMember member = Member("a", false);
  member.subscription_id = 7;
  member.partition = 3;
  group_.Set(member);
  ASSERT_EQ(group_.size(), 1u);
  const ShareMember* const known = group_.Find("a");
  ASSERT_NE(known, nullptr);
  EXPECT_FALSE(known->connected);
  EXPECT_EQ(known->subscription_id, 7u);
  EXPECT_EQ(known->partition, 3);
}

std::string StrategyName(const ::testing::TestParamInfo<ShareStrategy>& info) {
  constexpr const char* kNames[] = {"RoundRobin", "Random",     "LeastInFlight",
                                    "Sticky",     "HashClient", "HashTopic"};
  return kNames[static_cast<size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(Strategies, EveryStrategy, ::testing::ValuesIn(kStrategies), StrategyName);

// ---- Round robin ----

TEST_F(ShareGroupTest, RoundRobinGoesRound) {
  Add({"a", "b", "c"});
  EXPECT_THAT(Choose(6), ElementsAre("a", "b", "c", "a", "b", "c"));
}

TEST_F(ShareGroupTest, RoundRobinSkipsNobodyWhenAMemberLeavesBehindIt) {
  Add({"a", "b", "c"});
  EXPECT_THAT(Choose(2), ElementsAre("a", "b"));
  group_.Remove("a");
  EXPECT_THAT(Choose(3), ElementsAre("c", "b", "c"));
}

TEST_F(ShareGroupTest, RoundRobinRepeatsNobodyWhenAMemberComesBehindIt) {
  Add({"b", "c"});
  EXPECT_EQ(Choose(), "b");
  Add({"a"});
  EXPECT_THAT(Choose(4), ElementsAre("c", "a", "b", "c"));
}

TEST_F(ShareGroupTest, RoundRobinIsEvenAfterEveryChangeOfMembers) {
  std::set<std::string> members;
  for (int round = 0; round < 300; ++round) {
    const std::string id(1, static_cast<char>('a' + rng_.Below(8)));
    if (rng_.Chance(0.5)) {
      members.insert(id);
      group_.Set(Member(id));
    } else {
      members.erase(id);
      group_.Remove(id);
    }
    if (members.empty()) continue;
    const std::map<std::string, size_t> counts =
        Count(members.size() * 3 + rng_.Below(members.size()));
    ASSERT_EQ(counts.size(), members.size());
    for (const auto& [each, count] : counts) ASSERT_THAT(count, AllOf(Ge(3u), Le(4u))) << each;
  }
}

TEST_F(ShareGroupTest, RoundRobinIsEvenAmongConnectedOnes) {
  Add({"a", "c", "d"});
  group_.Set(Member("b", false));
  EXPECT_THAT(Choose(6), ElementsAre("a", "c", "d", "a", "c", "d"));
}

// ---- Sticky ----

TEST_F(ShareGroupTest, StickySticksWhoeverElseComesOrGoes) {
  question_.strategy = ShareStrategy::kSticky;
  Add({"m"});
  EXPECT_EQ(Choose(), "m");
  for (const char* const id : {"a", "z", "b", "n", "k"}) {
    Add({id});
    EXPECT_THAT(Choose(3), Each("m")) << "after " << id << " came";
  }
  for (const char* const id : {"a", "z", "k", "n"}) {
    group_.Remove(id);
    EXPECT_THAT(Choose(3), Each("m")) << "after " << id << " went";
  }
}

TEST_F(ShareGroupTest, StickyMovesWhenItsMemberGoesAndStaysThere) {
  question_.strategy = ShareStrategy::kSticky;
  Add({"a", "b", "c"});
  EXPECT_EQ(Choose(), "a");
  group_.Set(Member("a", false));
  const std::string next = Choose();
  EXPECT_NE(next, "a");
  Add({"a"});
  EXPECT_THAT(Choose(5), Each(next)) << "who comes back does not take it again";
}

// ---- By hash ----

TEST_F(ShareGroupTest, TheSamePublisherGetsTheSameMember) {
  question_.strategy = ShareStrategy::kHashClient;
  Add({"a", "b", "c", "d"});
  std::set<std::string> chosen;
  for (int i = 0; i < 100; ++i) {
    const std::string publisher = "publisher-" + std::to_string(i);
    question_.publisher = publisher;
    question_.topic = "one";
    const std::string first = Choose();
    question_.topic = "another";
    EXPECT_EQ(Choose(), first);
    chosen.insert(first);
  }
  EXPECT_EQ(chosen.size(), 4u) << "and all members get some";
}

TEST_F(ShareGroupTest, TheSameTopicGetsTheSameMemberWhoeverAsks) {
  question_.strategy = ShareStrategy::kHashTopic;
  Add({"a", "b", "c", "d"});
  ShareGroup elsewhere("$share/g/t",
                       full_);  // Another shard's, whose members came in another order.
  for (const char* const id : {"d", "b", "c", "a"}) elsewhere.Set(Member(id));
  std::set<std::string> chosen;
  base::Rng other_rng(99);
  for (int i = 0; i < 100; ++i) {
    const std::string topic = "t/" + std::to_string(i);
    question_.topic = topic;
    question_.publisher = "p";
    const std::string first = Choose();
    question_.publisher = "q";
    const ShareMember* const same = elsewhere.Choose(question_, other_rng, AcceptAll).member;
    ASSERT_NE(same, nullptr);
    EXPECT_EQ(same->client_id, first);
    chosen.insert(first);
  }
  EXPECT_EQ(chosen.size(), 4u);
}

// ---- Random ----

TEST_F(ShareGroupTest, RandomGivesAllAboutAlike) {
  question_.strategy = ShareStrategy::kRandom;
  Add({"a", "b", "c", "d"});
  const auto counts = Count(4000);
  ASSERT_EQ(counts.size(), 4u);
  for (const auto& [id, count] : counts) EXPECT_THAT(count, AllOf(Ge(850u), Le(1150u))) << id;
}

// ---- Least in flight ----

TEST_F(ShareGroupTest, LeastInFlightIsEvenAmongRemoteMembers) {
  question_.strategy = ShareStrategy::kLeastInFlight;
  Add({"a", "b", "c"});
  for (const auto& [id, count] : Count(30)) EXPECT_EQ(count, 10u) << id;
}

TEST_F(ShareGroupTest, LeastInFlightDoesNotFloodANewcomer) {
  question_.strategy = ShareStrategy::kLeastInFlight;
  Add({"a", "b"});
  Count(1000);
  Add({"c"});
  for (const auto& [id, count] : Count(30)) EXPECT_EQ(count, 10u) << id;
}

TEST_F(ShareGroupTest, LeastInFlightKeepsItsCountsWhenAMemberIsReplaced) {
  question_.strategy = ShareStrategy::kLeastInFlight;
  Add({"a", "b"});
  EXPECT_EQ(ChooseButNot("b"), "a");
  Add({"a"});
  EXPECT_EQ(Choose(), "b");
}

TEST_F(ShareGroupTest, LeastInFlightPrefersTheSessionWithTheShortestQueue) {
  question_.strategy = ShareStrategy::kLeastInFlight;
  // A Session only keeps the reference to its Connection: no connection is needed here.
  alignas(std::max_align_t) static char nowhere[1];
  auto& connection = reinterpret_cast<Connection&>(nowhere);
  const Limits limits;
  Session slow(connection, "a", mqtt::Version::k5, limits, 10);
  Session fast(connection, "b", mqtt::Version::k5, limits, 10);
  ShareMember member = Member("a");
  member.local = &slow;
  group_.Set(member);
  member = Member("b");
  member.local = &fast;
  group_.Set(member);
  slow.outbound.Start(mqtt::QoS::kAtLeastOnce);
  EXPECT_THAT(Choose(3), Each("b"));
  fast.outbound.Start(mqtt::QoS::kAtLeastOnce);
  fast.outbound.Push({mqtt::Message::Create({.topic = "t"}), mqtt::QoS::kAtLeastOnce});
  EXPECT_THAT(Choose(3), Each("a"));
  EXPECT_EQ(ChooseButNot("a"), "b");
}

}  // namespace
}  // namespace broker
