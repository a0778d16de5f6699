// What fails, fails alone: one partition's state does not stop the others, and a log that fails
// does not keep waiting who was never written to it.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/command_codec.h"
#include "storage/core/keys.h"
#include "storage/core/session.h"
#include "storage/leader/log_ledger.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr uint32_t kPartitions = 16;
constexpr PartitionId kFailing = 5;

// A session in each partition, subscribed to a topic whose retained message is there too.
class HostIsolation : public HostTest {
 protected:
  HostIsolation() : HostTest(Options()) {
    for (PartitionId id = 0; id < kPartitions; ++id) {
      clients_.push_back(ClientIn(id, kPartitions));
      topics_.push_back(TopicIn(id, kPartitions));
      epochs_.push_back(Open(clients_[id]).epoch);
      connections_.push_back(connection_);
      EXPECT_TRUE(Subscribe(clients_[id], epochs_[id], topics_[id]).ok());
    }
    sim_.events.clear();
  }
  static StorageOptions Options() {
    StorageOptions options = SmallOptions();
    options.partitions = kPartitions;
    return options;
  }
  Token SendTo(PartitionId id, std::string_view payload, mqtt::QoS qos = mqtt::QoS::kAtLeastOnce,
               uint64_t accepted_of_epoch = 0) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.partitions = PartitionMask{1} << id;
    publish.set_retained = true;
    publish.message = Text(topics_[id], payload, qos, /*retain=*/true);
    if (accepted_of_epoch != 0) {
      sim_.Send(MakeAccept(std::move(publish), "alice", accepted_of_epoch, 7));
    } else {
      sim_.Send(std::move(publish));
    }
    return token_;
  }
  // Until nothing happens by itself any more; the failing partition never comes to rest.
  void Work() {
    for (int i = 0; i < 10; ++i) {
      sim_.BeginWrite();
      sim_.EndWrite();
      sim_.Run();
      sim_.clock().Advance(absl::Milliseconds(6));
    }
  }
  std::optional<absl::Status> Answer() {
    const std::vector<Published> published = sim_.Take<Published>();
    if (published.empty()) return std::nullopt;
    EXPECT_THAT(published, SizeIs(1));
    return published.front().status;
  }
  void BreakOne() {
    sim_.state().FailReadsOf(kFailing, absl::UnavailableError("EIO"));
    SendTo(kFailing, "in doubt");
    Work();
    EXPECT_FALSE(sim_.core().healthy());
    EXPECT_TRUE(sim_.core().node().healthy());
    EXPECT_EQ(sim_.metrics().state_healthy.value(), 0);
    EXPECT_FALSE(Answer().has_value());
    EXPECT_THAT(TakePayloads(), IsEmpty());
  }
  void Mend() {
    sim_.state().FailReadsWith(absl::OkStatus());
    sim_.clock().Advance(absl::Seconds(2));
    sim_.Settle();
    EXPECT_TRUE(sim_.core().healthy());
  }

  std::vector<std::string> clients_;
  std::vector<std::string> topics_;
  std::vector<uint64_t> epochs_;
  std::vector<uint64_t> connections_;
};

TEST_F(HostIsolation, WhenOnePartitionCannotBeReadTheOtherFifteenServe) {
  BreakOne();
  for (PartitionId id = 0; id < kPartitions; ++id) {
    SCOPED_TRACE(id);
    if (id == kFailing) continue;
    SendTo(id, "served");
    Work();
    EXPECT_EQ(Answer(), absl::OkStatus());
    EXPECT_THAT(TakePayloads(), ElementsAre("served"));
    sim_.Send(MakeAcknowledge(clients_[id], epochs_[id], 1));
    SendClose(clients_[id], CloseCause::kNormal, connections_[id]);
    sim_.Send(MakeOpen(clients_[id]));
    Work();
    const std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
    ASSERT_THAT(opened, SizeIs(1));
    EXPECT_TRUE(opened[0].status.ok() && opened[0].session_present);
    EXPECT_EQ(sim_.core().partition(id).Find(clients_[id])->queue.messages(), 0u);
    epochs_[id] = opened[0].epoch;
    connections_[id] = connection_;
    sim_.Send(
        MakeSubscribe(++token_, clients_[id], epochs_[id], topics_[id], mqtt::QoS::kAtLeastOnce));
    Work();
    EXPECT_THAT(sim_.Take<SubscribeDone>(), SizeIs(1));
    EXPECT_THAT(TakePayloads(), ElementsAre("served"));  // Retained.
    sim_.Send(ScanRetained{.token = ++token_, .filter = topics_[id], .messages_max = 10});
    Work();
    EXPECT_THAT(sim_.Take<RetainedPage>(), SizeIs(1));
  }
  EXPECT_FALSE(sim_.core().healthy());
  Mend();
  EXPECT_EQ(Answer(), absl::OkStatus());
  EXPECT_THAT(TakePayloads(), ElementsAre("in doubt"));
}

