// What partitions pass on: wills, and what sessions leave to their `$share` groups. Whatever
// crashes or fails in between, everyone gets it, and once.
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/leader/host.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Fate = OutboxDone::Fate;

class HostOutbox : public HostTest {
 protected:
  explicit HostOutbox(StorageOptions options = SmallOptions()) : HostTest(std::move(options)) {}
  // One group commit, and what follows it.
  void Commit() {
    sim_.BeginWrite();
    sim_.EndWrite();
    sim_.Run();
  }
  void Crash() {
    base::Rng rng(1);
    sim_.events.clear();
    sim_.Crash(rng);
    sim_.Run();
  }
  // A durable session, away.
  void AddSession(const std::string& client_id, const std::string& filter) {
    ASSERT_TRUE(Subscribe(client_id, Open(client_id).epoch, filter).ok());
    Close(client_id);
  }
  // A connection is lost that has a will.
  void LoseConnection() {
    OpenSession open = MakeOpen("alice", 0);
    open.will = Text("a", "gone");
    Open(open);
    sim_.events.clear();
    SendClose("alice", CloseCause::kWithWill, connection_);
    Commit();  // The end of the connection.
    Commit();  // The will.
  }
  // A session ends and leaves messages to a group that has no other durable member.
  void EndSession(int messages) {
    const SessionOpened bob = Open("bob");
    ASSERT_TRUE(Subscribe("bob", bob.epoch, "$share/g/a").ok());
    for (int i = 0; i < messages; ++i) SendToMember("bob", "job " + std::to_string(i));
    sim_.Settle();
    sim_.events.clear();
    CloseSession close;
    close.client_id = "bob";
    close.connection = {.shard = 0, .connection = connection_};
    close.expiry_s = 0;
    sim_.Send(std::move(close));
    Commit();
  }
  void SendToMember(const std::string& client_id, const std::string& payload) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", payload);
    publish.shared_targets.push_back(TargetOf(client_id));
    sim_.Send(std::move(publish));
  }
  static SharedTarget TargetOf(const std::string& client_id,
                               mqtt::QoS qos = mqtt::QoS::kAtLeastOnce) {
    return {.client_id = client_id, .filter = "$share/g/a", .options = {.qos = qos}};
  }
  // ---- What a shard does that has heard of a record.
  void PassOn(const RouteMessage& route, uint64_t after = 0) {
    storage::Publish publish;
    publish.outbox_after = after;
    publish.token = ++token_;
    publish.message = route.message;
    publish.outbox = route.outbox;
    publish.shared_targets = route.targets;
    if (!route.groups_only) publish.partitions = kAll;
    sim_.Send(std::move(publish));
  }
  void Assign(const RouteMessage& route, const std::string& client_id) {
    sim_.Send(OutboxAssign{.partition = route.outbox.partition,
                           .number = route.outbox.number,
                           .targets = {TargetOf(client_id)}});
  }
  void End(const RouteMessage& route, Fate fate = Fate::kPassedOn) {
    sim_.Send(OutboxDone{.token = ++token_,
                         .partition = route.outbox.partition,
                         .number = route.outbox.number,
                         .fate = fate});
  }
  std::vector<std::string> QueueOf(const std::string& client_id) {
    Open(client_id);
    return TakePayloads();
  }
  uint64_t Stored() {
    uint64_t records = 0;
    for (PartitionId id = 0; id < sim_.core().partitions(); ++id) {
      records += sim_.core().partition(id).outbox().messages();
    }
    return records;
  }
};

// ---- What a session leaves at QoS 2 [MQTT5-4.8.2-5] ---------------------------------------------

