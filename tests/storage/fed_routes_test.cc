#include "storage/leader/fed_routes.h"

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/leader/host.h"
#include "tests/storage/forgetful_disk.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr LiveNode kLeader{.node = NodeId(2), .incarnation = Incarnation(1), .shards = 1};
constexpr PartitionId kLacked = 0;

StorageOptions OnePartition() {
  StorageOptions options = SmallOptions();
  options.partitions = 1;
  return options;
}

// A node with one shard and no replica of the one partition that there is.
class FedRoutesTest : public testing::Test {
 protected:
  FedRoutesTest() : host_(options_, /*shards=*/1, state_, metrics_, rng_) {
    host_.SetSelf(kSelf.node, kSelf.incarnation, /*held=*/0);
    EXPECT_TRUE(host_.Load().ok());
    host_.SetNodes({kLeader});
    host_.node().send = [this](NodeId to, HostMessage message) {
      EXPECT_EQ(to, kLeader.node);
      said_.push_back(std::move(message));
    };
    host_.node().tell_committed = [](PartitionId /*partition*/) {};
    host_.Begin([this] { ready_ = true; });
    ConfirmAll();
  }

  static RouteChange Add(std::string filter) {
    return {.add = true, .partition = kLacked, .filter = std::move(filter)};
  }
  static RouteChange Remove(std::string filter) {
    return {.add = false, .partition = kLacked, .filter = std::move(filter)};
  }
  void Hear(HostMessage message) {
    host_.OnHostMessage(kLeader.node, kLeader.incarnation, message);
    host_.Run();
  }
  void HearPart(uint64_t feed, uint64_t number, std::vector<RouteChange> routes) {
    Hear(FeedRoutes{
        .partition = kLacked, .feed = feed, .number = number, .routes = std::move(routes)});
  }
  void HearWhole(uint64_t feed, uint64_t number, uint64_t index, std::vector<RouteChange> routes) {
    Hear(FeedRoutes{.partition = kLacked,
                    .feed = feed,
                    .number = number,
                    .whole = true,
                    .index = index,
                    .routes = std::move(routes)});
  }
  void AskWhether(uint64_t index, uint64_t ticket) {
    Hear(KnowRoutes{.partition = kLacked, .index = index, .ticket = ticket});
  }

  // What the shard heard since: filters, with a '+' or a '-'.
  std::vector<std::string> TakeRoutes() {
    std::vector<std::string> heard;
    for (Event& event : host_.TakeEvents(0)) {
      if (const auto* const change = std::get_if<RouteChange>(&event)) {
        confirmed_ = change->number;
        heard.push_back((change->add ? "+" : "-") + change->filter);
      }
    }
    return heard;
  }
  // The shard knows all that it was told.
  void ConfirmAll() {
    host_.Run();
    TakeRoutes();
    host_.OnRequest(kSelf, ConfirmRoutes{confirmed_});
    host_.Run();
    if (host_.NextWake() == absl::ZeroDuration()) host_.Run();
  }
  // Of questions that were answered since.
  std::vector<uint64_t> TakeAnswers() {
    std::vector<uint64_t> tickets;
    for (const HostMessage& message : std::exchange(said_, {})) {
      if (const auto* const known = std::get_if<RoutesKnown>(&message)) {
        EXPECT_EQ(known->partition, kLacked);
        tickets.push_back(known->ticket);
      }
    }
    return tickets;
  }

  static constexpr ShardAddress kSelf{.node = NodeId(1), .shard = 0, .incarnation = Incarnation(1)};
  const StorageOptions options_ = OnePartition();
  MemoryState state_;
  HostMetrics metrics_;
  base::Rng rng_{1};
  Host host_;
  std::vector<HostMessage> said_;
  uint64_t confirmed_ = 0;
  bool ready_ = false;
};

