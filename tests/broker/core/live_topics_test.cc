#include "broker/core/live_topics.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace broker {
namespace {

TEST(LiveTopics, KnowsWhenOneCameLast) {
  base::MemoryAccount account;
  LiveTopics topics(account, 7);
  EXPECT_TRUE(topics.empty());
  EXPECT_EQ(topics.Find("a"), 0u);
  topics.Note("a", 1);
  topics.Note("b", 2);
  topics.Note("a", 3);
  EXPECT_EQ(topics.Find("a"), 3u);
  EXPECT_EQ(topics.Find("b"), 2u);
  EXPECT_EQ(topics.Find("ab"), 0u);
  topics.Clear();
  EXPECT_TRUE(topics.empty());
  EXPECT_EQ(account.bytes(base::MemoryUse::kAliases), 0);
}

TEST(LiveTopics, HoldsLittleHoweverLongTheyAreAndHoweverMany) {
  base::MemoryAccount account;
  {
    LiveTopics topics(account, 7);
    const std::string tail(60'000, 'x');
    for (size_t i = 0; i < 2 * LiveTopics::kMax; ++i) topics.Note(absl::StrCat(i, tail), i + 1);
    EXPECT_EQ(topics.Find(absl::StrCat(17, tail)), 18u);
    EXPECT_EQ(topics.Find(absl::StrCat(LiveTopics::kMax, tail)), 0u);
    topics.Note(absl::StrCat(17, tail), 100'000);
    EXPECT_EQ(topics.Find(absl::StrCat(17, tail)), 100'000u);
    EXPECT_GT(topics.held_bytes(), LiveTopics::kMax * 16);
    EXPECT_LT(topics.held_bytes(), 512u * 1024);
    EXPECT_EQ(account.bytes(base::MemoryUse::kAliases), static_cast<int64_t>(topics.held_bytes()));
  }
  EXPECT_EQ(account.bytes(base::MemoryUse::kAliases), 0);
}

}  // namespace
}  // namespace broker