// Other nodes serve it for hours meanwhile: most of it is in the log alone.
TEST_F(HostIsolation, WhatWaitsForAPartitionThatCannotBeReadIsAppliedThen) {
  BreakOne();
  sim_.LoseLead(kFailing, /*lost=*/false);
  constexpr size_t kEntries = 40;
  constexpr size_t kBytes = LogLedger::kWaitingBytesMax / 8;
  for (size_t i = 0; i < kEntries; ++i) {
    std::string entry;
    const auto message = Text(topics_[kFailing], std::string(kBytes, 'x'));
    AppendEnqueue({.time_unix_ms = sim_.now_unix_ms(), .order = 1000 + i}, message->parts(), true,
                  {}, entry);
    sim_.CommitElsewhere(kFailing, std::move(entry));
    Work();
  }
  EXPECT_EQ(sim_.core().applied(kFailing) + 1 + kEntries, sim_.core().logged(kFailing));
  Mend();
  EXPECT_EQ(sim_.core().applied(kFailing), sim_.core().logged(kFailing));
  EXPECT_EQ(sim_.core().partition(kFailing).Find(clients_[kFailing])->queue.messages(),
            kEntries + 1);
}

TEST_F(HostIsolation, APartitionWithoutQuorumDoesNotHoldTheOthersUp) {
  sim_.core().SetNodes({{.node = NodeId(2), .incarnation = Incarnation(1), .shards = 0}});
  sim_.core().SetNodes({});
  sim_.Settle();
  sim_.events.clear();
  sim_.LoseQuorum(kFailing);
  SendTo(kFailing, "first");
  Work();
  for (int round = 0; round < 3; ++round) {
    for (PartitionId id = 0; id < kPartitions; ++id) SendTo(id, absl::StrCat(id, " ", round));
    Work();
    Work();  // Longer than fates are waited for.
    EXPECT_THAT(sim_.Take<Published>(), SizeIs(kPartitions - 1));
    EXPECT_THAT(TakePayloads(), testing::Not(testing::Contains(testing::StartsWith("5 "))));
  }
  EXPECT_FALSE(sim_.core().Drained());
  sim_.FindQuorum();
  sim_.Settle();
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(4));
  EXPECT_THAT(TakePayloads(), ElementsAre("first", "5 0", "5 1", "5 2"));
}

