// What has expired takes no room, and what promises nothing costs nothing.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr int kRetainedMax = 8;
constexpr int kQueueMax = 10;

StorageOptions Bounded() {
  StorageOptions options = SmallOptions();
  options.partitions = 1;
  options.retained_messages_max = kRetainedMax;
  options.queue_messages_max = kQueueMax;
  return options;
}

class HostExpiry : public HostTest {
 protected:
  HostExpiry() : HostTest(Bounded()) {}

  mqtt::MessagePtr Expiring(const std::string& topic, int64_t interval_ms, bool retain = false) {
    return mqtt::Message::Create({.topic = topic,
                                  .payload = "x",
                                  .properties = {},
                                  .qos = mqtt::QoS::kAtLeastOnce,
                                  .retain = retain,
                                  .created_at_unix_ms = sim_.now_unix_ms(),
                                  .expires_at_unix_ms = sim_.now_unix_ms() + interval_ms});
  }
  void Queue(int64_t interval_ms) { ASSERT_TRUE(Publish(Expiring("a", interval_ms)).ok()); }
  uint64_t Queued() { return sim_.core().partition(0).Find("bob")->queue.messages(); }
  // As the host's thread does when nothing else happens.
  void Wait(absl::Duration time) {
    sim_.clock().Advance(time);
    sim_.Settle();
    sim_.clock().Advance(absl::Seconds(2));
    sim_.Settle();
  }
  void OpenAndLeave(const std::string& client_id) {
    const SessionOpened opened = Open(client_id);
    ASSERT_TRUE(Subscribe(client_id, opened.epoch, "a").ok());
    Close(client_id);
  }
};

// ---- A clock that is behind --------------------------------------------------------------------

