// Router against brute force, with caches of several sizes; and what each of its promises says.
#include "broker/core/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "mqtt/topic.h"
#include "tests/support/random_topics.h"

namespace broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr Wanted kNothing = Wanted::kNothing;
constexpr Wanted kQos0 = Wanted::kQos0;
constexpr Wanted kAll = Wanted::kAll;

// The router never looks into a session: an address is enough.
Session* FakeSession(size_t number) { return reinterpret_cast<Session*>(0x1000 + number * 16); }

// A change of what the shard wants of a filter.
MATCHER_P2(Goes, before, after, "") { return arg.before == before && arg.after == after; }

Subscriber SubscriberOf(size_t session, uint32_t id = 0, mqtt::QoS qos = mqtt::QoS::kAtMostOnce) {
  return {FakeSession(session), id, {.qos = qos}};
}

void SetNode(Router& router, std::string_view filter, uint32_t node, bool present) {
  router.ChangeNode(FilterOfNode::Of(filter), node, Wanted::kAll, present);
}

// A durable one.
ShareMember Member(std::string client_id) {
  ShareMember member;
  member.client_id = std::move(client_id);
  member.durable = true;
  return member;
}

// What a Match says, in an order of its own.
using Sub = std::tuple<const Session*, uint32_t, mqtt::QoS>;
struct Answer {
  std::map<const Session*, std::multiset<Sub>> targets;
  std::map<std::string, std::vector<std::string>> groups;  // Filter → members.
  ShardMask shards = 0;
  NodeMask nodes = 0;
  NodeMask nodes_qos0 = 0;
  storage::PartitionMask partitions = 0;
  friend bool operator==(const Answer&, const Answer&) = default;
};

Answer AnswerOf(const Match& match) {
  Answer answer;
  const Session* last = nullptr;
  for (const Subscriber& subscriber : match.subscribers) {
    const Session* const session = subscriber.session;
    const bool again = session != last && answer.targets.contains(session);
    EXPECT_FALSE(again) << "those of a session stand together";
    answer.targets[session].emplace(session, subscriber.subscription_id, subscriber.options.qos);
    last = session;
  }
  for (const ShareGroup* group : match.groups) {
    const std::string filter(group->filter());
    EXPECT_FALSE(answer.groups.contains(filter)) << "a group once";
    auto& members = answer.groups[filter];
    group->ForEachMember([&](const ShareMember& each) { members.push_back(each.client_id); });
    std::sort(members.begin(), members.end());
  }
  answer.shards = match.shards;
  answer.nodes = match.nodes | match.nodes_stale;
  answer.nodes_qos0 = match.nodes_qos0;
  answer.partitions = match.partitions;
  EXPECT_EQ(match.empty(), answer == Answer{});
  return answer;
}

std::vector<uint32_t> IdsOf(const Match& match, const Session* session) {
  std::vector<uint32_t> ids;
  for (const Subscriber& each : match.subscribers) {
    if (each.session == session) ids.push_back(each.subscription_id);
  }
  return ids;
}

void SetShard(Router& router, std::string_view filter, storage::ShardId shard, bool present) {
  router.ChangeShard(filter, shard, present ? kNothing : kAll, present ? kAll : kNothing);
}

TEST(Router, OverlappingSubscriptionsOfASessionAreOneTargetWithAllIdentifiers) {
  Router router(10);
  router.Add("a/b", SubscriberOf(1, 11));
  router.Add("a/+", SubscriberOf(1, 12, mqtt::QoS::kExactlyOnce));
  router.Add("a/+", SubscriberOf(2, 21));
  router.Add("#", SubscriberOf(2, 22));
  router.Add("#", SubscriberOf(1, 13));
  router.Add("b/#", SubscriberOf(1, 14));
  const Match& match = router.Find("a/b");
  EXPECT_EQ(AnswerOf(match).targets.size(), 2u);
  EXPECT_THAT(IdsOf(match, FakeSession(1)), UnorderedElementsAre(11, 12, 13));
  EXPECT_THAT(IdsOf(match, FakeSession(2)), UnorderedElementsAre(21, 22));
}

