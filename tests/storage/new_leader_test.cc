// What a client notices when its partition gets a new leader: nothing.
#include <set>
#include <string>
#include <utility>
#include <vector>

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

class NewLeader : public HostTest {
 protected:
  NewLeader() { sim_.holds_events = true; }
  PartitionId HomeOf(const std::string& client_id) const {
    return PartitionOfClient(client_id, SmallOptions().partitions);
  }
  void Replace(const std::string& client_id) { sim_.ReplaceLeader(HomeOf(client_id)); }
  const Session* Stored(const std::string& client_id) {
    return sim_.core().partition(HomeOf(client_id)).Find(client_id);
  }
};

TEST_F(NewLeader, SendsNothingAgainOnAConnectionThatLives) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  for (int i = 1; i <= 15; ++i) ASSERT_TRUE(Publish(Text("a", std::to_string(i))).ok());
  EXPECT_THAT(TakePayloads(), SizeIs(10));  // Its window.
  Replace("bob");
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), IsEmpty());
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
    Acknowledge("bob", bob.epoch, sequence);
  }
  EXPECT_THAT(TakePayloads(), ElementsAre("11", "12", "13"));
  for (uint64_t sequence = 4; sequence <= 15; ++sequence) {
    Acknowledge("bob", bob.epoch, sequence);
  }
  EXPECT_THAT(TakePayloads(), ElementsAre("14", "15"));
  EXPECT_EQ(Stored("bob")->queue.messages(), 0u);
}

TEST_F(NewLeader, HearsAgainWhatTheFormerOneWasNotThereForAnyMore) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  ASSERT_TRUE(Publish(Text("a", "1", mqtt::QoS::kExactlyOnce)).ok());
  ASSERT_TRUE(Publish(Text("a", "2")).ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("1", "2"));
  Replace("bob");
  sim_.Send(MakeAcknowledge("bob", bob.epoch, 1, AckKind::kPubRec));  // Nobody takes these.
  sim_.Send(MakeAcknowledge("bob", bob.epoch, 2));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<ReleaseDue>(), SizeIs(1));
  Acknowledge("bob", bob.epoch, 1, AckKind::kPubComp);
  EXPECT_EQ(Stored("bob")->queue.messages(), 0u);
}

TEST_F(NewLeader, SaysAgainWhatWasLost) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  ASSERT_TRUE(Publish(Text("a", "1", mqtt::QoS::kExactlyOnce)).ok());
  sim_.Send(MakeAcknowledge("bob", bob.epoch, 1, AckKind::kPubRec));
  sim_.Send(MakeOpen("carol"));
  const uint64_t applied = sim_.core().applied(HomeOf("bob"));
  while (sim_.core().applied(HomeOf("bob")) == applied) {
    sim_.BeginWrite();
    sim_.EndWrite();
    sim_.Run();
  }
  Replace("bob");
  Replace("carol");
  sim_.Settle();
  const std::vector<ReleaseDue> due = sim_.Take<ReleaseDue>();
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_THAT(due[0].sequences, ElementsAre(1));
  const std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_FALSE(opened[0].session_present);
  EXPECT_EQ(opened[0].epoch, Stored("carol")->epoch);
}

// It is not the one that the former leader let in for good: somebody who comes later takes it over.
TEST_F(NewLeader, KnowsTransientSessionsByTheirShards) {
  const SessionOpened first = Open("bob", 0);
  const uint64_t connection = connection_;
  Replace("bob");
  sim_.Settle();
  sim_.Send(MakeOpen("bob", 0));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), IsEmpty());
  const std::vector<TakenOver> taken = sim_.Take<TakenOver>();
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_EQ(taken[0].connection.connection, connection);
  EXPECT_EQ(taken[0].epoch, first.epoch);
  SendClose("bob", CloseCause::kTakenOver, connection);
  sim_.Settle();
  const std::vector<SessionOpened> second = sim_.Take<SessionOpened>();
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_NE(second[0].epoch, first.epoch);
}

TEST_F(NewLeader, TakesAGoodbyeThatTheFormerOneDidNotHearForAGoodbye) {
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone");
  Open(open);
  Replace("alice");
  SendClose("alice", CloseCause::kNormal, connection_);
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
  EXPECT_EQ(Stored("alice"), nullptr);
}

// No shard has told its client that it is connected, or would ask for its end.
TEST_F(NewLeader, ClosesWhomNoShardKnowsWithoutItsWill) {
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone");
  Open(open);
  sim_.ForgetConnections();
  Replace("alice");
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
  EXPECT_EQ(Stored("alice"), nullptr);
}

// The next message has its identifier, and would be taken for a repeat of it.
TEST_F(NewLeader, IsNotAskedForAQos2MessageThatTheFormerOneRefused) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  const SessionOpened alice = Open("alice");
  const auto send = [&](std::string_view payload) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", payload, mqtt::QoS::kExactlyOnce);
    publish.partitions = kAll;
    sim_.Send(MakeAccept(std::move(publish), "alice", alice.epoch, 7));
  };
  sim_.core().SetDiskFree(1);
  send("refused");
  sim_.Run();
  sim_.DeliverEvents();
  EXPECT_FALSE(sim_.Take<Published>().at(0).status.ok());
  sim_.core().SetDiskFree(1'000'000);
  send("next");
  Replace("alice");
  sim_.Settle();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(1));
  EXPECT_TRUE(published[0].status.ok());
  EXPECT_FALSE(published[0].duplicate);
  EXPECT_THAT(TakePayloads(), ElementsAre("next"));
}

// Its publisher has gone on, and the identifier is free again.
TEST_F(NewLeader, IsNotAskedForARepeatThatTheFormerOneHasRecognised) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  const SessionOpened alice = Open("alice");
  for (int i = 0; i < 2; ++i) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", "once", mqtt::QoS::kExactlyOnce);
    publish.partitions = kAll;
    sim_.Send(MakeAccept(std::move(publish), "alice", alice.epoch, 7));
    sim_.Settle();
    EXPECT_EQ(sim_.Take<Published>().at(0).duplicate, i == 1);
  }
  ReleaseInbound release;
  release.token = ++token_;
  release.client_id = "alice";
  release.epoch = alice.epoch;
  release.packet_ids.push_back(7);
  sim_.Send(std::move(release));
  sim_.Settle();
  Replace("alice");
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), ElementsAre("once"));
}

TEST_F(NewLeader, LetsTheOthersServeMeanwhile) {
  std::string elsewhere = "c0";
  for (int i = 1; HomeOf(elsewhere) == HomeOf("bob"); ++i) elsewhere = "c" + std::to_string(i);
  const SessionOpened other = Open(elsewhere);
  Replace("bob");  // Nobody answers it yet.
  sim_.Send(MakeSubscribe(++token_, elsewhere, other.epoch, "a", mqtt::QoS::kAtLeastOnce));
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  EXPECT_EQ(Stored(elsewhere)->subscriptions.size(), 1u);
}

}  // namespace
}  // namespace storage