// What the host had pushed when the connection broke, and the shard had not written to it, was
// never sent: others get it. What was written ends with its session.
TEST_F(HostOutbox, WhatAShardNeverSentGoesToOthersAndWhatItSentDoesNot) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "$share/g/a").ok());
  for (int i = 1; i <= 4; ++i) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", std::to_string(i), mqtt::QoS::kExactlyOnce);
    publish.shared_targets.push_back(TargetOf("bob", mqtt::QoS::kExactlyOnce));
    sim_.Send(std::move(publish));
  }
  sim_.Settle();
  ASSERT_THAT(TakePayloads(), ElementsAre("1", "2", "3", "4"));
  CloseSession close;
  close.client_id = "bob";
  close.connection = {.shard = 0, .connection = connection_};
  close.expiry_s = 0;
  close.sent_through = 2;
  sim_.Send(std::move(close));
  Commit();
  Crash();
  EXPECT_THAT(TakeWills(), ElementsAre("3", "4"));
}

// ---- Wills -------------------------------------------------------------------------------------

TEST_F(HostOutbox, AWillIsNotLostWhenACrashComesBeforeItIsPassedOn) {
  AddSession("bob", "a");
  sim_.passes_on = false;
  LoseConnection();
  ASSERT_THAT(sim_.Take<RouteMessage>(), SizeIs(1));
  Crash();
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].message->payload(), "gone");
  EXPECT_EQ(again[0].only_filter, "");
  PassOn(again[0]);
  sim_.Settle();
  End(again[0]);
  sim_.Settle();
  EXPECT_EQ(Stored(), 0u);
  EXPECT_EQ(sim_.metrics().wills_published.value(), 1u);
  Crash();
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
}

// The shard could not say that it is passed on: it is passed on once more.
TEST_F(HostOutbox, AWillThatIsPassedOnTwiceIsThereOnce) {
  AddSession("bob", "a");
  AddSession("carol", "a");
  sim_.passes_on = false;
  LoseConnection();
  PassOn(sim_.Take<RouteMessage>().at(0));
  Commit();
  Crash();
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  PassOn(again[0]);
  sim_.Settle();
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(1));
  End(again[0]);
  sim_.Settle();
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
  EXPECT_THAT(QueueOf("carol"), ElementsAre("gone"));
}

TEST_F(HostOutbox, OfAGroupNobodyElseGetsItAfterACrash) {
  AddSession("bob", "$share/g/a");
  AddSession("carol", "$share/g/a");
  sim_.passes_on = false;
  LoseConnection();
  Assign(sim_.Take<RouteMessage>().at(0), "carol");
  Commit();
  Crash();
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  ASSERT_THAT(again[0].targets, SizeIs(1));
  EXPECT_EQ(again[0].targets[0].client_id, "carol");
  PassOn(again[0]);
  End(again[0]);
  sim_.Settle();
  EXPECT_THAT(QueueOf("bob"), IsEmpty());
  EXPECT_THAT(QueueOf("carol"), ElementsAre("gone"));
}

TEST_F(HostOutbox, AWillThatWasRefusedIsToldOfAgain) {
  AddSession("bob", "a");
  sim_.passes_on = false;
  LoseConnection();
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  SendPublish(Text("b", "1"));
  sim_.BeginWrite();
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  PassOn(routes.at(0));
  sim_.Run();
  EXPECT_FALSE(sim_.Take<Published>().at(0).status.ok());
  End(routes[0], Fate::kRefused);
  sim_.Repair();
  sim_.Run();
  sim_.clock().Advance(absl::Seconds(3));
  sim_.Run();
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  PassOn(again[0]);
  End(again[0]);
  sim_.Settle();
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
}

// Else it would overtake the one that is told of again.
TEST_F(HostOutbox, WhatComesBehindOneThatWasRefusedIsRefusedUntilThatIsThere) {
  AddSession("bob", "a");
  sim_.passes_on = false;
  LoseConnection();
  LoseConnection();
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_THAT(routes, SizeIs(1));  // The other one's, as LoseConnection forgets the first.
  const RouteMessage& second = routes[0];
  EXPECT_EQ(second.outbox.number, 2u);
  PassOn(second, /*after=*/1);
  sim_.Run();
  EXPECT_FALSE(sim_.Take<Published>().at(0).status.ok());
  RouteMessage first = second;
  first.outbox.number = 1;
  first.message = Text("a", "first");
  PassOn(first);
  PassOn(second, /*after=*/1);  // While the first is on its way to the log.
  sim_.Settle();
  for (const Published& answer : sim_.Take<Published>()) EXPECT_TRUE(answer.status.ok());
  PassOn(second, /*after=*/1);  // A repeat.
  sim_.Settle();
  EXPECT_TRUE(sim_.Take<Published>().at(0).status.ok());
  EXPECT_THAT(QueueOf("bob"), ElementsAre("first", "gone"));
}

