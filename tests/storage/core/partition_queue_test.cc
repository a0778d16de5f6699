// Queues of a partition: matching, limits, acknowledgement, reading, `$share`.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/keys.h"
#include "tests/storage/core/harness.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto kNormal = pb::CloseSession::NORMAL;
constexpr auto kWithWill = pb::CloseSession::WITH_WILL;
constexpr auto kQos0 = mqtt::QoS::kAtMostOnce;
constexpr auto kQos1 = mqtt::QoS::kAtLeastOnce;
constexpr auto kQos2 = mqtt::QoS::kExactlyOnce;

size_t Chunks(Harness& h, const std::string& client) {
  const KeyRange range = QueueRange(h.partition().id(), client);
  const auto& map = h.store().map();
  return static_cast<size_t>(
      std::distance(map.lower_bound(range.begin), map.lower_bound(range.end)));
}

TEST(Enqueue, SendsWithTheLesserQos) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t", {.qos = kQos1});
  h.Publish({.payload = "two", .qos = kQos2});
  h.Publish({.payload = "one", .qos = kQos1});
  h.Publish({.payload = "zero", .qos = kQos0});  // Not queued.
  const QueuePage page = h.Read("c");
  ASSERT_THAT(page.entries, SizeIs(2));
  EXPECT_EQ(page.entries[0].qos, kQos1);
  EXPECT_EQ(page.entries[1].qos, kQos1);
  EXPECT_TRUE(page.end);
}

// The shards send a QoS 0 message themselves. Of any other it is said here who gets it, and how.
TEST(Enqueue, SendsToASubscriptionOfQos0WhatItDoesNotKeep) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t", {.qos = kQos0}, 7);
  h.Publish({.payload = "zero", .qos = kQos0});
  EXPECT_THAT(h.EffectsOf<Enqueued>(), IsEmpty());
  h.Publish({.payload = "one", .qos = kQos1});
  ASSERT_THAT(h.EffectsOf<Enqueued>(), SizeIs(1));
  const Delivery delivery = h.EffectsOf<Enqueued>()[0].delivery;
  EXPECT_EQ(delivery.sequence, 0u);
  EXPECT_EQ(delivery.qos, kQos0);
  EXPECT_FALSE(delivery.replay);
  EXPECT_THAT(delivery.subscription_ids, ElementsAre(7));
  h.Subscribe("c", "#", {.qos = kQos0}, 8);
  h.Publish({.payload = "one", .qos = kQos1});
  ASSERT_THAT(h.EffectsOf<Enqueued>(), SizeIs(1));  // Once, however many match.
  EXPECT_THAT(h.EffectsOf<Enqueued>()[0].delivery.subscription_ids, ElementsAre(7, 8));
  EXPECT_THAT(h.Read("c").entries, IsEmpty());
}

TEST(Enqueue, OfOverlappingSubscriptionsIsOneCopyWithGreatestQosAndAllIdentifiers) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "a/#", {.qos = kQos1}, 7);
  h.Subscribe("c", "a/b", {.qos = kQos2}, 3);
  h.Subscribe("c", "+/b", {.qos = kQos0}, 7);
  h.Subscribe("c", "a/+", {.qos = kQos1, .retain_as_published = true});
  h.Subscribe("c", "x", {.qos = kQos2}, 9);
  h.Publish({.topic = "a/b", .qos = kQos2, .retain = true});
  const QueuePage page = h.Read("c");
  ASSERT_THAT(page.entries, SizeIs(1));
  EXPECT_EQ(page.entries[0].qos, kQos2);
  EXPECT_TRUE(page.entries[0].retain);
  EXPECT_THAT(page.entries[0].subscription_ids, ElementsAre(3, 7, 7));
  ASSERT_THAT(h.EffectsOf<Enqueued>(), SizeIs(1));
  EXPECT_THAT(h.EffectsOf<Enqueued>()[0].delivery.subscription_ids, ElementsAre(3, 7, 7));
}

TEST(Enqueue, HonoursNoLocalPerSubscription) {  // [MQTT5-3.8.3-3]
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t", {.qos = kQos2, .no_local = true}, 1);
  h.Publish({.payload = "own", .publisher = "c"});
  h.Publish({.payload = "other", .publisher = "d"});
  h.Subscribe("c", "#", {.qos = kQos1}, 2);
  h.Publish({.payload = "own, through another", .qos = kQos2, .publisher = "c"});
  const QueuePage page = h.Read("c");
  ASSERT_THAT(page.entries, SizeIs(2));
  EXPECT_EQ(page.entries[0].message->payload(), "other");
  EXPECT_EQ(page.entries[1].qos, kQos1);
  EXPECT_THAT(page.entries[1].subscription_ids, ElementsAre(2));
}

