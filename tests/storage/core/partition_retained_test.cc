// Retained messages: setting, limits, scanning, and their replay to durable sessions.
#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/memory_store.h"
#include "storage/core/retained.h"
#include "storage/core/retained_record.h"
#include "tests/storage/core/harness.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

RetainedScanPage ScanPage(Harness& h, const std::string& filter, const std::string& cursor = "",
                          const RetainedScanOptions& options = {}) {
  absl::StatusOr<RetainedScanPage> page =
      ScanRetainedMessages(h.store(), h.partition().id(), filter, cursor, h.now(), options);
  EXPECT_TRUE(page.ok()) << page.status();
  return page.ok() ? *std::move(page) : RetainedScanPage();
}

std::vector<std::string> Topics(const RetainedScanPage& page) {
  std::vector<std::string> topics;
  for (const mqtt::MessagePtr& message : page.messages) topics.emplace_back(message->topic());
  return topics;
}

TEST(SetRetained, KeepsTheLastOfEachTopic) {
  Harness h;
  h.SetRetained({.topic = "a", .payload = "1"});
  h.SetRetained({.topic = "a", .payload = "22"});
  h.SetRetained({.topic = "b", .payload = "3"});
  EXPECT_EQ(h.partition().retained_messages(), 2u);
  const auto message = ReadRetained(h.store(), 3, "a");
  ASSERT_TRUE(message.ok() && *message);
  EXPECT_EQ((*message)->payload(), "22");
  EXPECT_TRUE((*message)->retain());
}

TEST(SetRetained, WithAnEmptyPayloadRemoves) {
  Harness h;
  h.SetRetained({.topic = "a", .payload = ""});  // Nothing there: nothing happens.
  h.SetRetained({.topic = "a", .payload = "1"});
  h.SetRetained({.topic = "a", .payload = ""});
  EXPECT_EQ(h.partition().retained_messages(), 0u);
  EXPECT_EQ(h.partition().retained_bytes(), 0u);
  EXPECT_FALSE(*ReadRetained(h.store(), 3, "a"));
}

TEST(SetRetained, CountsWithinOneEntry) {
  Harness h;
  for (const char* payload : {"1", "", "22", "333"}) {
    h.Add().mutable_set_retained()->set_message(Stored({.topic = "a", .payload = payload}));
  }
  h.Commit();
  EXPECT_EQ(h.partition().retained_messages(), 1u);
  EXPECT_EQ(h.partition().retained_bytes(), Stored({.topic = "a", .payload = "333"}).size());
}

TEST(SetRetained, OverALimitChangesNothing) {
  Harness h;
  pb::Limits limits;
  limits.set_retained_messages_max(2);
  limits.set_retained_bytes_max(300);
  h.SetLimits(limits);
  h.SetRetained({.topic = "a"});
  h.SetRetained({.topic = "b"});
  EXPECT_EQ(h.SetRetained({.topic = "c"}).code, OutcomeCode::kLimit);
  EXPECT_EQ(h.SetRetained({.topic = "a", .payload = std::string(400, 'x')}).code,
            OutcomeCode::kLimit);
  EXPECT_EQ((*ReadRetained(h.store(), 3, "a"))->payload(), "p");
  EXPECT_EQ(h.SetRetained({.topic = "a", .payload = "replaced"}).code, OutcomeCode::kOk);
  EXPECT_EQ(h.partition().retained_messages(), 2u);
}

TEST(DropRetained, RemovesOnlyWhatWasMeant) {
  Harness h;
  h.SetRetained({.topic = "a", .expires = h.now() + 10});
  h.Advance(10);
  EXPECT_THAT(ScanPage(h, "a").messages, IsEmpty());
  const auto expired = FindExpiredRetained(h.store(), 3, "", h.now(), 10);
  ASSERT_TRUE(expired.ok());
  ASSERT_THAT(expired->messages, SizeIs(1));
  pb::DropRetained drop;
  drop.add_items()->set_topic(expired->messages[0].topic);
  drop.mutable_items(0)->set_order(expired->messages[0].order);
  drop.mutable_items(0)->set_expires_at_unix_ms(expired->messages[0].expires_at_unix_ms);
  h.SetRetained({.topic = "a", .payload = "newer"});
  *h.Add().mutable_drop_retained() = drop;
  EXPECT_EQ(h.Commit()[0].code, OutcomeCode::kNothing);
  EXPECT_EQ(h.partition().retained_messages(), 1u);
  drop.mutable_items(0)->set_order(h.order() - 1);
  *h.Add().mutable_drop_retained() = drop;
  EXPECT_EQ(h.Commit()[0].code, OutcomeCode::kOk);
  EXPECT_EQ(h.partition().retained_messages(), 0u);
}