TEST_F(HostIsolation, WhatConcernsAPartitionThatCannotBeReadIsRefusedAtOnce) {
  BreakOne();
  SendTo(kFailing, "refused");
  sim_.Run();
  EXPECT_EQ(Answer()->code(), absl::StatusCode::kUnavailable);
  storage::Publish both;  // Nobody gets it, also not who could.
  both.token = ++token_;
  both.partitions = ~PartitionMask{0} >> (64 - kPartitions);
  both.message = Text(topics_[0], "refused");
  sim_.Send(std::move(both));
  sim_.Run();
  EXPECT_EQ(Answer()->code(), absl::StatusCode::kUnavailable);
  sim_.Send(MakeOpen(clients_[kFailing] + "/new", 60));
  OpenSession again = MakeOpen(clients_[kFailing], 60);
  sim_.Send(again);
  Work();
  std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
  std::erase_if(opened, [&](const SessionOpened& each) { return each.token != again.token; });
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_EQ(opened[0].status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(TakePayloads(), IsEmpty());
  Mend();
  EXPECT_EQ(Answer(), absl::OkStatus());
  EXPECT_THAT(TakePayloads(), ElementsAre("in doubt"));
}

// What is committed to a partition that stands still is applied when it goes on, or after a start.
TEST_F(HostIsolation, WhatWasCommittedToAPartitionThatStandsStillSurvivesACrash) {
  BreakOne();
  base::Rng rng(1);
  sim_.Crash(rng);
  sim_.events.clear();
  Open(clients_[kFailing]);
  EXPECT_THAT(TakePayloads(), ElementsAre("in doubt"));
}

// It is in the outbox of its publisher's partition until the other one can be read again.
TEST_F(HostIsolation, AQos2MessageForAPartitionThatStandsStillIsNoRepeatAndNotLost) {
  const SessionOpened alice = Open("alice");
  ASSERT_NE(PartitionOfClient("alice", kPartitions), kFailing);
  sim_.state().FailReadsOf(kFailing, absl::UnavailableError("EIO"));
  SendTo(kFailing, "once", mqtt::QoS::kExactlyOnce, alice.epoch);
  Work();
  EXPECT_EQ(Answer(), absl::OkStatus());
  SendTo(kFailing, "once", mqtt::QoS::kExactlyOnce, alice.epoch);
  Work();
  EXPECT_EQ(Answer(), absl::OkStatus());  // It is committed, and was before.
  EXPECT_THAT(TakePayloads(), IsEmpty());
  Mend();
  sim_.clock().Advance(absl::Seconds(3));
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), ElementsAre("once"));
}

TEST_F(HostIsolation, TheServerEndsAlthoughAPartitionCannotBeRead) {
  BreakOne();
  EXPECT_TRUE(sim_.core().Drained());
  EXPECT_TRUE(sim_.core().FlushAll().ok());
  sim_.state().Flush();
  base::Rng rng(1);
  sim_.Crash(rng);
  sim_.events.clear();
  Open(clients_[kFailing]);
  EXPECT_THAT(TakePayloads(), ElementsAre("in doubt"));
}

// ---- A log of a newer release -------------------------------------------------------------------

// Its entry stands at `index_`, one of this release behind it.
class HostOfAnEarlierRelease : public HostIsolation {
 protected:
  HostOfAnEarlierRelease() : index_(sim_.core().logged(kFailing) + 1) {
    sim_.log().AppendRaw(
        {.partition = kFailing, .index = index_, .term = 1, .data = kUnknownCommand});
    sim_.log().AppendRaw(
        {.partition = kFailing, .index = index_ + 1, .term = 1, .data = Message("behind it")});
    Restart();
  }
  std::string Message(std::string_view payload) {
    std::string entry;
    AppendEnqueue({.time_unix_ms = sim_.now_unix_ms(), .order = 1},
                  Text(topics_[kFailing], payload)->parts(), /*match=*/true, {}, entry);
    return entry;
  }
  void Restart() {
    base::Rng rng(1);
    sim_.Crash(rng);
    sim_.events.clear();
  }
  // One command, of a kind that does not exist.
  const uint64_t index_;
};

TEST_F(HostOfAnEarlierRelease, OnePartitionStopsInFrontOfItAndTheOthersServe) {
  EXPECT_EQ(sim_.metrics().partitions_stopped.value(), 1);
  EXPECT_EQ(sim_.metrics().state_healthy.value(), 1);  // No disk is at fault.
  EXPECT_TRUE(sim_.core().healthy());
  EXPECT_EQ(sim_.core().applied(kFailing), index_ - 1);
  EXPECT_EQ(sim_.core().logged(kFailing), index_ + 1);
  for (PartitionId id = 0; id < kPartitions; ++id) {
    SCOPED_TRACE(id);
    sim_.Send(MakeOpen(clients_[id]));
    sim_.Settle();
    const std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
    ASSERT_THAT(opened, SizeIs(1));
    EXPECT_EQ(opened[0].session_present, id != kFailing);
    EXPECT_EQ(opened[0].refusal, id == kFailing ? OpenRefusal::kStorage : OpenRefusal::kNone);
    SendTo(id, "served");
    sim_.Settle();
    const std::optional<absl::Status> answer = Answer();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->ok(), id != kFailing) << *answer;
    EXPECT_THAT(TakePayloads(), SizeIs(id == kFailing ? 0 : 1));
  }
}

