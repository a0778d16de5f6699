#include "storage/core/publish_parts.h"

#include <gmock/gmock.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/core/keys.h"

namespace storage {
namespace {

constexpr uint32_t kPartitions = 4;

Publish About(std::string_view topic) {
  Publish whole;
  whole.token = 7;
  whole.message = mqtt::Message::Create({.topic = topic, .payload = "x", .properties = {}});
  return whole;
}

std::vector<Publish> Cut(Publish whole, uint32_t partitions = kPartitions) {
  std::vector<Publish> parts;
  const uint32_t count =
      CutIntoParts(std::move(whole), partitions, [&](Publish part) { parts.push_back(part); });
  EXPECT_EQ(count, parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ(parts[i].token, 7u);
    EXPECT_TRUE(parts[i].message);
  }
  return parts;
}

std::string ClientIn(PartitionId partition) {
  for (int i = 0;; ++i) {
    std::string name = absl::StrCat("c", i);
    if (PartitionOfClient(name, kPartitions) == partition) return name;
  }
}

TEST(PublishParts, EachPartitionIsAskedOnceForAllThatIsIts) {
  Publish whole = About("t");
  const PartitionId home = PartitionOfTopic("t", kPartitions);
  whole.partitions = 0b1111;
  whole.set_retained = true;
  whole.shared_targets.push_back({.client_id = ClientIn(2), .filter = "$share/g/t"});
  const std::vector<Publish> parts = Cut(whole);
  ASSERT_EQ(parts.size(), 4u);
  for (PartitionId id = 0; id < kPartitions; ++id) {
    EXPECT_EQ(parts[id].partition, id);
    EXPECT_EQ(parts[id].partitions, 0b1111u);
    EXPECT_EQ(parts[id].set_retained, id == home);
    EXPECT_EQ(parts[id].shared_targets.size(), id == 2 ? 1u : 0u);
  }
}

TEST(PublishParts, WhatMatchesNothingIsForThoseThatAreNamed) {
  Publish whole = About("t");
  whole.shared_targets.push_back({.client_id = ClientIn(1), .filter = "$share/g/t"});
  whole.shared_targets.push_back({.client_id = ClientIn(3), .filter = "$share/h/t"});
  whole.shared_targets.push_back({.client_id = ClientIn(1), .filter = "$share/i/t"});
  const std::vector<Publish> parts = Cut(whole);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].partition, 1);
  ASSERT_EQ(parts[0].shared_targets.size(), 2u);
  EXPECT_EQ(parts[0].shared_targets[1].filter, "$share/i/t");
  EXPECT_EQ(parts[1].partition, 3);
  ASSERT_EQ(parts[1].shared_targets.size(), 1u);
}

TEST(PublishParts, WhatIsForNobodyIsAskedForOnce) {
  EXPECT_EQ(Cut(About("t")).size(), 1u);
  Publish elsewhere = About("t");
  elsewhere.partitions = 0b10000;  // A route to a partition that the store does not have.
  EXPECT_EQ(Cut(elsewhere).size(), 1u);
  EXPECT_EQ(Cut(elsewhere).front().partitions, 0u);
}

TEST(PublishParts, ThereMayBeSixtyFour) {
  Publish whole = About("t");
  whole.partitions = ~PartitionMask{0};
  EXPECT_EQ(Cut(whole, 64).size(), 64u);
}

}  // namespace
}  // namespace storage
