// A state that takes nothing for a moment, and what must not be taken for damage, nor be lost,
// then.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/keys.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;

class HostStall : public HostTest {
 protected:
  // RocksDB is writing out what it has in memory.
  void Stall() { sim_.state().FailWith(absl::AbortedError("the state is being written out")); }
  void GoOn() {
    sim_.state().FailWith(absl::OkStatus());
    sim_.Settle();
  }
  // A durable session's subscription, applied while the state takes nothing. Returns its partition.
  PartitionId SubscribeMeanwhile(const std::string& client_id, const std::string& filter) {
    const uint64_t epoch = Open(client_id).epoch;
    Stall();
    sim_.Send(MakeSubscribe(++token_, client_id, epoch, filter, mqtt::QoS::kAtLeastOnce));
    Work();
    sim_.Take<RouteChange>();
    return PartitionOfClient(client_id, 4);
  }
  void Work() {
    for (int i = 0; i < 5; ++i) {
      sim_.BeginWrite();
      sim_.EndWrite();
      sim_.Run();
      sim_.clock().Advance(absl::Milliseconds(6));
    }
  }
};

// What is on its way to the state is neither in memory nor there to be read.
TEST_F(HostStall, AQueueIsNotReadBeforeTheStateHasIt) {
  OpenSession open = MakeOpen("alice");
  open.window_messages = 1;
  const uint64_t epoch = Open(std::move(open)).epoch;
  ASSERT_TRUE(Subscribe("alice", epoch, "t").ok());
  for (const char* payload : {"1", "2", "3"}) ASSERT_TRUE(Publish(Text("t", payload)).ok());
  const std::vector<Deliver> first = sim_.Take<Deliver>();
  ASSERT_EQ(first.size(), 1u);
  Stall();
  sim_.Send(MakeSubscribe(++token_, "alice", epoch, "u", mqtt::QoS::kAtLeastOnce));
  Work();
  sim_.Send(MakeAcknowledge("alice", epoch, first[0].entries[0].sequence, AckKind::kPubAck));
  Work();
  EXPECT_THAT(TakePayloads(), IsEmpty());
  GoOn();
  EXPECT_THAT(TakePayloads(), ElementsAre("2"));
  EXPECT_EQ(sim_.metrics().damage.value(), 0u);
}

// It is applied once, by the leader of that moment; the next one tells what came of it.
TEST_F(HostStall, ANewLeaderTellsTheRoutesOfWhatWasAppliedBefore) {
  sim_.ReplaceLeader(SubscribeMeanwhile("alice", "t"));
  GoOn();
  EXPECT_THAT(sim_.Take<RouteChange>(), Contains(Field(&RouteChange::filter, "t")));
}

TEST_F(HostStall, AFollowerTellsTheRoutesOfWhatItAppliedAsLeader) {
  sim_.LoseLead(SubscribeMeanwhile("alice", "t"), /*lost=*/false);
  sim_.state().FailWith(absl::OkStatus());
  Work();
  EXPECT_THAT(sim_.Take<RouteChange>(), Contains(Field(&RouteChange::filter, "t")));
}

class HostRetainedElsewhere : public HostTest {
 protected:
  HostRetainedElsewhere() : HostTest(Options()) {}
  static StorageOptions Options() {
    StorageOptions options = SmallOptions();
    options.retained_messages_max = 2;
    return options;
  }
};

// Its leader drops it. What a follower proposed would be in no log, and answered to nobody.
TEST_F(HostRetainedElsewhere, WhatHasExpiredIsNotDroppedByAFollower) {
  const int64_t now = sim_.now_unix_ms();
  ASSERT_TRUE(Publish(mqtt::Message::Create({.topic = TopicIn(1),
                                             .payload = "short",
                                             .properties = {},
                                             .qos = mqtt::QoS::kAtLeastOnce,
                                             .retain = true,
                                             .created_at_unix_ms = now,
                                             .expires_at_unix_ms = now + 1000}))
                  .ok());
  ASSERT_TRUE(Publish(Text(TopicIn(2), "kept", mqtt::QoS::kAtLeastOnce, /*retain=*/true)).ok());
  sim_.LoseLead(1, /*lost=*/false);
  sim_.clock().Advance(absl::Seconds(2));
  SendPublish(Text(TopicIn(0), "new", mqtt::QoS::kAtLeastOnce, /*retain=*/true));
  sim_.Run();
  EXPECT_TRUE(sim_.core().node().leaders[1]->proposals().idle());
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.TakeLead(1);
  sim_.Settle();
  EXPECT_TRUE(Open(ClientIn(1)).status.ok());
}

}  // namespace
}  // namespace storage
