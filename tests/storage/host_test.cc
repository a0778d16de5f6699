// The rules of the host, one at a time, without threads.
#include "storage/leader/host.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/keys.h"
#include "storage/core/session.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// ---- Claims
// --------------------------------------------------------------------------------------

TEST_F(HostTest, ATransientClaimIsNotLogged) {
  const SessionOpened opened = Open("bob", 0);
  EXPECT_TRUE(opened.status.ok());
  EXPECT_FALSE(opened.durable);
  EXPECT_FALSE(opened.session_present);
  EXPECT_EQ(sim_.core().partition(0).session_count() + sim_.core().partition(1).session_count() +
                sim_.core().partition(2).session_count() + sim_.core().partition(3).session_count(),
            0u);
}

TEST_F(HostTest, ATransientSessionWithAWillIsNoDurableOne) {
  OpenSession open = MakeOpen("bob", 0);
  open.will = Text("wills/bob", "gone");
  EXPECT_FALSE(Open(open).durable);
}

TEST_F(HostTest, EachClaimIsAnsweredBeforeItIsLostToTheNext) {
  const SessionOpened first = Open("bob");
  const ConnectionRef first_connection{.shard = 0, .connection = connection_};
  sim_.Send(MakeOpen("bob"));
  const Token second = token_;
  const uint64_t second_connection = connection_;
  sim_.Send(MakeOpen("bob"));
  const Token third = token_;
  sim_.Settle();
  std::vector<TakenOver> taken = sim_.Take<TakenOver>();
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0].connection.connection, first_connection.connection);
  EXPECT_EQ(taken[0].epoch, first.epoch);
  EXPECT_THAT(sim_.Take<SessionOpened>(), IsEmpty());
  SendClose("bob", CloseCause::kTakenOver, first_connection.connection);
  sim_.Settle();
  std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_EQ(opened[0].token, second);
  EXPECT_TRUE(opened[0].session_present);
  EXPECT_GT(opened[0].epoch, first.epoch);
  taken = sim_.Take<TakenOver>();
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0].connection.connection, second_connection);
  EXPECT_EQ(taken[0].epoch, opened[0].epoch);
  SendClose("bob", CloseCause::kTakenOver, second_connection);
  sim_.Settle();
  opened = sim_.Take<SessionOpened>();
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_EQ(opened[0].token, third);
  EXPECT_THAT(sim_.Take<TakenOver>(), IsEmpty());
}

TEST_F(HostTest, AClaimThatIsBeingOpenedIsAnsweredThoughAnotherCameMeanwhile) {
  sim_.Send(MakeOpen("bob"));
  const Token first = token_;
  const uint64_t first_connection = connection_;
  sim_.BeginWrite();
  sim_.Send(MakeOpen("bob"));
  const Token second = token_;
  sim_.Settle();
  std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_EQ(opened[0].token, first);
  const std::vector<TakenOver> taken = sim_.Take<TakenOver>();
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0].connection.connection, first_connection);
  SendClose("bob", CloseCause::kTakenOver, first_connection);
  sim_.Settle();
  opened = sim_.Take<SessionOpened>();
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_EQ(opened[0].token, second);
}

TEST_F(HostTest, OfManyThatWantOneIdentifierTheOldestIsRefused) {
  Open("bob");
  std::vector<Token> tokens;
  for (int i = 0; i < 5; ++i) {
    sim_.Send(MakeOpen("bob"));
    tokens.push_back(token_);
  }
  sim_.Settle();
  const std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_EQ(opened[0].token, tokens[0]);
  EXPECT_TRUE(absl::IsAborted(opened[0].status));
}