// ---- Expiry ------------------------------------------------------------------------------------

std::vector<std::string> ExpiredTopics(Harness& h) {
  std::vector<std::string> topics;
  const auto page = FindExpiredRetained(h.store(), 3, "", h.now(), 100);
  if (page.ok()) {
    for (const auto& message : page->messages) topics.push_back(message.topic);
  }
  return topics;
}

TEST(RetainedExpiry, IsFoundWhenItIsDueInItsOrder) {
  Harness h;
  h.SetRetained({.topic = "never"});
  h.SetRetained({.topic = "late/x", .expires = h.now() + 300});
  h.SetRetained({.topic = "soon/x", .expires = h.now() + 100});
  h.SetRetained({.topic = "sooner", .expires = h.now() + 50});
  auto page = FindExpiredRetained(h.store(), 3, "", h.now(), 100);
  ASSERT_TRUE(page.ok());
  EXPECT_THAT(page->messages, IsEmpty());
  EXPECT_EQ(page->next_unix_ms, h.now() + 50);
  h.Advance(100);
  EXPECT_THAT(ExpiredTopics(h), ElementsAre("sooner", "soon/x"));
  page = FindExpiredRetained(h.store(), 3, "", h.now(), 1);
  EXPECT_EQ(page->messages.at(0).topic, "sooner");
  EXPECT_EQ(page->next_unix_ms, h.now());
  page = FindExpiredRetained(h.store(), 3, page->through, h.now(), 1);
  EXPECT_EQ(page->messages.at(0).topic, "soon/x");
  EXPECT_EQ(page->next_unix_ms, h.now() + 200);
}

TEST(RetainedExpiry, GoesWithItsMessage) {
  Harness h;
  h.SetRetained({.topic = "a", .expires = h.now() + 10});
  h.SetRetained({.topic = "a", .payload = "forever"});
  h.SetRetained({.topic = "b", .expires = h.now() + 10});
  h.SetRetained({.topic = "b", .payload = ""});
  h.SetRetained({.topic = "c", .expires = h.now() + 10});
  h.SetRetained({.topic = "c", .payload = "later", .expires = h.now() + 20});
  h.Advance(15);
  EXPECT_THAT(ExpiredTopics(h), IsEmpty());
  h.Advance(5);
  EXPECT_THAT(ExpiredTopics(h), ElementsAre("c"));
}

// A store of a release that kept no index.
TEST(RetainedExpiry, IsIndexedOnce) {
  MemoryStore store;
  MemoryBatch old;
  pb::Meta meta;
  meta.set_format(kStateFormat);
  meta.set_applied_index(7);
  meta.set_retained_messages(2);
  old.Put(MetaKey(3), meta.SerializeAsString());
  old.Put(RetainedKey(3, "a/b"),
          EncodeRetained({Stored({.topic = "a/b", .expires = 1'000'010}), 5, 0}));
  old.Put(RetainedKey(3, "c"), EncodeRetained({Stored({.topic = "c"}), 6, 0}));
  store.Write(old);
  for (int i = 0; i < 2; ++i) {
    Partition partition(3);
    ASSERT_TRUE(partition.Load(store).ok());
    MemoryBatch batch;
    ASSERT_TRUE(partition.Upgrade(store, batch).ok());
    EXPECT_EQ(batch.size() == 0, i == 1);
    store.Write(batch);
    const auto page = FindExpiredRetained(store, 3, "", 1'000'010, 10);
    ASSERT_TRUE(page.ok());
    ASSERT_THAT(page->messages, SizeIs(1));
    EXPECT_EQ(page->messages[0].topic, "a/b");
    EXPECT_EQ(page->messages[0].order, 5u);
  }
}

// ---- Scan --------------------------------------------------------------------------------------

