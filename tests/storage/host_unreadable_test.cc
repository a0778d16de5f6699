// A node among others that cannot read its state, or write it: what it must not say, and what
// others can do for it.
#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/keys.h"
#include "storage/core/session.h"
#include "storage/leader/read_barriers.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr LiveNode kOther{.node = NodeId(2), .incarnation = Incarnation(5), .shards = 1};
constexpr LiveNode kThird{.node = NodeId(3), .incarnation = Incarnation(5), .shards = 1};

class HostUnreadable : public HostTest {
 protected:
  HostUnreadable() {
    sim_.core().node().send = [this](NodeId to, HostMessage message) {
      said_.emplace_back(to, std::move(message));
    };
    sim_.core().node().tell_committed = [](PartitionId /*partition*/) {};
  }
  // Their shards hold nothing.
  void Join(const std::vector<LiveNode>& others = {kOther}) {
    sim_.core().SetNodes(others);
    sim_.Run();
    TellClaims(others);
    Work();
    said_.clear();
    sim_.events.clear();
  }
  void TellClaims(const std::vector<LiveNode>& others = {kOther}) {
    for (size_t i = 0; i < others.size(); ++i) {
      for (const Event& event : sim_.core().TakeEvents(static_cast<ShardSlot>(1 + i))) {
        const auto* const wanted = std::get_if<ClaimsWanted>(&event);
        if (wanted == nullptr) continue;
        Claims claims;
        claims.partition = wanted->partition;
        claims.life = wanted->life;
        claims.by = wanted->by;
        sim_.core().OnRequest(
            {.node = others[i].node, .shard = 0, .incarnation = others[i].incarnation},
            std::move(claims));
      }
    }
  }
  // Longer than a new leader waits for shards that do not answer.
  void Work() {
    for (int i = 0; i < 60; ++i) {
      sim_.BeginWrite();
      sim_.EndWrite();
      sim_.Run();
      sim_.clock().Advance(absl::Milliseconds(6));
    }
  }
  // For a moment, as when RocksDB is writing out what it has in memory.
  void Stall() { sim_.state().FailWith(absl::AbortedError("the state is being written out")); }
  void Commit(Request request) {
    sim_.Send(std::move(request));
    for (int i = 0; i < 3; ++i) {
      sim_.BeginWrite();
      sim_.EndWrite();
      sim_.Run();
    }
  }
  void GoOn() {
    sim_.state().FailWith(absl::OkStatus());
    Work();
  }
  template <typename T>
  std::vector<T> Said(NodeId to = kOther.node) {
    std::vector<T> said;
    for (const auto& [node, message] : said_) {
      if (const T* const one = std::get_if<T>(&message); one != nullptr && node == to)
        said.push_back(*one);
    }
    return said;
  }
  void Hear(const HostMessage& message, const LiveNode& from = kOther) {
    sim_.core().OnHostMessage(from.node, from.incarnation, message);
    sim_.Run();
  }
  void SendTo(PartitionMask partitions) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.partitions = partitions;
    publish.message = Text("t", "sent");
    sim_.Send(std::move(publish));
    Work();
  }
  size_t QueuedFor(const std::string& client_id) {
    return sim_.core().partition(PartitionOfClient(client_id, 4)).Find(client_id)->queue.messages();
  }
  Request Retain(const std::string& topic) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.set_retained = true;
    publish.message = Text(topic, "kept", mqtt::QoS::kAtLeastOnce, /*retain=*/true);
    return publish;
  }

  std::vector<std::pair<NodeId, HostMessage>> said_;
};

// ---- The state takes nothing for a moment -------------------------------------------------------

// SUBACK would leave, and what this node's clients publish then would not get there.
TEST_F(HostUnreadable, NobodyIsToldThatShardsKnowTheRoutesOfWhatIsOnItsWayToTheState) {
  Join();
  const PartitionId partition = PartitionOfClient("alice", 4);
  const uint64_t epoch = Open("alice").epoch;
  Stall();
  Commit(MakeSubscribe(++token_, "alice", epoch, "t", mqtt::QoS::kAtLeastOnce));
  sim_.LoseLead(partition, /*lost=*/false);
  ASSERT_EQ(sim_.core().applied(partition), sim_.core().logged(partition));
  sim_.events.clear();
  Hear(KnowRoutes{.partition = partition, .index = sim_.core().applied(partition), .ticket = 7});
  sim_.Run();
  EXPECT_THAT(Said<RoutesKnown>(), IsEmpty());
  EXPECT_THAT(sim_.Take<RouteChange>(), IsEmpty());
  GoOn();
  EXPECT_THAT(Said<RoutesKnown>(), SizeIs(1));
  EXPECT_THAT(sim_.Take<RouteChange>(), SizeIs(1));
}