TEST(Router, ASecondSubscriptionToAFilterReplacesTheFirst) {
  Router router(10);
  EXPECT_THAT(router.Add("a", SubscriberOf(1, 1)), Goes(kNothing, kAll));
  router.Find("a");
  EXPECT_THAT(router.Add("a", SubscriberOf(1, 2, mqtt::QoS::kAtLeastOnce)), Goes(kAll, kAll));
  const Match& match = router.Find("a");
  ASSERT_EQ(match.subscribers.size(), 1u);
  EXPECT_EQ(match.subscribers[0].subscription_id, 2u);
  EXPECT_EQ(match.subscribers[0].options.qos, mqtt::QoS::kAtLeastOnce);
}

TEST(Router, TellsWhenAFilterComesToTheShardAndWhenItGoes) {
  Router router(10);
  for (const char* filter : {"a/b", "a/+"}) {
    SetShard(router, filter, 3, true);  // What others have does not count.
    EXPECT_THAT(router.Add(filter, SubscriberOf(1)), Goes(kNothing, kAll));
    EXPECT_THAT(router.Add(filter, SubscriberOf(2)), Goes(kAll, kAll));
    EXPECT_THAT(router.Remove(filter, FakeSession(3)), Goes(kAll, kAll));
    EXPECT_THAT(router.Remove(filter, FakeSession(1)), Goes(kAll, kAll));
    EXPECT_THAT(router.Remove(filter, FakeSession(2)), Goes(kAll, kNothing));
    EXPECT_THAT(router.Remove(filter, FakeSession(2)), Goes(kNothing, kNothing));
    EXPECT_EQ(router.Find("a/b").shards, ShardMask{1} << 3);
    SetShard(router, filter, 3, false);
    EXPECT_THAT(router.Remove(filter, FakeSession(2)), Goes(kNothing, kNothing));
    EXPECT_EQ(router.filters(), 0u);
    EXPECT_EQ(router.routes_of_others(), 0u);
  }
}

TEST(Router, OfAFilterOfDurableSessionsAShardWantsQos0Only) {
  Subscriber durable = SubscriberOf(1, 0, mqtt::QoS::kAtLeastOnce);
  durable.options.durable = true;
  Subscriber other_durable = SubscriberOf(2);
  other_durable.options.durable = true;
  for (const char* filter : {"a/b", "a/+"}) {
    Router router(10);
    EXPECT_THAT(router.Add(filter, durable), Goes(kNothing, kQos0));
    EXPECT_THAT(router.Add(filter, other_durable), Goes(kQos0, kQos0));
    EXPECT_THAT(router.Add(filter, SubscriberOf(3)), Goes(kQos0, kAll));
    EXPECT_THAT(router.Remove(filter, FakeSession(1)), Goes(kAll, kAll));
    EXPECT_THAT(router.Add(filter, durable), Goes(kAll, kAll));
    EXPECT_THAT(router.Remove(filter, FakeSession(3)), Goes(kAll, kQos0));
    EXPECT_THAT(router.Remove(filter, FakeSession(2)), Goes(kQos0, kQos0));
    EXPECT_THAT(router.Remove(filter, FakeSession(1)), Goes(kQos0, kNothing));
    EXPECT_EQ(router.filters(), 0u);
  }
}

TEST(Router, AShardThatWantsQos0OnlyIsSentNothingElse) {
  for (const char* filter : {"a/b", "+/b"}) {
    Router router(10);
    router.ChangeShard(filter, 2, kNothing, kQos0);
    EXPECT_EQ(router.Find("a/b").ShardsFor(mqtt::QoS::kAtMostOnce), ShardMask{1} << 2);
    EXPECT_EQ(router.Find("a/b").ShardsFor(mqtt::QoS::kAtLeastOnce), 0u);
    EXPECT_FALSE(router.Find("a/b").empty());
    router.ChangeShard(filter, 2, kQos0, kAll);
    EXPECT_EQ(router.Find("a/b").ShardsFor(mqtt::QoS::kAtLeastOnce), ShardMask{1} << 2);
    router.ChangeShard(filter, 2, kAll, kQos0);
    EXPECT_EQ(router.Find("a/b").ShardsFor(mqtt::QoS::kAtLeastOnce), 0u);
    router.ChangeShard(filter, 2, kQos0, kNothing);
    EXPECT_TRUE(router.Find("a/b").empty());
    EXPECT_EQ(router.filters() + router.routes_of_others(), 0u);
  }
}