// Two devices that reconnect at once, for ever.
class FightTest : public HostTest {
 protected:
  // The next of them connects and its rival goes. How long it waits for its answer.
  absl::Duration TakeOver(const std::string& client_id) {
    const uint64_t owner = connection_;
    sim_.Send(MakeOpen(client_id));
    sim_.Settle();
    EXPECT_THAT(sim_.Take<TakenOver>(), SizeIs(1));
    SendClose(client_id, CloseCause::kTakenOver, owner);
    return Answered();
  }
  absl::Duration Answered() {
    absl::Duration waited;
    for (;;) {
      sim_.Settle();
      const std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
      if (!opened.empty()) {
        EXPECT_TRUE(opened[0].status.ok());
        EXPECT_TRUE(opened[0].session_present);
        return waited;
      }
      if (waited > absl::Seconds(10)) ADD_FAILURE() << "no answer";
      if (waited > absl::Seconds(10)) return waited;
      waited += absl::Milliseconds(50);
      sim_.clock().Advance(absl::Milliseconds(50));
    }
  }
};

TEST_F(FightTest, IsSlowedDownAndEveryoneIsAnswered) {
  Open("bob");
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(TakeOver("bob"), absl::ZeroDuration()) << "that is no fight";
  absl::Duration waited;
  for (int i = 0; i < 20; ++i) {
    const absl::Duration one = TakeOver("bob");
    EXPECT_LE(one, absl::Milliseconds(1050));
    waited += one;
  }
  EXPECT_GE(waited, absl::Seconds(10));
  EXPECT_GE(sim_.metrics().takeovers_held.value(), 19u);
  const uint64_t others = sim_.metrics().takeovers_held.value();
  Open("alice");
  Close("alice");
  EXPECT_TRUE(Open("alice").session_present);
  EXPECT_EQ(sim_.metrics().takeovers_held.value(), others) << "others do not wait";
}

TEST_F(FightTest, IsOverSomeTimeAfterItHasEnded) {
  Open("bob");
  for (int i = 0; i < 20; ++i) TakeOver("bob");
  sim_.clock().Advance(absl::Minutes(1));
  EXPECT_EQ(TakeOver("bob"), absl::ZeroDuration());
}

TEST_F(FightTest, WhoGivesUpWhileItIsMadeToWaitLeavesNothing) {
  Open("bob");
  for (int i = 0; i < 12; ++i) TakeOver("bob");
  const uint64_t owner = connection_;
  sim_.Send(MakeOpen("bob"));
  SendClose("bob", CloseCause::kTakenOver, owner);
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), IsEmpty());
  SendClose("bob", CloseCause::kWithWill, connection_);
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), IsEmpty());
  EXPECT_TRUE(Open("bob").session_present);
}

// It was accepted, and it ended: its will is published by the rules for any that is taken over.
TEST_F(HostTest, TheWillOfAClaimTakenOverBeforeItWasAnsweredStands) {
  OpenSession open = MakeOpen("bob");
  open.will = Text("will", "at once");
  uint64_t former = connection_;
  sim_.Send(open);
  sim_.BeginWrite();
  sim_.Send(MakeOpen("bob"));
  sim_.Settle();
  SendClose("bob", CloseCause::kTakenOver, former);
  sim_.Settle();
  EXPECT_THAT(TakeWills(), ElementsAre("at once"));
  open = MakeOpen("alice");
  open.will = Text("will", "the next connection is early enough");
  open.will_delay_s = 60;
  former = connection_;
  sim_.Send(open);
  sim_.BeginWrite();
  sim_.Send(MakeOpen("alice"));
  sim_.Settle();
  SendClose("alice", CloseCause::kTakenOver, former);
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
}

TEST_F(HostTest, AConnectionThatEndsWhileItOpensLeavesNoClaim) {
  sim_.Send(MakeOpen("bob"));
  sim_.BeginWrite();
  SendClose("bob", CloseCause::kWithWill, connection_);
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), IsEmpty());
  EXPECT_TRUE(Open("bob").session_present);
  EXPECT_THAT(sim_.Take<TakenOver>(), IsEmpty());
}

