// What a `$share` group costs does not grow with the groups of its filter, nor with its members.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "broker/core/router.h"
#include "tests/support/cpu_cost.h"

namespace broker {
namespace {

constexpr size_t kN = 2000;
// Quadratic, it would be 10; caches that are too small for 10 N cost up to 3.
constexpr double kRatioMax = 5;

ShareMember MemberOf(std::string client_id, bool connected) {
  ShareMember member;
  member.client_id = std::move(client_id);
  member.connected = connected;
  member.durable = true;
  member.options.qos = mqtt::QoS::kAtLeastOnce;
  return member;
}

double CostOfAGroup(size_t groups) {
  return support::CpuNsPerItem(groups, 3, [&] {
    Router router(10);
    const auto filter = [](size_t i) { return absl::StrCat("$share/", i, "/e"); };
    for (size_t i = 0; i < groups; ++i) router.SetMember(filter(i), MemberOf("client", true));
    ASSERT_EQ(router.Find("e").groups.size(), groups);
    for (size_t i = 0; i < groups; ++i) router.RemoveMember(filter(i), "client");
    ASSERT_TRUE(router.Find("e").empty());
  });
}

double CostOfAMember(size_t members) {
  return support::CpuNsPerItem(members, 3, [&] {
    Router router(10);
    for (size_t i = 0; i < members; ++i) {
      router.SetMember("$share/g/e", MemberOf(absl::StrCat("client-", i), i % 2 == 0));
    }
    for (size_t i = 0; i < members; ++i) {
      router.RemoveMember("$share/g/e", absl::StrCat("client-", i));
    }
    ASSERT_TRUE(router.Find("e").empty());
  });
}

struct Crowd {
  size_t connected = 0;
  size_t away = 0;
  size_t full = 0;
};
double CostOfAChoice(ShareStrategy strategy, const Crowd& crowd) {
  FullClients full;
  ShareGroup group("$share/g/e", full);
  const auto add = [&](const char* kind, size_t count, bool connected) {
    for (size_t i = 0; i < count; ++i) group.Set(MemberOf(absl::StrCat(kind, i), connected));
  };
  add("connected-", crowd.connected, true);
  add("away-", crowd.away, false);
  add("full-", crowd.full, true);
  for (size_t i = 0; i < crowd.full; ++i) full.Add(absl::StrCat("full-", i));
  base::Rng rng(1);
  const ShareGroup::Question question = {
      .strategy = strategy, .topic = "e", .publisher = "p", .qos = mqtt::QoS::kAtLeastOnce};
  const auto choose = [&] {
    return group.Choose(question, rng, [](const ShareMember&, ShareGroup::Asked) {
      return ShareGroup::Verdict::kTakes;
    });
  };
  for (size_t i = 0; i < 10; ++i) choose();  // Who is full is found out, once.
  constexpr size_t kChoices = 20'000;
  return support::CpuNsPerItem(kChoices, 3, [&] {
    for (size_t i = 0; i < kChoices; ++i) ASSERT_NE(choose().member, nullptr);
  });
}

TEST(ShareCost, OfASubscriptionDoesNotGrowWithTheGroupsOfItsFilter) {
  const double n = CostOfAGroup(kN);
  EXPECT_LE(
      support::PrintedRatio("a group of one filter, made and left", n, CostOfAGroup(10 * kN), 500),
      kRatioMax);
}

TEST(ShareCost, OfASubscriptionDoesNotGrowWithTheMembersOfItsGroup) {
  const double n = CostOfAMember(kN);
  EXPECT_LE(
      support::PrintedRatio("a member of one group, come and gone", n, CostOfAMember(10 * kN), 500),
      kRatioMax);
}

TEST(ShareCost, OfAChoiceDoesNotGrowWithMembers) {
  constexpr std::pair<ShareStrategy, const char*> kStrategies[] = {
      {ShareStrategy::kRoundRobin, "round_robin"},
      {ShareStrategy::kRandom, "random"},
      {ShareStrategy::kLeastInFlight, "least_in_flight"},
      {ShareStrategy::kSticky, "sticky"},
      {ShareStrategy::kHashClient, "hash_client"},
      {ShareStrategy::kHashTopic, "hash_topic"}};
  for (const auto& [strategy, name] : kStrategies) {
    const auto check = [&](const char* whom, Crowd n, Crowd ten_n) {
      const double cost = CostOfAChoice(strategy, n);
      EXPECT_LE(support::PrintedRatio(absl::StrCat(name, " among ", whom), cost,
                                      CostOfAChoice(strategy, ten_n)),
                kRatioMax);
    };
    check("connected members", {.connected = kN}, {.connected = 10 * kN});
    check("one connected and others away", {.connected = 1, .away = kN},
          {.connected = 1, .away = 10 * kN});
    check("one with room and full ones", {.connected = 1, .full = kN},
          {.connected = 1, .full = 10 * kN});
    check("full ones only", {.full = kN}, {.full = 10 * kN});
  }
}

}  // namespace
}  // namespace broker
