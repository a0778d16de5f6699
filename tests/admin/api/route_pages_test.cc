#include "admin/api/route_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"

namespace admin {
namespace {

using testing::ElementsAre;

TEST(FirstFilters, KeepsThoseBehindThePlaceWithAllOfTheirCounts) {
  base::Rng rng(7);
  std::map<std::string, uint64_t> all;
  for (int i = 0; i < 40; ++i) all[absl::StrCat("f/", i)] = 1 + rng.Below(5);
  std::vector<std::string> told;
  for (const auto& [filter, count] : all) told.insert(told.end(), count, filter);
  for (int round = 0; round < 50; ++round) {
    for (size_t i = told.size(); i > 1; --i) std::swap(told[i - 1], told[rng.Below(i)]);
    std::vector<std::string> listed;
    std::string after;
    for (bool more = true; more;) {
      FirstFilters first(after, 7);
      for (const std::string& filter : told) {
        if (FirstFilters::Counts* const counts = first.Find(filter)) ++counts->connected;
      }
      for (const auto& [filter, counts] : first.filters()) {
        EXPECT_EQ(counts.connected, all[filter]) << filter;
        listed.push_back(filter);
      }
      more = first.more();
      ASSERT_FALSE(first.filters().empty());
      after = first.filters().rbegin()->first;
    }
    EXPECT_EQ(listed.size(), all.size());
    EXPECT_TRUE(std::is_sorted(listed.begin(), listed.end()));
  }
}

TEST(FirstFilters, SkipsNoneThatIsTooLongForThePage) {
  const std::vector<std::string> all = {"a", std::string(50, 'b'), "c", std::string(500, 'd'), "e"};
  std::vector<size_t> order = {0, 1, 2, 3, 4};
  do {
    std::vector<std::string> listed;
    std::string after;
    for (bool more = true; more;) {
      FirstFilters first(after, 10, 60);
      size_t bytes = 0;
      for (const size_t i : order) {
        if (FirstFilters::Counts* const counts = first.Find(all[i])) ++counts->connected;
      }
      for (const auto& [filter, counts] : first.filters()) {
        EXPECT_EQ(counts.connected, 1u) << filter;
        bytes += filter.size();
        listed.push_back(filter);
      }
      EXPECT_TRUE(bytes <= 60 || first.filters().size() == 1);
      more = first.more();
      after = first.filters().rbegin()->first;
    }
    EXPECT_EQ(listed, all);
  } while (std::next_permutation(order.begin(), order.end()));
}

pb::ListRoutesResponse Page(uint32_t node, const std::vector<std::string>& filters, bool more) {
  pb::ListRoutesResponse page;
  for (const std::string& filter : filters) {
    pb::Route& route = *page.add_routes();
    route.set_filter(filter);
    route.add_nodes()->set_number(node);
  }
  if (more) page.mutable_page()->set_next(filters.back());
  page.add_nodes()->set_number(node);
  return page;
}

std::vector<std::string> Filters(const pb::ListRoutesResponse& page) {
  std::vector<std::string> filters;
  for (const pb::Route& route : page.routes()) filters.push_back(route.filter());
  return filters;
}

TEST(MergeRoutes, ListsOnlyWhatAllPagesHaveComeTo) {
  const auto merged =
      MergeRoutes({Page(2, {"a", "c", "f"}, false), Page(1, {"a", "b", "d"}, true)}, 10);
  EXPECT_THAT(Filters(merged), ElementsAre("a", "b", "c", "d")) << "1 may have an e";
  EXPECT_EQ(merged.page().next(), "d");
  ASSERT_EQ(merged.routes(0).nodes_size(), 2);
  EXPECT_EQ(merged.routes(0).nodes(0).number(), 1u);
  EXPECT_EQ(merged.nodes(1).number(), 2u);
}

TEST(MergeRoutes, EndsWhereItsFiltersAreTooLong) {
  const std::string a(kPageFilterBytesMax - 1, 'a');
  const std::string c(2 * kPageFilterBytesMax, 'c');
  auto merged = MergeRoutes({Page(2, {a, c}, false), Page(1, {"b", "bb"}, false)}, 10);
  EXPECT_THAT(Filters(merged), ElementsAre(a, "b"));
  EXPECT_EQ(merged.page().next(), "b");
  merged = MergeRoutes({Page(2, {c}, false), Page(1, {"d"}, false)}, 10);
  EXPECT_THAT(Filters(merged), ElementsAre(c)) << "one at least";
  EXPECT_EQ(merged.page().next(), c);
}

TEST(MergeRoutes, HasNoMoreThanWereAskedFor) {
  const auto merged = MergeRoutes({Page(2, {"a", "c"}, false), Page(1, {"b"}, false)}, 2);
  EXPECT_THAT(Filters(merged), ElementsAre("a", "b"));
  EXPECT_EQ(merged.page().next(), "b");
  const auto all = MergeRoutes({Page(2, {"c"}, false), Page(1, {}, false)}, 2);
  EXPECT_THAT(Filters(all), ElementsAre("c"));
  EXPECT_EQ(all.page().next(), "");
}

}  // namespace
}  // namespace admin