TEST_F(HostTest, ACleanStartDiscardsWhatIsStored) {
  const SessionOpened first = Open("bob");
  ASSERT_TRUE(Subscribe("bob", first.epoch, "a").ok());
  Close("bob");
  OpenSession open = MakeOpen("bob", 0);
  open.clean_start = true;
  const SessionOpened second = Open(open);
  EXPECT_FALSE(second.session_present);
  EXPECT_FALSE(second.durable);
  EXPECT_THAT(second.subscriptions, IsEmpty());
  Close("bob");
  EXPECT_FALSE(Open("bob").session_present);
}

// ---- Routes
// --------------------------------------------------------------------------------------

TEST(HostRoutes, SubscribeDoneWaitsForEveryShard) {
  RouteLedger<int> ledger(2);
  EXPECT_EQ(ledger.Next(), 1u);
  ledger.Wait(7);
  std::vector<int> released;
  const auto release = [&](int waiter) { released.push_back(waiter); };
  ledger.Confirm(0, 1);
  ledger.ReleaseReady(release);
  EXPECT_THAT(released, IsEmpty());
  ledger.Confirm(1, 1);
  ledger.ReleaseReady(release);
  EXPECT_THAT(released, ElementsAre(7));
}

TEST_F(HostTest, RoutesOfStoredSessionsAreToldAtStart) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a/+").ok());
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "$share/g/b").ok());
  sim_.events.clear();
  base::Rng rng(1);
  sim_.Crash(rng);
  const std::vector<RouteBlock> blocks = sim_.Take<RouteBlock>();
  ASSERT_THAT(blocks, SizeIs(1));
  EXPECT_THAT(*blocks[0].filters, ElementsAre("a/+"));
  const std::vector<ShareMemberChange> members = sim_.Take<ShareMemberChange>();
  ASSERT_FALSE(members.empty());
  EXPECT_EQ(members.back().subscription.filter, "$share/g/b");
  EXPECT_EQ(members.back().state, ShareMemberChange::State::kOffline);
}

// ---- Delivery
// ------------------------------------------------------------------------------------

TEST_F(HostTest, NoMoreIsInFlightThanTheWindow) {
  OpenSession open = MakeOpen("bob");
  open.window_messages = 2;
  const SessionOpened bob = Open(open);
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  for (const char* payload : {"1", "2", "3", "4", "5"}) {
    ASSERT_TRUE(Publish(Text("a", payload)).ok());
  }
  EXPECT_THAT(TakePayloads(), ElementsAre("1", "2"));
  Acknowledge("bob", bob.epoch, 2);
  EXPECT_THAT(TakePayloads(), ElementsAre("3"));
  Acknowledge("bob", bob.epoch, 1);
  Acknowledge("bob", bob.epoch, 1);  // Known already: nothing more leaves for it.
  EXPECT_THAT(TakePayloads(), ElementsAre("4"));
}

TEST_F(HostTest, AnOwedPubrelIsSentAgainAndNoPublish) {
  const SessionOpened first = Open("bob");
  ASSERT_TRUE(Subscribe("bob", first.epoch, "a").ok());
  ASSERT_TRUE(Publish(Text("a", "1", mqtt::QoS::kExactlyOnce)).ok());
  ASSERT_TRUE(Publish(Text("a", "2", mqtt::QoS::kExactlyOnce)).ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("1", "2"));
  Acknowledge("bob", first.epoch, 1, AckKind::kPubRec);
  EXPECT_THAT(sim_.Take<ReleaseDue>(), SizeIs(1));
  Close("bob");
  Open("bob");
  EXPECT_THAT(TakePayloads(), ElementsAre("PUBREL", "2"));
}

TEST_F(HostTest, AnExpiredMessageIsNotSent) {
  const SessionOpened first = Open("bob");
  ASSERT_TRUE(Subscribe("bob", first.epoch, "a").ok());
  Close("bob");
  const int64_t now = absl::ToUnixMillis(sim_.clock().Now());
  ASSERT_TRUE(Publish(ExpiringText("a", "short", now, now + 5000)).ok());
  ASSERT_TRUE(Publish(Text("a", "long")).ok());
  sim_.clock().Advance(absl::Seconds(6));
  Open("bob");
  EXPECT_THAT(TakePayloads(), ElementsAre("long"));
}