// SUBACK of a client elsewhere waits for the answer: with a part of what there is it would say that
// routes are known that are still to come.
TEST_F(FedRoutesTest, AQuestionIsAnsweredWhenTheFeedIsWholeAndTheShardKnowsIt) {
  HearWhole(/*feed=*/1, /*number=*/1, /*index=*/4, {});
  ConfirmAll();
  AskWhether(/*index=*/5, /*ticket=*/9);
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "nothing has been told";
  HearPart(/*feed=*/2, /*number=*/1, {Add("a")});
  ConfirmAll();
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "there is more to come";
  HearWhole(2, /*number=*/2, /*index=*/7, {Add("b")});
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "the shard has not confirmed it";
  ConfirmAll();
  EXPECT_THAT(TakeAnswers(), ElementsAre(9));
}

// Nobody publishes here before the node is let in, which may take as long as others are gone.
TEST_F(FedRoutesTest, WhoHasNoClientsYetAnswersAtOnceAndHasNoneBeforeThatIsSo) {
  AskWhether(/*index=*/8, /*ticket=*/9);
  EXPECT_THAT(TakeAnswers(), ElementsAre(9));
  HearWhole(/*feed=*/1, /*number=*/1, /*index=*/7, {Add("a")});
  ConfirmAll();
  EXPECT_FALSE(ready_) << "what was asked about is still to come";
  AskWhether(/*index=*/9, /*ticket=*/10);
  EXPECT_THAT(TakeAnswers(), ElementsAre(10));
  HearWhole(1, 2, /*index=*/8, {Add("b")});
  ConfirmAll();
  EXPECT_FALSE(ready_);
  HearWhole(1, 3, /*index=*/9, {Add("c")});
  host_.Run();
  EXPECT_FALSE(ready_) << "the shard has not confirmed it";
  AskWhether(/*index=*/9, /*ticket=*/11);
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "clients are about to come";
  ConfirmAll();
  EXPECT_TRUE(ready_);
  EXPECT_THAT(TakeAnswers(), ElementsAre(11));
}

TEST_F(FedRoutesTest, AQuestionAboutALaterEntryWaitsUntilThatIsTold) {
  HearWhole(1, 1, /*index=*/7, {Add("a")});
  ConfirmAll();
  AskWhether(/*index=*/8, /*ticket=*/3);
  ConfirmAll();
  EXPECT_THAT(TakeAnswers(), IsEmpty());
  HearWhole(1, 2, /*index=*/8, {});
  ConfirmAll();
  EXPECT_THAT(TakeAnswers(), ElementsAre(3));
}

// What it would have to pass on it would pass on by routes that it does not know. Its raft log
// offers what it leads to others, which do.
TEST_F(FedRoutesTest, WhoIsNotToldOfTheRoutesForLongIsNotFitToLead) {
  std::vector<bool> fit;
  host_.node().set_fit = [&](PartitionId /*partition*/, bool is_fit) { fit.push_back(is_fit); };
  const std::optional<absl::Duration> at = host_.NextWake();
  ASSERT_TRUE(at.has_value()) << "nothing else may happen by then";
  host_.SetTime({.monotonic = *at - absl::Milliseconds(1)});
  host_.Run();
  EXPECT_THAT(fit, IsEmpty()) << "as it is at every start for a moment";
  host_.SetTime({.monotonic = *at});
  host_.Run();
  EXPECT_THAT(fit, ElementsAre(false));
  HearWhole(/*feed=*/1, /*number=*/1, /*index=*/7, {Add("a")});
  ConfirmAll();
  host_.Run();
  EXPECT_THAT(fit, ElementsAre(false, true));
  HearPart(/*feed=*/2, /*number=*/1, {});
  EXPECT_THAT(fit, ElementsAre(false, true)) << "it knows the routes of the former leader";
}

