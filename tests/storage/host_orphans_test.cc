// Messages for `$share` groups that no member has: whatever crashes or fails in between, one member
// gets them.
#include <cstddef>
#include <map>
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

class HostOrphans : public HostTest {
 protected:
  explicit HostOrphans(StorageOptions options = SmallOptions()) : HostTest(std::move(options)) {}
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
  // A durable session of the group, away.
  void AddMember(const std::string& client_id) {
    ASSERT_TRUE(Subscribe(client_id, Open(client_id).epoch, "$share/g/a").ok());
    Close(client_id);
  }
  // A connection is lost whose will is for the group.
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
  // The shard has chosen a durable member; or, without a name, a transient one.
  void Answer(const RouteMessage& route, const std::string& client_id = "") {
    storage::Publish publish;
    publish.token = ++token_;
    publish.message = route.message;
    if (!client_id.empty()) publish.shared_targets.push_back(TargetOf(client_id));
    publish.orphan = route.orphan;
    sim_.Send(std::move(publish));
  }
  std::vector<std::string> QueueOf(const std::string& client_id) {
    Open(client_id);
    return TakePayloads();
  }
  uint64_t Stored() {
    uint64_t orphans = 0;
    for (PartitionId id = 0; id < sim_.core().partitions(); ++id) {
      orphans += sim_.core().partition(id).orphans();
    }
    return orphans;
  }
};

// ---- What a session leaves at QoS 2 [MQTT5-4.8.2-5] ---------------------------------------------

// What the host had pushed when the connection broke, and the shard had not written to it, was
// never sent: others get it. What was written ends with its session.
TEST_F(HostOrphans, WhatAShardNeverSentGoesToOthersAndWhatItSentDoesNot) {
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
  std::vector<std::string> left;
  for (const RouteMessage& route : sim_.Take<RouteMessage>()) {
    left.emplace_back(route.message->payload());
  }
  EXPECT_THAT(left, ElementsAre("3", "4"));
}

// ---- Wills -------------------------------------------------------------------------------------

TEST_F(HostOrphans, AWillIsNotLostWhenACrashComesBeforeItsMemberIsChosen) {
  AddMember("bob");
  LoseConnection();
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_THAT(routes, SizeIs(1));
  EXPECT_TRUE(routes[0].orphan);
  EXPECT_FALSE(routes[0].groups_only);
  Crash();
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again[0].message->payload(), "gone");
  EXPECT_EQ(again[0].only_filter, "");
  EXPECT_TRUE(again[0].groups_only);  // Who subscribes now was not there when it was published.
  Answer(again[0], "bob");
  sim_.Settle();
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(1));
  EXPECT_EQ(Stored(), 0u);
  Crash();
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
}

TEST_F(HostOrphans, AWillIsForgottenInTheCommitThatStoresItForItsMember) {
  AddMember("bob");
  LoseConnection();
  Answer(sim_.Take<RouteMessage>().at(0), "bob");
  sim_.BeginWrite();
  Crash();  // Nothing of it was written.
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  Answer(again[0], "bob");
  sim_.BeginWrite();
  sim_.EndWrite();
  Crash();  // All of it was, and nobody knows.
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
}

TEST_F(HostOrphans, AWillThatCouldNotBeWrittenForItsMemberIsWrittenLater) {
  AddMember("bob");
  LoseConnection();
  Answer(sim_.Take<RouteMessage>().at(0), "bob");
  sim_.BeginWrite();
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
  sim_.Settle();
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(1));
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
}

TEST_F(HostOrphans, AWillThatWasRefusedIsToldOfAgain) {
  AddMember("bob");
  LoseConnection();
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  SendPublish(Text("b", "1"));
  sim_.BeginWrite();
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  Answer(routes.at(0), "bob");
  sim_.Run();
  sim_.Repair();
  sim_.Run();
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  Answer(again[0], "bob");
  sim_.Settle();
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
}