TEST_F(HostTest, ARepeatedQos2PublishIsADuplicateEvenBeforeItsCommit) {
  const SessionOpened alice = Open("alice");
  storage::Publish publish;
  publish.message = Text("a", "1", mqtt::QoS::kExactlyOnce);
  publish.partitions = kAll;
  publish.token = 100;
  sim_.Send(MakeAccept(publish, "alice", alice.epoch, 7));
  publish.token = 101;
  sim_.Send(MakeAccept(publish, "alice", alice.epoch, 7));
  sim_.Settle();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(2));  // In whatever order: the partitions answer by themselves.
  for (const Published& each : published)
    EXPECT_EQ(each.duplicate, each.token == 101) << each.token;
}

// ---- Retained messages
// -----------------------------------------------------------------------------

TEST_F(HostTest, RetainedMessagesAreReplayedAPageAtATimeUnderTheWindow) {
  for (int i = 0; i < 25; ++i) {
    ASSERT_TRUE(Publish(Text("r/" + std::to_string(i), std::to_string(i), mqtt::QoS::kAtLeastOnce,
                             /*retain=*/true))
                    .ok());
  }
  OpenSession open = MakeOpen("bob");
  open.window_messages = 4;
  const SessionOpened bob = Open(open);
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "r/#").ok());
  std::set<std::string> received;
  uint64_t sequence = 0;
  for (int round = 0; round < 30; ++round) {
    const std::vector<std::string> page = TakePayloads();
    EXPECT_LE(page.size(), 4u);
    received.insert(page.begin(), page.end());
    for (size_t i = 0; i < page.size(); ++i) Acknowledge("bob", bob.epoch, ++sequence);
  }
  EXPECT_THAT(received, SizeIs(25));
}

TEST_F(HostTest, AScanSeesWhatWasPublishedBeforeIt) {
  SendPublish(Text("r/1", "one", mqtt::QoS::kAtLeastOnce, /*retain=*/true));
  sim_.Send(ScanRetained{.token = 5, .filter = "r/+", .cursor = {}, .messages_max = 10});
  sim_.Settle();
  const std::vector<RetainedPage> pages = sim_.Take<RetainedPage>();
  ASSERT_THAT(pages, SizeIs(1));
  ASSERT_THAT(pages[0].messages, SizeIs(1));
  EXPECT_TRUE(pages[0].messages[0]->retain());
  EXPECT_EQ(pages[0].cursor, "");
}

TEST_F(HostTest, AScanGoesOnWhereThePageEnded) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Publish(Text("r/" + std::to_string(i), "x", mqtt::QoS::kAtLeastOnce, true)).ok());
  }
  std::set<std::string> topics;
  std::string cursor;
  int pages = 0;
  do {
    sim_.Send(ScanRetained{.token = 5, .filter = "#", .cursor = cursor, .messages_max = 3});
    sim_.Settle();
    const std::vector<RetainedPage> page = sim_.Take<RetainedPage>();
    ASSERT_THAT(page, SizeIs(1));
    EXPECT_LE(page[0].messages.size(), 3u);
    for (const auto& message : page[0].messages) {
      EXPECT_TRUE(topics.insert(std::string(message->topic())).second);
    }
    cursor = page[0].cursor;
    ++pages;
  } while (!cursor.empty() && pages < 20);
  EXPECT_THAT(topics, SizeIs(10));
}

TEST_F(HostTest, AScanPassesFiltersThatHaveNothing) {
  ASSERT_TRUE(Publish(Text("r/1", "one", mqtt::QoS::kAtLeastOnce, /*retain=*/true)).ok());
  ScanRetained scan{.token = 5, .filter = "a/+", .cursor = {}, .messages_max = 10};
  scan.others = {"b", "r/+", "r/1"};
  sim_.Send(scan);
  sim_.Settle();
  std::vector<RetainedPage> pages = sim_.Take<RetainedPage>();
  ASSERT_THAT(pages, SizeIs(1));
  EXPECT_THAT(pages[0].messages, SizeIs(1));
  EXPECT_EQ(pages[0].passed, 2u);
  scan.others = {"b", "c"};
  sim_.Send(scan);
  sim_.Settle();
  pages = sim_.Take<RetainedPage>();
  ASSERT_THAT(pages, SizeIs(1));
  EXPECT_THAT(pages[0].messages, IsEmpty());
  EXPECT_EQ(pages[0].passed, 2u);
}