TEST_F(HostExpiry, ALeaderWhoseClockIsBehindGoesOnFromTheLatestStamp) {
  const Partition& partition = sim_.core().partition(0);
  Open("bob", /*expiry_s=*/10);
  Close("bob");
  const int64_t ends_at = partition.Find("bob")->ends_at_unix_ms;
  const int64_t last = partition.last_time_unix_ms();
  sim_.FallBehind(absl::Minutes(10));
  Open("alice", /*expiry_s=*/10);
  Close("alice");
  EXPECT_EQ(partition.last_time_unix_ms(), last);
  EXPECT_EQ(partition.Find("alice")->ends_at_unix_ms, last + 10'000);
  Wait(absl::Minutes(9));
  EXPECT_EQ(partition.Find("bob")->ends_at_unix_ms, ends_at);
  Wait(absl::Minutes(2));
  EXPECT_EQ(partition.Find("bob"), nullptr);
  EXPECT_EQ(partition.Find("alice"), nullptr);
}

// ---- Retained messages -------------------------------------------------------------------------

TEST_F(HostExpiry, RetainedMessagesThatHaveExpiredMakeRoomAtOnce) {
  for (int i = 0; i < kRetainedMax; ++i) {
    ASSERT_TRUE(Publish(Expiring("r/" + std::to_string(i), 4000, true)).ok());
  }
  EXPECT_FALSE(Publish(Text("n/0", "x", mqtt::QoS::kAtLeastOnce, true)).ok());
  sim_.clock().Advance(absl::Seconds(4));
  for (int i = 0; i < kRetainedMax; ++i) {  // Before anything had time to run.
    SendPublish(Text("n/" + std::to_string(i), "x", mqtt::QoS::kAtLeastOnce, true));
  }
  sim_.Settle();
  for (const Published& published : sim_.Take<Published>()) EXPECT_TRUE(published.status.ok());
  EXPECT_FALSE(Publish(Text("n/x", "x", mqtt::QoS::kAtLeastOnce, true)).ok());
  EXPECT_EQ(sim_.core().partition(0).retained_messages(), uint64_t{kRetainedMax});
}

TEST_F(HostExpiry, RetainedMessagesGoWhenTheyAreDueThoughNobodyReadsThem) {
  ASSERT_TRUE(Publish(Expiring("soon", 1000, true)).ok());
  ASSERT_TRUE(Publish(Expiring("late", 60'000, true)).ok());
  ASSERT_TRUE(Publish(Text("never", "x", mqtt::QoS::kAtLeastOnce, true)).ok());
  EXPECT_EQ(sim_.metrics().retained_messages.value(), 3);
  Wait(absl::Seconds(1));
  EXPECT_EQ(sim_.metrics().retained_messages.value(), 2);
  base::Rng rng(1);
  sim_.Crash(rng);
  Wait(absl::Seconds(60));
  EXPECT_EQ(sim_.metrics().retained_messages.value(), 1);
  EXPECT_EQ(sim_.core().partition(0).retained_messages(), 1u);
}

TEST_F(HostExpiry, ARetainedMessageThatReplacesOneLivesAsLongAsItSays) {
  ASSERT_TRUE(Publish(Expiring("r", 1000, true)).ok());
  ASSERT_TRUE(Publish(Expiring("r", 5000, true)).ok());
  Wait(absl::Seconds(1));
  EXPECT_EQ(sim_.metrics().retained_messages.value(), 1);
  Wait(absl::Seconds(5));
  EXPECT_EQ(sim_.metrics().retained_messages.value(), 0);
}

// ---- Queued messages ---------------------------------------------------------------------------

TEST_F(HostExpiry, QueuedMessagesThatHaveExpiredMakeRoomAtOnce) {
  OpenAndLeave("bob");
  for (int i = 0; i < kQueueMax; ++i) Queue(4000);
  sim_.clock().Advance(absl::Seconds(4));
  for (int i = 0; i < kQueueMax; ++i) SendPublish(Text("a", "new"));
  sim_.Settle();
  EXPECT_EQ(sim_.metrics().dropped_queue_full.value(), 0u);
  EXPECT_EQ(sim_.metrics().dropped_expired.value(), uint64_t{kQueueMax});
  EXPECT_EQ(Queued(), uint64_t{kQueueMax});
}

TEST_F(HostExpiry, QueuedMessagesGoWhenTheyAreDueWhereverTheyStand) {
  OpenAndLeave("bob");
  Queue(60'000);
  Queue(1000);
  ASSERT_TRUE(Publish(Text("a", "for ever")).ok());
  Queue(10'000);
  Wait(absl::Seconds(1));
  EXPECT_EQ(Queued(), 3u);
  Wait(absl::Seconds(8));
  EXPECT_EQ(Queued(), 2u);
  sim_.core().WantFlush();
  sim_.Settle();
  sim_.state().Flush();
  base::Rng rng(1);
  sim_.Crash(rng);
  sim_.Settle();
  EXPECT_EQ(Queued(), 2u);
  Wait(absl::Seconds(60));
  EXPECT_EQ(Queued(), 1u);
  EXPECT_EQ(sim_.metrics().queued_messages.value(), 1);
}

TEST_F(HostExpiry, WhatWasSentDoesNotExpireAnyMore) {
  OpenSession open = MakeOpen("bob");
  open.window_messages = 2;
  const SessionOpened bob = Open(open);
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  for (int i = 0; i < 9; ++i) Queue(1000);
  std::vector<uint64_t> sent;
  for (const Deliver& deliver : sim_.Take<Deliver>()) {
    for (const Delivery& delivery : deliver.entries) sent.push_back(delivery.sequence);
  }
  ASSERT_THAT(sent, SizeIs(2));
  Wait(absl::Seconds(1));
  EXPECT_EQ(Queued(), 2u);
  ASSERT_TRUE(Publish(Text("a", "next")).ok());
  for (const uint64_t sequence : sent) Acknowledge("bob", bob.epoch, sequence);
  EXPECT_THAT(TakePayloads(), ElementsAre("next"));
}

// Clients with names that do not come back: what their queues held would have expired much later.
TEST_F(HostExpiry, OfQueuesThatEndedNothingIsKeptUntilTheirMessagesWouldHaveExpired) {
  constexpr int64_t kMonthMs = int64_t{30} * 24 * 3600 * 1000;
  const Leader& leader = *sim_.core().node().leaders[0];
  size_t greatest = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string client_id = "once " + std::to_string(i);
    const SessionOpened opened = Open(client_id);
    ASSERT_TRUE(Subscribe(client_id, opened.epoch, "a").ok());
    Queue(kMonthMs);
    CloseSession close;
    close.client_id = client_id;
    close.connection = {.shard = 0, .connection = connection_};
    close.expiry_s = 0;
    sim_.Send(std::move(close));
    sim_.Settle();
    sim_.events.clear();
    ASSERT_EQ(sim_.core().partition(0).Find(client_id), nullptr);
    greatest = std::max(greatest, leader.expiry().kept());
  }
  EXPECT_GE(greatest, 1u) << "nothing was armed";
  EXPECT_LT(greatest, 2048u);
}

// With N and 10 N: what one costs that expires, in a queue and as a retained message.
TEST_F(HostExpiry, AMessageThatExpiresCostsTheSameAmongMany) {
  StorageOptions options = SmallOptions();
  options.partitions = 1;
  double cost[2] = {};
  for (int round = 0; round < 2; ++round) {
    const int messages = round == 0 ? 2'000 : 20'000;
    HostSim sim(options);
    for (int i = 0; i < messages; ++i) {
      storage::Publish publish;
      publish.token = static_cast<Token>(i + 1);
      publish.set_retained = true;
      publish.message = mqtt::Message::Create({.topic = "r/" + std::to_string(i),
                                               .payload = "x",
                                               .properties = {},
                                               .qos = mqtt::QoS::kAtLeastOnce,
                                               .retain = true,
                                               .created_at_unix_ms = sim.now_unix_ms(),
                                               .expires_at_unix_ms = sim.now_unix_ms() + 60'000});
      sim.Send(std::move(publish));
    }
    sim.Settle();
    sim.clock().Advance(absl::Seconds(60));
    const absl::Duration begin = base::RealClock::Get().Monotonic();
    sim.Settle();
    const absl::Duration took = base::RealClock::Get().Monotonic() - begin;
    EXPECT_EQ(sim.core().partition(0).retained_messages(), 0u);
    cost[round] = absl::ToDoubleMicroseconds(took) / messages;
    std::printf("%d retained messages expire: %.2f us each\n", messages, cost[round]);
  }
  EXPECT_LT(cost[1], 5 * cost[0] + 5);
}

// ---- What promises nothing ---------------------------------------------------------------------

TEST_F(HostExpiry, ARetainedMessageOfQos0ForcesNoSync) {
  const size_t before = sim_.log_syncs;
  for (int i = 0; i < kRetainedMax; ++i) {
    const std::string topic = "r/" + std::to_string(i);
    EXPECT_TRUE(Publish(Text(topic, "x", mqtt::QoS::kAtMostOnce, /*retain=*/true)).ok());
  }
  EXPECT_EQ(sim_.log_syncs, before);
  EXPECT_EQ(sim_.metrics().retained_messages.value(), kRetainedMax);
}

class HostReplay : public HostTest {
 protected:
  HostReplay() {
    for (int i = 0; i < kMessages; ++i) {
      const std::string topic = "r/" + std::to_string(1000 + i);
      EXPECT_TRUE(
          Publish(Text(topic, std::string(kBytes, 'x'), mqtt::QoS::kAtMostOnce, true)).ok());
    }
  }
  void SubscribeTo(const SessionOpened& bob, mqtt::QoS qos) {
    sim_.Send(MakeSubscribe(++token_, "bob", bob.epoch, "r/#", qos));
    sim_.Settle();
  }
  static constexpr int kMessages = 300;
  static constexpr size_t kBytes = 2000;
};

TEST_F(HostReplay, OfQos0IsNotWrittenDown) {
  const SessionOpened bob = Open("bob");
  const uint64_t before = sim_.log_bytes;
  SubscribeTo(bob, mqtt::QoS::kAtLeastOnce);
  EXPECT_THAT(TakePayloads(), SizeIs(kMessages));
  EXPECT_LT(sim_.log_bytes - before, 1000u);
}

TEST_F(HostReplay, OfQos0GoesOnWhenTheShardHasRoom) {
  OpenSession open = MakeOpen("bob");
  open.window_messages = 50;
  const SessionOpened bob = Open(open);
  sim_.take_replays = false;
  SubscribeTo(bob, mqtt::QoS::kAtMostOnce);
  EXPECT_THAT(TakePayloads(), SizeIs(50));
  sim_.take_replays = true;
  sim_.Send(ReplayTaken{"bob", bob.epoch});
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), SizeIs(kMessages - 50));
}

TEST_F(HostReplay, OfQos0ThatWasInterruptedComesAgain) {
  sim_.take_replays = false;
  SubscribeTo(Open("bob"), mqtt::QoS::kAtMostOnce);
  EXPECT_THAT(TakePayloads(), testing::Not(IsEmpty()));
  sim_.take_replays = true;
  Close("bob");
  Open("bob");
  EXPECT_THAT(TakePayloads(), SizeIs(kMessages));
}

}  // namespace
}  // namespace storage
