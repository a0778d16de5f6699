// A host in a cluster: shards of other nodes, lives that come and go.
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/core/session.h"
#include "storage/leader/session_view.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr LiveNode kOther{.node = NodeId(2), .incarnation = Incarnation(5), .shards = 1};
constexpr ShardAddress kShard{.node = kOther.node, .shard = 0, .incarnation = kOther.incarnation};

class HostNodes : public HostTest {
 protected:
  HostNodes() {
    sim_.core().node().send = [this](NodeId to, HostMessage message) {
      EXPECT_EQ(to, kOther.node);
      said_.push_back(std::move(message));
    };
    sim_.core().node().tell_committed = [](PartitionId /*partition*/) {};
  }

  // What the other node's shard hears, of that kind.
  template <typename T>
  std::vector<T> Heard() {
    std::vector<T> heard;
    for (Event& event : sim_.core().TakeEvents(1)) {
      if (T* const wanted = std::get_if<T>(&event)) heard.push_back(std::move(*wanted));
      if (auto* const claims = std::get_if<ClaimsWanted>(&event)) wanted_.push_back(*claims);
    }
    return heard;
  }
  // It holds nothing, or this.
  void TellClaims(std::vector<Claims::Held> held = {}) {
    Heard<ClaimsWanted>();
    for (const ClaimsWanted& wanted : std::exchange(wanted_, {})) {
      Claims claims;
      claims.partition = wanted.partition;
      claims.life = wanted.life;
      claims.by = wanted.by;
      for (const Claims::Held& one : held) {
        if (PartitionOfClient(one.client_id, 4) == wanted.partition) claims.held.push_back(one);
      }
      sim_.core().OnRequest(kShard, std::move(claims));
    }
    sim_.Settle();
  }
  void Join() {
    sim_.core().SetNodes({kOther});
    sim_.Run();
    TellClaims();
  }
  void Ask(Request request) {
    Addressed asked(std::move(request));
    streams_.Number(asked);
    sim_.core().OnRequest(kShard, std::move(asked));
  }
  uint64_t OpenThere(const std::string& client_id) {
    OpenSession open = MakeOpen(client_id);
    open.connection = {.node = kShard.node,
                       .shard = kShard.shard,
                       .incarnation = kShard.incarnation,
                       .connection = 1};
    open.will = Text("wills", client_id);
    Ask(std::move(open));
    sim_.Settle();
    const std::vector<SessionOpened> opened = Heard<SessionOpened>();
    EXPECT_THAT(opened, SizeIs(1));
    return opened.empty() ? 0 : opened[0].epoch;
  }
  const Session& SessionOf(const std::string& client_id) {
    return *sim_.core().partition(PartitionOfClient(client_id, 4)).Find(client_id);
  }
  std::vector<KnowRoutes> Questions() {
    std::vector<KnowRoutes> questions;
    for (const HostMessage& message : std::exchange(said_, {})) {
      if (const auto* const question = std::get_if<KnowRoutes>(&message)) {
        questions.push_back(*question);
      }
    }
    return questions;
  }

  // The other node knows all routes that it is asked about.
  void TellRoutesKnown() {
    for (const KnowRoutes& question : Questions()) {
      sim_.core().OnHostMessage(
          kOther.node, kOther.incarnation,
          RoutesKnown{.partition = question.partition, .ticket = question.ticket});
    }
    sim_.Settle();
  }

  const uint32_t partitions_ = 4;
  RequestStreams streams_{partitions_};
  std::vector<ClaimsWanted> wanted_;
  std::vector<HostMessage> said_;
};

TEST_F(HostNodes, AShardOfAnotherNodeIsServedLikeAnyOther) {
  Join();
  const uint64_t epoch = OpenThere("there");
  EXPECT_NE(epoch, 0u);
  EXPECT_EQ(SessionOf("there").owner.address(), kShard);
}

// Or an operator's order would meet whoever has that number here.
TEST_F(HostNodes, WhoIsConnectedElsewhereIsSaidToBeThere) {
  Join();
  OpenThere("there");
  Open("here");
  const IdentifierView there = LookAtIdentifier(sim_.core().node(), "there");
  EXPECT_FALSE(there.connection.has_value());
  ASSERT_TRUE(there.elsewhere.has_value());
  EXPECT_EQ(there.elsewhere->address(), kShard);
  const IdentifierView here = LookAtIdentifier(sim_.core().node(), "here");
  EXPECT_TRUE(here.connection.has_value());
  EXPECT_FALSE(here.elsewhere.has_value());
}

