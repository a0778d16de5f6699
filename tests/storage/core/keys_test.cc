#include "storage/core/keys.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace storage {
namespace {

// On disk and in placement: a change of the hash loses every session.
TEST(StableHash, NeverChanges) {
  EXPECT_EQ(StableHash(""), 0xEFD01F60BA992926u);
  EXPECT_EQ(StableHash("sensor-7"), 0xEC289F00F3C8FDB1u);
}

TEST(StableHash, SpreadsSimilarNamesOverPartitions) {
  std::vector<int> count(16);
  for (int i = 0; i < 16'000; ++i) ++count[PartitionOfClient("client-" + std::to_string(i), 16)];
  EXPECT_GT(*std::min_element(count.begin(), count.end()), 850);
  EXPECT_LT(*std::max_element(count.begin(), count.end()), 1150);
}

// Twice the partitions: a session stays or moves up by the old number, nowhere else.
TEST(PartitionOfClient, SplitsInTwo) {
  for (int i = 0; i < 1000; ++i) {
    const std::string id = "c" + std::to_string(i);
    const PartitionId before = PartitionOfClient(id, 8);
    EXPECT_THAT(PartitionOfClient(id, 16), testing::AnyOf(before, before + 8));
  }
}

TEST(Keys, OfAPartitionLieInItsRange) {
  const KeyRange range = RangeOf(255);
  for (const std::string& key :
       {MetaKey(255), SessionKey(255, ""), CursorKey(255, "\xFF\xFF"), QueueKey(255, "a", ~0ull),
        RetainedKey(255, "a/b"), OutboxKey(255, 1), SubscriptionKey(255, "a", "\xFF/#")}) {
    EXPECT_GE(key, range.begin);
    EXPECT_LT(key, range.end);
  }
  EXPECT_LT(OutboxKey(254, ~0ull), range.begin);
  EXPECT_GE(MetaKey(256), range.end);
}

TEST(Keys, OfAQueueAscendWithTheSequence) {
  const KeyRange range = QueueRange(1, "c");
  EXPECT_LT(QueueKey(1, "c", 255), QueueKey(1, "c", 256));
  EXPECT_GE(QueueKey(1, "c", 0), range.begin);
  EXPECT_LT(QueueKey(1, "c", ~0ull), range.end);
  std::string key = QueueKey(1, "c", 0);
  ReplaceSequence(key, 77);
  EXPECT_EQ(key, QueueKey(1, "c", 77));
  EXPECT_EQ(SequenceOf(key), 77u);
}

TEST(Keys, GiveBackWhatTheyWereMadeOf) {
  EXPECT_EQ(ClientIdOf(SessionKey(9, "client/1")), "client/1");
  EXPECT_EQ(ClientIdOf(QueueKey(9, "client/1", 5)), "client/1");
  EXPECT_EQ(ClientIdOf(SubscriptionKey(9, "c", "a/+/#")), "c");
  EXPECT_EQ(FilterOf(SubscriptionKey(9, "c", "a/+/#")), "a/+/#");
  EXPECT_EQ(TopicOf(RetainedKey(9, "/a//b/")), "/a//b/");
  EXPECT_EQ(ClientIdOf("short"), std::nullopt);
  EXPECT_EQ(SequenceOf("short"), std::nullopt);
}

TEST(Keys, OfRetainedTopicsKeepATreeTogether) {
  std::vector<std::string> topics = {"a-b",  "a/b/c", "a",    "a/b", "a0",
                                     "a/b-", "a//x",  "ab/c", "a/c"};
  std::sort(topics.begin(), topics.end(), [](const std::string& x, const std::string& y) {
    return RetainedKey(0, x) < RetainedKey(0, y);
  });
  EXPECT_THAT(topics, testing::ElementsAre("a", "a//x", "a/b", "a/b/c", "a/b-", "a/c", "a-b", "a0",
                                           "ab/c"));
}

}  // namespace
}  // namespace storage