TEST(Enqueue, KeepsTheRetainFlagOnlyIfAsked) {  // [MQTT5-3.3.1-12,-13]
  Harness h;
  h.Open("a");
  h.Open("b");
  h.Subscribe("a", "t", {.qos = kQos1});
  h.Subscribe("b", "t", {.qos = kQos1, .retain_as_published = true});
  h.Publish({.retain = true});
  EXPECT_FALSE(h.Read("a").entries.at(0).retain);
  EXPECT_TRUE(h.Read("b").entries.at(0).retain);
}

TEST(Enqueue, OfOneEntryMakesChunksOfSixteen) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  for (int i = 0; i < 40; ++i) h.AddPublish({.payload = std::to_string(i)});
  h.Commit();
  EXPECT_EQ(Chunks(h, "c"), 3u);
  h.Publish({.payload = "40"});
  EXPECT_EQ(Chunks(h, "c"), 4u);  // Never rewritten.
  EXPECT_THAT(h.Queue("c"), SizeIs(41));
  EXPECT_EQ(h.Queue("c").back(), "40");
}

size_t KeysOf(Harness& h, KeyKind kind) {
  const KeyRange range = RangeOf(h.partition().id(), kind);
  const auto& map = h.store().map();
  return static_cast<size_t>(
      std::distance(map.lower_bound(range.begin), map.lower_bound(range.end)));
}

TEST(LargeMessage, ForManySessionsIsStoredOnceUntilTheLastIsDone) {
  Harness h;
  for (const char* const client : {"a", "b", "c", "d"}) {
    h.Open(client);
    h.Subscribe(client, "t");
  }
  const std::string payload(5000, 'x');
  h.Publish({.payload = payload});
  h.Publish({.payload = "small"});
  EXPECT_EQ(KeysOf(h, KeyKind::kBody), 1u);
  size_t bytes = 0;
  for (const auto& [key, value] : h.store().map()) bytes += value.size();
  EXPECT_LT(bytes, 7000u);
  for (const char* const client : {"a", "b", "c", "d"}) {
    EXPECT_THAT(h.Queue(client), ElementsAre(payload, "small"));
    EXPECT_GT(h.partition().Find(client)->queue.bytes(), 5000u);  // Each is charged for it.
  }
  const QueuePage one = h.Read("a"), two = h.Read("b");
  EXPECT_EQ(one.entries[0].message, two.entries[0].message);

  h.Acknowledge("a", {1});
  h.Reload();
  h.Acknowledge("b", {}, {1});
  h.Acknowledge("b", {}, {}, {1});
  h.Open("c", {.clean_start = true});
  EXPECT_EQ(KeysOf(h, KeyKind::kBody), 1u);
  EXPECT_THAT(h.Queue("d"), ElementsAre(payload, "small"));
  h.Acknowledge("d", {1});
  EXPECT_EQ(KeysOf(h, KeyKind::kBody), 0u);
  EXPECT_EQ(KeysOf(h, KeyKind::kBodyCount), 0u);
  EXPECT_THAT(h.Queue("b"), ElementsAre("small"));
}

TEST(LargeMessage, ForOneSessionStandsInItsQueue) {
  Harness h;
  h.Open("a");
  h.Subscribe("a", "t");
  h.Publish({.payload = std::string(5000, 'x')});
  EXPECT_EQ(KeysOf(h, KeyKind::kBody), 0u);
  EXPECT_THAT(h.Queue("a"), SizeIs(1));
}

TEST(Enqueue, SharesTheMessageOfTheCaller) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  mqtt::MessageParts parts;
  parts.topic = "t";
  parts.qos = kQos1;
  const mqtt::MessagePtr message = mqtt::Message::Create(parts);
  pb::Entry entry;
  pb::Enqueue& enqueue = *entry.add_commands()->mutable_enqueue();
  enqueue.set_message(EncodeStoredMessage(*message));
  enqueue.set_match(true);
  MemoryBatch batch;
  Effects effects;
  ASSERT_TRUE(
      h.partition()
          .ApplyEntry(entry.SerializeAsString(), {&message, 1}, 100, 1, h.store(), batch, effects)
          .ok());
  ASSERT_THAT(effects.list, SizeIs(1));
  EXPECT_EQ(std::get<Enqueued>(effects.list[0]).delivery.message, message);
}