// It was acknowledged, and nobody would send it later.
TEST_F(HostUnreadable, ARetainedMessageOnItsWayToTheStateIsWaitedFor) {
  Join();
  const std::string topic = TopicIn(1);
  Stall();
  Commit(Retain(topic));
  sim_.LoseLead(1, /*lost=*/false);
  sim_.Send(ScanRetained{.token = ++token_, .filter = topic, .messages_max = 10});
  sim_.Run();
  sim_.Run();
  EXPECT_THAT(sim_.Take<RetainedPage>(), IsEmpty());
  GoOn();
  const std::vector<RetainedPage> pages = sim_.Take<RetainedPage>();
  ASSERT_THAT(pages, SizeIs(1));
  EXPECT_THAT(pages[0].messages, SizeIs(1));
}

// ---- The state is lost for longer ---------------------------------------------------------------

TEST_F(HostUnreadable, RetainedMessagesAreReadByOthersWhileTheStateFails) {
  const uint64_t epoch = Open("alice").epoch;
  Join();
  sim_.state().FailWith(absl::DataLossError("EIO"));
  Commit(MakeSubscribe(++token_, "alice", epoch, "t", mqtt::QoS::kAtLeastOnce));
  ASSERT_FALSE(sim_.core().node().healthy());
  for (uint64_t ticket = 1; ticket <= 1000; ++ticket)
    Hear(ScanWanted{.ticket = ticket, .scan = {.filter = "#"}});
  const std::vector<ScanDone> done = Said<ScanDone>();
  EXPECT_THAT(done, SizeIs(1000));
  for (const ScanDone& one : done) EXPECT_TRUE(absl::IsUnavailable(one.page.status));
  EXPECT_TRUE(sim_.core().node().scans->empty());
  sim_.Send(ScanRetained{.token = ++token_, .filter = "#", .messages_max = 10});
  sim_.Run();
  EXPECT_THAT(Said<ScanWanted>(), SizeIs(1));
}

TEST_F(HostUnreadable, WhatOneNodeCannotReadIsAskedOfTheNext) {
  Join({kOther, kThird});
  sim_.state().FailReadsOf(1, absl::DataLossError("a damaged block"));
  Commit(Retain(TopicIn(1)));
  sim_.LoseLead(1, /*lost=*/false);
  Work();
  ASSERT_FALSE(sim_.core().healthy());
  const Token token = ++token_;
  sim_.Send(ScanRetained{.token = token, .filter = TopicIn(1), .messages_max = 10});
  sim_.Run();
  const auto fail = [&](const LiveNode& at) {
    const std::vector<ScanWanted> asked = Said<ScanWanted>(at.node);
    if (asked.empty()) return false;
    said_.clear();
    RetainedPage page;
    page.status = absl::DataLossError("another one");
    Hear(ScanDone{.ticket = asked.front().ticket, .page = std::move(page)}, at);
    return true;
  };
  const bool other_first = fail(kOther);
  if (!other_first) {
    EXPECT_TRUE(fail(kThird));
  }
  EXPECT_TRUE(fail(other_first ? kThird : kOther));
  // Now nobody can.
  const std::vector<RetainedPage> pages = sim_.Take<RetainedPage>();
  ASSERT_THAT(pages, SizeIs(1));
  EXPECT_EQ(pages[0].token, token);
  EXPECT_TRUE(absl::IsDataLoss(pages[0].status));
}

// They would be asked for ever.
TEST_F(HostUnreadable, WhatNobodyElseCanReadEitherIsReadHereAsFarAsItGoes) {
  Join();
  sim_.state().FailReadsOf(1, absl::UnavailableError("EIO"));
  Commit(Retain(TopicIn(1)));
  sim_.LoseLead(1, /*lost=*/false);
  Work();
  ASSERT_FALSE(sim_.core().healthy());
  sim_.events.clear();
  sim_.Send(ScanRetained{.token = ++token_, .filter = TopicIn(1), .messages_max = 10});
  sim_.Run();
  size_t asked = 0;
  for (int i = 0; i < 30; ++i) {
    for (const ScanWanted& wanted : Said<ScanWanted>()) {
      said_.clear();
      ++asked;
      RetainedPage page;
      page.status = absl::UnavailableError("not here");
      Hear(ScanDone{.ticket = wanted.ticket, .page = std::move(page)});
    }
    Work();
  }
  EXPECT_GT(asked, 1u);
  EXPECT_THAT(sim_.Take<RetainedPage>(), SizeIs(1));
}

// ---- One partition cannot be read here ----------------------------------------------------------