// ---- Wills and expiry
// ------------------------------------------------------------------------------

TEST_F(HostTest, AWillFiresOnceWhenTheConnectionIsLost) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "wills/#").ok());
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone", mqtt::QoS::kAtLeastOnce, /*retain=*/true);
  Open(open);
  Close("alice");
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
  EXPECT_THAT(TakePayloads(), ElementsAre("gone"));
  sim_.Send(ScanRetained{.token = 5, .filter = "wills/alice", .cursor = {}, .messages_max = 10});
  sim_.Settle();
  EXPECT_THAT(sim_.Take<RetainedPage>().at(0).messages, SizeIs(1));
  sim_.clock().Advance(absl::Hours(1));
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
}

TEST_F(HostTest, ANormalDisconnectDeletesTheWill) {
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone");
  Open(open);
  Close("alice", CloseCause::kNormal);
  EXPECT_THAT(TakeWills(), IsEmpty());
}

TEST_F(HostTest, AReconnectBeforeTheDelayIsOverDeletesTheWill) {
  OpenSession open = MakeOpen("alice");
  open.will = Text("wills/alice", "gone");
  open.will_delay_s = 30;
  Open(open);
  Close("alice");
  sim_.clock().Advance(absl::Seconds(29));
  Open("alice");
  sim_.clock().Advance(absl::Hours(1));
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
}

TEST_F(HostTest, AWillFiresWhenItsDelayIsOver) {
  OpenSession open = MakeOpen("alice");
  open.will = Text("wills/alice", "gone");
  open.will_delay_s = 30;
  Open(open);
  Close("alice");
  sim_.clock().Advance(absl::Seconds(29));
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Settle();
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
}

TEST_F(HostTest, AWillFiresWhenACleanStartEndsTheSession) {
  OpenSession open = MakeOpen("alice");
  open.will = Text("wills/alice", "gone");
  open.will_delay_s = 30;
  Open(open);
  Close("alice");
  OpenSession clean = MakeOpen("alice");
  clean.clean_start = true;
  Open(clean);
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
}

TEST_F(HostTest, AWillFiresAfterTheProcessDied) {
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone");
  Open(open);
  base::Rng rng(1);
  sim_.Crash(rng);
  sim_.Settle();
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
  sim_.Crash(rng);
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
}

TEST_F(HostTest, NothingFiresWhileTheServerEnds) {
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone");
  Open(open);
  Close("alice", CloseCause::kServerShutdown);
  EXPECT_THAT(TakeWills(), IsEmpty());
  base::Rng rng(1);
  sim_.Crash(rng);
  sim_.Settle();
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
}

TEST_F(HostTest, ASessionEndsWhenItsTimeIsOver) {
  Open("bob", 60);
  Close("bob");
  sim_.clock().Advance(absl::Seconds(59));
  sim_.Settle();
  EXPECT_TRUE(Open("bob", 60).session_present);
  Close("bob");
  sim_.clock().Advance(absl::Seconds(61));
  sim_.Settle();
  EXPECT_FALSE(Open("bob", 60).session_present);
}

TEST_F(HostTest, TheWallClockMayJumpWithoutEndingASessionEarlyOrLate) {
  Open("bob", 60);
  Close("bob");
  sim_.clock().SetWall(sim_.clock().Now() + absl::Hours(5));
  sim_.clock().Advance(absl::Seconds(30));
  sim_.Settle();
  sim_.clock().SetWall(sim_.clock().Now() - absl::Hours(9));
  sim_.clock().Advance(absl::Seconds(20));
  sim_.Settle();
  EXPECT_TRUE(Open("bob", 60).session_present);
  Close("bob");
  sim_.clock().SetWall(sim_.clock().Now() - absl::Hours(3));
  sim_.clock().Advance(absl::Seconds(61));
  sim_.Settle();
  EXPECT_FALSE(Open("bob", 60).session_present);
}