TEST(Router, RemovesEachOfManySubscribers) {
  Router router(10);
  for (size_t i = 0; i < 5; ++i) router.Add("a", SubscriberOf(i));
  for (const size_t i : {2u, 0u, 4u, 1u}) router.Remove("a", FakeSession(i));
  const Match& match = router.Find("a");
  ASSERT_EQ(match.subscribers.size(), 1u);
  EXPECT_EQ(match.subscribers[0].session, FakeSession(3));
}

TEST(Router, KeepsTrackOfManySubscribersOfOneFilter) {
  base::Rng rng(11);
  Router router(10);
  std::set<size_t> model;
  for (int step = 0; step < 5000; ++step) {
    const size_t session = rng.Below(100);
    if (rng.Chance(step / 1000 % 2 == 0 ? 0.8 : 0.2)) {
      router.Add("a", SubscriberOf(session));
      model.insert(session);
    } else {
      router.Remove("a", FakeSession(session));
      model.erase(session);
    }
    const Match& match = router.Find("a");
    ASSERT_EQ(match.subscribers.size(), model.size());
    std::set<const Session*> found;
    for (const Subscriber& each : match.subscribers) found.insert(each.session);
    for (const size_t each : model) ASSERT_TRUE(found.contains(FakeSession(each)));
  }
}

TEST(Router, TakesTheHighestShardNodeAndPartition) {
  Router router(10, /*clustered=*/true);
  SetShard(router, "a", 63, true);
  SetNode(router, "+", 63, true);
  router.SetPartition("#", 63, true);
  SetShard(router, "#", 0, true);
  const Match& match = router.Find("a");
  EXPECT_EQ(match.shards, ShardMask{1} << 63 | 1);
  EXPECT_EQ(match.nodes, NodeMask{1} << 63);
  EXPECT_EQ(match.partitions, storage::PartitionMask{1} << 63);
}

TEST(Router, AnotherNodeMayWantMessagesOfQos0Only) {
  Router router(10, /*clustered=*/true);
  for (const char* filter : {"a/b", "a/#"}) {
    router.ChangeNode(FilterOfNode::Of(filter), 2, Wanted::kQos0, true);
    EXPECT_EQ(router.Find("a/b").NodesFor(mqtt::QoS::kAtMostOnce), NodeMask{0b100});
    EXPECT_EQ(router.Find("a/b").NodesFor(mqtt::QoS::kAtLeastOnce), NodeMask{0});
    router.ChangeNode(FilterOfNode::Of(filter), 2, Wanted::kAll, true);
    EXPECT_EQ(router.Find("a/b").NodesFor(mqtt::QoS::kAtLeastOnce), NodeMask{0b100});
    router.ChangeNode(FilterOfNode::Of(filter), 2, Wanted::kAll, false);
    router.ChangeNode(FilterOfNode::Of(filter), 2, Wanted::kQos0, false);
    EXPECT_TRUE(router.Find("a/b").empty());
  }
  EXPECT_EQ(router.routes_of_others(), 0u);
}

TEST(Router, ANodeOfWhichNothingIsKnownIsSentEverything) {
  Router router(10, /*clustered=*/true);
  EXPECT_TRUE(router.Find("a").empty());
  router.SetNodeStale(5, true);
  EXPECT_EQ(router.Find("a").NodesFor(mqtt::QoS::kExactlyOnce), NodeMask{1} << 5);
  EXPECT_EQ(router.Find("a").nodes, NodeMask{0}) << "but it is not known to want it";
  router.SetNodeStale(5, false);
  EXPECT_TRUE(router.Find("a").empty());
}

TEST(Router, AForgottenNodeWantsNothing) {
  Router router(10, /*clustered=*/true);
  const Session* const session = FakeSession(1);
  for (const char* filter : {"a/b", "a/+", "#"}) {
    SetNode(router, filter, 1, true);
    SetNode(router, filter, 2, true);
    router.ChangeNode(FilterOfNode::Of(filter), 1, Wanted::kQos0, true);
  }
  router.Add("#", SubscriberOf(1, 0, mqtt::QoS{1}));
  router.ForgetNode(1);
  EXPECT_EQ(router.Find("a/b").NodesFor(mqtt::QoS::kAtMostOnce), NodeMask{0b100});
  router.ForgetNode(2);
  EXPECT_EQ(router.Find("a/b").nodes, NodeMask{0});
  EXPECT_EQ(router.Find("a/b").subscribers.size(), 1u);
  EXPECT_EQ(router.filters(), 1u);
  router.Remove("#", session);
  EXPECT_EQ(router.filters(), 0u);
}