// The log beyond may have a session that a client without one would otherwise not find.
TEST_F(HostOfAnEarlierRelease, NobodyIsLetInToAPartitionThatHasStopped) {
  std::string other = clients_[kFailing] + "x";
  while (PartitionOfClient(other, kPartitions) != kFailing) other += "x";
  EXPECT_EQ(Open(MakeOpen(other, /*expiry_s=*/0)).refusal, OpenRefusal::kStorage);
}

TEST_F(HostOfAnEarlierRelease, AWillDoesNotWaitForAPartitionThatHasStopped) {
  OpenSession open = MakeOpen("alice", 0);
  ASSERT_NE(PartitionOfClient("alice", kPartitions), kFailing);
  open.will = Text(topics_[kFailing], "gone", mqtt::QoS::kAtLeastOnce, /*retain=*/true);
  Open(open);
  Close("alice");
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
  EXPECT_TRUE(sim_.core().Drained());
  EXPECT_EQ(sim_.core().logged(kFailing), index_ + 1);
}

// Here another release is one for which the entry says something.
TEST_F(HostOfAnEarlierRelease, ANewerReleaseGoesOnWithAllThatTheLogHas) {
  EXPECT_TRUE(sim_.core().FlushAll().ok());
  sim_.state().Flush();
  EXPECT_EQ(sim_.log().Rewrite(kFailing, index_, Message("for a newer one")), kUnknownCommand);
  Restart();
  EXPECT_EQ(sim_.metrics().partitions_stopped.value(), 0);
  EXPECT_TRUE(Open(clients_[kFailing]).session_present);
  EXPECT_THAT(TakePayloads(), ElementsAre("for a newer one", "behind it"));
  SendTo(kFailing, "and on");
  sim_.Settle();
  EXPECT_EQ(Answer(), absl::OkStatus());
}

TEST_F(HostIsolation, ANodeAloneRaisesItsPartitionsAndAnEarlierReleaseStopsThere) {
  static constexpr ApplyRules kNewer[] = {kApplyRules[0], kApplyRules[1], kApplyRules[1]};
  base::Rng rng(1);
  StorageOptions newer = Options();
  newer.apply_rules = kNewer;
  sim_.CrashInto(newer, rng);
  for (PartitionId id = 0; id < kPartitions; ++id) {
    EXPECT_EQ(sim_.core().partition(id).level(), 2u);
  }
  sim_.CrashInto(Options(), rng);  // The log says it, and then the state.
  EXPECT_EQ(sim_.metrics().partitions_stopped.value(), kPartitions);
  sim_.CrashInto(newer, rng);
  EXPECT_EQ(sim_.metrics().partitions_stopped.value(), 0);
  EXPECT_TRUE(sim_.core().FlushAll().ok());
  sim_.state().Flush();
  sim_.CrashInto(Options(), rng);
  EXPECT_EQ(sim_.metrics().partitions_stopped.value(), kPartitions);
  sim_.events.clear();
  EXPECT_EQ(Open(MakeOpen("transient", 0)).refusal, OpenRefusal::kStorage);
  sim_.CrashInto(newer, rng);
  sim_.events.clear();
  EXPECT_TRUE(Open(clients_[0]).session_present);
}

// ---- Collected behind a write that fails --------------------------------------------------------

class HostRefusals : public HostTest {
 protected:
  HostRefusals() : HostTest(Options()) {}
  static StorageOptions Options() {
    StorageOptions options = SmallOptions();
    options.queue_messages_max = 3;
    options.queue_full = QueueFull::kRefuse;
    options.retained_messages_max = 1;
    options.sessions_max = 3;
    return options;
  }
};