TEST(Enqueue, OfAnEntryBelowTheAppliedIndexIsSkipped) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  pb::Entry entry;
  entry.add_commands()->mutable_enqueue()->set_message(Stored({}));
  entry.mutable_commands(0)->mutable_enqueue()->set_match(true);
  MemoryBatch batch;
  Effects effects;
  const uint64_t applied = h.partition().applied_index();
  ASSERT_TRUE(h.partition()
                  .ApplyEntry(entry.SerializeAsString(), {}, applied, 1, h.store(), batch, effects)
                  .ok());
  EXPECT_THAT(effects.outcomes, IsEmpty());
  EXPECT_EQ(batch.size(), 0u);
}

// ---- Limits ------------------------------------------------------------------------------------

TEST(QueueLimit, DropsTheNewestByDefault) {
  Harness h;
  pb::Limits limits;
  limits.set_queue_messages_max(2);
  h.SetLimits(limits);
  h.Open("c");
  h.Subscribe("c", "t");
  for (const char* payload : {"1", "2", "3"}) h.AddPublish({.payload = payload});
  h.Commit();
  EXPECT_EQ(h.Dropped(DropCause::kQueueMessages), 1u);
  EXPECT_THAT(h.Queue("c"), ElementsAre("1", "2"));
  h.Acknowledge("c", {1});
  h.Publish({.payload = "4"});
  EXPECT_THAT(h.Queue("c"), ElementsAre("2", "4"));
}

TEST(QueueLimit, DropsTheOldestThatIsNotInFlight) {
  Harness h;
  pb::Limits limits;
  limits.set_queue_messages_max(4);
  limits.set_queue_policy(pb::Limits::DROP_OLDEST);
  h.SetLimits(limits);
  h.Open("c");
  h.Subscribe("c", "t");
  h.Close("c", kNormal, 0);
  for (const char* payload : {"1", "2", "3", "4", "5"}) h.Publish({.payload = payload});
  EXPECT_THAT(h.Queue("c"), ElementsAre("2", "3", "4", "5"));
  h.Open("c");
  h.Close("c", kWithWill, /*sent_through=*/3);  // 2 and 3 are in flight.
  for (const char* payload : {"6", "7"}) h.AddPublish({.payload = payload});
  h.Commit();
  EXPECT_EQ(h.Dropped(DropCause::kQueueMessages), 2u);
  EXPECT_THAT(h.Queue("c"), ElementsAre("2*", "3*", "6", "7"));
}

TEST(QueueLimit, DropsTheNewestIfAllIsInFlight) {
  Harness h;
  pb::Limits limits;
  limits.set_queue_messages_max(2);
  limits.set_queue_policy(pb::Limits::DROP_OLDEST);
  h.SetLimits(limits);
  h.Open("c", {.window = 10});
  h.Subscribe("c", "t");
  for (const char* payload : {"1", "2", "3"}) h.Publish({.payload = payload});
  EXPECT_THAT(h.Queue("c"), ElementsAre("1", "2"));
}

TEST(QueueLimit, CountsBytes) {
  Harness h;
  pb::Limits limits;
  limits.set_queue_bytes_max(500);
  limits.set_queue_policy(pb::Limits::DROP_OLDEST);
  h.SetLimits(limits);
  h.Open("c");
  h.Subscribe("c", "t");
  h.Close("c", kNormal, 0);
  h.Publish({.payload = std::string(200, 'a')});
  h.Publish({.payload = std::string(200, 'b')});
  h.Publish({.payload = std::string(1000, 'x')});  // Never fits; makes no room either.
  EXPECT_EQ(h.Dropped(DropCause::kQueueBytes), 1u);
  h.Publish({.payload = std::string(200, 'c')});
  EXPECT_EQ(h.Dropped(DropCause::kQueueBytes), 1u);
  EXPECT_THAT(h.Queue("c"), ElementsAre(std::string(200, 'b'), std::string(200, 'c')));
  h.Reload();
  h.Publish({.payload = std::string(200, 'd')});
  EXPECT_THAT(h.Queue("c"), ElementsAre(std::string(200, 'c'), std::string(200, 'd')));
}

// ---- Acknowledge -------------------------------------------------------------------------------