// Two shards, or one twice: the second is told, and hands nothing out.
TEST_F(HostOrphans, AnAnswerCountsOnce) {
  AddMember("bob");
  LoseConnection();
  const RouteMessage route = sim_.Take<RouteMessage>().at(0);
  Answer(route, "bob");
  Answer(route);
  sim_.Send(OrphanStays{route.orphan});
  sim_.Settle();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(2));
  EXPECT_TRUE(published[0].status.ok());
  EXPECT_FALSE(published[1].status.ok());
  EXPECT_THAT(QueueOf("bob"), ElementsAre("gone"));
  EXPECT_EQ(sim_.metrics().dropped_no_member.value(), 0u);
}

TEST_F(HostOrphans, AWillThatNoGroupWantsIsNoOrphan) {
  AddMember("bob");
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("other", "gone");
  Open(open);
  Close("alice");
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_THAT(routes, SizeIs(1));
  EXPECT_FALSE(routes[0].orphan);
  EXPECT_EQ(Stored(), 0u);
}

// ---- What sessions leave -----------------------------------------------------------------------

TEST_F(HostOrphans, WhatASessionLeftIsKeptUntilATransientMemberIsToHaveIt) {
  EndSession(1);
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_THAT(routes, SizeIs(1));
  EXPECT_EQ(routes[0].only_filter, "$share/g/a");
  sim_.Settle();
  EXPECT_EQ(Stored(), 1u);
  Crash();
  const std::vector<RouteMessage> again = sim_.Take<RouteMessage>();
  ASSERT_THAT(again, SizeIs(1));
  Answer(again[0]);
  sim_.Settle();
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(1));
  EXPECT_EQ(Stored(), 0u);
  EXPECT_EQ(sim_.metrics().orphans.value(), 0);
  Crash();
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
}

TEST_F(HostOrphans, WhatNobodyTakesIsDroppedAndCounted) {
  EndSession(3);
  for (const RouteMessage& route : sim_.Take<RouteMessage>()) sim_.Send(OrphanStays{route.orphan});
  EXPECT_EQ(sim_.metrics().orphans.value(), 3);
  sim_.Settle();
  EXPECT_EQ(Stored(), 0u);
  EXPECT_EQ(sim_.metrics().orphans.value(), 0);
  EXPECT_EQ(sim_.metrics().dropped_no_member.value(), 3u);
  EXPECT_FALSE(sim_.core().NextWake().has_value() &&
               *sim_.core().NextWake() <= sim_.clock().Monotonic());
}

// A crash ends the sessions of transient members, and they come back.
TEST_F(HostOrphans, AfterAStartMembersHaveTimeToComeBack) {
  EndSession(2);
  Crash();
  for (const RouteMessage& route : sim_.Take<RouteMessage>()) sim_.Send(OrphanStays{route.orphan});
  sim_.Run();
  EXPECT_THAT(sim_.Take<RouteMessage>(), IsEmpty());
  ASSERT_TRUE(sim_.core().NextWake().has_value());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Run();
  const std::vector<RouteMessage> routes = sim_.Take<RouteMessage>();
  ASSERT_THAT(routes, SizeIs(2));
  Answer(routes[0]);
  sim_.Send(OrphanStays{routes[1].orphan});
  sim_.Settle();
  EXPECT_EQ(Stored(), 1u);
  sim_.clock().Advance(absl::Minutes(1));
  sim_.Run();
  sim_.Send(OrphanStays{sim_.Take<RouteMessage>().at(0).orphan});
  sim_.Settle();
  EXPECT_EQ(Stored(), 0u);
  EXPECT_EQ(sim_.metrics().dropped_no_member.value(), 1u);
}

TEST_F(HostOrphans, ADurableMemberThatJoinsAfterAStartGetsWhatWaits) {
  EndSession(2);
  Crash();
  for (const RouteMessage& route : sim_.Take<RouteMessage>()) sim_.Send(OrphanStays{route.orphan});
  ASSERT_TRUE(Subscribe("carol", Open("carol").epoch, "$share/g/a").ok());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), ElementsAre("job 0", "job 1"));
  EXPECT_EQ(Stored(), 0u);
}

TEST_F(HostOrphans, WhatIsLeftWhileTheServerEndsIsThereAtTheNextStart) {
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
TEST_F(HostOrphans, ShardsAreAskedAboutAPortionAtATime) {
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
      Answer(route);
    }
    sim_.Settle();
  }
  EXPECT_LT(greatest, 1200u);
  EXPECT_EQ(payloads.front(), "job 0");
  EXPECT_EQ(payloads.back(), "job 2999");
  EXPECT_EQ(Stored(), 0u);
}

