// Sessions of a partition: opening, closing, expiry, wills.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/storage/core/harness.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto kNormal = pb::CloseSession::NORMAL;
constexpr auto kWithWill = pb::CloseSession::WITH_WILL;

TEST(OpenSession, MakesASessionAndResumesIt) {
  Harness h;
  const Outcome first = h.Open("c");
  EXPECT_FALSE(first.session_present);
  EXPECT_TRUE(first.durable);
  h.Subscribe("c", "a/b");
  h.Close("c", kNormal, 0);
  const Outcome second = h.Open("c");
  EXPECT_TRUE(second.session_present);
  EXPECT_GT(second.epoch, first.epoch);
  EXPECT_NE(h.partition().Find("c")->FindSubscription("a/b"), nullptr);
}

TEST(OpenSession, CleanStartDiscardsEverything) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  h.Publish({});
  h.Acknowledge("c", {1});
  h.Publish({.payload = "old"});
  h.Close("c", kNormal, 0);
  const Outcome again = h.Open("c", {.clean_start = true});
  EXPECT_FALSE(again.session_present);
  EXPECT_THAT(h.Queue("c"), IsEmpty());
  EXPECT_THAT(h.partition().Find("c")->subscriptions, IsEmpty());
  EXPECT_THAT(h.EffectsOf<SessionEnded>(), SizeIs(1));
  EXPECT_THAT(h.EffectsOf<RouteChanged>(), SizeIs(1));
  h.Subscribe("c", "t");
  h.Publish({.payload = "new"});
  EXPECT_THAT(h.Queue("c"), ElementsAre("new"));
}

// What a host does that knows nothing of the connection that is there: it has just started to lead.
TEST(OpenSession, OverAConnectedOneNamesNoSlotThatIsFreeAgain) {
  for (const uint32_t expiry_s : {0u, 60u}) {
    Harness h;
    h.Open("c", {.will = Text{.topic = "w"}});
    const Outcome over = h.Open("c", {.clean_start = true, .expiry_s = expiry_s});
    EXPECT_FALSE(over.session_present);
    EXPECT_EQ(h.partition().session_count(), expiry_s == 0 ? 0u : 1u);
    EXPECT_THAT(h.Left(), SizeIs(1));
    EXPECT_THAT(h.EffectsOf<TimersSet>(), IsEmpty());
  }
}

TEST(OpenSession, OfATransientSessionLeavesNothingBehind) {
  Harness h;
  h.Open("c");
  h.Close("c", kNormal, 0);
  const Outcome outcome = h.Open("c", {.clean_start = true, .expiry_s = 0});
  EXPECT_FALSE(outcome.durable);
  EXPECT_EQ(outcome.slot, kNoSlot);
  EXPECT_GT(outcome.epoch, 0u);
  EXPECT_EQ(h.partition().session_count(), 0u);
  EXPECT_THAT(h.store().map(), SizeIs(1));  // Only the meta record.
}

TEST(OpenSession, NeverGivesAnEpochTwice) {
  Harness h;
  uint64_t last = 0;
  for (int i = 0; i < 10; ++i) {
    const Outcome outcome = h.Open("c", {.clean_start = true, .expiry_s = i % 2 == 0 ? 0u : 60u});
    EXPECT_GT(outcome.epoch, last);
    last = outcome.epoch;
    h.Reload();
  }
}

TEST(StaleEpoch, ChangesNothing) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  h.Publish({});
  const uint64_t old = h.Epoch("c");
  h.Open("c");
  const std::string before = h.partition().Dump();
  h.Add().mutable_acknowledge()->set_client_id("c");
  pb::Acknowledge late;
  late.set_client_id("c");
  late.set_epoch(old);
  late.add_puback(1);
  *h.Add().mutable_acknowledge() = late;
  pb::CloseSession close;
  close.set_client_id("c");
  close.set_epoch(old);
  *h.Add().mutable_close_session() = close;
  pb::RememberInbound remember;
  remember.set_client_id("c");
  remember.set_epoch(old);
  remember.set_packet_id(7);
  *h.Add().mutable_remember_inbound() = remember;
  for (const Outcome& outcome : h.Commit()) EXPECT_EQ(outcome.code, OutcomeCode::kStaleEpoch);
  EXPECT_THAT(h.Queue("c"), ElementsAre("p*"));
  EXPECT_TRUE(h.partition().Find("c")->connected);
}