TEST(Acknowledge, DeletesWholeChunksOnly) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  for (int i = 0; i < 20; ++i) h.AddPublish({.payload = std::to_string(i)});
  h.Commit();
  EXPECT_EQ(Chunks(h, "c"), 2u);
  h.Acknowledge("c", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  EXPECT_EQ(Chunks(h, "c"), 2u);
  h.Acknowledge("c", {17});
  EXPECT_EQ(Chunks(h, "c"), 2u);
  h.Acknowledge("c", {16});
  EXPECT_EQ(Chunks(h, "c"), 1u);
  EXPECT_EQ(h.Queue("c").front(), "17");
  h.Acknowledge("c", {18, 19, 20});
  EXPECT_EQ(Chunks(h, "c"), 0u);
  EXPECT_EQ(h.partition().Find("c")->queue.bytes(), 0u);
}

TEST(Acknowledge, DeletesChunksThatWereDoneBeforeARestart) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  h.AddPublish({});
  h.AddPublish({});
  h.Commit();
  h.Publish({});
  h.Publish({});
  h.Acknowledge("c", {3, 4});
  h.Reload();
  h.Acknowledge("c", {1});
  h.Publish({});  // Its chunk comes next to the first that is open, but not in the store.
  h.Acknowledge("c", {2});
  h.Acknowledge("c", {5});
  EXPECT_EQ(Chunks(h, "c"), 0u);
}

TEST(Acknowledge, AfterARestartFindsTheChunks) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  for (int i = 0; i < 5; ++i) h.Publish({.payload = std::to_string(i)});
  h.Reload();
  h.Acknowledge("c", {3});
  h.Acknowledge("c", {1, 2});
  EXPECT_EQ(Chunks(h, "c"), 2u);
  EXPECT_THAT(h.Queue("c"), ElementsAre("3", "4"));
}

TEST(Acknowledge, OfWhatIsDoneOrUnknownIsIgnored) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  h.Publish({});
  h.Acknowledge("c", {1});
  EXPECT_EQ(h.Acknowledge("c", {0, 1, 2, 1'000'000}, {1, 99}, {1, 99}).code, OutcomeCode::kNothing);
}

TEST(Qos2, GoesThroughRelease) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  h.Publish({.payload = "m", .qos = kQos2});
  EXPECT_EQ(h.Acknowledge("c", {}, {}, {1}).code, OutcomeCode::kNothing);  // PUBCOMP too early.
  h.Acknowledge("c", {}, {1});
  ASSERT_THAT(h.EffectsOf<Released>(), SizeIs(1));
  EXPECT_THAT(h.EffectsOf<Released>()[0].sequences, ElementsAre(1));
  h.Reload();
  EXPECT_THAT(h.Queue("c"), ElementsAre("!"));
  h.Acknowledge("c", {}, {1});  // A repeated PUBREC is answered again.
  EXPECT_THAT(h.EffectsOf<Released>(), SizeIs(1));
  h.Acknowledge("c", {}, {}, {1});
  EXPECT_THAT(h.Queue("c"), IsEmpty());
  EXPECT_EQ(Chunks(h, "c"), 0u);
}