TEST_F(HostRefusals, WhatTheLogNeverHadIsRefusedAndLeavesNothingBehind) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  const SessionOpened alice = Open("alice");
  sim_.events.clear();
  const Token in_doubt = SendPublish(Text("a", "in doubt"));
  sim_.BeginWrite();
  storage::Publish publish;
  publish.partitions = kAll;
  publish.set_retained = true;
  publish.message = Text("a", "refused", mqtt::QoS::kExactlyOnce, /*retain=*/true);
  publish.token = ++token_;
  sim_.Send(MakeAccept(publish, "alice", alice.epoch, 7));
  publish.token = ++token_;
  sim_.Send(MakeAccept(publish, "alice", alice.epoch, 7));  // A repeat of it.
  sim_.Send(MakeSubscribe(++token_, "bob", bob.epoch, "b", mqtt::QoS::kAtLeastOnce));
  storage::Unsubscribe unsubscribe;
  unsubscribe.client_id = "bob";
  unsubscribe.epoch = bob.epoch;
  unsubscribe.filters.push_back("a");
  sim_.Send(unsubscribe);
  OpenSession open = MakeOpen("carol", 60);
  open.user_name = "carol";
  open.user_sessions_max = 1;
  sim_.Send(open);
  ReleaseInbound release;
  release.client_id = "alice";
  release.epoch = alice.epoch;
  release.packet_ids.push_back(8);
  sim_.Send(release);
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(2));
  EXPECT_FALSE(published[0].status.ok() || published[1].status.ok());
  ASSERT_THAT(sim_.Take<SubscribeDone>(), SizeIs(1));
  ASSERT_THAT(sim_.Take<UnsubscribeDone>(), SizeIs(1));
  ASSERT_THAT(sim_.Take<InboundReleased>(), SizeIs(1));
  const std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
  ASSERT_THAT(opened, SizeIs(1));
  EXPECT_EQ(opened[0].refusal, OpenRefusal::kStorage);
  EXPECT_THAT(TakePayloads(), IsEmpty());

  sim_.Settle();  // The log works again.
  const std::vector<Published> late = sim_.Take<Published>();
  ASSERT_THAT(late, SizeIs(1));
  EXPECT_EQ(late[0].token, in_doubt);
  EXPECT_THAT(TakePayloads(), ElementsAre("in doubt"));
  // All of it can be had now: no room is taken, no identifier known.
  EXPECT_TRUE(Open(open).status.ok());
  publish.token = ++token_;
  sim_.Send(MakeAccept(publish, "alice", alice.epoch, 7));
  sim_.Settle();
  const std::vector<Published> again = sim_.Take<Published>();
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_TRUE(again[0].status.ok());
  EXPECT_FALSE(again[0].duplicate);
  EXPECT_THAT(TakePayloads(), ElementsAre("refused"));
  EXPECT_TRUE(Publish(Text("a", "third")).ok());
  EXPECT_FALSE(Publish(Text("a", "fourth")).ok());  // The queue's bound holds, and no less.
}

// An acknowledgement, a connection's end and what is due are facts: they wait.
TEST_F(HostRefusals, WhatNobodyIsToldOfIsKept) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  const uint64_t bob_connection = connection_;
  ASSERT_TRUE(Publish(Text("a", "1")).ok());
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone");
  Open(open);
  SendPublish(Text("b", "in doubt"));
  sim_.BeginWrite();
  SendPublish(Text("b", "refused"));
  sim_.Send(MakeAcknowledge("bob", bob.epoch, 1));
  SendPublish(Text("b", "refused too"));
  SendClose("alice", CloseCause::kWithWill, connection_);
  SendClose("bob", CloseCause::kNormal, bob_connection);
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(2));
  sim_.Settle();
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
  sim_.events.clear();
  EXPECT_TRUE(Open("bob").session_present);
  EXPECT_THAT(TakePayloads(), IsEmpty());
}

}  // namespace
}  // namespace storage