class HostUnreadablePartition : public HostUnreadable {
 protected:
  static constexpr PartitionId kFailing = 1;
  static constexpr PartitionId kGood = 2;
  HostUnreadablePartition() {
    for (const PartitionId id : {kFailing, kGood}) {
      epochs_.push_back(Open(ClientIn(id)).epoch);
      EXPECT_TRUE(Subscribe(ClientIn(id), epochs_.back(), "t").ok());
    }
    SendClose(ClientIn(kGood), CloseCause::kNormal, connection_);
    sim_.Settle();
    Join();
    sim_.state().FailReadsOf(kFailing, absl::UnavailableError("EIO"));
    Commit(Retain(TopicIn(kFailing)));
    Work();
    EXPECT_FALSE(sim_.core().healthy());
  }
  std::vector<uint64_t> epochs_;
};

TEST_F(HostUnreadablePartition, WhatAnotherNodeLeadsRefusesNoMessageHere) {
  sim_.LoseLead(kFailing, /*lost=*/false);
  SendTo(BitOf(kFailing) | BitOf(kGood));
  EXPECT_EQ(QueuedFor(ClientIn(kGood)), 1u);
}

// Nobody else can lead it: a cluster whose other nodes have no replicas.
TEST_F(HostUnreadablePartition, WhoIsAskedWhatItHoldsMeanwhileWaitsForNoOtherPartition) {
  sim_.core().Resync(kOther.node);
  sim_.Run();
  TellClaims();
  Work();
  sim_.Send(ConfirmRoutes{});
  SendTo(BitOf(kGood));
  EXPECT_EQ(QueuedFor(ClientIn(kGood)), 1u);
  sim_.events.clear();
  sim_.state().FailReadsWith(absl::OkStatus());
  sim_.clock().Advance(absl::Seconds(2));
  Work();
  EXPECT_TRUE(sim_.core().healthy());
  SendTo(BitOf(kFailing));
  EXPECT_THAT(TakePayloads(), ElementsAre("sent"));
}

// It was to serve, when the shards had said what they hold.
TEST_F(HostUnreadable, APartitionThatStopsBeforeItServesHoldsUpNoOther) {
  const uint64_t epoch = Open(ClientIn(2)).epoch;
  ASSERT_TRUE(Subscribe(ClientIn(2), epoch, "t").ok());
  SendClose(ClientIn(2), CloseCause::kNormal, connection_);
  sim_.Settle();
  Join();
  sim_.LoseLead(1, /*lost=*/false);
  sim_.TakeLead(1);
  sim_.CommitElsewhere(1, std::string(kUnknownCommand));
  Work();
  ASSERT_TRUE(sim_.core().node().leaders[1]->replica().stopped());
  sim_.Send(ConfirmRoutes{});
  SendTo(BitOf(2));
  EXPECT_EQ(QueuedFor(ClientIn(2)), 1u);
}

// ---- A partition stops, in front of what another release has written ----------------------------

// Another node may lead it, and have what is passed on to it.
TEST_F(HostUnreadable, WhatIsPassedOnGoesToAPartitionThatStopsHereAsWell) {
  Join();
  const uint64_t epoch = Open(ClientIn(0)).epoch;
  sim_.LoseLead(1, /*lost=*/false);
  sim_.CommitElsewhere(1, std::string(kUnknownCommand));
  Work();
  ASSERT_TRUE(sim_.core().node().leaders[1]->replica().stopped());
  sim_.passes_on = false;
  storage::Publish publish;
  publish.token = ++token_;
  publish.partitions = kAll;
  publish.message = Text("t", "twice", mqtt::QoS::kExactlyOnce);
  Commit(MakeAccept(std::move(publish), ClientIn(0), epoch, 7));
  Work();
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_THAT(routes, Not(IsEmpty()));
  EXPECT_EQ(routes[0].without, PartitionMask{0});
}

// ---- Barriers -----------------------------------------------------------------------------------

TEST_F(HostUnreadable, WhatWaitsForABarrierIsForgottenWithWhoWaited) {
  for (const bool answered : {false, true}) {
    SCOPED_TRACE(answered);
    Join();
    ReadBarriers& barriers = *sim_.core().node().barriers;
    std::vector<uint64_t> tickets;
    barriers.SetAsk([&](PartitionId partition, uint64_t ticket) {
      if (partition == 1) tickets.push_back(ticket);
    });
    size_t passed = 0;
    for (int i = 0; i < 10'000; ++i) {
      barriers.Wait(BitOf(1), absl::Seconds(2), [&] { ++passed; });
      sim_.Run();
      sim_.clock().Advance(absl::Milliseconds(20));
      if (!answered) continue;
      for (const uint64_t ticket : std::exchange(tickets, {})) {  // It is never applied.
        sim_.core().OnLog(
            Readable{.partition = 1, .ticket = ticket, .index = sim_.core().logged(1) + 1});
      }
    }
    EXPECT_GT(passed, 9000u);
    EXPECT_LT(barriers.listed(), 1000u);
  }
}

}  // namespace
}  // namespace storage