TEST(Inbound, IdentifierIsRememberedUntilReleased) {
  Harness h;
  h.Open("c");
  pb::RememberInbound remember;
  remember.set_client_id("c");
  remember.set_epoch(h.Epoch("c"));
  remember.set_packet_id(65'535);
  *h.Add().mutable_remember_inbound() = remember;
  *h.Add().mutable_remember_inbound() = remember;
  const std::vector<Outcome> outcomes = h.Commit();
  EXPECT_FALSE(outcomes[0].duplicate);
  EXPECT_TRUE(outcomes[1].duplicate);
  h.Reload();
  EXPECT_TRUE(h.partition().Find("c")->queue.HasInbound(65'535));
  pb::ReleaseInbound& release = *h.Add().mutable_release_inbound();
  release.set_client_id("c");
  release.set_epoch(h.Epoch("c"));
  release.add_packet_ids(65'535);
  h.Commit();
  EXPECT_FALSE(h.partition().Find("c")->queue.HasInbound(65'535));
}

// ---- Reading -----------------------------------------------------------------------------------

TEST(ReadQueue, MarksAsDuplicateWhatWasSentOnAnEarlierConnection) {  // [MQTT-3.3.1-1]
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  for (const char* payload : {"1", "2", "3"}) h.Publish({.payload = payload});
  EXPECT_THAT(h.Queue("c"), ElementsAre("1", "2", "3"));
  h.Close("c", kWithWill, /*sent_through=*/2);
  h.Open("c");
  EXPECT_THAT(h.Queue("c"), ElementsAre("1*", "2*", "3"));
}

TEST(ReadQueue, AfterACrashMarksWhatMayHaveBeenSent) {
  Harness h;
  h.Open("c", {.window = 1});
  h.Subscribe("c", "t");
  for (const char* payload : {"1", "2", "3", "4"}) h.Publish({.payload = payload});
  h.Acknowledge("c", {1});
  h.Reload();
  h.Add().mutable_close_node();
  h.Commit();
  h.Open("c");
  EXPECT_THAT(h.Queue("c"), ElementsAre("2*", "3*", "4"));  // kRunAhead × 1.
}

TEST(ReadQueue, GoesOnWhereAPageEnded) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  for (int i = 0; i < 50; ++i) {
    h.AddPublish({.payload = std::to_string(i)});
    if (i % 7 == 0) h.Commit();
  }
  h.Commit();
  h.Acknowledge("c", {1, 5, 6, 7, 20});
  std::vector<std::string> seen;
  uint64_t from = 1;
  for (bool end = false; !end;) {
    const QueuePage page = h.Read("c", from, {.messages_max = 4});
    EXPECT_LE(page.entries.size(), 4u);
    for (const Delivery& delivery : page.entries) seen.emplace_back(delivery.message->payload());
    from = page.next;
    end = page.end;
  }
  EXPECT_THAT(seen, SizeIs(45));
  EXPECT_EQ(seen, h.Queue("c"));
  h.Publish({.payload = "later"});
  EXPECT_EQ(h.Read("c", from).entries.at(0).message->payload(), "later");
}

TEST(ReadQueue, KeepsToItsBytes) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  for (int i = 0; i < 3; ++i) h.Publish({.payload = std::string(100, 'x')});
  EXPECT_THAT(h.Read("c", 1, {.bytes_max = 10}).entries, SizeIs(1));  // One always fits.
  EXPECT_THAT(h.Read("c", 1, {.bytes_max = 250}).entries, SizeIs(2));
}

TEST(ReadQueue, LeavesOutWhatExpiredUnlessItWasSent) {  // [MQTT5-3.3.2-5]
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t");
  const int64_t soon = h.now() + 1000;
  h.Publish({.payload = "sent", .expires = soon});
  h.Close("c", kWithWill, 1);
  h.Publish({.payload = "unsent", .expires = soon});
  h.Publish({.payload = "lasting"});
  h.Open("c");
  EXPECT_THAT(h.Queue("c"), ElementsAre("sent*", "unsent", "lasting"));
  h.Advance(1000);
  EXPECT_THAT(h.Queue("c"), ElementsAre("sent*", "lasting"));
  EXPECT_THAT(h.Read("c").expired, ElementsAre(2));
  pb::DropQueued& drop = *h.Add().mutable_drop_queued();
  drop.set_client_id("c");
  drop.set_epoch(h.Epoch("c"));
  drop.add_sequences(2);
  h.Commit();
  EXPECT_EQ(h.Dropped(DropCause::kExpired), 1u);
  EXPECT_THAT(h.Read("c").expired, IsEmpty());
  h.Publish({.payload = "late", .expires = soon});
  EXPECT_EQ(h.Dropped(DropCause::kExpired), 1u);
}

// ---- `$share` ----------------------------------------------------------------------------------

TEST(Shared, MessageGoesToItsTargetOnly) {
  Harness h;
  h.Open("a");
  h.Open("b");
  h.Subscribe("a", "$share/g/t");
  h.Subscribe("b", "$share/g/t");
  h.Publish({.payload = "matched"});
  h.PublishTo("b", "$share/g/t", {.payload = "chosen"});
  EXPECT_THAT(h.Queue("a"), IsEmpty());
  EXPECT_THAT(h.Queue("b"), ElementsAre("chosen"));
}

TEST(Shared, MessageForAMemberThatWentGoesIntoTheOutbox) {
  Harness h;
  h.Open("a");
  h.PublishTo("nobody", "$share/g/t", {.payload = "1"});
  EXPECT_THAT(h.EffectsOf<OutboxGrew>(), SizeIs(1));
  h.PublishTo("a", "$share/g/t", {.payload = "2"});  // Has unsubscribed meanwhile.
  EXPECT_THAT(h.EffectsOf<OutboxGrew>(), SizeIs(1));
  h.Reload();
  EXPECT_THAT(h.Left(), ElementsAre("1", "2"));
  EXPECT_EQ(h.Outbox().at(1).share_filter, "$share/g/t");
  h.Add().mutable_outbox_done()->add_numbers(1);
  h.Add().mutable_outbox_done()->add_numbers(2);
  h.Commit();
  EXPECT_THAT(h.Left(), IsEmpty());
}

TEST(Shared, MessagesOfASessionThatEndsAreLeftToOthersUnlessQos2WasBegun) {  // [MQTT5-4.8.2-5]
  Harness h;
  h.Open("a");
  h.Subscribe("a", "$share/g/t");
  h.Subscribe("a", "plain");
  h.PublishTo("a", "$share/g/t", {.payload = "1, acknowledged"});
  h.PublishTo("a", "$share/g/t", {.payload = "2, begun", .qos = kQos2});
  h.PublishTo("a", "$share/g/t", {.payload = "3, sent", .qos = kQos1});
  h.Publish({.topic = "plain"});
  h.PublishTo("a", "$share/g/t", {.payload = "5, waits", .qos = kQos2});
  h.Acknowledge("a", {1});
  h.Close("a", kWithWill, /*sent_through=*/4, /*expiry_s=*/0);
  EXPECT_THAT(h.Left(), ElementsAre("3, sent", "5, waits"));
  EXPECT_EQ(Chunks(h, "a"), 0u);
}

TEST(Shared, AMemberWithoutRoomLosesNothingWhileOthersMayHaveRoom) {
  Harness h;
  h.Open("a");
  h.Subscribe("a", "$share/g/t");
  pb::Limits limits;
  limits.set_queue_messages_max(1);
  h.SetLimits(limits);
  h.PublishTo("a", "$share/g/t", {.payload = "1"});
  h.PublishTo("a", "$share/g/t", {.payload = "2"});
  EXPECT_THAT(h.EffectsOf<OutboxGrew>(), SizeIs(1)) << "set aside for another";
  EXPECT_EQ(h.Dropped(DropCause::kQueueMessages), 0u);
  h.PublishTo("a", "$share/g/t", {.payload = "3"}, kQos2, /*last_choice=*/true);
  EXPECT_EQ(h.Dropped(DropCause::kQueueMessages), 1u) << "by the policy: nobody has room";
  EXPECT_EQ(h.partition().Find("a")->dropped, 1u);
}

// ---- Queues that fill up ----

TEST(Queue, ThatIsNearlyFullIsToldOfOnceUntilItHasBeenShorter) {
  Harness h;
  h.Open("a");
  h.Subscribe("a", "t");
  pb::Limits limits;
  limits.set_queue_messages_max(10);
  h.SetLimits(limits);
  for (int i = 0; i < 8; ++i) h.Publish({.topic = "t"});
  EXPECT_EQ(h.partition().crowded(), 0u);
  h.Publish({.topic = "t"});  // 9 of 10.
  EXPECT_EQ(h.partition().crowded(), 1u);
  EXPECT_THAT(h.EffectsOf<QueueCrowded>(), SizeIs(1));
  h.Acknowledge("a", {1, 2});
  EXPECT_EQ(h.partition().crowded(), 1u) << "7 are too many still";
  h.Acknowledge("a", {3});
  EXPECT_EQ(h.partition().crowded(), 0u);
  for (int i = 0; i < 3; ++i) h.Publish({.topic = "t"});
  EXPECT_EQ(h.partition().crowded(), 1u);
  limits.set_queue_messages_max(100);
  h.SetLimits(limits);
  EXPECT_EQ(h.partition().crowded(), 0u);
  limits.set_queue_messages_max(10);
  h.SetLimits(limits);
  EXPECT_EQ(h.partition().crowded(), 1u);
  h.Close("a", kWithWill, /*sent_through=*/0, /*expiry_s=*/0);
  EXPECT_EQ(h.partition().crowded(), 0u) << "it ended";
}

TEST(Shared, MessageEnqueuedInTheEntryThatEndsTheSessionIsNotLost) {
  Harness h;
  h.Open("a");
  h.Subscribe("a", "$share/g/t");
  pb::Enqueue& enqueue = *h.Add().mutable_enqueue();
  enqueue.set_message(Stored({.payload = "m"}));
  pb::Enqueue::Target& target = *enqueue.add_targets();
  target.set_client_id("a");
  target.mutable_subscription()->set_filter("$share/g/t");
  target.mutable_subscription()->set_options(1);
  h.AddOpen("a", {.clean_start = true});
  h.Commit();
  EXPECT_THAT(h.EffectsOf<OutboxGrew>(), SizeIs(1));
  EXPECT_THAT(h.Queue("a"), IsEmpty());
}

}  // namespace
}  // namespace storage
