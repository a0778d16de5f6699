// With queue_full: refuse nothing that was accepted is dropped where a queue is full: publishers
// are told before, and what comes out of an outbox waits there.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/keys.h"
#include "storage/core/session.h"
#include "storage/leader/host.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::SizeIs;
using Fate = OutboxDone::Fate;

StorageOptions Refusing(uint64_t messages_max = 10) {
  StorageOptions options = SmallOptions();
  options.queue_messages_max = messages_max;
  options.queue_full = QueueFull::kRefuse;
  return options;
}

class HostRefuse : public HostTest {
 protected:
  explicit HostRefuse(StorageOptions options = Refusing()) : HostTest(std::move(options)) {}

  // A durable session, away.
  void AddSession(const std::string& client_id, const std::string& filter) {
    ASSERT_TRUE(Subscribe(client_id, Open(client_id).epoch, filter).ok());
    Close(client_id);
  }
  void Fill(const std::string& topic, int messages) {
    for (int i = 0; i < messages; ++i) ASSERT_TRUE(Publish(Text(topic, "m")).ok());
  }
  uint64_t Stored() {
    uint64_t records = 0;
    for (PartitionId id = 0; id < sim_.core().partitions(); ++id) {
      records += sim_.core().partition(id).outbox().messages();
    }
    return records;
  }
  uint64_t dropped() { return sim_.metrics().dropped_queue_full.value(); }
};

// ---- How much a message takes -------------------------------------------------------------------

