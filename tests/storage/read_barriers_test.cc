#include "storage/leader/read_barriers.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/leader/host.h"
#include "tests/storage/forgetful_disk.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr LiveNode kLeader{.node = NodeId(2), .incarnation = Incarnation(1), .shards = 1};

StorageOptions OnePartition() {
  StorageOptions options = SmallOptions();
  options.partitions = 1;
  return options;
}

// A node with a replica of the one partition that there is, which another node leads.
class ReadBarriersTest : public testing::Test {
 protected:
  ReadBarriersTest() : host_(options_, /*shards=*/1, state_, metrics_, rng_) {
    host_.SetSelf(NodeId(1), Incarnation(1));
    EXPECT_TRUE(host_.Load().ok());
    host_.SetNodes({kLeader});
    host_.node().barriers->SetAsk(
        [this](PartitionId /*partition*/, uint64_t ticket) { tickets_.push_back(ticket); });
    host_.OnLog(RoleChange{.partition = 0, .leads = false, .term = 2});
    host_.node().send = [](NodeId /*to*/, HostMessage /*message*/) {};
    host_.Begin([this] { ready_ = true; });
    host_.Run();
  }

  // The leader says, when it is asked next, that there is so much that this node has not.
  void Lack(uint64_t entries) {
    host_.Run();
    host_.Run();
    ASSERT_THAT(tickets_, SizeIs(++asked_));
    until_ = host_.logged(0) + entries;
    host_.OnLog(Readable{.partition = 0, .ticket = tickets_.back(), .index = until_});
    host_.Run();
  }
  void Fetch() {
    while (host_.logged(0) < until_)
      host_.OnLog(Committed{.partition = 0, .index = host_.logged(0) + 1, .term = 2});
    host_.Run();
  }

  const StorageOptions options_ = OnePartition();
  MemoryState state_;
  HostMetrics metrics_;
  base::Rng rng_{1};
  Host host_;
  std::vector<uint64_t> tickets_;
  size_t asked_ = 0;
  uint64_t until_ = 0;
  bool ready_ = false;
};

TEST_F(ReadBarriersTest, AHostBeginsWhenItHasAppliedWhatWasCommitted) {
  ASSERT_THAT(tickets_, SizeIs(1));
  const uint64_t index = host_.logged(0) + 1;
  host_.OnLog(Readable{.partition = 0, .ticket = tickets_[0], .index = index});
  host_.Run();
  EXPECT_FALSE(host_.begun());
  host_.OnLog(Committed{.partition = 0, .index = index, .term = 2});
  host_.Run();
  EXPECT_TRUE(host_.begun());
}

// While it fetched what it lacked, more was stored: another node that is stopped just then would
// leave whoever writes waiting for this one.
TEST_F(ReadBarriersTest, AHostThatLackedMuchBeginsWhenItHasWhatCameMeanwhileToo) {
  EXPECT_EQ(metrics_.partitions_behind.value(), 1);
  Lack(1000);
  Fetch();
  EXPECT_FALSE(host_.begun());
  Lack(100);
  Fetch();
  EXPECT_FALSE(host_.begun());
  EXPECT_EQ(metrics_.partitions_behind.value(), 1);
  Lack(3);
  EXPECT_FALSE(host_.begun());
  Fetch();
  EXPECT_TRUE(host_.begun());
  EXPECT_EQ(metrics_.partitions_behind.value(), 0);
}

TEST_F(ReadBarriersTest, AHostThatCannotKeepUpBeginsAllTheSame) {
  Lack(1000);
  host_.SetTime(
      {.unix_ms = 1, .monotonic = absl::Hours(1)});  // Of what there was nothing may lack.
  host_.Run();
  EXPECT_FALSE(host_.begun());
  Fetch();
  Lack(1000);
  host_.SetTime({.unix_ms = 1, .monotonic = absl::Hours(1) + absl::Seconds(59)});
  Fetch();
  EXPECT_FALSE(host_.begun());
  Lack(1000);
  host_.SetTime({.unix_ms = 1, .monotonic = absl::Hours(1) + absl::Minutes(1)});
  host_.Run();
  EXPECT_TRUE(host_.begun());
}

// Or no client would ever be let in, for the sake of what nobody reads here.
TEST_F(ReadBarriersTest, NobodyWaitsForAPartitionThatStopsMeanwhile) {
  ASSERT_THAT(tickets_, SizeIs(1));
  const uint64_t index = host_.logged(0) + 1;
  host_.OnLog(Readable{.partition = 0, .ticket = tickets_[0], .index = index});
  host_.OnLog(
      Committed{.partition = 0, .index = index, .term = 2, .entry = std::string(kUnknownCommand)});
  host_.Run();
  EXPECT_EQ(metrics_.partitions_stopped.value(), 1);
  EXPECT_TRUE(host_.begun());
}

// Nor because another node was told that this one would know its routes.
TEST_F(ReadBarriersTest, NobodyWaitsForRoutesOfAPartitionThatStopsMeanwhile) {
  const uint64_t index = host_.logged(0) + 1;
  host_.OnHostMessage(kLeader.node, kLeader.incarnation,
                      KnowRoutes{.partition = 0, .index = index, .ticket = 1});
  host_.Run();
  ASSERT_THAT(tickets_, SizeIs(1));
  host_.OnLog(Readable{.partition = 0, .ticket = tickets_[0], .index = index});
  host_.OnLog(
      Committed{.partition = 0, .index = index, .term = 2, .entry = std::string(kUnknownCommand)});
  for (int i = 0; i < 3; ++i) {
    host_.Run();
    host_.OnRequest({.node = NodeId(1), .shard = 0, .incarnation = Incarnation(1)},
                    ConfirmRoutes{});
  }
  EXPECT_TRUE(ready_);
}

}  // namespace
}  // namespace storage
