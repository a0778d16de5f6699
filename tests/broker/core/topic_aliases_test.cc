// Topic Aliases, both ways: what the other side understands is always the topic that was meant.
#include "broker/core/topic_aliases.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"

namespace broker {
namespace {

using mqtt::ReasonCode;

base::MemoryAccount account;
int64_t Accounted() { return account.bytes(base::MemoryUse::kAliases); }

mqtt::Publish PublishOf(std::string_view topic, uint16_t alias) {
  mqtt::Publish publish;
  publish.topic = topic;
  publish.topic_alias = alias;
  return publish;
}

// ---- The client's aliases ----

struct Resolved {
  std::string topic;
  std::string rule;
  ReasonCode reason = ReasonCode::kSuccess;
};
constexpr uint64_t kBytesMax = 1000;
Resolved Resolve(InboundTopicAliases& aliases, std::string_view topic, uint16_t alias) {
  std::string_view name;
  const auto violation = aliases.Resolve(PublishOf(topic, alias), kBytesMax, name);
  if (violation.has_value()) return {"", std::string(violation->rule), violation->reason};
  return {std::string(name), "", ReasonCode::kSuccess};
}

TEST(InboundTopicAliases, ATopicWithoutAliasIsItself) {
  InboundTopicAliases aliases(0, account);
  EXPECT_EQ(Resolve(aliases, "a/b", 0).topic, "a/b");
}

TEST(InboundTopicAliases, AnAliasStandsForTheTopicItCameWithLast) {
  InboundTopicAliases aliases(3, account);
  EXPECT_EQ(Resolve(aliases, "a", 3).topic, "a");
  EXPECT_EQ(Resolve(aliases, "", 3).topic, "a");
  EXPECT_EQ(Resolve(aliases, "b", 3).topic, "b");
  EXPECT_EQ(Resolve(aliases, "c", 0).topic, "c");
  EXPECT_EQ(Resolve(aliases, "", 3).topic, "b");
}

TEST(InboundTopicAliases, TheHighestAliasIsTakenAndOneMoreIsNot) {
  for (const uint16_t maximum : {uint16_t{1}, uint16_t{64}, uint16_t{65'534}}) {
    InboundTopicAliases aliases(maximum, account);
    EXPECT_EQ(Resolve(aliases, "a", maximum).topic, "a");
    EXPECT_EQ(Resolve(aliases, "", maximum).topic, "a");
    const Resolved above = Resolve(aliases, "a", static_cast<uint16_t>(maximum + 1));
    EXPECT_EQ(above.rule, "MQTT5-3.2.2-17");
    EXPECT_EQ(above.reason, ReasonCode::kTopicAliasInvalid);
  }
  InboundTopicAliases none(0, account);
  EXPECT_EQ(Resolve(none, "a", 1).reason, ReasonCode::kTopicAliasInvalid);
}

TEST(InboundTopicAliases, AnAliasThatStandsForNothingIsAProtocolError) {
  InboundTopicAliases aliases(10, account);
  EXPECT_EQ(Resolve(aliases, "", 5).reason, ReasonCode::kProtocolError);
  EXPECT_EQ(Resolve(aliases, "a", 7).topic, "a");
  EXPECT_EQ(Resolve(aliases, "", 5).reason, ReasonCode::kProtocolError);
  EXPECT_EQ(Resolve(aliases, "", 7).topic, "a");
}

TEST(InboundTopicAliases, DoWhatAMapDoes) {
  base::Rng rng(1);
  InboundTopicAliases aliases(20, account);
  std::map<uint16_t, std::string> model;
  for (int step = 0; step < 20'000; ++step) {
    const auto alias = static_cast<uint16_t>(1 + rng.Below(20));
    if (rng.Chance(0.3)) {
      const std::string topic = std::string(rng.Below(40), 'x') + std::to_string(rng.Below(50));
      model[alias] = topic;
      ASSERT_EQ(Resolve(aliases, topic, alias).topic, topic);
    } else if (model.contains(alias)) {
      ASSERT_EQ(Resolve(aliases, "", alias).topic, model[alias]);
    } else {
      ASSERT_EQ(Resolve(aliases, "", alias).reason, ReasonCode::kProtocolError);
    }
  }
}

// ---- Ours ----

TEST(OutboundTopicAliases, AClientThatTakesNoneGetsNone) {
  OutboundTopicAliases aliases(0, account);
  for (int i = 0; i < 3; ++i) {
    const auto use = aliases.For("long/topic");
    EXPECT_EQ(use.alias, 0);
    EXPECT_TRUE(use.send_name);
  }
}

TEST(OutboundTopicAliases, ATopicShorterThanItsAliasIsSentByName) {
  OutboundTopicAliases aliases(10, account);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(aliases.For("a/b").alias, 0);
    EXPECT_TRUE(aliases.For("a/b").send_name);
  }
}

TEST(OutboundTopicAliases, TheOneUnusedForLongestGivesItsAliasUp) {
  OutboundTopicAliases aliases(2, account);
  EXPECT_EQ(aliases.For("topic/a").alias, 1);
  EXPECT_EQ(aliases.For("topic/b").alias, 2);
  EXPECT_FALSE(aliases.For("topic/a").send_name);
  const auto use = aliases.For("topic/c");
  EXPECT_EQ(use.alias, 2);
  EXPECT_TRUE(use.send_name);
  EXPECT_FALSE(aliases.For("topic/a").send_name);
  EXPECT_TRUE(aliases.For("topic/b").send_name);
}

TEST(OutboundTopicAliases, AForgottenTopicIsSentByNameAgain) {
  OutboundTopicAliases aliases(2, account);
  EXPECT_TRUE(aliases.For("topic/a").send_name);
  aliases.Forget("topic/a");
  aliases.Forget("topic/a");
  aliases.Forget("never/seen");
  const auto use = aliases.For("topic/a");
  EXPECT_TRUE(use.send_name);
  EXPECT_NE(use.alias, 0);
  EXPECT_FALSE(aliases.For("topic/a").send_name);
}

// A client that keeps a table as the specification has it. Now and then a packet with a name is not
// sent after all.
struct OutboundCase {
  uint64_t seed;
  uint16_t maximum;
  uint64_t topics;
};
class OutboundAliasModel : public ::testing::TestWithParam<OutboundCase> {};

TEST_P(OutboundAliasModel, TheClientAlwaysUnderstands) {
  base::Rng rng(GetParam().seed);
  OutboundTopicAliases aliases(GetParam().maximum, account);
  std::map<uint16_t, std::string> client;
  size_t by_alias = 0;
  for (int step = 0; step < 50'000; ++step) {
    const std::string topic =
        std::string(rng.Below(2) * 20, 't') + std::to_string(rng.Below(GetParam().topics));
    const auto use = aliases.For(topic);
    ASSERT_LE(use.alias, GetParam().maximum);
    if (use.send_name) {
      if (use.alias == 0) continue;
      if (rng.Chance(0.1)) {
        aliases.Forget(topic);  // Too large for the client.
      } else {
        client[use.alias] = topic;
      }
    } else {
      ASSERT_NE(use.alias, 0);
      ASSERT_TRUE(client.contains(use.alias)) << "step " << step;
      ASSERT_EQ(client[use.alias], topic) << "step " << step;
      ++by_alias;
    }
    if (rng.Chance(0.01)) aliases.Forget(topic);  // Forgetting what is known does no harm.
  }
  EXPECT_GT(by_alias, 500u);
}

INSTANTIATE_TEST_SUITE_P(Clients, OutboundAliasModel,
                         ::testing::Values(OutboundCase{1, 1, 3}, OutboundCase{2, 2, 5},
                                           OutboundCase{3, 10, 12}, OutboundCase{4, 64, 2000},
                                           OutboundCase{5, 65'535, 3000}));

TEST(InboundTopicAliases, TheNamesBehindThemHaveABoundTogetherAndAreInTheAccount) {
  {
    InboundTopicAliases aliases(64, account);
    EXPECT_EQ(Resolve(aliases, std::string(600, 'a'), 1).rule, "");
    EXPECT_EQ(Resolve(aliases, std::string(400, 'b'), 2).rule, "");
    const Resolved above = Resolve(aliases, "c", 3);
    EXPECT_EQ(above.reason, ReasonCode::kQuotaExceeded);
    EXPECT_EQ(above.rule, "MQTT5-3.3.2.3.4");
    EXPECT_EQ(Resolve(aliases, "a", 1).topic, "a");  // What is replaced makes room.
    EXPECT_EQ(Resolve(aliases, std::string(599, 'c'), 3).rule, "");
    EXPECT_EQ(Resolve(aliases, std::string(400, 'd'), 2).rule, "");
    EXPECT_EQ(Resolve(aliases, std::string(401, 'd'), 2).reason, ReasonCode::kQuotaExceeded);
    EXPECT_GE(Accounted(), 1000);
    EXPECT_LT(Accounted(), 2000);
  }
  EXPECT_EQ(Accounted(), 0);
}

TEST(OutboundTopicAliases, WhatTheyKeepIsBoundedAndInTheAccount) {
  {
    OutboundTopicAliases aliases(64, account);
    for (int i = 0; i < 1000; ++i) {
      EXPECT_NE(aliases.For(std::to_string(i) + std::string(1000, 'x')).alias, 0);
      EXPECT_EQ(aliases.For(std::to_string(i) + std::string(2000, 'x')).alias, 0);
    }
    EXPECT_GE(Accounted(), 64 * 1000);
    EXPECT_LT(Accounted(), 64 * 1200);
  }
  EXPECT_EQ(Accounted(), 0);
}

}  // namespace
}  // namespace broker