TEST(Scan, FollowsTheFilter) {
  Harness h;
  for (const char* topic : {"a", "a/b", "a/b/c", "a-b", "a/c", "b", "/a", "$SYS/x", "a/b/", "$S"}) {
    h.SetRetained({.topic = topic});
  }
  const auto scan = [&](const char* filter) { return Topics(ScanPage(h, filter)); };
  EXPECT_THAT(scan("a"), ElementsAre("a"));
  EXPECT_THAT(scan("a/#"), ElementsAre("a", "a/b", "a/b/", "a/b/c", "a/c"));
  EXPECT_THAT(scan("+"), ElementsAre("a", "a-b", "b"));
  EXPECT_THAT(scan("+/+"), ElementsAre("/a", "a/b", "a/c"));
  EXPECT_THAT(scan("+/b/+"), ElementsAre("a/b/", "a/b/c"));
  EXPECT_THAT(scan("/#"), ElementsAre("/a"));
  EXPECT_THAT(scan("$SYS/#"), ElementsAre("$SYS/x"));
  EXPECT_THAT(scan("#"), ElementsAre("/a", "a", "a/b", "a/b/", "a/b/c", "a/c", "a-b", "b"));
  EXPECT_THAT(scan("nothing/+"), IsEmpty());
}

TEST(Scan, SkipsWhatCameLive) {
  Harness h;
  h.SetRetained({.topic = "before"}, ~0ull);
  const uint64_t since = h.order();
  h.SetRetained({.topic = "after, to partition 5"}, 1ull << 5);
  h.SetRetained({.topic = "after, not to it"}, 1ull << 4);
  h.SetRetained({.topic = "after, to partition 1 of 4"}, 1ull << 1, /*of_partitions=*/4);
  const uint64_t live = h.order();
  h.SetRetained({.topic = "after the routes"}, 0);
  RetainedScanOptions options;
  options.since_order = since;
  options.live_partition = 5;
  EXPECT_THAT(Topics(ScanPage(h, "#", "", options)),
              ElementsAre("after the routes", "after, not to it", "before"));
  options.live_order = live;
  EXPECT_THAT(Topics(ScanPage(h, "#", "", options)), ElementsAre("after, not to it", "before"));
}

TEST(Scan, PagesByMessagesBytesAndSeeks) {
  Harness h;
  for (int i = 0; i < 100; ++i) {
    h.SetRetained({.topic = "d/" + std::to_string(i) + (i % 10 == 0 ? "/x" : "/y")});
  }
  for (const RetainedScanOptions& options :
       {RetainedScanOptions{.messages_max = 3}, RetainedScanOptions{.bytes_max = 20},
        RetainedScanOptions{.seeks_max = 7}, RetainedScanOptions{}}) {
    std::vector<std::string> found;
    std::string cursor;
    do {
      const RetainedScanPage page = ScanPage(h, "d/+/x", cursor, options);
      for (const std::string& topic : Topics(page)) found.push_back(topic);
      cursor = page.cursor;
    } while (!cursor.empty());
    EXPECT_THAT(found, SizeIs(10));
  }
}

std::string RandomTopic(base::Rng& rng, bool filter) {
  static const std::vector<std::string> kLevels = {"a",  "b",  "",     "a-",
                                                   "ab", "$s", "\x01", "\xC3\xA9"};
  std::string topic;
  const uint64_t levels = 1 + rng.Below(4);
  for (uint64_t i = 0; i < levels; ++i) {
    if (i != 0) topic += '/';
    if (filter && rng.Chance(0.3)) {
      topic += '+';
    } else if (filter && rng.Chance(0.15)) {
      return topic + '#';
    } else {
      topic += kLevels[rng.Below(kLevels.size())];
    }
  }
  return topic.empty() ? "a" : topic;
}

TEST(Scan, FindsWhatAFullSearchFinds) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    base::Rng rng(seed);
    Harness h;
    std::map<std::string, bool> topics;
    for (int i = 0; i < 150; ++i) {
      const std::string topic = RandomTopic(rng, false);
      topics[topic] = true;
      h.Add().mutable_set_retained()->set_message(Stored({.topic = topic}));
    }
    h.Commit();
    for (int i = 0; i < 150; ++i) {
      const std::string filter = RandomTopic(rng, true);
      std::vector<std::string> expected;
      for (const auto& [topic, unused] : topics) {
        if (mqtt::Matches(filter, topic)) expected.push_back(topic);
      }
      std::vector<std::string> found;
      std::string cursor;
      const RetainedScanOptions options{.messages_max = 1 + rng.Below(20),
                                        .seeks_max = 1 + rng.Below(20)};
      do {
        const RetainedScanPage page = ScanPage(h, filter, cursor, options);
        for (const std::string& topic : Topics(page)) found.push_back(topic);
        cursor = page.cursor;
      } while (!cursor.empty());
      std::sort(found.begin(), found.end());
      ASSERT_EQ(found, expected) << filter;
    }
  }
}