TEST(Router, ClearingWhatWasNeverSetLeavesNothing) {
  Router router(10);
  SetShard(router, "a/+", 1, false);
  SetNode(router, "a", 1, false);
  router.SetPartition("#", 1, false);
  router.RemoveMember("$share/g/a", "c");
  EXPECT_EQ(router.filters(), 0u);
  EXPECT_TRUE(router.Find("a").empty());
}

TEST(Router, APartitionStaysAsLongAsAnybodySaysSo) {
  for (const char* filter : {"a/b", "a/+"}) {
    Router router(10);
    const auto partitions = [&] { return router.Find("a/b").partitions; };
    router.SetPartition(filter, 3, true);
    router.SetPartition(filter, 3, true);
    router.SetPartition(filter, 4, true);
    router.SetPartition(filter, 3, false);
    EXPECT_EQ(partitions(), storage::PartitionMask{0b11000}) << filter;
    router.SetPartition(filter, 3, false);
    EXPECT_EQ(partitions(), storage::PartitionMask{0b10000}) << filter;
    router.SetPartition(filter, 4, false);
    EXPECT_TRUE(router.Find("a/b").empty());
    EXPECT_EQ(router.filters(), 0u);
  }
}

TEST(Router, GroupsOfTheSameFilterAreApart) {
  Router router(10);
  router.SetMember("$share/g/a/+", Member("c1"));
  router.SetMember("$share/h/a/+", Member("c1"));
  router.SetMember("$share/g/a/+", Member("c2"));
  EXPECT_EQ(router.filters(), 1u);
  EXPECT_EQ(router.Find("a/b").groups.size(), 2u);
  ASSERT_NE(router.FindGroup("$share/g/a/+"), nullptr);
  EXPECT_EQ(router.FindGroup("$share/g/a/+")->size(), 2u);
  EXPECT_EQ(router.FindGroup("$share/g/a/b"), nullptr);
  EXPECT_EQ(router.FindGroup("a/+"), nullptr);
  router.RemoveMember("$share/g/a/+", "c1");
  router.RemoveMember("$share/g/a/+", "c2");
  EXPECT_EQ(router.FindGroup("$share/g/a/+"), nullptr);
  ASSERT_EQ(router.Find("a/b").groups.size(), 1u);
  EXPECT_EQ(router.Find("a/b").groups[0]->filter(), "$share/h/a/+");
}

TEST(Router, ASharedFilterTakesDollarTopicsOnlyIfItNamesThem) {
  Router router(10);
  router.SetMember("$share/g/#", Member("c"));
  router.SetMember("$share/g/$SYS/#", Member("c"));
  const Match& match = router.Find("$SYS/a");
  ASSERT_EQ(match.groups.size(), 1u);
  EXPECT_EQ(match.groups[0]->filter(), "$share/g/$SYS/#");
}

TEST(Router, AChangeOfAnExactFilterSpoilsItsTopicOnly) {
  Router router(10);
  router.Find("a");
  router.Find("b");
  EXPECT_EQ(router.cache_misses(), 2u);
  router.Add("a", SubscriberOf(1));
  router.Find("b");
  EXPECT_EQ(router.cache_misses(), 2u);
  EXPECT_EQ(router.Find("a").subscribers.size(), 1u);
  EXPECT_EQ(router.cache_misses(), 3u);
  router.Find("a");
  EXPECT_EQ(router.cache_misses(), 3u);
}