class HostRefuseBytes : public HostRefuse {
 protected:
  HostRefuseBytes() : HostRefuse(BytesOf(40'000)) {}
  static StorageOptions BytesOf(uint64_t bytes_max) {
    StorageOptions options = Refusing(0);
    options.queue_bytes_max = bytes_max;
    return options;
  }
};

// An entry has the identifier of each subscription [MQTT5-3.3.4-3] [MQTT5-3.3.4-4].
TEST_F(HostRefuseBytes, IdentifiersOfSubscriptionsThatOverlapAreCounted) {
  for (const bool at_once : {false, true}) {
    const std::string topic = at_once ? "o/n/c/e/!" : "t/u/r/n/s";
    const std::string name = at_once ? "at-once" : "in-turn";
    storage::Subscribe subscribe;
    subscribe.token = ++token_;
    subscribe.client_id = name;
    subscribe.epoch = Open(name).epoch;
    for (int plus = 0; plus < 16; ++plus) {  // The first level stays: which of the two it is.
      std::string filter = topic;
      for (int level = 1; level <= 4; ++level) {
        if ((plus >> (level - 1) & 1) != 0) filter[static_cast<size_t>(2 * level)] = '+';
      }
      for (const char* const rest : {"", "/#"}) {
        subscribe.subscriptions.push_back({.filter = filter + rest,
                                           .options = {.qos = mqtt::QoS::kAtLeastOnce},
                                           .subscription_id = 268'435'455});
      }
    }
    sim_.Send(std::move(subscribe));
    sim_.Settle();
    Close(name);
    uint64_t acknowledged = 0;
    for (int i = 0; i < 400; ++i) {
      SendPublish(Text(topic, "m"));
      if (!at_once) sim_.Settle();
    }
    sim_.Settle();
    for (const Published& published : sim_.Take<Published>()) acknowledged += published.status.ok();
    EXPECT_GT(acknowledged, 50u) << name;
    EXPECT_LT(acknowledged, 400u) << name;
    const Session& session = *sim_.core().partition(PartitionOfClient(name, 4)).Find(name);
    EXPECT_EQ(session.queue.messages(), acknowledged) << name;
  }
  EXPECT_EQ(dropped(), 0u);
}

// It has no room for what its new filter brings, and that is in force before the message.
TEST_F(HostRefuse, WhoSubscribesAtThatMomentIsAskedForRoomToo) {
  for (const bool shared_commit : {true, false}) {
    const std::string client = shared_commit ? "bob" : "eve";
    sim_.events.clear();
    const uint64_t epoch = Open(client).epoch;
    ASSERT_TRUE(Subscribe(client, epoch, client + "/old").ok());
    Fill(client + "/old", 9);
    sim_.events.clear();
    sim_.Send(MakeSubscribe(++token_, client, epoch, client + "/+", mqtt::QoS::kAtLeastOnce));
    if (!shared_commit) sim_.BeginWrite();
    for (int i = 0; i < 3; ++i) SendPublish(Text(client + "/new", "m"));
    if (!shared_commit) sim_.EndWrite();
    sim_.Settle();
    uint64_t acknowledged = 0;
    for (const Published& published : sim_.Take<Published>()) acknowledged += published.status.ok();
    const Session& session = *sim_.core().partition(PartitionOfClient(client, 4)).Find(client);
    EXPECT_EQ(acknowledged, 1u);
    EXPECT_EQ(session.queue.messages(), 9 + acknowledged);
  }
  EXPECT_EQ(dropped(), 0u);
}

// ---- Retained messages of a new subscription ----------------------------------------------------

// They go through the queue, of which others are told meanwhile that it has room.
TEST_F(HostRefuse, APageOfRetainedMessagesTakesNoRoomThatOthersWereTold) {
  for (int before = 0; before < 8; ++before) {  // Commits until the messages are published.
    const std::string client = absl::StrCat("bob", before);
    const std::string live = client + "/live";
    for (int i = 0; i < 5; ++i) {
      const std::string topic = absl::StrCat(client, "/kept/", i);
      ASSERT_TRUE(Publish(Text(topic, "r", mqtt::QoS::kAtLeastOnce, /*retain=*/true)).ok());
    }
    const uint64_t epoch = Open(client).epoch;
    ASSERT_TRUE(Subscribe(client, epoch, live).ok());
    Fill(live, 8);
    sim_.events.clear();
    sim_.Send(MakeSubscribe(++token_, client, epoch, client + "/kept/+", mqtt::QoS::kAtLeastOnce));
    for (int i = 0; i < before; ++i) {
      if (i % 2 == 0) sim_.BeginWrite();
      if (i % 2 != 0) sim_.EndWrite();
      sim_.Run();
    }
    for (int i = 0; i < 5; ++i) SendPublish(Text(live, "m"));
    sim_.Settle();
    EXPECT_THAT(sim_.Take<SubscribeDone>(), SizeIs(1));
    size_t acknowledged = 8;
    for (const Published& published : sim_.Take<Published>()) acknowledged += published.status.ok();
    std::vector<std::string> all(8, "m");
    const auto take = [&] {
      for (std::string& payload : TakePayloads()) all.push_back(std::move(payload));
    };
    take();
    for (uint64_t sequence = 1; sequence <= all.size(); ++sequence) {
      Acknowledge(client, epoch, sequence);
      take();
    }
    EXPECT_EQ(std::count(all.begin(), all.end(), "m"), acknowledged) << before;
    EXPECT_EQ(std::count(all.begin(), all.end(), "r"), 5) << before;
  }
  EXPECT_EQ(dropped(), 0u);
}

// ---- What comes out of an outbox ----------------------------------------------------------------

class HostRefuseOutbox : public HostRefuse {
 protected:
  // A QoS 2 message of "alice", which is to be passed on by the test.
  RouteMessage Accept(const std::string& payload) {
    sim_.passes_on = false;
    const uint64_t epoch = Open("alice").epoch;
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", payload, mqtt::QoS::kExactlyOnce);
    publish.partitions = kAll;
    sim_.Send(MakeAccept(std::move(publish), "alice", epoch, 1));
    sim_.Settle();
    EXPECT_TRUE(sim_.Take<Published>().at(0).status.ok());
    return sim_.Take<RouteMessage>().at(0);
  }
  // As a shard passes it on. False: it is refused, and goes back.
  bool IsTaken(const RouteMessage& route) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = route.message;
    publish.outbox = route.outbox;
    publish.shared_targets = route.targets;
    if (route.targets.empty()) publish.partitions = kAll;
    sim_.Send(std::move(publish));
    sim_.Settle();
    const bool taken = sim_.Take<Published>().at(0).status.ok();
    sim_.Send(OutboxDone{.partition = route.outbox.partition,
                         .number = route.outbox.number,
                         .fate = taken ? Fate::kPassedOn : Fate::kRefused});
    sim_.Settle();
    return taken;
  }
  void Crash(StorageOptions options = Refusing()) {
    base::Rng rng(1);
    sim_.events.clear();
    sim_.CrashInto(std::move(options), rng);
    sim_.Run();
  }
};

TEST_F(HostRefuseOutbox, WhatWasAcceptedWaitsWhereOthersHaveTakenItsPlace) {
  AddSession("bob", "a");
  Fill("a", 9);
  Accept("accepted");
  EXPECT_FALSE(Publish(Text("a", "refused")).ok()) << "the last place is not free";
  Crash();  // Nobody knows that any more.
  Fill("a", 1);
  EXPECT_FALSE(IsTaken(sim_.Take<RouteMessage>().at(0)));
  EXPECT_EQ(Stored(), 1u);
  const SessionOpened bob = Open("bob");
  EXPECT_THAT(TakePayloads(), SizeIs(10));
  Acknowledge("bob", bob.epoch, 1);
  sim_.clock().Advance(absl::Seconds(3));
  sim_.Run();
  EXPECT_TRUE(IsTaken(sim_.Take<RouteMessage>().at(0)));
  EXPECT_EQ(Stored(), 0u);
  EXPECT_THAT(TakePayloads(), ElementsAre("accepted"));
  EXPECT_EQ(dropped(), 0u);
}

// It was accepted before somebody subscribed whose queue is full.
TEST_F(HostRefuseOutbox, WhatWaitsForOneKeepsItsPlaceWithTheOthers) {
  AddSession("bob", "a");
  const SessionOpened carol = Open("carol");
  ASSERT_TRUE(Subscribe("carol", carol.epoch, "b").ok());
  Fill("a", 9);
  Fill("b", 10);
  const RouteMessage route = Accept("accepted");
  ASSERT_TRUE(Subscribe("carol", carol.epoch, "a").ok());
  EXPECT_FALSE(IsTaken(route));
  ASSERT_TRUE(Subscribe("bob", Open("bob").epoch, "c").ok());
  EXPECT_FALSE(Publish(Text("c", "refused")).ok());
  EXPECT_EQ(dropped(), 0u);
}

TEST_F(HostRefuseOutbox, WhatIsForAMemberWithoutRoomWaitsToo) {
  AddSession("bob", "$share/g/a");
  const SharedTarget to_bob{.client_id = "bob",
                            .filter = "$share/g/a",
                            .options = {.qos = mqtt::QoS::kExactlyOnce},
                            .last_choice = true};
  for (int i = 0; i < 10; ++i) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", "job");
    publish.shared_targets = {to_bob};
    sim_.Send(std::move(publish));
  }
  sim_.Settle();
  sim_.events.clear();
  RouteMessage route = Accept("accepted");
  route.targets = {to_bob};
  EXPECT_FALSE(IsTaken(route));
  EXPECT_EQ(Stored(), 1u);
  EXPECT_EQ(dropped(), 0u);
}

// Else it would stay for ever, in front of what its publisher sends next.
TEST_F(HostRefuseOutbox, WhatIsLargerThanAQueueDoesNotWait) {
  AddSession("bob", "a");
  Accept(std::string(20'000, 'x'));
  StorageOptions options = Refusing();
  options.queue_bytes_max = 10'000;
  Crash(options);
  EXPECT_TRUE(IsTaken(sim_.Take<RouteMessage>().at(0)));
  EXPECT_EQ(Stored(), 0u);
  EXPECT_EQ(dropped(), 1u);
}

}  // namespace
}  // namespace storage