// ---- Replay ------------------------------------------------------------------------------------

Outcome Page(Harness& h, const std::string& client, uint64_t replay, const std::vector<Text>& texts,
             bool last) {
  pb::EnqueueRetainedPage& page = *h.Add().mutable_enqueue_retained_page();
  page.set_client_id(client);
  page.set_epoch(h.Epoch(client));
  page.set_replay(replay);
  for (const Text& text : texts) page.add_messages(Stored(text));
  page.set_next_cursor("next");
  page.set_last(last);
  return h.Commit().at(0);
}

TEST(Replay, FollowsRetainHandling) {
  Harness h;
  h.Open("c");
  using mqtt::RetainHandling;
  const auto pending = [&](RetainHandling handling) {
    h.Subscribe("c", "t", {.qos = mqtt::QoS::kAtLeastOnce, .retain_handling = handling});
    return !h.EffectsOf<ReplayPending>().empty();
  };
  EXPECT_FALSE(pending(RetainHandling::kDoNotSend));  // [MQTT5-3.3.1-11]
  EXPECT_FALSE(pending(RetainHandling::kSendIfNew));  // [MQTT5-3.3.1-10]
  EXPECT_TRUE(pending(RetainHandling::kSend));        // [MQTT5-3.3.1-9]
  h.Unsubscribe("c", "t");
  EXPECT_THAT(h.partition().Find("c")->replays, IsEmpty());
  EXPECT_TRUE(pending(RetainHandling::kSendIfNew));
  EXPECT_TRUE(pending(RetainHandling::kSend));
  EXPECT_THAT(h.partition().Find("c")->replays, SizeIs(1));  // It starts again.
  h.Subscribe("c", "$share/g/t");
  EXPECT_THAT(h.EffectsOf<ReplayPending>(), IsEmpty());
}

TEST(Replay, ThoseThatFoundNothingEndWithThePageOfAnother) {
  Harness h;
  h.Open("c");
  for (const char* const filter : {"a", "b", "c", "d"}) h.Subscribe("c", filter);
  pb::EnqueueRetainedPage& page = *h.Add().mutable_enqueue_retained_page();
  page.set_client_id("c");
  page.set_epoch(h.Epoch("c"));
  page.set_replay(3);
  page.set_last(true);
  for (const uint64_t number : {1, 2, 9}) page.add_over(number);
  EXPECT_EQ(h.Commit().at(0).code, OutcomeCode::kOk);
  h.Reload();
  ASSERT_THAT(h.partition().Find("c")->replays, SizeIs(1));
  EXPECT_EQ(h.partition().Find("c")->replays.front().filter, "d");
}

// An earlier release kept them in the session's record, written again with every step.
TEST(Replay, InTheRecordOfAnEarlierReleaseGoesOn) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t/#");
  std::string bytes;
  pb::Session record;
  ASSERT_TRUE(h.store().Get(SessionKey(3, "c"), bytes).value());
  ASSERT_TRUE(record.ParseFromString(bytes));
  ASSERT_TRUE(h.store().Get(ReplayKey(3, "c", 1), bytes).value());
  ASSERT_TRUE(record.add_replays()->ParseFromString(bytes));
  MemoryBatch batch;
  batch.Put(SessionKey(3, "c"), record.SerializeAsString());
  batch.Delete(ReplayKey(3, "c", 1));
  h.store().Write(batch);
  h.Reload();
  ASSERT_THAT(h.partition().Find("c")->replays, SizeIs(1));
  EXPECT_EQ(h.partition().Find("c")->replays.front().filter, "t/#");
  Page(h, "c", 1, {{.topic = "t/1"}}, false);
  ASSERT_TRUE(h.store().Get(SessionKey(3, "c"), bytes).value());
  ASSERT_TRUE(record.ParseFromString(bytes));
  EXPECT_EQ(record.replays_size(), 0);
  h.Reload();
  EXPECT_EQ(h.partition().Find("c")->replays.front().cursor, "next");
  Page(h, "c", 1, {}, true);
  EXPECT_FALSE(h.store().Get(ReplayKey(3, "c", 1), bytes).value());
}