// While one is on its way, others are too; but a new leader's repeats are known as such.
TEST_F(HostOutbox, ANewLeaderTellsOfWhatItsShardIsPassingOnAndNobodyGetsItTwice) {
  AddSession("bob", "a");
  sim_.passes_on = false;
  LoseConnection();
  const RouteMessage route = sim_.Take<RouteMessage>().at(0);
  sim_.ReplaceLeader(route.outbox.partition);
  sim_.Settle();
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());  // The shard knows it.
  PassOn(route);
  sim_.Settle();
  End(route);
  sim_.ReplaceLeader(route.outbox.partition);  // It is asked for again.
  sim_.Settle();
  EXPECT_EQ(Stored(), 0u);
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
}

// Its rights are those of the moment at which it is published, whoever was there when it fired.
TEST_F(HostOutbox, AWillOfWhoMayNotPublishAnyMoreIsDeleted) {
  sim_.core().node().may_publish = [](const SessionUser& user, std::string_view) {
    EXPECT_EQ(user.client_id, "alice");
    EXPECT_EQ(user.user_name, "somebody");
    return false;
  };
  OpenSession open = MakeOpen("alice");
  open.user_name = "somebody";
  open.will = mqtt::Message::Create({.topic = "a", .payload = "gone", .publisher = "alice"});
  open.will_delay_s = 10;
  Open(open);
  Close("alice");
  open = MakeOpen("alice");
  open.user_name = "somebody";
  open.clean_start = true;
  Open(open);
  EXPECT_THAT(TakeWills(), IsEmpty());
  EXPECT_EQ(sim_.metrics().wills_not_authorized.value(), 1u);
  EXPECT_EQ(Stored(), 0u);
}

// They are published all the same when there is room again.
TEST_F(HostOutbox, WillsWaitInTheirSessionsWhileItIsFull) {
  StorageOptions options = SmallOptions();
  options.queue_bytes_max = 1;  // 64 MiB in the outbox.
  HostSim sim(options);
  sim.passes_on = false;
  constexpr size_t kBytes = 16 << 20;
  for (uint64_t i = 1; i <= 6; ++i) {
    OpenSession open = MakeOpen(std::to_string(i), 0);  // All in one partition.
    while (PartitionOfClient(open.client_id, 4) != 0) open.client_id += "x";
    open.will = Text("a", std::to_string(i) + std::string(kBytes, 'x'));
    sim.Send(open);
    sim.Settle();
  }
  base::Rng rng(1);
  sim.Crash(rng);
  std::vector<std::string> told;
  uint64_t greatest = 0;
  for (int i = 0; i < 20; ++i) {
    sim.Settle();
    greatest = std::max(greatest, sim.core().partition(0).outbox().bytes());
    for (const RouteMessage& route : sim.Take<RouteMessage>()) {
      told.emplace_back(route.message->payload().substr(0, 1));
      sim.Send(OutboxDone{.partition = 0, .number = route.outbox.number});
    }
  }
  EXPECT_THAT(told, testing::UnorderedElementsAre("1", "2", "3", "4", "5", "6"));
  EXPECT_LT(greatest, (64 << 20) + 2 * kBytes);
}

// ---- What sessions leave -----------------------------------------------------------------------

