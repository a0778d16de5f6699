#include "mqtt/topic.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/rng.h"
#include "tests/mqtt/reference_match.h"

namespace mqtt {
namespace {

using namespace std::string_view_literals;

std::string_view RuleOf(const std::optional<Violation>& violation) {
  return violation.has_value() ? violation->rule : std::string_view("none");
}

// ---- Names and filters ----

TEST(TopicName, HasAtLeastOneCharacter_MQTT5_4_7_3_1_MQTT311_4_7_3_1) {
  EXPECT_EQ(RuleOf(CheckTopicName("", Version::k5)), "MQTT-4.7.3-1");
  EXPECT_EQ(RuleOf(CheckTopicFilter("", Version::k311)), "MQTT-4.7.3-1");
  EXPECT_TRUE(IsValidTopicName("a"));
  EXPECT_TRUE(IsValidTopicName("/"));
  EXPECT_TRUE(IsValidTopicName(" "));
}

TEST(TopicName, HoldsNoNull_MQTT5_4_7_3_2_MQTT311_4_7_3_2) {
  EXPECT_EQ(RuleOf(CheckTopicName("a\0b"sv, Version::k5)), "MQTT-4.7.3-2");
  EXPECT_EQ(RuleOf(CheckTopicFilter("\0"sv, Version::k5)), "MQTT-4.7.3-2");
}

TEST(TopicName, HasAtMost65535Bytes_MQTT5_4_7_3_3_MQTT311_4_7_3_3) {
  const std::string longest(65'535, 'x');
  EXPECT_TRUE(IsValidTopicName(longest));
  EXPECT_TRUE(IsValidTopicFilter(longest));
  EXPECT_EQ(RuleOf(CheckTopicName(longest + "x", Version::k5)), "MQTT-4.7.3-3");
  EXPECT_EQ(RuleOf(CheckTopicFilter(longest + "x", Version::k5)), "MQTT-4.7.3-3");
}

TEST(TopicName, HasNoWildcards_MQTT5_4_7_0_1_MQTT311_4_7_1_1) {
  for (const std::string_view name : {"#", "+", "a/#", "a/+/b", "a+", "a#b"}) {
    EXPECT_EQ(RuleOf(CheckTopicName(name, Version::k5)), "MQTT5-4.7.0-1") << name;
    EXPECT_EQ(RuleOf(CheckTopicName(name, Version::k311)), "MQTT311-4.7.1-1") << name;
  }
}

TEST(TopicFilter, MultiLevelWildcardIsALastWholeLevel_MQTT5_4_7_1_1_MQTT311_4_7_1_2) {
  for (const std::string_view filter : {"#", "/#", "a/#", "a/b/#", "+/#"}) {
    EXPECT_TRUE(IsValidTopicFilter(filter)) << filter;
  }
  for (const std::string_view filter : {"a#", "a/b#", "a/#/b", "#/a", "##", "a/##", "#/", "#+"}) {
    EXPECT_EQ(RuleOf(CheckTopicFilter(filter, Version::k5)), "MQTT5-4.7.1-1") << filter;
    EXPECT_EQ(RuleOf(CheckTopicFilter(filter, Version::k311)), "MQTT311-4.7.1-2") << filter;
  }
}

TEST(TopicFilter, SingleLevelWildcardIsAWholeLevel_MQTT5_4_7_1_2_MQTT311_4_7_1_3) {
  for (const std::string_view filter : {"+", "+/", "/+", "+/a", "a/+/b", "a/+", "+/+", "/+/"}) {
    EXPECT_TRUE(IsValidTopicFilter(filter)) << filter;
  }
  for (const std::string_view filter : {"a+", "+a", "a/b+", "a/+b/c", "++", "+#", "a/++"}) {
    EXPECT_EQ(RuleOf(CheckTopicFilter(filter, Version::k5)), "MQTT5-4.7.1-2") << filter;
    EXPECT_EQ(RuleOf(CheckTopicFilter(filter, Version::k311)), "MQTT311-4.7.1-3") << filter;
  }
}

// ---- Shared Subscriptions ----

TEST(SharedFilter, HasAShareNameAndAFilter_MQTT5_4_8_2_1_MQTT5_4_8_2_2) {
  EXPECT_EQ(ParseShared("$share/g/a/b"), (SharedFilter{"g", "a/b"}));
  EXPECT_EQ(ParseShared("$share/g/#"), (SharedFilter{"g", "#"}));
  EXPECT_EQ(ParseShared("$share/g//a"), (SharedFilter{"g", "/a"}));
  EXPECT_EQ(ParseShared("$share/g//"), (SharedFilter{"g", "/"}));
  for (const std::string_view filter :
       {"$share", "$share/", "$share//a", "$share/g", "$share/g/", "$share/g+/a", "$share/#/a",
        "$share/+/a", "share/g/a", "$Share/g/a", "$share_/g/a", "a/$share/g/a", ""}) {
    EXPECT_EQ(ParseShared(filter), std::nullopt) << filter;
  }
}

TEST(SharedFilter, IsCheckedInVersion5Only) {
  const auto rule = [](std::string_view filter) {
    return RuleOf(CheckTopicFilter(filter, Version::k5));
  };
  EXPECT_EQ(rule("$share//a"), "MQTT5-4.8.2-1");
  EXPECT_EQ(rule("$share/"), "MQTT5-4.8.2-1");
  EXPECT_EQ(rule("$share/g"), "MQTT5-4.8.2-2");
  EXPECT_EQ(rule("$share/g/"), "MQTT5-4.8.2-2");
  EXPECT_EQ(rule("$share/+/a"), "MQTT5-4.8.2-2");
  EXPECT_EQ(rule("$share/g#/a"), "MQTT5-4.8.2-2");
  EXPECT_EQ(rule("$share/g/a/#/b"), "MQTT5-4.7.1-1");
  EXPECT_EQ(rule("$share/g/a+"), "MQTT5-4.7.1-2");
  EXPECT_EQ(rule("$share/g/+/#"), "none");
  EXPECT_EQ(rule("$share"), "none");  // An ordinary filter of one level.
  EXPECT_EQ(RuleOf(CheckTopicFilter("$share/g", Version::k311)), "none");
}

// ---- Levels ----

std::vector<std::string> LevelsOf(std::string_view topic) {
  std::vector<std::string> out;
  for (const std::string_view level : Levels(topic)) out.emplace_back(level);
  return out;
}

TEST(Levels, AreSplitAtEverySlash) {
  using Strings = std::vector<std::string>;
  EXPECT_EQ(LevelsOf("a"), (Strings{"a"}));
  EXPECT_EQ(LevelsOf("a/b"), (Strings{"a", "b"}));
  EXPECT_EQ(LevelsOf("/"), (Strings{"", ""}));
  EXPECT_EQ(LevelsOf("//a/"), (Strings{"", "", "a", ""}));
  EXPECT_EQ(LevelsOf(""), (Strings{""}));
}

TEST(Levels, KnowTheLastOne) {
  const Levels levels("a/b");
  auto level = levels.begin();
  EXPECT_FALSE(level.is_last());
  ++level;
  EXPECT_TRUE(level.is_last());
}

TEST(Levels, AreCountedAndLimited) {
  EXPECT_EQ(LevelCount("a"), 1u);
  EXPECT_EQ(LevelCount("/"), 2u);
  EXPECT_EQ(LevelCount("a//b"), 3u);
  EXPECT_TRUE(IsWithin({.bytes_max = 4, .levels_max = 3}, "a//b"));
  EXPECT_FALSE(IsWithin({.bytes_max = 3, .levels_max = 3}, "a//b"));
  EXPECT_FALSE(IsWithin({.bytes_max = 4, .levels_max = 2}, "a//b"));
}

// ---- Matching ----

TEST(Matches, TheExamplesOfTheSpecification) {
  // §4.7.1.2
  for (const std::string_view name : {"sport/tennis/player1", "sport/tennis/player1/ranking",
                                      "sport/tennis/player1/score/wimbledon"}) {
    EXPECT_TRUE(Matches("sport/tennis/player1/#", name)) << name;
  }
  EXPECT_TRUE(Matches("sport/#", "sport"));
  EXPECT_TRUE(Matches("#", "a/b/c"));
  // §4.7.1.3
  EXPECT_TRUE(Matches("sport/tennis/+", "sport/tennis/player1"));
  EXPECT_FALSE(Matches("sport/tennis/+", "sport/tennis/player1/ranking"));
  EXPECT_FALSE(Matches("sport/+", "sport"));
  EXPECT_TRUE(Matches("sport/+", "sport/"));
  EXPECT_TRUE(Matches("+/+", "/finance"));
  EXPECT_TRUE(Matches("/+", "/finance"));
  EXPECT_FALSE(Matches("+", "/finance"));
}

TEST(Matches, WildcardsDoNotTakeTopicsThatBeginWithADollar_MQTT5_4_7_2_1_MQTT311_4_7_2_1) {
  EXPECT_FALSE(Matches("#", "$SYS/uptime"));
  EXPECT_FALSE(Matches("+/uptime", "$SYS/uptime"));
  EXPECT_FALSE(Matches("+", "$SYS"));
  EXPECT_FALSE(Matches("+/#", "$SYS"));
  EXPECT_TRUE(Matches("$SYS/#", "$SYS/uptime"));
  EXPECT_TRUE(Matches("$SYS/+", "$SYS/uptime"));
  EXPECT_TRUE(Matches("#", "a/$SYS"));
  EXPECT_TRUE(Matches("+/+", "a/$SYS"));
}

TEST(Matches, ComparesBytes_MQTT5_4_7_3_4_MQTT311_4_7_3_4) {
  EXPECT_FALSE(Matches("A", "a"));
  EXPECT_FALSE(Matches("a", "a/"));
  EXPECT_FALSE(Matches("a/", "a"));
  EXPECT_FALSE(Matches("a b", "a%20b"));
  EXPECT_FALSE(Matches("\xC3\xA9", "e\xCC\x81"));  // é composed and decomposed.
}

// All texts of up to `size_max` characters from the alphabet.
std::vector<std::string> AllTexts(std::string_view alphabet, size_t size_max) {
  std::vector<std::string> out = {""};
  for (size_t begin = 0, size = 1; size <= size_max; ++size) {
    const size_t end = out.size();
    for (; begin < end; ++begin) {
      for (const char c : alphabet) out.push_back(out[begin] + c);
    }
  }
  return out;
}

TEST(Matches, AgreesWithTheDefinitionOnAllShortTopics) {
  std::vector<std::string> filters = AllTexts("a$/+#", 5);
  std::erase_if(filters, [](const std::string& f) { return !IsValidTopicFilter(f); });
  std::vector<std::string> names = AllTexts("ab$/", 4);
  std::erase_if(names, [](const std::string& n) { return !IsValidTopicName(n); });
  ASSERT_GT(filters.size(), 100u);
  size_t matched = 0;
  for (const std::string& filter : filters) {
    for (const std::string& name : names) {
      ASSERT_EQ(Matches(filter, name), ReferenceMatch(filter, name)) << filter << " " << name;
      matched += Matches(filter, name) ? 1 : 0;
    }
  }
  EXPECT_GT(matched, 1000u);
}

TEST(Matches, AgreesWithTheDefinitionOnRandomTopics) {
  base::Rng rng(20240501);
  const auto topic = [&rng](std::string_view last_level, double wildcards) {
    std::string out;
    const uint64_t levels = 1 + rng.Below(6);
    for (uint64_t i = 0; i < levels; ++i) {
      if (i > 0) out += '/';
      if (rng.Chance(wildcards)) {
        out += '+';
      } else {
        out += std::string_view("\0a\0b\0", 5).substr(1 + 2 * rng.Below(2), 1);
      }
    }
    return rng.Chance(wildcards) ? out + std::string(last_level) : out;
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string filter = topic("/#", 0.4);
    const std::string name = topic("", 0);
    ASSERT_TRUE(IsValidTopicFilter(filter)) << filter;
    ASSERT_EQ(Matches(filter, name), ReferenceMatch(filter, name)) << filter << " " << name;
  }
}

}  // namespace
}  // namespace mqtt