// What one more subscription writes to the store, with so many replays waiting.
size_t BytesOfAStep(size_t waiting) {
  Partition partition(1);
  MemoryStore store;
  EXPECT_TRUE(partition.Load(store).ok());
  uint64_t index = 0;
  const auto apply = [&](const pb::Entry& entry) {
    MemoryBatch batch;
    Effects effects;
    EXPECT_TRUE(
        partition.ApplyEntry(entry.SerializeAsString(), {}, ++index, 1, store, batch, effects)
            .ok());
    store.Write(batch);
    return batch.bytes();
  };
  pb::Entry open;
  open.add_commands()->mutable_open_session()->set_client_id("c");
  open.mutable_commands(0)->mutable_open_session()->set_expiry_s(3600);
  apply(open);
  const auto subscribe = [&](size_t first, size_t count) {
    pb::Entry entry;
    pb::Subscribe& command = *entry.add_commands()->mutable_subscribe();
    command.set_client_id("c");
    command.set_epoch(1);
    for (size_t i = first; i < first + count; ++i) {
      command.add_subscriptions()->set_filter("filter/" + std::to_string(100'000 + i));
    }
    return apply(entry);
  };
  subscribe(0, waiting);
  return subscribe(waiting, 1);
}

TEST(Replay, AStepWritesTheSameHoweverManyWait) {
  const size_t few = BytesOfAStep(1000);
  const size_t many = BytesOfAStep(10'000);
  std::cout << "bytes written by one more SUBSCRIBE: " << few << " with 1000 waiting, " << many
            << " with 10000\n";
  EXPECT_LE(many, few + few / 4);
}

TEST(Replay, GoesThroughTheQueuePageByPage) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t/#", {.qos = mqtt::QoS::kAtLeastOnce}, 5);
  const RetainedReplay replay = h.partition().Find("c")->replays.front();
  EXPECT_EQ(replay.since_order, h.order());
  Page(h, "c", replay.number, {{.topic = "t/1", .payload = "1", .qos = mqtt::QoS::kExactlyOnce}},
       false);
  EXPECT_THAT(h.EffectsOf<ReplayPending>(), SizeIs(1));
  h.Reload();
  EXPECT_EQ(h.partition().Find("c")->replays.front().cursor, "next");
  Page(h, "c", replay.number, {{.topic = "t/2", .payload = "2"}}, true);
  EXPECT_THAT(h.partition().Find("c")->replays, IsEmpty());
  const QueuePage page = h.Read("c");
  ASSERT_THAT(page.entries, SizeIs(2));
  EXPECT_TRUE(page.entries[0].retain);
  EXPECT_EQ(page.entries[0].qos, mqtt::QoS::kAtLeastOnce);
  EXPECT_THAT(page.entries[0].subscription_ids, ElementsAre(5));
  EXPECT_EQ(Page(h, "c", replay.number, {{.topic = "t/3"}}, true).code, OutcomeCode::kNothing);
  EXPECT_THAT(h.Queue("c"), ElementsAre("1", "2"));
}

TEST(Replay, SendsQos0AtOnceAndHonoursNoLocalAndExpiry) {
  Harness h;
  h.Open("c");
  h.Subscribe("c", "t", {.qos = mqtt::QoS::kExactlyOnce, .no_local = true});
  Page(h, "c", 1,
       {{.payload = "zero", .qos = mqtt::QoS::kAtMostOnce},
        {.payload = "own", .publisher = "c"},
        {.payload = "old", .expires = h.now()}},
       true);
  EXPECT_THAT(h.Queue("c"), IsEmpty());
  EXPECT_EQ(h.Dropped(DropCause::kExpired), 1u);
  ASSERT_THAT(h.EffectsOf<Enqueued>(), SizeIs(1));
  EXPECT_EQ(h.EffectsOf<Enqueued>()[0].delivery.sequence, 0u);
  EXPECT_EQ(h.EffectsOf<Enqueued>()[0].delivery.message->payload(), "zero");
  EXPECT_TRUE(h.EffectsOf<Enqueued>()[0].delivery.retain);
}

}  // namespace
}  // namespace storage