TEST(Router, AChangeOfAWildcardSpoilsTopicsWithItsFirstLevelsOnly) {
  Router router(10);
  const auto misses = [&](auto&& change) {
    for (const char* topic : {"a/b/c", "a/b", "a/x/y", "b"}) router.Find(topic);
    change();
    const uint64_t before = router.cache_misses();
    std::vector<std::string> spoilt;
    for (const char* topic : {"a/b/c", "a/b", "a/x/y", "b"}) {
      const uint64_t so_far = router.cache_misses();
      router.Find(topic);
      if (router.cache_misses() != so_far) spoilt.emplace_back(topic);
    }
    EXPECT_EQ(router.cache_misses() - before, spoilt.size());
    return spoilt;
  };
  EXPECT_THAT(misses([&] { router.Add("a/b/#", SubscriberOf(1)); }), ElementsAre("a/b/c", "a/b"));
  EXPECT_THAT(misses([&] { router.Add("a/+/c", SubscriberOf(1)); }),
              ElementsAre("a/b/c", "a/b", "a/x/y"));
  EXPECT_THAT(misses([&] { router.Add("+", SubscriberOf(1)); }),
              ElementsAre("a/b/c", "a/b", "a/x/y", "b"));
  EXPECT_THAT(misses([&] { SetShard(router, "a/b/c/d/#", 1, true); }), ElementsAre("a/b/c"));
}

TEST(Router, AChangeSpoilsTheTopicAskedForLast) {
  Router router(2);
  for (const char* filter : {"a/b", "a/+", "#"}) {
    EXPECT_TRUE(router.Find("a/b").empty());
    EXPECT_TRUE(router.Find("a/b").empty());
    router.Add(filter, SubscriberOf(1));
    EXPECT_FALSE(router.Find("a/b").empty()) << filter;
    router.Remove(filter, FakeSession(1));
    EXPECT_TRUE(router.Find("a/b").empty()) << filter;
  }
}

TEST(Router, TheTopicAskedForLastMayLeaveTheCache) {
  Router router(1);
  router.Add("a", SubscriberOf(1));
  router.Add("b", SubscriberOf(2));
  for (int i = 0; i < 3; ++i) {
    for (const char* topic : {"a", "a", "b", "b", "c"})
      EXPECT_EQ(router.Find(topic).empty(), topic == std::string_view("c"));
  }
}

TEST(Router, WhatChangesNothingSpoilsNothing) {
  Router router(10);
  router.Add("a/#", SubscriberOf(1, 5));
  SetShard(router, "a/+", 1, true);
  router.SetPartition("a/+", 3, true);
  router.SetMember("$share/g/a/+", Member("p"));
  router.Find("a/b");
  const uint64_t misses = router.cache_misses();
  router.Add("a/#", SubscriberOf(1, 5));
  router.Remove("a/#", FakeSession(2));
  SetShard(router, "a/+", 1, true);
  router.SetPartition("a/+", 3, true);
  router.SetMember("$share/g/a/+", Member("q"));  // A group of two is the same group.
  router.RemoveMember("$share/g/a/+", "p");
  router.Find("a/b");
  EXPECT_EQ(router.cache_misses(), misses);
  router.RemoveMember("$share/g/a/+", "q");
  EXPECT_TRUE(router.Find("a/b").groups.empty());
}

TEST(Router, ATopicAskedForOnceTakesNoPlaceInALargeCache) {
  Router router(4096);
  for (int i = 0; i < 1024; ++i) router.Find("first/" + std::to_string(i));
  router.Find("x");
  router.Find("x");
  EXPECT_EQ(router.cache_misses(), 1026u);
  router.Find("x");
  EXPECT_EQ(router.cache_misses(), 1026u);
}

TEST(HashedRoutes, FiltersOfOneHashAreCounted) {
  HashedRoutes routes;
  routes.Change(7, 3, true);
  routes.Change(7, 3, true);
  routes.Change(7, 4, true);
  routes.Change(7, 3, false);
  EXPECT_EQ(routes.Find(7), 0b11000u);
  routes.Change(7, 3, false);
  EXPECT_EQ(routes.Find(7), 0b10000u);
  routes.Change(7, 3, false);
  EXPECT_EQ(routes.Find(7), 0b10000u);
  routes.Change(7, 4, false);
  EXPECT_EQ(routes.size(), 0u);
}

TEST(Router, HotTopicsStayInTheCacheWhileColdOnesPassThrough) {
  Router router(4);
  for (int i = 0; i < 1000; ++i) {
    router.Find("hot");
    router.Find("cold/" + std::to_string(i));
  }
  EXPECT_LE(router.cache_misses(), 1010u);
}