// Or the leader here would wait for the feed, and the feed for what the leader keeps back.
TEST(FedRoutes, APartIsTakenWhileALeaderHereWaitsForTheOthers) {
  StorageOptions options = SmallOptions();
  options.partitions = 2;
  MemoryState state;
  HostMetrics metrics;
  base::Rng rng(1);
  Host host(options, /*shards=*/1, state, metrics, rng);
  constexpr ShardAddress kShard{.node = NodeId(1), .shard = 0, .incarnation = Incarnation(1)};
  host.SetSelf(kShard.node, kShard.incarnation, /*held=*/BitOf(1));
  ASSERT_TRUE(host.Load().ok());
  host.SetNodes({kLeader});
  std::vector<uint64_t> taken;
  host.node().send = [&](NodeId /*to*/, const HostMessage& message) {
    if (const auto* const one = std::get_if<FeedTaken>(&message)) taken.push_back(one->number);
  };
  host.OnLog(RoleChange{.partition = 1, .leads = true, .term = 2});
  host.Begin([] {});
  host.Run();
  host.Run();
  host.OnHostMessage(kLeader.node, kLeader.incarnation,
                     FeedRoutes{.partition = kLacked,
                                .feed = 1,
                                .number = 1,
                                .wants_taken = true,
                                .routes = {{.add = true, .partition = kLacked, .filter = "a"}}});
  host.Run();
  uint64_t number = 0;
  bool asks = false;
  for (const Event& event : host.TakeEvents(0)) {
    asks = asks || std::holds_alternative<ClaimsWanted>(event);
    if (const auto* const change = std::get_if<RouteChange>(&event)) number = change->number;
  }
  EXPECT_TRUE(asks) << "it leads";
  host.OnRequest(kShard, ConfirmRoutes{number});
  host.Run();
  EXPECT_THAT(taken, ElementsAre(1));
}

// A link that broke took a message with it, and the leader has not noticed yet.
TEST_F(FedRoutesTest, WhatFollowsAGapIsNotTakenUntilAllIsToldAnew) {
  HearPart(1, 1, {Add("a")});
  EXPECT_THAT(TakeRoutes(), ElementsAre("+a"));
  HearWhole(1, /*number=*/3, /*index=*/7, {Add("c")});
  EXPECT_THAT(TakeRoutes(), IsEmpty());
  AskWhether(/*index=*/7, /*ticket=*/4);
  ConfirmAll();
  EXPECT_FALSE(ready_) << "what number 2 told is missing";
  EXPECT_THAT(TakeAnswers(), ElementsAre(4)) << "no client is here";
  HearWhole(/*feed=*/2, 1, /*index=*/7, {Add("a"), Add("b"), Add("c")});
  EXPECT_THAT(TakeRoutes(), ElementsAre("+b", "+c")) << "the difference";
  ConfirmAll();
  EXPECT_TRUE(ready_);
}

TEST_F(FedRoutesTest, AGapAmongChangesLeavesTheShardAtWhatItKnows) {
  HearWhole(1, 1, /*index=*/7, {Add("a")});
  ConfirmAll();
  HearWhole(1, /*number=*/3, /*index=*/9, {Remove("a")});
  EXPECT_THAT(TakeRoutes(), IsEmpty()) << "number 2 may have been followed by another";
  AskWhether(/*index=*/9, /*ticket=*/5);
  ConfirmAll();
  EXPECT_THAT(TakeAnswers(), IsEmpty());
  HearWhole(/*feed=*/2, 1, /*index=*/9, {Add("b")});
  EXPECT_THAT(TakeRoutes(), ElementsAre("+b", "-a"));
  ConfirmAll();
  EXPECT_THAT(TakeAnswers(), ElementsAre(5));
}

TEST_F(FedRoutesTest, WhatAnEarlierFeedStillSaysIsNotTaken) {
  HearWhole(/*feed=*/2, 1, /*index=*/7, {Add("a")});
  EXPECT_THAT(TakeRoutes(), ElementsAre("+a"));
  HearWhole(/*feed=*/1, 1, /*index=*/9, {Add("b")});
  HearWhole(/*feed=*/1, 2, /*index=*/9, {Remove("a")});
  EXPECT_THAT(TakeRoutes(), IsEmpty());
}

// Nothing that was acknowledged is missing meanwhile, and nothing stays that is gone.
TEST_F(FedRoutesTest, WhatALaterFeedDoesNotTellGoesAtItsEnd) {
  HearWhole(1, 1, /*index=*/7, {Add("a"), Add("b")});
  ConfirmAll();
  HearPart(/*feed=*/2, 1, {Add("b")});
  EXPECT_THAT(TakeRoutes(), IsEmpty());
  HearWhole(2, 2, /*index=*/9, {Add("c")});
  EXPECT_THAT(TakeRoutes(), ElementsAre("+c", "-a"));
}

}  // namespace
}  // namespace storage