TEST(NoSession, IsSaid) {
  Harness h;
  EXPECT_EQ(h.Subscribe("nobody", "t").code, OutcomeCode::kNoSession);
  EXPECT_EQ(h.Acknowledge("nobody", {1}).code, OutcomeCode::kNoSession);
}

TEST(CloseSession, SetsWhenTheSessionEnds) {
  Harness h;
  h.Open("c", {.expiry_s = 60});
  h.Close("c", kNormal, 0);
  ASSERT_THAT(h.EffectsOf<TimersSet>(), SizeIs(1));
  EXPECT_EQ(h.EffectsOf<TimersSet>()[0].ends_at_unix_ms, h.now() + 60'000);
  EXPECT_EQ(h.Expire("c").code, OutcomeCode::kNotDue);
  h.Advance(60'000);
  EXPECT_EQ(h.Expire("c").code, OutcomeCode::kOk);
  EXPECT_EQ(h.partition().session_count(), 0u);
}

TEST(CloseSession, TakesTheExpiryOfDisconnect) {
  Harness h;
  h.Open("c", {.expiry_s = 60});
  h.Close("c", kNormal, 0, /*expiry_s=*/0);
  EXPECT_EQ(h.partition().session_count(), 0u);
  h.Open("c", {.expiry_s = 60});
  h.Close("c", kNormal, 0, kExpiryNever);
  EXPECT_EQ(h.partition().Find("c")->ends_at_unix_ms, 0);
  h.Advance(1'000'000'000);
  EXPECT_EQ(h.Expire("c").code, OutcomeCode::kNotDue);
}

TEST(ExpiredSession, IsNotResumedEvenIfNobodyRemovedIt) {
  Harness h;
  h.Open("c", {.expiry_s = 60});
  h.Close("c", kNormal, 0);
  h.Advance(60'000);
  EXPECT_FALSE(h.Open("c", {.expiry_s = 60}).session_present);
}

TEST(ExpireSession, LeavesAConnectedSessionAlone) {
  Harness h;
  h.Open("c", {.expiry_s = 1});
  h.Close("c", kNormal, 0);
  h.Advance(5'000);
  h.Open("c", {.expiry_s = 1});
  EXPECT_EQ(h.Expire("c").code, OutcomeCode::kNotDue);
  EXPECT_EQ(h.partition().session_count(), 1u);
}

TEST(CloseNode, ClosesAsIfConnectionsWereLost) {
  Harness h;
  h.Open("a", {.will = Text{.topic = "w"}});
  h.Open("b", {.expiry_s = 0, .will = Text{.topic = "w"}});
  h.Open("c");
  h.Close("c", kNormal, 0);
  h.Add().mutable_close_node();
  h.Commit();
  EXPECT_FALSE(h.partition().Find("a")->connected);
  EXPECT_EQ(h.partition().Find("a")->will.due_at_unix_ms, h.now());
  EXPECT_EQ(h.partition().Find("b")->will.due_at_unix_ms, h.now());
  EXPECT_THAT(h.EffectsOf<TimersSet>(), SizeIs(2));
}

TEST(CloseNode, LeavesOtherNodesAndLaterLivesAlone) {
  Harness h;
  const auto open = [&h](const std::string& client, uint32_t node, uint32_t incarnation) {
    auto& command = *h.Add().mutable_open_session();
    command.set_client_id(client);
    command.set_expiry_s(kExpiryNever);
    command.mutable_owner()->set_node(node);
    command.mutable_owner()->set_incarnation(incarnation);
    command.mutable_owner()->set_connection(1);
    h.Commit();
  };
  open("first-life", 2, 1);
  open("second-life", 2, 2);
  open("third-life", 2, 3);
  open("other-node", 1, 1);
  h.Reload();
  auto& gone = *h.Add().mutable_close_node();
  gone.set_node(2);
  gone.set_incarnation(2);
  h.Commit();
  EXPECT_FALSE(h.partition().Find("first-life")->connected);
  EXPECT_FALSE(h.partition().Find("second-life")->connected);
  EXPECT_TRUE(h.partition().Find("third-life")->connected);
  EXPECT_TRUE(h.partition().Find("other-node")->connected);
}

// ---- Wills -------------------------------------------------------------------------------------

TEST(Will, IsDeletedByANormalClose) {  // [MQTT-3.1.2-10]
  Harness h;
  h.Open("c", {.will = Text{.topic = "w"}});
  h.Close("c", kNormal, 0);
  EXPECT_EQ(h.FireWill("c").code, OutcomeCode::kNothing);
}

TEST(Will, FiresOnce) {
  Harness h;
  h.Open("c", {.will = Text{.topic = "w", .payload = "gone"}});
  h.Close("c", kWithWill, 0);
  h.Reload();
  EXPECT_EQ(h.FireWill("c").code, OutcomeCode::kOk);
  EXPECT_THAT(h.Left(), ElementsAre("gone"));
  h.Reload();
  EXPECT_EQ(h.FireWill("c").code, OutcomeCode::kNothing);
  EXPECT_THAT(h.Left(), ElementsAre("gone"));
}

TEST(Will, WaitsForItsDelayButNotBeyondTheSession) {  // [MQTT5-3.1.2-8]
  Harness h;
  h.Open("c", {.expiry_s = 100, .will = Text{.topic = "w"}, .will_delay_s = 30});
  h.Close("c", kWithWill, 0);
  EXPECT_EQ(h.EffectsOf<TimersSet>()[0].will_due_at_unix_ms, h.now() + 30'000);
  h.Open("d", {.expiry_s = 10, .will = Text{.topic = "w"}, .will_delay_s = 30});
  h.Close("d", kWithWill, 0);
  EXPECT_EQ(h.EffectsOf<TimersSet>()[0].will_due_at_unix_ms, h.now() + 10'000);
}

TEST(Will, IsDeletedByAReconnectBeforeItsDelay) {  // [MQTT5-3.1.3-9]
  Harness h;
  h.Open("c", {.will = Text{.topic = "w"}, .will_delay_s = 30});
  h.Close("c", kWithWill, 0);
  h.Advance(29'999);
  EXPECT_EQ(FateOfWill(*h.partition().Find("c"), false, h.now()), WillFate::kDelete);
  EXPECT_EQ(FateOfWill(*h.partition().Find("c"), true, h.now()), WillFate::kFire);
  EXPECT_EQ(FateOfWill(*h.partition().Find("c"), false, h.now() + 1), WillFate::kFire);
  h.Open("c");
  EXPECT_THAT(h.Left(), IsEmpty());
  h.Close("c", kWithWill, 0);
  EXPECT_EQ(h.FireWill("c").code, OutcomeCode::kNothing);
}

TEST(Will, OfASessionThatACleanStartEndsIsNotLost) {
  Harness h;
  h.Open("c", {.will = Text{.topic = "w"}, .will_delay_s = 30});
  h.Close("c", kWithWill, 0);
  h.Open("c", {.clean_start = true});
  EXPECT_THAT(h.Left(), SizeIs(1));
}

TEST(Will, FiredBeforeTheCleanStartFiresNoSecondTime) {
  Harness h;
  h.Open("c", {.will = Text{.topic = "w"}, .will_delay_s = 30});
  h.Close("c", kWithWill, 0);
  const uint64_t epoch = h.Epoch("c");
  pb::FireWill& fire = *h.Add().mutable_fire_will();
  fire.set_client_id("c");
  fire.set_epoch(epoch);
  fire.set_outbox_at_unix_ms(h.now());
  h.AddOpen("c", {.clean_start = true});
  h.Commit();
  EXPECT_THAT(h.Left(), SizeIs(1));
}

TEST(Will, OfATransientSessionIsKeptUntilItFired) {
  Harness h;
  const Outcome outcome =
      h.Open("c", {.expiry_s = 0, .will = Text{.topic = "w"}, .will_delay_s = 9});
  EXPECT_FALSE(outcome.durable);
  EXPECT_NE(outcome.slot, kNoSlot);
  h.Close("c", kWithWill, 0);
  EXPECT_EQ(h.EffectsOf<TimersSet>()[0].will_due_at_unix_ms, h.now());  // The session is over.
  EXPECT_EQ(h.Expire("c").code, OutcomeCode::kNotDue);                  // First the will.
  EXPECT_EQ(h.FireWill("c").code, OutcomeCode::kOk);
  EXPECT_EQ(h.partition().session_count(), 0u);
  EXPECT_THAT(h.EffectsOf<SessionEnded>(), SizeIs(1));
}

TEST(Will, OfATransientSessionGoesWithANormalClose) {
  Harness h;
  h.Open("c", {.expiry_s = 0, .will = Text{.topic = "w"}});
  h.Close("c", kNormal, 0);
  EXPECT_EQ(h.partition().session_count(), 0u);
}

TEST(Will, CannotFireWhileConnected) {
  Harness h;
  h.Open("c", {.will = Text{.topic = "w"}});
  EXPECT_EQ(h.FireWill("c").code, OutcomeCode::kNothing);
  EXPECT_TRUE(h.partition().Find("c")->will.message);
}

// ---- Subscriptions -----------------------------------------------------------------------------

TEST(Subscribe, ReportsRoutesFromZeroToOneAndBack) {
  Harness h;
  h.Open("a");
  h.Open("b");
  h.Subscribe("a", "x/#");
  ASSERT_THAT(h.EffectsOf<RouteChanged>(), SizeIs(1));
  EXPECT_TRUE(h.EffectsOf<RouteChanged>()[0].add);
  h.Subscribe("b", "x/#");
  EXPECT_THAT(h.EffectsOf<RouteChanged>(), IsEmpty());
  EXPECT_THAT(h.Subscribe("b", "x/#").existed, ElementsAre(true));
  EXPECT_THAT(h.Unsubscribe("a", "x/#").existed, ElementsAre(true));
  EXPECT_THAT(h.EffectsOf<RouteChanged>(), IsEmpty());
  EXPECT_THAT(h.Unsubscribe("a", "x/#").existed, ElementsAre(false));
  h.Unsubscribe("b", "x/#");
  ASSERT_THAT(h.EffectsOf<RouteChanged>(), SizeIs(1));
  EXPECT_FALSE(h.EffectsOf<RouteChanged>()[0].add);
}

TEST(Subscribe, OfASharedFilterReportsMembers) {
  Harness h;
  h.Open("a");
  h.Subscribe("a", "$share/g/t");
  EXPECT_THAT(h.EffectsOf<RouteChanged>(), IsEmpty());
  ASSERT_THAT(h.EffectsOf<ShareMemberChanged>(), SizeIs(1));
  EXPECT_EQ(h.EffectsOf<ShareMemberChanged>()[0].state, ShareMemberChange::State::kConnected);
  h.Close("a", kNormal, 0);
  EXPECT_EQ(h.EffectsOf<ShareMemberChanged>().at(0).state, ShareMemberChange::State::kOffline);
  h.Open("a");
  EXPECT_EQ(h.EffectsOf<ShareMemberChanged>().at(0).state, ShareMemberChange::State::kConnected);
  h.Unsubscribe("a", "$share/g/t");
  EXPECT_EQ(h.EffectsOf<ShareMemberChanged>().at(0).state, ShareMemberChange::State::kGone);
  h.Subscribe("a", "$share/g/t");
  h.Close("a", kNormal, 0, /*expiry_s=*/0);
  EXPECT_EQ(h.EffectsOf<ShareMemberChanged>().at(0).state, ShareMemberChange::State::kGone);
}

TEST(Subscribe, MatchesFromTheNextCommandOn) {
  Harness h;
  h.Open("a");
  h.AddPublish({.payload = "before"});
  pb::Subscribe& subscribe = *h.Add().mutable_subscribe();
  subscribe.set_client_id("a");
  subscribe.set_epoch(h.Epoch("a"));
  pb::Subscription& wanted = *subscribe.add_subscriptions();
  wanted.set_filter("t");
  wanted.set_options(1);
  h.AddPublish({.payload = "after"});
  h.Commit();
  EXPECT_THAT(h.Queue("a"), ElementsAre("after"));
}

}  // namespace
}  // namespace storage