// What looks at the partitions in the same turn says for which it stands.
TEST_F(HostNodes, APartitionThatIsLostIsSaidToBeLedNoMoreAtOnce) {
  Join();
  sim_.Settle();
  const std::atomic<PartitionMask>& led = sim_.core().node().led;
  EXPECT_EQ(led.load(), PartitionMask{0b1111});
  sim_.core().OnLog(RoleChange{.partition = 2, .leads = false});
  EXPECT_EQ(led.load(), PartitionMask{0b1011});
  sim_.Settle();
  EXPECT_EQ(led.load(), PartitionMask{0b1011});
}

TEST_F(HostNodes, APartitionThatIsNotServedMeanwhileIsNotSaidToBeLed) {
  sim_.Settle();
  const std::atomic<PartitionMask>& led = sim_.core().node().led;
  EXPECT_EQ(led.load(), PartitionMask{0b1111});
  sim_.core().SetNodes({kOther});  // Its shards are asked what they hold.
  EXPECT_EQ(led.load(), PartitionMask{0});
  sim_.Run();
  TellClaims();
  EXPECT_EQ(led.load(), PartitionMask{0b1111});
}

// Its disk hangs, and nothing says that it fails.
TEST_F(HostNodes, AStateThatTakesNothingForLongIsNotFitToLead) {
  Join();
  PartitionMask fit = 0b1111;
  sim_.core().node().set_fit = [&](PartitionId id, bool is_fit) {
    fit = is_fit ? fit | BitOf(id) : fit & ~BitOf(id);
  };
  const auto busy_for = [&](absl::Duration time) {
    for (const absl::Duration end = sim_.clock().Monotonic() + time;
         sim_.clock().Monotonic() < end;) {
      sim_.BeginWrite();
      sim_.EndWrite();
      sim_.Run();
      sim_.clock().Advance(absl::Milliseconds(100));
    }
  };
  sim_.state().FailWith(absl::AbortedError("the state is being written out"));
  SendPublish(Text("a", "1", mqtt::QoS::kAtLeastOnce, /*retain=*/true));
  busy_for(absl::Seconds(4));
  EXPECT_EQ(fit, PartitionMask{0b1111});
  busy_for(absl::Seconds(2));
  EXPECT_EQ(fit, PartitionMask{0});
  EXPECT_TRUE(sim_.core().healthy());
  sim_.state().FailWith(absl::OkStatus());
  sim_.Settle();
  EXPECT_EQ(fit, PartitionMask{0b1111});
}

TEST_F(HostNodes, NothingIsTakenOfAShardBeforeItsClaims) {
  sim_.core().SetNodes({kOther});
  sim_.Run();
  Ask(MakeOpen("early"));
  sim_.Run();
  EXPECT_FALSE(sim_.core().node().LeaderOf("early").ConnectionOf("early").has_value());
}

// Of a node that died it is known only when its lease is over, which takes seconds.
TEST_F(HostNodes, WhoHasToldIsServedWithoutThoseWhoHaveNot) {
  Open("here");
  sim_.core().SetNodes({kOther});
  sim_.Run();
  SendPublish(Text("t", "early"));
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
  sim_.Settle();  // Which takes as long as a new leader waits.
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(1));
  EXPECT_TRUE(SessionOf("here").connected);
  const Node& node = sim_.core().node();
  EXPECT_TRUE(LookAtIdentifier(node, "here").led);
  EXPECT_FALSE(LookAtIdentifier(node, "theirs").led) << "it may be connected there";
  Ask(MakeOpen("there"));  // Not before its claims.
  sim_.Settle();
  EXPECT_THAT(Heard<SessionOpened>(), IsEmpty());

  // What somebody may have who has not told nobody gets.
  sim_.Send(MakeOpen("unknown", /*expiry_s=*/0));
  sim_.Send(MakeOpen("theirs", /*expiry_s=*/0));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), IsEmpty());
  Claims::Held held;
  held.client_id = "theirs";
  held.connection = {.node = kShard.node,
                     .shard = kShard.shard,
                     .incarnation = kShard.incarnation,
                     .connection = 7};
  held.epoch = uint64_t{1} << 63 | 1;
  TellClaims({held});
  EXPECT_TRUE(LookAtIdentifier(node, "nobody").led);
  EXPECT_THAT(sim_.Take<SessionOpened>(), SizeIs(1));  // "unknown".
  const std::vector<TakenOver> taken = Heard<TakenOver>();
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0].connection, held.connection);
  CloseSession close;
  close.client_id = held.client_id;
  close.connection = held.connection;
  close.epoch = held.epoch;
  close.cause = CloseCause::kTakenOver;
  Ask(std::move(close));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), SizeIs(1));
}