// ---- `$share`
// --------------------------------------------------------------------------------------

TEST_F(HostTest, WhatADurableMemberHeldGoesToAnotherWhenItEnds) {
  const SessionOpened bob = Open("bob");
  const uint64_t bob_connection = connection_;
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "$share/g/a").ok());
  storage::Publish publish;
  publish.token = ++token_;
  publish.message = Text("a", "job");
  publish.shared_targets.push_back(
      {.client_id = "bob", .filter = "$share/g/a", .options = {.qos = mqtt::QoS::kAtLeastOnce}});
  sim_.Send(publish);
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), ElementsAre("job"));
  const SessionOpened carol = Open("carol");
  ASSERT_TRUE(Subscribe("carol", carol.epoch, "$share/g/a").ok());
  CloseSession close;
  close.client_id = "bob";
  close.connection = {.shard = 0, .connection = bob_connection};
  close.expiry_s = 0;
  sim_.Send(std::move(close));
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), ElementsAre("job"));
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
}

TEST_F(HostTest, WhatNobodyDurableCanTakeIsOfferedToTheShards) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "$share/g/a").ok());
  storage::Publish publish;
  publish.token = ++token_;
  publish.message = Text("a", "job");
  publish.shared_targets.push_back(
      {.client_id = "bob", .filter = "$share/g/a", .options = {.qos = mqtt::QoS::kAtLeastOnce}});
  sim_.Send(publish);
  sim_.Settle();
  CloseSession close;
  close.client_id = "bob";
  close.connection = {.shard = 0, .connection = connection_};
  close.expiry_s = 0;
  sim_.Send(std::move(close));
  sim_.Settle();
  const std::vector<RouteMessage> offered = sim_.Take<RouteMessage>();
  ASSERT_THAT(offered, SizeIs(1));
  EXPECT_EQ(offered[0].only_filter, "$share/g/a");
}

// ---- Storage that fails
// ------------------------------------------------------------------------------

TEST_F(HostTest, AFailedWriteIsNotAnsweredUntilItIsWritten) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  SendPublish(Text("a", "1"));
  sim_.BeginWrite();
  const Token collected = SendPublish(Text("a", "refused"));
  sim_.EndWrite(absl::ResourceExhaustedError("No space left on device"));
  sim_.Run();
  EXPECT_THAT(sim_.Take<StorageState>(), SizeIs(1));
  const Token late = SendPublish(Text("a", "refused too"));
  sim_.Run();
  const std::vector<Published> refused = sim_.Take<Published>();
  ASSERT_THAT(refused, SizeIs(2));
  EXPECT_EQ(refused[0].token, collected);
  EXPECT_EQ(refused[1].token, late);
  for (const Published& each : refused) {
    EXPECT_EQ(each.status.code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_THAT(TakePayloads(), IsEmpty());
  // Transient sessions go on.
  sim_.Send(MakeOpen("eve", 0));
  sim_.Run();
  EXPECT_TRUE(sim_.Take<SessionOpened>().at(0).status.ok());
  sim_.Repair();
  sim_.Run();
  EXPECT_TRUE(sim_.Take<StorageState>().at(0).status.ok());
  sim_.Settle();
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(1));
  EXPECT_TRUE(Publish(Text("a", "3")).ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("1", "3"));
}

TEST_F(HostTest, WhatAClientAcknowledgedIsNotForgottenWhenTheWriteFails) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  ASSERT_TRUE(Publish(Text("a", "1")).ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("1"));
  sim_.Send(MakeAcknowledge("bob", bob.epoch, 1));
  SendClose("bob", CloseCause::kNormal, connection_);
  sim_.BeginWrite();
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  sim_.Repair();
  sim_.Settle();
  EXPECT_TRUE(Open("bob").session_present);
  EXPECT_THAT(TakePayloads(), IsEmpty());
}

