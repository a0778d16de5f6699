// Random rules against a plain reading of the documentation.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "auth/core/acl.h"
#include "auth/core/filter_algebra.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "mqtt/topic.h"

namespace auth {
namespace {

// All topics of up to three levels over a small alphabet: small enough to try every one.
const std::vector<std::string>& AllTopics() {
  static const auto* const topics = [] {
    const std::vector<std::string> names = {"a", "b", "$s", ""};
    auto* all = new std::vector<std::string>;
    for (const auto& x : names) {
      if (!x.empty()) all->push_back(x);
      for (const auto& y : names) {
        all->push_back(absl::StrCat(x, "/", y));
        for (const auto& z : names) all->push_back(absl::StrCat(x, "/", y, "/", z));
      }
    }
    return all;
  }();
  return *topics;
}

std::string RandomFilter(base::Rng& rng, const std::vector<std::string>& names) {
  std::vector<std::string> levels;
  const uint64_t count = 1 + rng.Below(3);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t kind = rng.Below(8);
    if (kind == 0 && i + 1 == count) {
      levels.push_back("#");
    } else if (kind <= 2) {
      levels.push_back("+");
    } else {
      levels.push_back(names[rng.Below(names.size())]);
    }
  }
  std::string filter = absl::StrJoin(levels, "/");
  return filter.empty() ? "a" : filter;
}

FilterLevels Split(const std::string& filter) {
  FilterLevels levels;
  SplitLevels(filter, levels);
  return levels;
}

TEST(FilterAlgebra, AgreesWithTryingEveryTopic) {
  base::Rng rng(17);
  const std::vector<std::string> names = {"a", "b", "$s", ""};
  for (int round = 0; round < 20'000; ++round) {
    const std::string a = RandomFilter(rng, names);
    const std::string b = RandomFilter(rng, names);
    const std::string wide = RandomFilter(rng, names);
    bool overlap = false;
    bool covers = true;
    for (const std::string& topic : AllTopics()) {
      if (!mqtt::Matches(a, topic) || !mqtt::Matches(b, topic)) continue;
      overlap = true;
      covers = covers && mqtt::Matches(wide, topic);
    }
    // "+" and "/#" have only the empty string in common, which is no Topic Name.
    if (a.front() != '/' && b.front() != '/') {
      ASSERT_EQ(Overlap(Split(a), Split(b)), overlap) << a << " and " << b;
    }
    // The universe ends at three levels and four names; so "covers" may hold in it by accident, but
    // what the function claims must hold.
    if (overlap && CoversCommon(Split(wide), Split(a), Split(b))) {
      ASSERT_TRUE(covers) << wide << " over " << a << " and " << b;
    }
    // And it must find what is plain: a filter covers itself.
    if (overlap) {
      ASSERT_TRUE(CoversCommon(Split(a), Split(a), Split(b))) << a << " and " << b;
    }
  }
}

struct ModelRule {
  bool pattern;
  std::string access;
  std::string filter;
};

// The name put in, the way the documentation reads; nullopt if the rule is not for this client.
std::optional<std::string> PutIn(const ModelRule& rule, const Identity& who) {
  if (!rule.pattern) return rule.filter;
  std::vector<std::string> levels;
  for (const std::string_view level : mqtt::Levels(rule.filter)) {
    if (level == "%u" && who.anonymous) return std::nullopt;
    levels.push_back(level == "%c"   ? who.client_id
                     : level == "%u" ? who.user_name
                                     : std::string(level));
  }
  return absl::StrJoin(levels, "/");
}

bool ModelAllows(const std::vector<ModelRule>& rules, const Identity& who, std::string_view topic,
                 const std::string& access) {
  for (const bool pattern : {false, true}) {
    for (const bool deny : {true, false}) {
      for (const ModelRule& rule : rules) {
        if (rule.pattern != pattern || (rule.access == "deny") != deny) continue;
        const auto filter = PutIn(rule, who);
        if (!filter || !mqtt::Matches(*filter, topic)) continue;
        if (deny) return false;
        if (rule.access == access || rule.access == "readwrite") return true;
      }
    }
  }
  return false;
}

uint8_t BitsOf(const std::string& access) {
  if (access == "deny") return kRuleDeny;
  return static_cast<uint8_t>((access != "write" ? kRuleRead : 0) |
                              (access != "read" ? kRuleWrite : 0));
}

std::shared_ptr<const RuleTree> TreeOf(const std::vector<ModelRule>& rules, bool pattern) {
  std::vector<Rule> of_kind;
  for (const ModelRule& rule : rules) {
    if (rule.pattern == pattern) of_kind.push_back({rule.filter, BitsOf(rule.access)});
  }
  if (of_kind.empty()) return nullptr;
  return std::make_shared<const RuleTree>(
      pattern ? RuleTree::Kind::kPatterns : RuleTree::Kind::kTopics, std::move(of_kind));
}

// Some of the rules in a file and the others set at run time: nobody can tell. And where there is
// no file, what no rule speaks of is allowed or denied.
void ExpectTheSameInTwoParts(base::Rng& rng, const std::vector<ModelRule>& rules,
                             const Identity& who) {
  std::vector<ModelRule> in_file;
  std::vector<ModelRule> set;
  std::string text = who.anonymous ? "" : absl::StrCat("user ", who.user_name, "\n");
  for (const ModelRule& rule : rules) {
    const bool first = rng.Below(2) == 0;
    (first ? in_file : set).push_back(rule);
    if (first)
      absl::StrAppend(&text, rule.pattern ? "pattern " : "topic ", rule.access, " ", rule.filter,
                      "\n");
  }
  const auto acl = Acl::Parse(text, "acl");
  ASSERT_TRUE(acl.ok()) << acl.status();
  const auto both = (*acl)->PermissionsFor(who, {TreeOf(set, false), TreeOf(set, true)});
  const Permissions open(TreeOf(rules, false), TreeOf(rules, true), who.client_id, who.user_name,
                         Permissions::Unmatched::kAllowed);
  // As if everybody had, behind all others, a rule for everything.
  const auto open_model = [&](std::string_view topic, const std::string& access) {
    const bool denied =
        std::any_of(rules.begin(), rules.end(),
                    [&](const ModelRule& rule) {
                      const auto filter = PutIn(rule, who);
                      return rule.access == "deny" && filter && mqtt::Matches(*filter, topic);
                    }) &&
        !ModelAllows(rules, who, topic, access);
    return !denied;
  };
  for (const std::string& topic : AllTopics()) {
    ASSERT_EQ(both->MayRead(topic), ModelAllows(rules, who, topic, "read")) << text << topic;
    ASSERT_EQ(both->MayWrite(topic), ModelAllows(rules, who, topic, "write")) << text << topic;
    ASSERT_EQ(open.MayRead(topic), open_model(topic, "read")) << text << topic;
    ASSERT_EQ(open.MayWrite(topic), open_model(topic, "write")) << text << topic;
  }
  const std::string filter = RandomFilter(rng, {"a", "b", "$s", ""});
  for (const Permissions* const permissions : {both.get(), &open}) {
    const bool reads_some =
        std::any_of(AllTopics().begin(), AllTopics().end(), [&](const std::string& topic) {
          return mqtt::Matches(filter, topic) && permissions->MayRead(topic);
        });
    ASSERT_TRUE(!reads_some || permissions->MaySubscribe(filter)) << text << filter;
  }
}

TEST(AclModel, AgreesWithAPlainReadingOfTheRules) {
  base::Rng rng(4711);
  const std::vector<std::string> plain = {"a", "b", "$s", ""};
  const std::vector<std::string> with_names = {"a", "b", "$s", "", "%c", "%u"};
  const std::vector<std::string> accesses = {"read", "write", "readwrite", "deny"};
  for (int round = 0; round < 1'500; ++round) {
    std::vector<ModelRule> rules;
    std::string text;
    const bool anonymous = rng.Below(2) == 0;
    if (!anonymous) text = "user b\n";
    for (uint64_t i = rng.Below(6); i > 0; --i) {
      const bool pattern = rng.Below(2) == 0;
      rules.push_back(
          {pattern, accesses[rng.Below(4)], RandomFilter(rng, pattern ? with_names : plain)});
      // The access is written out, so an empty first level ("/x") is no trouble.
      absl::StrAppend(&text, pattern ? "pattern " : "topic ", rules.back().access, " ",
                      rules.back().filter, "\n");
    }
    const auto acl = Acl::Parse(text, "acl");
    ASSERT_TRUE(acl.ok()) << acl.status();
    Identity who;
    who.client_id = "a";
    who.anonymous = anonymous;
    if (!anonymous) who.user_name = "b";
    const auto permissions = (*acl)->PermissionsFor(who);
    for (const std::string& topic : AllTopics()) {
      ASSERT_EQ(permissions->MayRead(topic), ModelAllows(rules, who, topic, "read"))
          << text << topic;
      ASSERT_EQ(permissions->MayWrite(topic), ModelAllows(rules, who, topic, "write"))
          << text << topic;
    }
    ExpectTheSameInTwoParts(rng, rules, who);
    // Whoever may read something that a filter matches may subscribe to it.
    const std::string filter = RandomFilter(rng, plain);
    const bool reads_some =
        std::any_of(AllTopics().begin(), AllTopics().end(), [&](const std::string& topic) {
          return mqtt::Matches(filter, topic) && permissions->MayRead(topic);
        });
    ASSERT_TRUE(!reads_some || permissions->MaySubscribe(filter)) << text << filter;
  }
}

}  // namespace
}  // namespace auth