// While its node had no lease, behind what it has told.
TEST_F(HostNodes, WhomAShardHasLetInWithoutAskingItsLeaderIsToldAfterwards) {
  sim_.Send(MakeOpen("both", /*expiry_s=*/0));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), SizeIs(1));
  sim_.core().SetNodes({kOther});
  sim_.Run();
  Heard<ClaimsWanted>();
  const std::vector<ClaimsWanted> asked = wanted_;
  TellClaims();
  const auto let_in = [&](const std::string& client_id, uint64_t connection) {
    const PartitionId partition = PartitionOfClient(client_id, 4);
    Claims claims;
    claims.partition = partition;
    claims.by = NodeId();
    claims.further = true;
    for (const ClaimsWanted& one : asked) {
      if (one.partition == partition) claims.life = one.life;
    }
    Claims::Held& held = claims.held.emplace_back();
    held.client_id = client_id;
    held.connection = {.node = kShard.node,
                       .shard = kShard.shard,
                       .incarnation = kShard.incarnation,
                       .connection = connection};
    held.epoch = uint64_t{3} << 62 | connection;
    return claims;
  };
  const Claims there = let_in("there", 7);
  sim_.core().OnRequest(kShard, Claims(there));
  sim_.core().OnRequest(kShard, Claims(there));  // It may have been told before.
  sim_.core().OnRequest(kShard, let_in("both", 8));
  sim_.Settle();
  const IdentifierView view = LookAtIdentifier(sim_.core().node(), "there");
  ASSERT_TRUE(view.elsewhere.has_value());
  EXPECT_EQ(view.elsewhere->node, kOther.node);
  const std::vector<TakenOver> taken = Heard<TakenOver>();
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0].client_id, "both");
  EXPECT_EQ(taken[0].connection.connection, 8u);

  // Of an earlier asking it says nothing: the later one is answered with all that there is.
  Claims former = let_in("former", 9);
  --former.life;
  sim_.core().OnRequest(kShard, std::move(former));
  sim_.Settle();
  EXPECT_FALSE(LookAtIdentifier(sim_.core().node(), "former").elsewhere.has_value());
}

TEST_F(HostNodes, WhatALifeHadIsClosedWithItsWillWhenItIsOver) {
  Join();
  OpenThere("there");
  sim_.core().SetNodes({});
  sim_.Settle();
  EXPECT_FALSE(SessionOf("there").connected);
  EXPECT_EQ(sim_.metrics().wills_published.value(), 1);
  EXPECT_THAT(sim_.core().partition(PartitionOfClient("there", 4)).origins().Shards(),
              testing::Each(testing::Field(&ShardAddress::node, NodeId(0))));
  EXPECT_TRUE(Open("there").session_present);
}

TEST_F(HostNodes, WhoWaitsForALifeThatIsOverGetsTheIdentifier) {
  Join();
  OpenThere("there");
  sim_.Send(MakeOpen("there"));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), IsEmpty());
  EXPECT_THAT(Heard<TakenOver>(), SizeIs(1));
  sim_.core().SetNodes({});
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), SizeIs(1));
}

// Whoever led before has heard of it, and this node has not yet.
TEST_F(HostNodes, SessionsOfALifeThatIsNotKnownAreKeptForAWhile) {
  sim_.core().SetNodes({{.node = NodeId(3), .incarnation = Incarnation(1), .shards = 0}});
  sim_.Settle();
  const PartitionId id = PartitionOfClient("stranger", 4);
  Leader& leader = *sim_.core().node().leaders[id];
  pb::OpenSession& stored = *leader.proposals().Propose().mutable_open_session();
  stored.set_client_id("stranger");
  stored.set_expiry_s(kExpiryNever);
  stored.mutable_owner()->set_node(kShard.node.value());
  stored.mutable_owner()->set_incarnation(kShard.incarnation.value());
  sim_.core().node().growing.urgent = true;
  sim_.Settle();
  sim_.ReplaceLeader(id);
  sim_.Settle();
  EXPECT_TRUE(SessionOf("stranger").connected);
  sim_.clock().Advance(absl::Seconds(11));
  sim_.Settle();
  EXPECT_FALSE(SessionOf("stranger").connected);
}