// Not before: a crash would give it to another.
TEST_F(HostOutbox, ATransientMemberIsToHaveItWhenItIsOutOfTheOutbox) {
  EndSession(1);
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_THAT(routes, SizeIs(1));
  EXPECT_EQ(routes[0].only_filter, "$share/g/a");
  sim_.Settle();
  EXPECT_EQ(Stored(), 1u);
  Crash();
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  End(again[0]);
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
  sim_.Settle();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(1));
  EXPECT_TRUE(published[0].status.ok());
  EXPECT_EQ(Stored(), 0u);
  EXPECT_EQ(sim_.metrics().outbox_messages.value(), 0);
  Crash();
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
}

TEST_F(HostOutbox, AnAnswerCountsOnce) {
  EndSession(1);
  const RouteMessage route = sim_.Take<RouteMessage>().at(0);
  End(route);
  sim_.Settle();
  EXPECT_TRUE(sim_.Take<Published>().at(0).status.ok());
  End(route);
  End(route, Fate::kNoMember);
  sim_.Settle();
  for (const Published& late : sim_.Take<Published>()) EXPECT_FALSE(late.status.ok());
  EXPECT_EQ(sim_.metrics().dropped_no_member.value(), 0u);
}

// A former leader's shard asks the new leader again, whose own shard was told of the record, too.
TEST_F(HostOutbox, OfTwoThatHavePassedItOnOneGivesItToTheMembersThatItChose) {
  EndSession(1);
  const RouteMessage route = sim_.Take<RouteMessage>().at(0);
  End(route);
  End(route);
  sim_.Settle();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(2));
  EXPECT_NE(published[0].status.ok(), published[1].status.ok());
  EXPECT_EQ(Stored(), 0u);
}

// The leader goes before it has answered: it alone knew which of the two removed the record.
TEST_F(HostOutbox, OfTwoThatHavePassedItOnOneGivesItToItsMembersUnderTheNextLeaderToo) {
  EndSession(1);
  const RouteMessage route = sim_.Take<RouteMessage>().at(0);
  End(route);
  End(route);
  sim_.ReplaceLeader(route.outbox.partition);
  sim_.Settle();
  std::set<Token> has_it;
  for (const Published& answer : sim_.Take<Published>()) {
    if (answer.status.ok()) has_it.insert(answer.token);
  }
  EXPECT_THAT(has_it, SizeIs(1));
  EXPECT_EQ(Stored(), 0u);
}

// The former leader's shard chose a member without a kept session, this one's a durable member.
TEST_F(HostOutbox, WhoseMemberWasReplacedMeanwhileDoesNotGiveItToHim) {
  sim_.passes_on = false;
  EndSession(1);
  AddSession("carol", "$share/g/a");
  const RouteMessage route = sim_.Take<RouteMessage>().at(0);
  const OutboxDone chosen_otherwise{.token = 77,
                                    .partition = route.outbox.partition,
                                    .number = route.outbox.number,
                                    .members_told = 1};
  Assign(route, "carol");
  sim_.Send(OutboxDone(chosen_otherwise));  // The choice is on its way to the log,
  sim_.Settle();
  sim_.Send(OutboxDone(chosen_otherwise));  // and there.
  sim_.Settle();
  size_t refused = 0;
  for (const Published& answer : sim_.Take<Published>()) {
    if (answer.token == 77 && !answer.status.ok()) ++refused;
  }
  EXPECT_EQ(refused, 2u);
  EXPECT_EQ(Stored(), 1u);
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_FALSE(again.empty());
  PassOn(again.back());
  sim_.Send(OutboxDone{.token = 78,
                       .partition = route.outbox.partition,
                       .number = route.outbox.number,
                       .members_told = 2});
  sim_.Settle();
  EXPECT_EQ(Stored(), 0u);
  EXPECT_THAT(QueueOf("carol"), ElementsAre("job 0"));
}

