// Queues that fill up: what their policy does, and who of a `$share` group is passed over.
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
using testing::IsEmpty;
using testing::SizeIs;

StorageOptions QueuesOf(uint64_t messages_max, QueueFull policy) {
  StorageOptions options = SmallOptions();
  options.queue_messages_max = messages_max;
  options.queue_full = policy;
  return options;
}

class HostQueues : public HostTest {
 protected:
  explicit HostQueues(StorageOptions options = QueuesOf(5, QueueFull::kDropNewest))
      : HostTest(std::move(options)) {}

  // A durable session that is away.
  void AddSession(const std::string& client_id, const std::string& filter) {
    ASSERT_TRUE(Subscribe(client_id, Open(client_id).epoch, filter).ok());
    Close(client_id);
  }
  uint64_t Queued(const std::string& client_id) {
    for (PartitionId id = 0; id < sim_.core().partitions(); ++id) {
      const Session* const session = sim_.core().partition(id).Find(client_id);
      if (session != nullptr) return session->queue.messages();
    }
    return 0;
  }
  // To the member that the shard has chosen.
  void SendShared(const std::string& client_id, bool last_choice = false) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", absl::StrCat(token_));
    publish.shared_targets.push_back({.client_id = client_id,
                                      .filter = "$share/g/a",
                                      .options = {.qos = mqtt::QoS::kAtLeastOnce},
                                      .last_choice = last_choice});
    sim_.Send(std::move(publish));
  }
  // A member in partition 0 is full, one in partition 1 is not: of a message for `partitions`.
  void CheckPassedOver(PartitionMask partitions) {
    const std::string full = ClientIn(0);
    const std::string fresh = ClientIn(1);
    AddSession(full, "$share/g/a");
    for (int i = 0; i < 5; ++i) SendShared(full);
    sim_.Settle();
    AddSession(fresh, "$share/g/a");
    sim_.events.clear();
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", "m");
    publish.partitions = partitions;
    publish.shared_targets.push_back(
        {.client_id = full, .filter = "$share/g/a", .options = {.qos = mqtt::QoS::kAtLeastOnce}});
    sim_.Send(std::move(publish));
    sim_.Settle();
    const std::vector<Published> published = sim_.Take<Published>();
    ASSERT_THAT(published, SizeIs(1));
    EXPECT_TRUE(published[0].status.ok());
    EXPECT_EQ(Queued(full), 5u);
    EXPECT_EQ(Queued(fresh), 1u);
    EXPECT_EQ(sim_.metrics().dropped_queue_full.value(), 0u);
  }
  size_t CountRefused() {
    size_t refused = 0;
    for (const Published& published : sim_.Take<Published>()) refused += !published.status.ok();
    return refused;
  }
  std::vector<std::string> TakeRoom(bool has_room) {
    std::vector<std::string> clients;
    for (const ShareMemberRoom& room : sim_.Take<ShareMemberRoom>()) {
      if (room.has_room == has_room) clients.push_back(room.client_id);
    }
    return clients;
  }
};

class HostQueuesRefuse : public HostQueues {
 protected:
  HostQueuesRefuse() : HostQueues(QueuesOf(10, QueueFull::kRefuse)) {}
};
class HostQueuesDisconnect : public HostQueues {
 protected:
  HostQueuesDisconnect() : HostQueues(QueuesOf(5, QueueFull::kDisconnect)) {}
};

// ---- Policies
// ------------------------------------------------------------------------------------

// One after the other, and all at once before anything is committed: what is acknowledged is there.
TEST_F(HostQueuesRefuse, NothingIsAcknowledgedThatAFullQueueDrops) {
  for (const bool at_once : {false, true}) {
    const std::string name = at_once ? "at-once" : "in-turn";
    AddSession(name, name + "/+");
    for (int i = 0; i < 30; ++i) {
      SendPublish(Text(name + "/t", absl::StrCat(i)));
      if (!at_once) sim_.Settle();
    }
    sim_.Settle();
    EXPECT_EQ(CountRefused(), 20u) << name;
    EXPECT_EQ(Queued(name), 10u) << name;
  }
  EXPECT_EQ(sim_.metrics().refused_queue_full.value(), 40u);
  EXPECT_EQ(sim_.metrics().dropped_queue_full.value(), 0u);
}

TEST_F(HostQueuesRefuse, AMessageForAFullQueueIsNobodysAndOthersGoOn) {
  AddSession("full", "t");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Publish(Text("t", "m")).ok());
  AddSession("fresh", "t");
  AddSession("other", "u");
  EXPECT_EQ(Publish(Text("t", "refused")).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Queued("fresh"), 0u);
  EXPECT_TRUE(Publish(Text("u", "m")).ok());
  EXPECT_EQ(Queued("other"), 1u);
  const SessionOpened opened = Open("full");
  EXPECT_THAT(TakePayloads(), SizeIs(10));
  Acknowledge("full", opened.epoch, 1);
  EXPECT_TRUE(Publish(Text("t", "m")).ok()) << "there is room again";
}