struct ModelCase {
  uint64_t seed;
  size_t cached_topics_max;
};
class RouterModel : public ::testing::TestWithParam<ModelCase> {};

class Model {
 public:
  struct Entry {
    std::map<size_t, Subscriber> subscribers;
    std::map<std::string, std::set<std::string>> groups;
    ShardMask shards = 0;
    NodeMask nodes = 0;
    NodeMask nodes_qos0 = 0;
    storage::PartitionMask partitions = 0;
  };

  Entry& operator[](const std::string& filter) { return entries_[filter]; }
  void Tidy() {
    std::erase_if(entries_, [](const auto& each) {
      const Entry& entry = each.second;
      return entry.subscribers.empty() && entry.groups.empty() && entry.shards == 0 &&
             entry.nodes == 0 && entry.nodes_qos0 == 0 && entry.partitions == 0;
    });
  }
  void ForgetNode(uint64_t bit) {
    for (auto& [filter, entry] : entries_) {
      entry.nodes &= ~(NodeMask{1} << bit);
      entry.nodes_qos0 &= ~(NodeMask{1} << bit);
    }
  }
  NodeMask stale = 0;
  size_t size() const { return entries_.size(); }
  const std::map<std::string, Entry>& entries() const { return entries_; }

  Answer Find(const std::string& topic) const {
    Answer answer;
    answer.nodes = stale;
    for (const auto& [filter, entry] : entries_) {
      if (!mqtt::Matches(filter, topic)) continue;
      for (const auto& [number, each] : entry.subscribers) {
        answer.targets[each.session].emplace(each.session, each.subscription_id, each.options.qos);
      }
      for (const auto& [name, members] : entry.groups)
        answer.groups[name].assign(members.begin(), members.end());
      answer.shards |= entry.shards;
      answer.nodes |= entry.nodes;
      answer.nodes_qos0 |= entry.nodes_qos0;
      answer.partitions |= entry.partitions;
    }
    return answer;
  }

 private:
  std::map<std::string, Entry> entries_;
};

// False: it is so already, and others announce changes only.
bool ChangeMask(uint64_t& mask, uint64_t bit, bool present) {
  const uint64_t before = mask;
  mask = present ? mask | uint64_t{1} << bit : mask & ~(uint64_t{1} << bit);
  return mask != before;
}

void ChangeSubscriber(base::Rng& rng, const std::string& filter, bool add, Router& router,
                      Model& model) {
  auto& subscribers = model[filter].subscribers;
  const size_t session = rng.Below(5);
  if (add) {
    const Subscriber subscriber =
        SubscriberOf(session, static_cast<uint32_t>(rng.Below(4)), mqtt::QoS{1});
    const Wanted before = subscribers.empty() ? kNothing : kAll;
    subscribers[session] = subscriber;
    const Router::Change change = router.Add(filter, subscriber);
    ASSERT_THAT(change, Goes(before, kAll));
    ASSERT_EQ(change.filter->name(), filter);
  } else {
    const Wanted before = subscribers.empty() ? kNothing : kAll;
    subscribers.erase(session);
    const Wanted after = subscribers.empty() ? kNothing : kAll;
    ASSERT_THAT(router.Remove(filter, FakeSession(session)), Goes(before, after));
  }
}

void ChangeMember(base::Rng& rng, const std::string& filter, bool add, Router& router,
                  Model& model) {
  const std::string name = (rng.Chance(0.5) ? "$share/g/" : "$share/h/") + filter;
  const std::string client_id(1, static_cast<char>('p' + rng.Below(3)));
  auto& groups = model[filter].groups;
  if (add) {
    groups[name].insert(client_id);
    router.SetMember(name, Member(client_id));
  } else {
    if (groups.contains(name)) groups[name].erase(client_id);
    if (groups.contains(name) && groups[name].empty()) groups.erase(name);
    router.RemoveMember(name, client_id);
  }
  ASSERT_EQ(router.FindGroup(name) != nullptr, groups.contains(name));
}