TEST_F(HostTest, AFullDiskRefusesWhatTakesRoomAndLetsClientsDrainTheirQueues) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  ASSERT_TRUE(Publish(Text("a", "1")).ok());
  sim_.core().SetDiskFree(999);
  EXPECT_EQ(sim_.metrics().disk_low.value(), 1);
  EXPECT_EQ(Publish(Text("a", "2")).code(), absl::StatusCode::kResourceExhausted);
  Acknowledge("bob", bob.epoch, 1);
  Close("bob");
  EXPECT_TRUE(Open("bob").status.ok());
  sim_.core().SetDiskFree(1000);
  EXPECT_EQ(sim_.metrics().disk_low.value(), 0);
  EXPECT_TRUE(Publish(Text("a", "3")).ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("1", "3"));
}

TEST_F(HostTest, AStateThatCannotBeWrittenHoldsAnswersUntilItCan) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  sim_.state().FailWith(absl::ResourceExhaustedError("No space left on device"));
  // A retained message is written with its entry, one in a queue later.
  SendPublish(Text("a", "1", mqtt::QoS::kAtLeastOnce, /*retain=*/true));
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
  sim_.state().FailWith(absl::OkStatus());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Settle();
  EXPECT_TRUE(sim_.Take<Published>().at(0).status.ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("1"));
}

// ---- What the state has not yet ----------------------------------------------------------------

TEST_F(HostTest, WhatIsAcknowledgedSoonIsNeverWrittenToTheState) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  const size_t before = sim_.state().writes;
  for (uint64_t i = 1; i <= 20; ++i) {
    ASSERT_TRUE(Publish(Text("a", "1")).ok());
    Acknowledge("bob", bob.epoch, i);
  }
  EXPECT_EQ(sim_.state().writes, before);
  EXPECT_EQ(sim_.metrics().state_pending_bytes.value(), 0);
  ASSERT_TRUE(sim_.core().FlushAll().ok());
  EXPECT_EQ(sim_.state().ChunkCount(), 0u);
}

TEST_F(HostTest, AFlushThatIsWantedWritesAPartitionWithEachRun) {
  for (const char* const client : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    ASSERT_TRUE(Subscribe(client, Open(client).epoch, "t").ok());
  }
  ASSERT_TRUE(Publish(Text("t", "1")).ok());
  sim_.core().WantFlush();
  int runs = 0;
  for (; !sim_.core().FlushIsDone(); ++runs) {
    EXPECT_EQ(sim_.core().NextWake(), sim_.clock().Monotonic());
    sim_.Run();
  }
  EXPECT_EQ(runs, 4);
  EXPECT_EQ(sim_.state().ChunkCount(), 8u);
}

class HostWithLittleMemory : public HostTest {
 protected:
  static StorageOptions Options() {
    StorageOptions options = SmallOptions();
    options.state_pending_bytes = 10'000;
    return options;
  }
  HostWithLittleMemory() : HostTest(Options()) {}
};

TEST_F(HostWithLittleMemory, QueuesBeyondItAreWrittenInLargePieces) {
  ASSERT_TRUE(Subscribe("bob", Open("bob").epoch, "a").ok());
  Close("bob");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(Publish(Text("a", std::string(1000, 'x'))).ok());
    EXPECT_LE(sim_.metrics().state_pending_bytes.value(), 10'000);
  }
  EXPECT_GE(sim_.state().ChunkCount(), 9u);
  EXPECT_LE(sim_.state().ChunkCount(), 12u);
  Open("bob");
  EXPECT_THAT(TakePayloads(), testing::SizeIs(10));  // The window.
}