TEST_F(HostNodes, AGapInWhatAShardAsksMakesTheHostAskForAllOfItAgain) {
  Join();
  OpenThere("there");
  storage::Acknowledge acknowledge;
  acknowledge.client_id = "there";
  Addressed lost(acknowledge);
  streams_.Number(lost);
  Ask(acknowledge);
  sim_.Run();
  const std::vector<ClaimsWanted> wanted = Heard<ClaimsWanted>();
  EXPECT_THAT(wanted, SizeIs(4));
  Ask(acknowledge);  // Not before its claims.
  sim_.Run();
  EXPECT_THAT(Heard<ClaimsWanted>(), IsEmpty());
}

TEST_F(HostNodes, AfterALinkWasLostAllIsAskedForUnderALaterNumber) {
  Join();
  sim_.core().Resync(kOther.node);
  sim_.Run();
  const std::vector<ClaimsWanted> first = Heard<ClaimsWanted>();
  sim_.core().Resync(kOther.node);
  sim_.Run();
  const std::vector<ClaimsWanted> second = Heard<ClaimsWanted>();
  ASSERT_THAT(first, SizeIs(4));
  ASSERT_THAT(second, SizeIs(4));
  for (size_t i = 0; i < 4; ++i) EXPECT_GT(second[i].life, first[i].life);
  sim_.core().Resync(NodeId(9));
  sim_.Run();
  EXPECT_THAT(Heard<ClaimsWanted>(), IsEmpty());
}

TEST_F(HostNodes, AnotherNodeThatShutsDownIsNotThisOne) {
  Join();
  const uint64_t epoch = OpenThere("there");
  CloseSession close;
  close.client_id = "there";
  close.epoch = epoch;
  close.connection = SessionOf("there").owner;
  close.cause = CloseCause::kServerShutdown;
  Ask(std::move(close));
  sim_.Settle();
  EXPECT_FALSE(sim_.core().node().shutting_down);
  EXPECT_EQ(sim_.metrics().wills_published.value(), 1);
}

// ---- Routes

TEST_F(HostNodes, SubscribeIsDoneWhenTheOtherNodesShardsKnowTheRoute) {
  Join();
  const uint64_t epoch = Open("here").epoch;
  sim_.Send(MakeSubscribe(++token_, "here", epoch, "t", mqtt::QoS::kAtLeastOnce));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SubscribeDone>(), IsEmpty());
  const std::vector<KnowRoutes> asked = Questions();
  ASSERT_THAT(asked, SizeIs(1));
  EXPECT_EQ(asked[0].partition, PartitionOfClient("here", 4));
  sim_.core().OnHostMessage(
      kOther.node, kOther.incarnation,
      RoutesKnown{.partition = asked[0].partition, .ticket = asked[0].ticket + 1});
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SubscribeDone>(), IsEmpty());
  sim_.core().OnHostMessage(
      kOther.node, kOther.incarnation,
      RoutesKnown{.partition = asked[0].partition, .ticket = asked[0].ticket});
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SubscribeDone>(), SizeIs(1));
}

// By that a node whose storage takes nothing knows that others wait for it. See Aside.
TEST_F(HostNodes, WhoHasNotAnsweredIsAskedAgainEverySecondWhileStorageWorksHere) {
  Join();
  const uint64_t epoch = Open("here").epoch;
  sim_.Send(MakeSubscribe(++token_, "here", epoch, "t", mqtt::QoS::kAtLeastOnce));
  sim_.Settle();
  const std::vector<KnowRoutes> asked = Questions();
  ASSERT_THAT(asked, SizeIs(1));
  const auto after_a_second = [&] {
    sim_.clock().Advance(absl::Seconds(1));
    sim_.Run();
    return Questions();
  };
  const std::vector<KnowRoutes> again = after_a_second();
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].ticket, asked[0].ticket);
  EXPECT_EQ(again[0].index, asked[0].index);
  EXPECT_LE(sim_.core().NextWake(), sim_.clock().Monotonic() + absl::Seconds(1));
  sim_.Run();
  EXPECT_THAT(Questions(), IsEmpty()) << "not yet";
  sim_.core().OnLog(LogHealth{absl::ResourceExhaustedError("no space left on device")});
  EXPECT_THAT(after_a_second(), IsEmpty());
  sim_.core().OnLog(LogHealth{absl::OkStatus()});
  sim_.core().node().log_is_late = true;
  EXPECT_THAT(after_a_second(), IsEmpty());
  sim_.core().node().log_is_late = false;
  sim_.core().node().aside = true;
  EXPECT_THAT(after_a_second(), IsEmpty());
  sim_.core().node().aside = false;
  EXPECT_THAT(after_a_second(), SizeIs(1));
  TellRoutesKnown();
  sim_.core().OnHostMessage(
      kOther.node, kOther.incarnation,
      RoutesKnown{.partition = asked[0].partition, .ticket = asked[0].ticket});
  sim_.Settle();
  EXPECT_THAT(after_a_second(), IsEmpty());
}