TEST_F(HostOrphans, MoreThanMayWaitAreDroppedAndCounted) {
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
  EXPECT_EQ(sim.metrics().dropped_orphans.value(), 10u);
  EXPECT_EQ(sim.metrics().orphans.value(), 20'000);
}

// ---- Any order
// -----------------------------------------------------------------------------------

// Connections with wills are lost, and messages come for members that have gone, while the machine
// crashes and its disk fails: two durable members together get each will exactly once, and a group
// of transient ones gets nothing twice.
class HostOrphansWorld : public HostOrphans {
 protected:
  using HostOrphans::HostOrphans;
  void Run(uint64_t seed) {
    rng_ = base::Rng(seed);
    sim_.on_event = [this](ShardId, Event& event) {
      if (auto* const route = std::get_if<RouteMessage>(&event)) routes_.push_back(*route);
      if (auto* const published = std::get_if<Published>(&event)) On(*published);
      if (auto* const opened = std::get_if<SessionOpened>(&event)) On(*opened);
    };
    for (const char* member : {"bob", "carol"}) {
      sim_.Send(MakeOpen(member));
      sim_.Settle();
      sim_.Send(
          MakeSubscribe(++token_, member, last_epoch_, "$share/g/a", mqtt::QoS::kExactlyOnce));
      sim_.Settle();
      SendClose(member, CloseCause::kNormal, connection_);
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
    std::map<std::string, int> received;
    for (const char* member : {"bob", "carol"}) {
      OpenSession open = MakeOpen(member);
      open.window_messages = 10'000;
      open.window_bytes = 1 << 20;
      Open(open);
      for (const std::string& payload : TakePayloads()) ++received[payload];
    }
    EXPECT_GT(lost_.size(), 1u);
    for (const std::string& will : lost_) EXPECT_EQ(received[will], 1) << will;
    for (const auto& [payload, times] : received) EXPECT_EQ(times, 1) << payload;
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
    switch (rng_.Below(12)) {
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
    if (rng_.Chance(0.1) && !route.only_filter.empty()) {
      return sim_.Send(OrphanStays{route.orphan});
    }
    if (!route.only_filter.empty()) {
      Answer(route);
      transient_[token_] = route.message->payload();
      return;
    }
    if (!route.orphan) return;
    Answer(route, rng_.Chance(0.5) ? "bob" : "carol");
  }

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

class HostOrphansSeeds : public HostOrphansWorld, public testing::WithParamInterface<uint64_t> {
 protected:
  HostOrphansSeeds() : HostOrphansWorld(OptionsOf(GetParam())) {}
  static StorageOptions OptionsOf(uint64_t seed) {
    StorageOptions options = SmallOptions();
    if (seed % 3 == 0) options.group_commands_max = 1 + seed % 5;
    return options;
  }
};

TEST_P(HostOrphansSeeds, EachWillOnceAndNothingTwice) { Run(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Any, HostOrphansSeeds, testing::Range<uint64_t>(1, 101));

// ---- The index of groups -----------------------------------------------------------------------

TEST(ShareMembersTest, KnowsWhetherAGroupTakesATopic) {
  ShareMembers members;
  using State = ShareMemberChange::State;
  EXPECT_FALSE(members.AnyFor("a/b"));
  members.Change("x", {.filter = "$share/g/a/+"}, 0, State::kOffline);
  members.Change("x", {.filter = "$share/h/a/+"}, 0, State::kOffline);
  members.Change("y", {.filter = "$share/g/c"}, 0, State::kOffline);
  EXPECT_TRUE(members.AnyFor("a/b"));
  EXPECT_TRUE(members.AnyFor("c"));
  EXPECT_FALSE(members.AnyFor("a"));
  members.Change("x", {.filter = "$share/g/a/+"}, 0, State::kGone);
  EXPECT_TRUE(members.AnyFor("a/b"));
  members.Change("x", {.filter = "$share/h/a/+"}, 0, State::kGone);
  EXPECT_FALSE(members.AnyFor("a/b"));
  EXPECT_TRUE(members.AnyFor("c"));
}

}  // namespace
}  // namespace storage