// Half an entry was taken in: the partition is made again, from the state and the log.
TEST_F(HostTest, AStateThatCannotBeReadIsWaitedFor) {
  std::string topic = "a";
  while (PartitionOfTopic(topic, 4) != PartitionOfClient("bob", 4)) topic += "a";
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, topic).ok());
  for (const char* const text : {"1", "2", "3"}) ASSERT_TRUE(Publish(Text(topic, text)).ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("1", "2", "3"));

  sim_.state().FailReadsWith(absl::UnavailableError("EIO"));
  sim_.Send(MakeAcknowledge("bob", bob.epoch, 1));
  SendPublish(Text(topic, "4", mqtt::QoS::kAtLeastOnce, /*retain=*/true));
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  EXPECT_FALSE(sim_.core().healthy());
  EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Run();  // It still cannot.
  EXPECT_FALSE(sim_.core().healthy());

  sim_.state().FailReadsWith(absl::OkStatus());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Settle();
  EXPECT_TRUE(sim_.Take<Published>().at(0).status.ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("4"));
  const PartitionId home = PartitionOfClient("bob", 4);
  EXPECT_EQ(sim_.core().partition(home).Find("bob")->queue.messages(), 3u);
  Acknowledge("bob", bob.epoch, 2);
  EXPECT_EQ(sim_.core().partition(home).Find("bob")->queue.head(), 3u);
}

// What it lost is made again from the log: sessions keep their slots, which the effects of what is
// half applied name.
TEST_F(HostTest, AStateThatForgetsIsMadeAgainFromTheLog) {
  std::vector<SessionOpened> opened;
  for (const char* const client : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    opened.push_back(Open(client));
    ASSERT_TRUE(Subscribe(client, opened.back().epoch, "t").ok());
  }
  Close("h");
  sim_.state().Flush();
  Open("h");
  sim_.Send(MakeOpen("gone", 0));
  ASSERT_TRUE(Publish(Text("t", "1")).ok());
  sim_.Settle();
  sim_.events.clear();
  std::vector<std::string> before;
  for (uint32_t id = 0; id < 4; ++id) {
    before.push_back(sim_.core().partition(static_cast<PartitionId>(id)).Dump());
  }

  sim_.state().FailWith(absl::UnavailableError("Input/output error"));
  sim_.state().ForgetWhenRepaired();
  sim_.core().OnStateError(absl::UnavailableError("Input/output error"));
  sim_.Run();
  EXPECT_FALSE(sim_.core().healthy());
  EXPECT_EQ(sim_.metrics().state_healthy.value(), 0);
  SendPublish(Text("t", "refused"));
  sim_.Run();
  EXPECT_EQ(sim_.Take<Published>().at(0).status.code(), absl::StatusCode::kUnavailable);
  sim_.state().FailWith(absl::OkStatus());
  sim_.clock().Advance(absl::Seconds(1));
  sim_.Run();
  EXPECT_TRUE(sim_.core().healthy());
  EXPECT_EQ(sim_.metrics().state_healthy.value(), 1);
  for (uint32_t id = 0; id < 4; ++id) {
    EXPECT_EQ(sim_.core().partition(static_cast<PartitionId>(id)).Dump(), before[id]);
  }
  ASSERT_TRUE(Publish(Text("t", "2")).ok());
  EXPECT_THAT(TakePayloads(), SizeIs(8));
}

// The first partitions of a group are applied, the next is not, and all are made again.
TEST_F(HostTest, AGroupThatIsHalfAppliedIsDeliveredOnceWhenTheStateForgets) {
  for (const char* const client : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    ASSERT_TRUE(Subscribe(client, Open(client).epoch, "t").ok());
  }
  sim_.state().Flush();
  sim_.events.clear();
  std::string topic = "t";
  SendPublish(Text(topic, "1", mqtt::QoS::kAtLeastOnce, /*retain=*/true));
  sim_.state().FailWith(absl::UnavailableError("Input/output error"));
  sim_.state().ForgetWhenRepaired();
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
  sim_.state().FailWith(absl::OkStatus());
  sim_.clock().Advance(absl::Seconds(1));
  sim_.Settle();
  EXPECT_TRUE(sim_.Take<Published>().at(0).status.ok());
  EXPECT_THAT(TakePayloads(), SizeIs(8));
}

}  // namespace
}  // namespace storage