void RandomChange(base::Rng& rng, double adding, Router& router, Model& model) {
  std::string filter = support::RandomFilter(rng);
  const bool add = rng.Chance(adding);
  // Removals mostly aim at something that is there.
  if (!add && model.size() > 0 && rng.Chance(0.8)) {
    const auto it = model.entries().lower_bound(filter);
    filter = it == model.entries().end() ? model.entries().begin()->first : it->first;
  }
  const uint64_t bit = rng.Below(3) * 30;
  if (rng.Chance(0.02)) {
    router.ForgetNode(static_cast<uint32_t>(bit));
    model.ForgetNode(bit);
  } else if (rng.Chance(0.02)) {
    model.stale ^= NodeMask{1} << bit;
    router.SetNodeStale(static_cast<uint32_t>(bit), (model.stale >> bit & 1) != 0);
  }
  switch (rng.Below(7)) {
    case 0:
      if (ChangeMask(model[filter].shards, bit, add))
        SetShard(router, filter, static_cast<storage::ShardId>(bit), add);
      break;
    case 1:
      if (ChangeMask(model[filter].nodes, bit, add))
        SetNode(router, filter, static_cast<uint32_t>(bit), add);
      break;
    case 6:
      if (ChangeMask(model[filter].nodes_qos0, bit, add)) {
        router.ChangeNode(FilterOfNode::Of(filter), static_cast<uint32_t>(bit), Wanted::kQos0, add);
      }
      break;
    case 2:
      if (ChangeMask(model[filter].partitions, bit, add))
        router.SetPartition(filter, static_cast<storage::PartitionId>(bit), add);
      break;
    case 3:
      ChangeMember(rng, filter, add, router, model);
      break;
    default:
      ChangeSubscriber(rng, filter, add, router, model);
  }
  model.Tidy();
}

void RemoveAll(Router& router, const Model& model) {
  for (uint32_t bit = 0; bit < kNodesMax; ++bit) router.SetNodeStale(bit, false);
  for (const auto& [filter, entry] : model.entries()) {
    for (const auto& [number, each] : entry.subscribers) router.Remove(filter, each.session);
    for (const auto& [name, members] : entry.groups) {
      for (const std::string& member : members) router.RemoveMember(name, member);
    }
    for (uint16_t bit = 0; bit < 64; ++bit) {
      SetShard(router, filter, bit, false);
      SetNode(router, filter, bit, false);
      router.ChangeNode(FilterOfNode::Of(filter), bit, Wanted::kQos0, false);
      router.SetPartition(filter, bit, false);
    }
  }
}

TEST_P(RouterModel, FindsWhatBruteForceFindsAfterEveryChange) {
  base::Rng rng(GetParam().seed);
  Router router(GetParam().cached_topics_max, /*clustered=*/true);
  Model model;
  std::vector<std::string> topics = {"a", "a/b", "/", "$s/a", "b/a/b"};
  for (int i = 0; i < 12; ++i) topics.push_back(support::RandomTopic(rng));
  std::string last = topics[0];
  for (int step = 0; step < 3000; ++step) {
    SCOPED_TRACE(step);
    RandomChange(rng, step / 500 % 2 == 0 ? 0.75 : 0.2, router, model);
    ASSERT_FALSE(::testing::Test::HasFailure());
    ASSERT_LE(router.filters(), model.size());
    for (int i = 0; i < 3; ++i) {
      // Sometimes the one asked for last, which is remembered apart.
      if (rng.Below(3) != 0) last = topics[rng.Below(topics.size())];
      const std::string& topic = last;
      ASSERT_EQ(AnswerOf(router.Find(topic)), model.Find(topic)) << topic;
    }
    const std::string other = support::RandomTopic(rng);
    ASSERT_EQ(AnswerOf(router.Find(other)), model.Find(other)) << other;
  }
  RemoveAll(router, model);
  EXPECT_EQ(router.filters(), 0u);
  EXPECT_EQ(router.routes_of_others(), 0u);
  for (const std::string& topic : topics) EXPECT_TRUE(router.Find(topic).empty()) << topic;
}

INSTANTIATE_TEST_SUITE_P(Seeds, RouterModel,
                         ::testing::Values(ModelCase{1, 0}, ModelCase{2, 1}, ModelCase{3, 4},
                                           ModelCase{4, 4}, ModelCase{5, 1000}, ModelCase{6, 1000}),
                         [](const auto& param) {
                           return "Seed" + std::to_string(param.param.seed) + "Cache" +
                                  std::to_string(param.param.cached_topics_max);
                         });

}  // namespace
}  // namespace broker