// Its shards may lack the route of a subscription that was acknowledged since.
TEST_F(HostNodes, NothingIsPassedOnWhileThisNodeIsAside) {
  Join();
  sim_.passes_on = false;
  sim_.core().node().aside = true;
  OpenThere("there");
  CloseSession close;
  close.client_id = "there";
  close.connection = SessionOf("there").owner;
  Ask(std::move(close));
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
  EXPECT_NE(sim_.core().NextWake(), sim_.clock().Monotonic()) << "it would never rest";
  sim_.core().node().aside = false;
  sim_.Settle();
  EXPECT_THAT(TakeWills(), ElementsAre("there"));
}

TEST_F(HostNodes, WhoHasGoneNeedNotKnowIt) {
  Join();
  const uint64_t epoch = Open("here").epoch;
  sim_.Send(MakeSubscribe(++token_, "here", epoch, "t", mqtt::QoS::kAtLeastOnce));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SubscribeDone>(), IsEmpty());
  sim_.core().SetNodes({});
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SubscribeDone>(), SizeIs(1));
}

TEST_F(HostNodes, AnotherNodeIsAnsweredWhenTheReplicaIsThereAndTheShardsKnow) {
  Join();
  const PartitionId id = PartitionOfClient("here", 4);
  const uint64_t epoch = Open("here").epoch;
  sim_.confirm_routes = false;
  const uint64_t index = sim_.core().applied(id) + 1;
  said_.clear();
  sim_.core().OnHostMessage(kOther.node, kOther.incarnation,
                            KnowRoutes{.partition = id, .index = index, .ticket = 77});
  sim_.Run();
  EXPECT_THAT(said_, IsEmpty());
  sim_.Send(MakeSubscribe(++token_, "here", epoch, "t", mqtt::QoS::kAtLeastOnce));
  sim_.Settle();
  EXPECT_EQ(sim_.core().applied(id), index);
  for (const HostMessage& message : std::exchange(said_, {})) {
    EXPECT_FALSE(std::holds_alternative<RoutesKnown>(message));
  }
  sim_.ConfirmRoutesNow();
  sim_.Settle();
  ASSERT_THAT(said_, SizeIs(1));
  EXPECT_EQ(std::get<RoutesKnown>(said_[0]).ticket, 77u);
}

// Each node counts by itself what it proposes: which number is the greater says nothing.
TEST_F(HostNodes, WhatIsRetainedIsReplayedWhateverItsLeaderHasCounted) {
  Join();
  const uint64_t epoch = Open("s").epoch;
  sim_.core().node().last_order += 1'000'000;
  ASSERT_TRUE(Publish(Text("t", "kept", mqtt::QoS::kAtLeastOnce, true)).ok());
  sim_.core().node().last_order -= 900'000;
  sim_.Send(MakeSubscribe(++token_, "s", epoch, "t", mqtt::QoS::kExactlyOnce));
  sim_.Settle();
  TellRoutesKnown();
  EXPECT_THAT(TakePayloads(), ElementsAre("kept"));
}

TEST_F(HostNodes, WhatHasComeLiveIsNotFollowedByWhatIsRetained) {
  Join();
  const uint64_t epoch = Open("s").epoch;
  ASSERT_TRUE(Publish(Text("t/1", "kept", mqtt::QoS::kAtLeastOnce, true)).ok());
  sim_.Send(MakeSubscribe(++token_, "s", epoch, "t/+", mqtt::QoS::kExactlyOnce));
  sim_.Settle();  // The other node has not said that it knows the route.
  sim_.core().node().last_order -= 1;
  ASSERT_TRUE(Publish(Text("t/2", "live", mqtt::QoS::kAtLeastOnce, true)).ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("live"));
  TellRoutesKnown();
  EXPECT_THAT(TakePayloads(), ElementsAre("kept"));
}

}  // namespace
}  // namespace storage