TEST_F(HostQueuesRefuse, ASessionThatMatchesTwiceIsCountedOnce) {
  const SessionOpened twice = Open("twice");
  ASSERT_TRUE(Subscribe("twice", twice.epoch, "t").ok());
  ASSERT_TRUE(Subscribe("twice", twice.epoch, "#").ok());
  Close("twice");
  for (int i = 0; i < 12; ++i) SendPublish(Text("t", "m"));
  sim_.Settle();
  EXPECT_EQ(CountRefused(), 2u);
  EXPECT_EQ(Queued("twice"), 10u);
}

TEST_F(HostQueuesDisconnect, TheClientOfAFullQueueIsDisconnectedAndItsSessionStays) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "t").ok());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Publish(Text("t", "m")).ok());
  EXPECT_THAT(sim_.Take<SessionTooSlow>(), IsEmpty());
  EXPECT_TRUE(Publish(Text("t", "dropped")).ok());
  const std::vector<SessionTooSlow> told = sim_.Take<SessionTooSlow>();
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].epoch, bob.epoch);
  Close("bob");
  EXPECT_TRUE(Publish(Text("t", "dropped")).ok());
  EXPECT_THAT(sim_.Take<SessionTooSlow>(), IsEmpty()) << "it is not connected";
  EXPECT_EQ(Queued("bob"), 5u);
  EXPECT_EQ(sim_.metrics().dropped_queue_full.value(), 2u);
}

TEST_F(HostQueues, QueuesThatAreNearlyFullAreCounted) {
  AddSession("bob", "t");
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Publish(Text("t", "m")).ok());
  EXPECT_EQ(sim_.metrics().queues_crowded.value(), 0);
  ASSERT_TRUE(Publish(Text("t", "m")).ok());
  EXPECT_EQ(sim_.metrics().queues_crowded.value(), 1);
}

// ---- `$share`
// ------------------------------------------------------------------------------------

TEST_F(HostQueues, AMemberWithoutRoomIsPassedOverWhileAnotherHasRoom) {
  AddSession("hung", "$share/g/a");
  AddSession("idle", "$share/g/a");
  for (int i = 0; i < 9; ++i) SendShared("hung");  // As the shard believes, all at once.
  sim_.Settle();
  EXPECT_EQ(Queued("hung"), 5u);
  EXPECT_EQ(Queued("idle"), 4u);
  EXPECT_THAT(TakeRoom(false), testing::Each("hung"));
  EXPECT_EQ(sim_.metrics().dropped_queue_full.value(), 0u);
}

// Of a message that sessions of several partitions get, too: its part moves to the other member's
// partition; or, where that has none, the message is set aside for the group.
TEST_F(HostQueues, AMemberWithoutRoomIsPassedOverForOneInAnotherPart) { CheckPassedOver(0b11); }
TEST_F(HostQueues, AMemberWithoutRoomIsPassedOverForOneWhosePartitionHasNoPart) {
  CheckPassedOver(0b01);
}

TEST_F(HostQueues, WhatAMemberHasNoRoomForGoesToNobodyWhoMayNotReadIt) {
  AddSession("hung", "$share/g/a");
  AddSession("barred", "$share/g/a");
  AddSession("idle", "$share/g/a");
  sim_.core().node().may_read = [](const SessionUser& reader, std::string_view topic) {
    return reader.client_id != "barred" || topic != "a";
  };
  for (int i = 0; i < 9; ++i) SendShared("hung");
  sim_.Settle();
  EXPECT_EQ(Queued("hung"), 5u);
  EXPECT_EQ(Queued("barred"), 0u);
  EXPECT_EQ(Queued("idle"), 4u);
}

TEST_F(HostQueues, AShardIsAskedWhereNoDurableMemberHasRoom) {
  AddSession("hung", "$share/g/a");
  for (int i = 0; i < 6; ++i) SendShared("hung");
  sim_.Settle();
  EXPECT_THAT(TakeRoom(false), ElementsAre("hung"));
  // It has no other: then the message waits until somebody has room.
  EXPECT_EQ(sim_.metrics().outbox_messages.value(), 1);
  EXPECT_EQ(sim_.metrics().dropped_no_member.value(), 0u);
  const SessionOpened hung = Open("hung");
  EXPECT_THAT(TakePayloads(), SizeIs(5));
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) Acknowledge("hung", hung.epoch, sequence);
  EXPECT_THAT(TakeRoom(true), testing::Contains("hung"));
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), SizeIs(1));
  EXPECT_EQ(sim_.metrics().dropped_queue_full.value(), 0u);
}

TEST_F(HostQueues, WhenNobodyHasRoomThePolicyDecides) {
  AddSession("hung", "$share/g/a");
  for (int i = 0; i < 5; ++i) SendShared("hung");
  SendShared("hung", /*last_choice=*/true);
  sim_.Settle();
  EXPECT_EQ(CountRefused(), 0u);
  EXPECT_EQ(sim_.metrics().dropped_queue_full.value(), 1u);
}

TEST_F(HostQueuesRefuse, WhenNobodyHasRoomThePublisherIsTold) {
  AddSession("hung", "$share/g/a");
  for (int i = 0; i < 10; ++i) SendShared("hung");
  SendShared("hung", /*last_choice=*/true);
  sim_.Settle();
  EXPECT_EQ(CountRefused(), 1u);
  EXPECT_EQ(Queued("hung"), 10u);
}

}  // namespace
}  // namespace storage