TEST_F(HostOutbox, WhatNobodyTakesIsDroppedAndCounted) {
  EndSession(3);
  for (const RouteMessage& route : sim_.Take<RouteMessage>()) End(route, Fate::kNoMember);
  EXPECT_EQ(sim_.metrics().outbox_messages.value(), 3);
  sim_.Settle();
  EXPECT_EQ(Stored(), 0u);
  EXPECT_EQ(sim_.metrics().outbox_messages.value(), 0);
  EXPECT_EQ(sim_.metrics().outbox_bytes.value(), 0);
  EXPECT_EQ(sim_.metrics().dropped_no_member.value(), 3u);
  EXPECT_FALSE(sim_.core().NextWake().has_value() &&
               *sim_.core().NextWake() <= sim_.clock().Monotonic());
}

// A crash ends the sessions of transient members, and they come back.
TEST_F(HostOutbox, AfterAStartMembersHaveTimeToComeBack) {
  EndSession(2);
  Crash();
  for (const RouteMessage& route : sim_.Take<RouteMessage>()) End(route, Fate::kNoMember);
  sim_.Run();
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
  ASSERT_TRUE(sim_.core().NextWake().has_value());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Run();
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_THAT(routes, SizeIs(2));
  End(routes[0]);
  End(routes[1], Fate::kNoMember);
  sim_.Settle();
  EXPECT_EQ(Stored(), 1u);
  sim_.clock().Advance(absl::Minutes(1));
  sim_.Run();
  End(sim_.Take<RouteMessage>().at(0), Fate::kNoMember);
  sim_.Settle();
  EXPECT_EQ(Stored(), 0u);
  EXPECT_EQ(sim_.metrics().dropped_no_member.value(), 1u);
}

TEST_F(HostOutbox, ADurableMemberThatJoinsAfterAStartGetsWhatWaits) {
  EndSession(2);
  Crash();
  for (const RouteMessage& route : sim_.Take<RouteMessage>()) End(route, Fate::kNoMember);
  ASSERT_TRUE(Subscribe("carol", Open("carol").epoch, "$share/g/a").ok());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), ElementsAre("job 0", "job 1"));
  EXPECT_EQ(Stored(), 0u);
}

TEST_F(HostOutbox, WhatIsLeftWhileTheServerEndsIsThereAtTheNextStart) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "$share/g/a").ok());
  SendToMember("bob", "job");
  sim_.Settle();
  sim_.events.clear();
  CloseSession close;
  close.client_id = "bob";
  close.connection = {.shard = 0, .connection = connection_};
  close.cause = CloseCause::kServerShutdown;
  close.expiry_s = 0;
  sim_.Send(std::move(close));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
  Crash();
  EXPECT_THAT(sim_.Take<RouteMessage>(), SizeIs(1));
}

// However many, no more are at the shards than they can be expected to answer soon.
TEST_F(HostOutbox, ShardsAreAskedAboutAPortionAtATime) {
  constexpr size_t kMessages = 3000;
  EndSession(kMessages);
  std::vector<std::string> payloads;
  size_t greatest = 0;
  while (payloads.size() < kMessages) {
    const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
    ASSERT_THAT(routes, testing::Not(IsEmpty()));
    greatest = std::max(greatest, routes.size());
    for (const RouteMessage& route : routes) {
      payloads.emplace_back(route.message->payload());
      End(route);
    }
    sim_.Settle();
  }
  EXPECT_LT(greatest, 1200u);
  EXPECT_EQ(payloads.front(), "job 0");
  EXPECT_EQ(payloads.back(), "job 2999");
  EXPECT_EQ(Stored(), 0u);
}

