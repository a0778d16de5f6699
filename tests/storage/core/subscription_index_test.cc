#include "storage/core/subscription_index.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "mqtt/topic.h"
#include "storage/core/session.h"

namespace storage {
namespace {

std::string RandomTopic(base::Rng& rng, bool filter) {
  std::string topic;
  const uint64_t levels = 1 + rng.Below(4);
  for (uint64_t i = 0; i < levels; ++i) {
    if (i != 0) topic += '/';
    const uint64_t kind = rng.Below(filter ? 8 : 5);
    if (kind >= 6 || (filter && kind == 5 && i + 1 < levels)) {
      topic += '+';
    } else if (kind == 5) {
      return topic + '#';
    } else {
      topic += std::vector<std::string>{"a", "b", "", "$x", "a-b"}[kind];
    }
  }
  return topic.empty() ? "a" : topic;
}

// Adds and removes at random, and asks mqtt::Matches about every filter.
TEST(SubscriptionIndex, MatchesAsTheDefinitionDoes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    base::Rng rng(seed);
    SubscriptionIndex index;
    Session session;
    std::vector<std::unique_ptr<SessionSubscription>> live;
    std::map<std::string, size_t> count;
    for (int step = 0; step < 600; ++step) {
      if (live.empty() || rng.Chance(0.55)) {
        auto made = std::make_unique<SessionSubscription>();
        made->session = &session;
        made->record.filter = RandomTopic(rng, true);
        EXPECT_EQ(index.Add(*made), ++count[made->record.filter] == 1);
        live.push_back(std::move(made));
      } else {
        const size_t at = rng.Below(live.size());
        const std::string filter = live[at]->record.filter;
        const bool last = --count[filter] == 0;
        EXPECT_EQ(index.Remove(*live[at]), last);
        if (last) count.erase(filter);
        std::swap(live[at], live.back());
        live.pop_back();
      }
      const std::string topic = RandomTopic(rng, false);
      SubscriptionIndex::Matches matches;
      index.Match(topic, matches);
      std::vector<std::string> found;
      for (const FilterEntry* const entry : matches) {
        found.emplace_back(entry->name());
        EXPECT_EQ(entry->value.list.size(), count[found.back()]);
      }
      std::sort(found.begin(), found.end());
      std::vector<std::string> expected;
      for (const auto& [filter, n] : count) {
        if (mqtt::Matches(filter, topic)) expected.push_back(filter);
      }
      ASSERT_EQ(found, expected) << topic;
      ASSERT_EQ(index.filter_count(), count.size());
    }
  }
}

// One message to such a topic ended the process, and each start after it: a call for each level.
TEST(SubscriptionIndex, TakesFiltersAndTopicsOfTheMostLevels) {
  Session session;
  SubscriptionIndex index;
  const std::string slashes(65'534, '/');
  std::vector<std::unique_ptr<SessionSubscription>> subscriptions;
  for (const std::string& filter : {"+" + slashes, slashes + "#", slashes + "+"}) {
    subscriptions.push_back(std::make_unique<SessionSubscription>());
    subscriptions.back()->session = &session;
    subscriptions.back()->record.filter = filter;
    EXPECT_TRUE(index.Add(*subscriptions.back()));
  }
  SubscriptionIndex::Matches matches;
  index.Match(slashes, matches);
  EXPECT_EQ(matches.size(), 3u);
  for (const auto& subscription : subscriptions) EXPECT_TRUE(index.Remove(*subscription));
  EXPECT_EQ(index.filter_count(), 0u);
}

}  // namespace
}  // namespace storage
