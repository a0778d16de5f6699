// FilterTree against brute force: mqtt::Matches over all filters.
#include "mqtt/filter_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "mqtt/topic.h"
#include "tests/support/cpu_cost.h"
#include "tests/support/random_topics.h"

namespace mqtt {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;
using Tree = FilterTree<int>;

std::vector<std::string> MatchesOf(const Tree& tree, std::string_view topic) {
  std::vector<std::string> found;
  tree.ForEachMatch(topic, base::HashOfName(topic),
                    [&](const Tree::Node& node) { found.emplace_back(node.name()); });
  return found;
}

std::vector<std::string> All(const Tree& tree) {
  std::vector<std::string> found;
  tree.ForEach([&](const Tree::Node& node) { found.emplace_back(node.name()); });
  return found;
}

TEST(FilterTree, IsEmptyAtFirst) {
  const Tree tree;
  EXPECT_EQ(tree.size(), 0u);
  EXPECT_EQ(tree.Find("a"), nullptr);
  EXPECT_EQ(tree.Find("#"), nullptr);
  EXPECT_THAT(MatchesOf(tree, "a/b"), IsEmpty());
}

TEST(FilterTree, AWildcardInTheFirstLevelDoesNotTakeDollarTopics) {
  Tree tree;
  for (const char* filter : {"#", "+/#", "+", "+/a", "$SYS/#", "$SYS/+", "$SYS/a", "$SYS"})
    tree.Insert(filter);
  EXPECT_THAT(MatchesOf(tree, "$SYS/a"), UnorderedElementsAre("$SYS/#", "$SYS/+", "$SYS/a"));
  EXPECT_THAT(MatchesOf(tree, "$SYS"), UnorderedElementsAre("$SYS", "$SYS/#"));
  EXPECT_THAT(MatchesOf(tree, "x/$SYS"), UnorderedElementsAre("#", "+/#"));
}

TEST(FilterTree, HashTakesTheParentLevelToo) {
  Tree tree;
  for (const char* filter : {"a/#", "a/+/#", "a/b/#", "+/b/#"}) tree.Insert(filter);
  EXPECT_THAT(MatchesOf(tree, "a"), UnorderedElementsAre("a/#"));
  EXPECT_THAT(MatchesOf(tree, "a/b"), UnorderedElementsAre("a/#", "a/+/#", "a/b/#", "+/b/#"));
  EXPECT_THAT(MatchesOf(tree, "a/"), UnorderedElementsAre("a/#", "a/+/#"));
}

TEST(FilterTree, AnEmptyLevelIsALevel) {
  Tree tree;
  for (const char* filter : {"+", "+/+", "/+", "/", "+/", "/#", "//#"}) tree.Insert(filter);
  EXPECT_THAT(MatchesOf(tree, "/"), UnorderedElementsAre("+/+", "/+", "/", "+/", "/#", "//#"));
  EXPECT_THAT(MatchesOf(tree, "//"), UnorderedElementsAre("/#", "//#"));
}

TEST(FilterTree, ErasingAFilterLeavesThoseAboveAndBelow) {
  Tree tree;
  for (const char* filter : {"a/+", "a/+/c", "a/+/c/+", "a/+/d"}) tree.Insert(filter);
  tree.Erase("a/+/c");
  EXPECT_EQ(tree.Find("a/+/c"), nullptr);
  EXPECT_THAT(MatchesOf(tree, "a/b/c"), IsEmpty());
  EXPECT_THAT(MatchesOf(tree, "a/b/c/d"), ElementsAre("a/+/c/+"));
  EXPECT_THAT(MatchesOf(tree, "a/b"), ElementsAre("a/+"));
  tree.Erase("a/+");
  EXPECT_THAT(MatchesOf(tree, "a/b/d"), ElementsAre("a/+/d"));
  EXPECT_EQ(tree.size(), 2u);
}

TEST(FilterTree, ErasingWhatIsNotThereChangesNothing) {
  Tree tree;
  tree.Insert("a/+/c");
  tree.Insert("a/b");
  for (const char* filter : {"a/+", "a/+/c/#", "x/+", "#", "a", "a/b/c"}) tree.Erase(filter);
  EXPECT_THAT(All(tree), UnorderedElementsAre("a/+/c", "a/b"));
}

TEST(FilterTree, ALevelWhoseNumberIsUsedAgainDoesNotMatchTheOldName) {
  Tree tree;
  tree.Insert("old/+");
  tree.Erase("old/+");
  tree.Insert("new/+");
  EXPECT_THAT(MatchesOf(tree, "old/x"), IsEmpty());
  EXPECT_THAT(MatchesOf(tree, "new/x"), ElementsAre("new/+"));
}

TEST(FilterTree, FindsAFilterByTheTextOfItsOwnNode) {
  Tree tree;
  tree.Erase(tree.Insert("a/+").name());
  tree.Erase(tree.Insert("a/b").name());
  EXPECT_EQ(tree.size(), 0u);
}

TEST(FilterTree, ValuesStayAtTheirAddress) {
  Tree tree;
  int* const exact = &tree.Insert("a").value;
  int* const wild = &tree.Insert("a/+").value;
  for (int i = 0; i < 2000; ++i) {
    tree.Insert(std::to_string(i));
    tree.Insert(std::to_string(i) + "/+");
  }
  EXPECT_EQ(&tree.Insert("a").value, exact);
  EXPECT_EQ(&tree.Insert("a/+").value, wild);
  EXPECT_EQ(&tree.Find("a/+")->value, wild);
}

TEST(FilterTree, LongestTopicsMatch) {
  Tree tree;
  const std::string slashes(60'000, '/');
  tree.Insert(slashes + "#");
  tree.Insert("+/#");
  EXPECT_THAT(MatchesOf(tree, slashes), UnorderedElementsAre(slashes + "#", "+/#"));
  tree.Erase(slashes + "#");
  EXPECT_THAT(All(tree), ElementsAre("+/#"));
}

// A place for each level of a filter was 30 times what the filter itself took.
TEST(FilterTree, ADeepFilterTakesNoMorePlacesThanAShallowOne) {
  for (const int filters : {1000, 10'000}) {
    Tree shallow;
    Tree deep;
    std::string levels;
    for (int i = 0; i < 125; ++i) levels += "a/";
    for (int i = 0; i < filters; ++i) {
      shallow.Insert("+/" + std::to_string(i));
      deep.Insert("+/" + std::to_string(i) + "/" + levels + "+");
    }
    const auto each = [&](const Tree& tree) {
      return static_cast<double>(tree.places()) / filters;
    };
    std::cout << filters << " filters: places each " << each(shallow) << ", of 128 levels "
              << each(deep) << "\n";
    EXPECT_LE(deep.places(), shallow.places());
    EXPECT_LE(each(deep), 2.1);
  }
}

// A topic and a filter of so many levels: nanoseconds for each of them, by the processor's time.
double CostOfALevel(size_t levels) {
  const std::string rest(levels, '/');
  return support::CpuNsPerItem(levels, 20, [&] {
    Tree tree;
    tree.Insert("+" + rest);
    tree.Insert("+/#");
    EXPECT_THAT(MatchesOf(tree, "a" + rest), UnorderedElementsAre("+" + rest, "+/#"));
    tree.Erase("+" + rest);
  });
}

// No recursion either: 65,000 frames would not fit the stack of a thread.
TEST(FilterTree, ALevelCostsTheSameAmongFewAndAmongMany) {
  CostOfALevel(1000);  // Warm.
  EXPECT_LT(support::PrintedRatio("a level", CostOfALevel(6'500), CostOfALevel(65'000), 10), 5);
}

class FilterTreeModel : public ::testing::TestWithParam<uint64_t> {};

TEST_P(FilterTreeModel, MatchesWhatBruteForceMatches) {
  base::Rng rng(GetParam());
  Tree tree;
  std::map<std::string, int> model;
  const auto check = [&](const std::string& topic) {
    std::vector<std::string> expected;
    for (const auto& [filter, value] : model) {
      if (mqtt::Matches(filter, topic)) expected.push_back(filter);
    }
    ASSERT_THAT(MatchesOf(tree, topic), UnorderedElementsAreArray(expected)) << topic;
  };
  for (int step = 0; step < 6000; ++step) {
    SCOPED_TRACE(step);
    // The set grows and shrinks in turn, so that places and levels are freed and used again.
    const bool growing = step / 700 % 2 == 0;
    const std::string filter = support::RandomFilter(rng);
    ASSERT_TRUE(mqtt::IsValidTopicFilter(filter)) << filter;
    if (rng.Chance(growing ? 0.7 : 0.3)) {
      Tree::Node& node = tree.Insert(filter);
      EXPECT_EQ(node.name(), filter);
      node.value = model[filter] = step;
    } else if (rng.Chance(0.5) && !model.empty()) {
      auto victim = model.lower_bound(filter);
      if (victim == model.end()) victim = model.begin();
      tree.Erase(victim->first);
      model.erase(victim);
    } else {
      tree.Erase(filter);
      model.erase(filter);
    }
    ASSERT_EQ(tree.size(), model.size());
    ASSERT_LE(tree.places(), 2 * tree.wildcards() + 1);
    check(support::RandomTopic(rng));
    const auto known = model.find(filter);
    const Tree::Node* const node = tree.Find(filter);
    ASSERT_EQ(node != nullptr, known != model.end()) << filter;
    if (node != nullptr) {
      ASSERT_EQ(node->value, known->second);
    }
  }
  std::vector<std::string> left;
  for (const auto& [filter, value] : model) left.push_back(filter);
  ASSERT_THAT(All(tree), UnorderedElementsAreArray(left));
  for (const std::string& filter : left) tree.Erase(filter);
  EXPECT_EQ(tree.size(), 0u);
  EXPECT_THAT(All(tree), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, FilterTreeModel, ::testing::Range<uint64_t>(1, 7));

}  // namespace
}  // namespace mqtt