// Those that have expired go when the next one comes, and shards hear of that when they answer.
TEST_F(HostOutbox, WhatExpiresAtAShardMakesRoomForWhatIsToldOfNext) {
  sim_.passes_on = false;
  const auto send = [&](mqtt::MessagePtr message) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = std::move(message);
    publish.shared_targets.push_back(TargetOf("gone before"));
    sim_.Send(std::move(publish));
  };
  const int64_t now = sim_.now_unix_ms();
  for (int i = 0; i < 2000; ++i) send(ExpiringText("a", "expires", now, now + 60'000));
  sim_.Settle();
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_GT(routes.size(), 1000u);
  ASSERT_LT(routes.size(), 2000u) << "as many as may be told of";
  sim_.clock().Advance(absl::Minutes(2));
  send(Text("a", "stays"));
  sim_.Settle();
  EXPECT_EQ(Stored(), 1u);
  for (size_t i = 0; i < routes.size(); ++i) {
    i % 2 == 0 ? End(routes[i]) : Assign(routes[i], "carol");
  }
  sim_.Settle();
  EXPECT_THAT(TakeWills(), ElementsAre("stays"));
  EXPECT_EQ(sim_.core().node().outbox_told.messages, 1u);
}

TEST_F(HostOutbox, MoreThanMayWaitAreDroppedAndCounted) {
  StorageOptions options = SmallOptions();
  options.queue_messages_max = 10'000;  // Twice that is kept.
  HostSim sim(options);
  for (int i = 0; i < 20'010; ++i) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = Text("a", "job");
    publish.shared_targets.push_back(TargetOf("gone before"));
    sim.Send(std::move(publish));
  }
  sim.Settle();
  EXPECT_EQ(sim.metrics().dropped_outbox.value(), 10u);
  EXPECT_EQ(sim.metrics().outbox_messages.value(), 20'000);
}

// ---- Any order
// -----------------------------------------------------------------------------------

// Connections with wills are lost, and messages come for members that have gone, while the machine
// crashes, its disk fails, and partitions get new leaders: everyone gets each will exactly once,
// two durable members of a group together too, and a group of transient ones gets nothing twice.
class HostOutboxWorld : public HostOutbox {
 protected:
  using HostOutbox::HostOutbox;
  void Run(uint64_t seed) {
    rng_ = base::Rng(seed);
    sim_.on_event = [this](ShardId, Event& event) {
      if (auto* const route = std::get_if<RouteMessage>(&event)) {
        if (!route->only_filter.empty()) routes_.push_back(*route);
      }
      if (auto* const published = std::get_if<Published>(&event)) On(*published);
      if (auto* const opened = std::get_if<SessionOpened>(&event)) On(*opened);
    };
    for (const auto& [client_id, filter] : kSessions) {
      sim_.Send(MakeOpen(client_id));
      sim_.Settle();
      sim_.Send(MakeSubscribe(++token_, client_id, last_epoch_, filter, mqtt::QoS::kExactlyOnce));
      sim_.Settle();
      SendClose(client_id, CloseCause::kNormal, connection_);
      sim_.Settle();
    }
    for (int i = 0; i < 600; ++i) Step();
    // Everything is mended, and everybody answers.
    for (int i = 0; i < 200; ++i) {
      sim_.Repair();
      sim_.clock().Advance(absl::Seconds(1));
      sim_.Settle();
      while (!routes_.empty()) AnswerOne();
    }
    EXPECT_EQ(Stored(), 0u);
    sim_.on_event = nullptr;
    std::map<std::string, int> of_group;
    std::map<std::string, int> of_dora;
    for (const auto& [client_id, filter] : kSessions) {
      OpenSession open = MakeOpen(client_id);
      open.window_messages = 10'000;
      open.window_bytes = 1 << 20;
      Open(open);
      for (const std::string& payload : TakePayloads()) {
        ++(client_id == "dora" ? of_dora : of_group)[payload];
      }
    }
    EXPECT_GT(lost_.size(), 1u);
    for (const std::string& will : lost_) EXPECT_EQ(of_group[will], 1) << will;
    for (const std::string& will : lost_) EXPECT_EQ(of_dora[will], 1) << will;
    for (const auto& [payload, times] : of_group) EXPECT_EQ(times, 1) << payload;
    for (const auto& [payload, times] : of_dora) EXPECT_EQ(times, 1) << payload;
    for (const auto& [payload, times] : handed_out_) EXPECT_EQ(times, 1) << payload;
  }

  void On(const SessionOpened& opened) {
    last_epoch_ = opened.epoch;
    const auto client = opening_.find(opened.token);
    if (client == opening_.end()) return;
    if (opened.status.ok()) connected_[client->second.first] = client->second.second;
    opening_.erase(client);
  }
  void On(const Published& published) {
    const auto found = transient_.find(published.token);
    if (found == transient_.end()) return;
    if (published.status.ok()) ++handed_out_[found->second];
    transient_.erase(found);
  }

  void Step() {
    switch (rng_.Below(13)) {
      case 0: {
        const std::string client_id = "w" + std::to_string(++clients_);
        OpenSession open = MakeOpen(client_id, 0);
        open.will = Text("a", client_id, mqtt::QoS::kExactlyOnce);
        opening_[open.token] = {client_id, connection_};
        return sim_.Send(std::move(open));
      }
      case 1: {
        if (connected_.empty()) return;
        const auto [client_id, connection] = *connected_.begin();
        connected_.erase(connected_.begin());
        lost_.push_back(client_id);
        return SendClose(client_id, CloseCause::kWithWill, connection);
      }
      case 2: {
        storage::Publish publish;
        publish.token = ++token_;
        publish.message = Text("b", "m" + std::to_string(++messages_), mqtt::QoS::kExactlyOnce);
        publish.shared_targets.push_back({.client_id = "nobody",
                                          .filter = "$share/h/b",
                                          .options = {.qos = mqtt::QoS::kExactlyOnce}});
        return sim_.Send(std::move(publish));
      }
      case 3:
      case 4:
        return sim_.BeginWrite();
      case 5:
      case 6:
        if (rng_.Chance(0.1)) return sim_.EndWrite(absl::UnavailableError("EIO"));
        return sim_.EndWrite();
      case 7:
      case 8:
        return sim_.Run();
      case 9:
      case 10:
        if (routes_.empty() || rng_.Chance(0.2)) return sim_.Repair();
        return AnswerOne();
      case 11:
        if (!rng_.Chance(0.3)) return;
        return sim_.ReplaceLeader(static_cast<PartitionId>(rng_.Below(4)));
      default:
        sim_.clock().Advance(absl::Milliseconds(100));
        if (rng_.Chance(0.8)) return;
        Crash();
        return;
    }
  }
  void Crash() {
    routes_.clear();
    opening_.clear();
    transient_.clear();
    // They were connected: their wills fire.
    for (const auto& [client_id, connection] : connected_) lost_.push_back(client_id);
    connected_.clear();
    sim_.Crash(rng_);
  }
  void AnswerOne() {
    const size_t at = rng_.Below(routes_.size());
    const RouteMessage route = routes_[at];
    routes_.erase(routes_.begin() + static_cast<ptrdiff_t>(at));
    if (rng_.Chance(0.1)) return End(route, Fate::kNoMember);
    End(route);
    transient_[token_] = route.message->payload();
  }

  const std::map<std::string, std::string> kSessions = {
      {"bob", "$share/g/a"}, {"carol", "$share/g/a"}, {"dora", "a"}};
  base::Rng rng_{1};
  std::vector<RouteMessage> routes_;
  std::map<Token, std::pair<std::string, uint64_t>> opening_;
  std::map<std::string, uint64_t> connected_;
  std::vector<std::string> lost_;
  std::map<Token, std::string> transient_;
  std::map<std::string, int> handed_out_;
  uint64_t last_epoch_ = 0;
  int clients_ = 0;
  int messages_ = 0;
};

class HostOutboxSeeds : public HostOutboxWorld, public testing::WithParamInterface<uint64_t> {
 protected:
  HostOutboxSeeds() : HostOutboxWorld(OptionsOf(GetParam())) {}
  static StorageOptions OptionsOf(uint64_t seed) {
    StorageOptions options = SmallOptions();
    if (seed % 3 == 0) options.group_commands_max = 1 + seed % 5;
    return options;
  }
};

TEST_P(HostOutboxSeeds, EachWillOnceAndNothingTwice) { Run(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Any, HostOutboxSeeds, testing::Range<uint64_t>(1, 101));

}  // namespace
}  // namespace storage
