// A shard without its thread: what it does when, to the millisecond.
#include "broker/shard/shard_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "auth/core/bans.h"
#include "broker/shard/client_view.h"
#include "storage/core/keys.h"
#include "tests/broker/shard/peer.h"
#include "tests/broker/shard/sim_broker.h"
#include "tests/support/wire.h"

namespace sim {
namespace {

using support::Packet;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using enum support::PacketType;

TEST(ShardCore, ASilentClientIsSentAwayAfterOneAndAHalfTimesItsKeepAliveAndNotBefore) {
  Broker broker(1, 1);
  Peer silent(broker, 0, "silent", 10);
  const int64_t before_ns = broker.agenda().now_ns();
  broker.RunFor(absl::Seconds(14));
  EXPECT_THAT(silent.packets, IsEmpty());
  broker.RunFor(absl::Seconds(5));
  ASSERT_EQ(silent.packets.size(), 1u);
  EXPECT_EQ(silent.packets[0].type, kDisconnect);
  EXPECT_EQ(silent.packets[0].reason, 0x8D);
  EXPECT_LT(silent.came_ns[0] - before_ns, 15'300'000'000);
  EXPECT_TRUE(silent.line->closed_by_broker());
}

TEST(ShardCore, ABrokenConnectionIsNoticedAtOnceAndASilentOneThatPingsStays) {
  Broker broker(2, 1);
  Peer pings(broker, 0, "pings", 10);
  Peer breaks(broker, 0, "breaks", 10);
  breaks.line->Break();
  broker.RunFor(absl::Milliseconds(50));
  EXPECT_TRUE(breaks.line->closed_by_broker());
  for (int i = 0; i < 10; ++i) {
    pings.line->Send(std::string(support::kPingreq));
    broker.RunFor(absl::Seconds(12));
  }
  EXPECT_EQ(pings.TakeTypes(), std::vector<support::PacketType>(10, kPingresp));
}

// Nobody waits for what its password would open. Its end may come after CONNECT or together with
// it.
TEST(ShardCore, WhoLeavesWhileItsPasswordIsVerifiedIsGoneAtOnce) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Broker broker(seed, 1);
    broker.gate().asleep = true;
    const Peer leaves(broker, 0);
    leaves.line->Send(support::ConnectPacket{.client_id = "leaves"}.Encode());
    leaves.line->Finish();
    broker.RunFor(absl::Milliseconds(100));
    EXPECT_TRUE(leaves.line->closed_by_broker()) << "seed " << seed;
  }
}

// ---- A partition without a leader

// A Client Identifier of that partition.
std::string NameIn(storage::PartitionId partition, size_t which = 0) {
  for (size_t i = 0;; ++i) {
    std::string name = absl::StrCat("client-", i);
    if (storage::PartitionOfClient(name, Broker::Small().partitions) == partition && which-- == 0)
      return name;
  }
}

std::string Mortal(std::string id, bool durable = false) {
  support::ConnectPacket connect{.client_id = std::move(id),
                                 .clean = !durable,
                                 .will = support::Will{.topic = "will", .payload = "gone"}};
  if (durable) connect.properties.Number(support::PropertyId::kSessionExpiryInterval, 3600);
  return connect.Encode();
}

TEST(LeaderlessPartition, ItsClientsHoldUpNobodyElses) {
  broker::ShardOptions options;
  options.connects_pending_max = 2;
  Broker broker(18, 1, options);
  broker.LoseLeader(1);
  std::vector<std::unique_ptr<Peer>> waiting;
  for (size_t i = 0; i < 6; ++i) {
    waiting.push_back(std::make_unique<Peer>(broker, 0));
    waiting.back()->line->Send(support::ConnectPacket{.client_id = NameIn(1, i)}.Encode());
  }
  broker.RunFor(absl::Milliseconds(100));
  Peer other(broker, 0);
  other.line->Send(support::ConnectPacket{.client_id = NameIn(2)}.Encode());
  broker.RunFor(absl::Milliseconds(3500));
  EXPECT_EQ(other.TakeTypes(), std::vector{kConnack});
  broker.BringLeader(1);
  broker.RunFor(absl::Milliseconds(500));
  for (const auto& peer : waiting) EXPECT_EQ(peer->TakeTypes(), std::vector{kConnack});
}

// Whoever waits is told, in the end, and nothing is kept of it.
TEST(LeaderlessPartition, WhoConnectsIsRefusedWhenItHasWaitedForLong) {
  Broker broker(19, 1);
  broker.LoseLeader(1);
  std::string of_former_version;
  for (int round = 0; round < 20; ++round) {
    Peer v5(broker, 0);
    v5.line->Send(Mortal(NameIn(1, 0), true));
    Peer v311(broker, 0);
    v311.line->on_bytes = [&](std::string_view bytes) { of_former_version += bytes; };
    v311.line->Send(
        support::ConnectPacket{.version = support::Version::k311, .client_id = NameIn(1, 1)}
            .Encode());
    broker.RunFor(absl::Seconds(9));
    EXPECT_THAT(v5.packets, IsEmpty());
    EXPECT_EQ(v5.ended_ns, 0);
    broker.RunFor(absl::Seconds(2));
    ASSERT_EQ(v5.packets.size(), 1u);
    EXPECT_EQ(v5.packets[0].type, kConnack);
    EXPECT_EQ(v5.packets[0].reason, 0x88);
    EXPECT_NE(v5.ended_ns, 0);
    EXPECT_NE(v311.ended_ns, 0);
    EXPECT_EQ(std::exchange(of_former_version, {}), (std::string{0x20, 2, 0, 3}));
    v5.line->Break();
    v311.line->Break();
  }
  const broker::ShardMetrics& metrics = broker.shard(0).metrics();
  EXPECT_EQ(metrics.connections_refused[broker::RefuseCause::kUndecided].value(), 40u);
  EXPECT_EQ(metrics.connections_closed[broker::CloseCause::kConnectTimeout].value(), 0u);
  EXPECT_EQ(broker.shard(0).core().streams.kept(), 0u);
  EXPECT_LT(broker.shard(0).core().streams.places(), 100u);
  Peer watcher(broker, 0, NameIn(2));
  watcher.Subscribe("will");
  broker.BringLeader(1);
  const std::unique_ptr<Peer> late = Peer::Durable(broker, 0, NameIn(1, 0));
  ASSERT_EQ(late->packets.size(), 1u);
  EXPECT_EQ(late->packets[0].reason, 0);
  EXPECT_FALSE(late->packets[0].session_present());
  EXPECT_THAT(watcher.packets, IsEmpty());
}

TEST(LeaderlessPartition, WhoHasGoneDoesNotCompeteWithItsSuccessor) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Broker broker(seed, 2);
    Peer watcher(broker, 0, NameIn(2));
    watcher.Subscribe("will");
    broker.LoseLeader(1);
    // In the order of their numbers shards are asked again.
    const Peer dead(broker, 1);
    dead.line->Send(Mortal(NameIn(1)));
    dead.line->Finish();
    broker.RunFor(absl::Milliseconds(100));
    Peer successor(broker, 0);
    successor.line->Send(Mortal(NameIn(1)));
    broker.RunFor(absl::Milliseconds(100));
    EXPECT_TRUE(dead.line->closed_by_broker());
    broker.BringLeader(1);
    broker.RunFor(absl::Milliseconds(500));
    EXPECT_EQ(successor.TakeTypes(), std::vector{kConnack}) << "seed " << seed;
    EXPECT_EQ(successor.ended_ns, 0);
    EXPECT_THAT(watcher.packets, IsEmpty());
  }
}

// What is to take its claim back may be lost with the leader that was asked for it.
TEST(LeaderlessPartition, WhatItsFormerLeaderHasGrantedToWhoHasGoneIsTakenBack) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Broker broker(seed, 2);
    Peer watcher(broker, 0, NameIn(2));
    watcher.Subscribe("will");
    const Peer dead(broker, 1);
    dead.line->Send(Mortal(NameIn(1), true));
    const broker::ShardMetrics& metrics = broker.shard(1).metrics();
    const uint64_t requests = metrics.storage_requests.value();
    while (metrics.storage_requests.value() == requests) broker.RunFor(absl::Microseconds(10));
    broker.LoseLeader(1);
    dead.line->Break();
    broker.RunFor(absl::Seconds(1));
    EXPECT_TRUE(dead.line->closed_by_broker());
    broker.BringLeader(1);
    broker.RunFor(absl::Seconds(1));
    EXPECT_THAT(watcher.packets, IsEmpty()) << "it was never connected, seed " << seed;
    Peer next(broker, 0);
    next.line->Send(Mortal(NameIn(1), true));
    broker.RunFor(absl::Milliseconds(100));
    ASSERT_EQ(next.packets.size(), 1u);
    EXPECT_TRUE(next.packets[0].session_present());
  }
}

// Whoever answers later: the leader that was asked, when its disk works again, or another one,
// which finds the claim granted.
TEST(LeaderlessPartition, WhoWasRefusedLeavesNoWill) {
  for (const bool another_leader : {false, true}) {
    for (const bool durable : {false, true}) {
      SCOPED_TRACE(absl::StrCat("another leader: ", another_leader, ", durable: ", durable));
      Broker broker(22, 2);
      Peer watcher(broker, 0, NameIn(2));
      watcher.Subscribe("will");
      if (!another_leader) broker.HangDisk();
      const Peer refused(broker, 1);
      refused.line->Send(Mortal(NameIn(1), durable));
      const broker::ShardMetrics& metrics = broker.shard(1).metrics();
      const uint64_t requests = metrics.storage_requests.value();
      while (metrics.storage_requests.value() == requests) broker.RunFor(absl::Microseconds(10));
      if (another_leader) broker.LoseLeader(1);
      broker.RunFor(absl::Seconds(11));
      ASSERT_EQ(refused.packets.size(), 1u);
      EXPECT_EQ(refused.packets[0].type, kConnack);
      EXPECT_EQ(refused.packets[0].reason, 0x88);
      another_leader ? broker.BringLeader(1) : broker.MendDisk();
      broker.RunFor(absl::Seconds(1));
      EXPECT_THAT(watcher.packets, IsEmpty());
      Peer next(broker, 0);
      next.line->Send(Mortal(NameIn(1), true));
      broker.RunFor(absl::Milliseconds(100));
      ASSERT_EQ(next.packets.size(), 1u);
      EXPECT_EQ(next.packets[0].reason, 0);
      EXPECT_EQ(next.packets[0].session_present(), durable) << "the claim was granted";
    }
  }
}

// Access changes while a login is anywhere between CONNECT and CONNACK: whoever looks for those
// whom it concerns looks once, and this one must not slip through.
TEST(ShardCore, WhoWasDecidedAboutBeforeAccessChangedIsAskedAgain) {
  for (const bool banned : {false, true}) {
    for (int64_t after_us = 0; after_us < 4000; after_us += 50) {
      Broker broker(static_cast<uint64_t>(after_us) + 1, 1);
      const Peer late(broker, 0);
      late.line->Send(support::ConnectPacket{.client_id = "late"}.Encode());
      broker.agenda().After(absl::Microseconds(after_us), [&] {
        if (banned) {
          const auth::Ban ban{.target = {auth::BanKind::kClient, "late"}};
          broker.gate().ban_table = *auth::BanTable::Make({ban});
        } else {
          broker.gate().deserted = true;
          ++broker.gate().changes;
        }
        broker.shard(0).Mail(broker::Control{[&] {
          broker::ShardCore& core = broker.shard(0).core();
          core.RefreshPermissions();
          for (const auto& [number, connection] : core.connections) {
            if (banned) broker::Kick(core, number, {});
          }
        }});
      });
      broker.RunFor(absl::Seconds(20));
      EXPECT_TRUE(late.line->closed_by_broker())
          << (banned ? "banned" : "deserted") << " after " << after_us << " us";
    }
  }
}

// A task looks at a few clients, whatever the shard has; the next goes on behind the last.
TEST(ShardCore, ClientsAreListedInTheOrderOfTheirNumbersAFewAtATime) {
  Broker its(5, 1);
  std::vector<std::unique_ptr<Peer>> peers;
  std::vector<std::string> expected;
  for (size_t i = 0; i < broker::kClientsFoundMax * 2 + 10; ++i) {
    const std::string name = absl::StrCat("c", i);
    peers.push_back(std::make_unique<Peer>(its, 0, name));
    if (i % 3 != 0) expected.push_back(name);
  }
  for (size_t i = 0; i < peers.size(); i += 3) peers[i]->line->Break();
  its.RunFor(absl::Seconds(1));
  std::vector<std::string> listed;
  broker::ClientPage page;
  do {
    page = broker::LookAtClients(its.shard(0).core(), {}, page.next, 1000);
    EXPECT_LE(page.clients.size(), broker::kClientsFoundMax);
    for (const broker::ClientView& view : page.clients) listed.push_back(view.client_id);
  } while (!page.end);
  EXPECT_EQ(listed, expected);
}

// Nobody who sends a lot keeps the others waiting: a visit reads so much, and then they have their
// turn.
TEST(ShardCore, WhoHasMoreToBeReadComesAgainAfterTheOthers) {
  Broker broker(3, 1);
  Peer flood(broker, 0, "flood");
  Peer other(broker, 0, "other");
  std::string bytes;
  constexpr int kMessages = 2000;
  for (int i = 0; i < kMessages; ++i) {
    bytes += support::PublishPacket{.topic = "t", .payload = std::string(1000, 'x')}.Encode(
        support::Version::k5);
  }
  const uint64_t turns = broker.shard(0).metrics().turns.value();
  flood.line->Send(bytes);
  other.line->Send(std::string(support::kPingreq));
  broker.RunFor(absl::Seconds(1));
  EXPECT_EQ(other.TakeTypes(), std::vector{kPingresp});
  EXPECT_EQ(broker.shard(0).metrics().publish_received[0].value(), uint64_t{kMessages});
  // 2 MB, 256 KiB at a time, and the rounds of one turn.
  EXPECT_GT(broker.shard(0).metrics().turns.value() - turns, 4u);
}

// A connection that is to be read from again, and closed before it is.
TEST(ShardCore, WhoIsClosedIsNotVisitedAgain) {
  Broker broker(4, 1);
  Peer client(broker, 0, "client");
  std::string bytes;
  for (int i = 0; i < 1000; ++i) {
    bytes += support::PublishPacket{.topic = "t", .payload = std::string(1000, 'x')}.Encode(
        support::Version::k5);
  }
  client.line->Send(bytes);
  broker.agenda().After(absl::Milliseconds(4), [&] { client.line->Break(); });
  broker.RunFor(absl::Seconds(1));
  EXPECT_TRUE(client.line->closed_by_broker());
  EXPECT_EQ(broker.shard(0).metrics().connections.value(), 0);
}

TEST(ShardCore, WhatAStreamDoesNotTakeGoesOutWhenItHasRoom) {
  Broker broker(5, 2);
  Peer reader(broker, 0, "reader");
  reader.Subscribe("t");
  Peer publisher(broker, 1, "publisher");
  reader.line->Stall(true);
  for (int i = 0; i < 50; ++i) publisher.Publish("t", std::string(1000, 'x'));
  broker.RunFor(absl::Seconds(1));
  EXPECT_THAT(reader.packets, IsEmpty());
  EXPECT_GT(broker.shard(0).metrics().output_bytes.value(), 0);
  reader.line->Stall(false);
  broker.RunFor(absl::Seconds(1));
  EXPECT_EQ(reader.packets.size(), 50u);
  EXPECT_EQ(broker.shard(0).metrics().output_bytes.value(), 0);
}

// More of QoS 0 than a client reads, for as long as the broker runs.
class Flood {
 public:
  Flood(Broker& broker, const std::string& topic) : broker_(broker), peer_(broker, 0, "flood") {
    for (int i = 0; i < 100; ++i) {
      bytes_ += support::PublishPacket{.topic = topic, .payload = std::string(1000, 'x')}.Encode(
          support::Version::k5);
    }
    GoOn();
  }

 private:
  void GoOn() {
    peer_.line->Send(bytes_);
    broker_.agenda().After(absl::Milliseconds(1), [this] { GoOn(); });
  }

  Broker& broker_;
  const Peer peer_;
  std::string bytes_;
};

// The output of who reads slowly is never empty while QoS 0 fills whatever room there is in it.
TEST(ShardCore, WhatIsAcknowledgedGoesOutAlthoughQos0ComesFasterThanItsClientReads) {
  broker::Limits limits;
  limits.output_bytes_max = 64 * 1024;
  Broker broker(16, 1, {}, limits);
  Peer reader(broker, 0, "reader");
  reader.Subscribe("a");
  reader.Subscribe("b", 1);
  const Peer publisher(broker, 0, "publisher");
  const Flood flood(broker, "a");
  broker.RunFor(absl::Milliseconds(50));
  EXPECT_GT(broker.shard(0).metrics().dropped[broker::DropCause::kOutputFull].value(), 0u);
  for (uint16_t id = 1; id <= 20; ++id) {
    publisher.line->Send(support::PublishPacket{.topic = "b", .qos = 1, .packet_id = id}.Encode(
        support::Version::k5));
  }
  broker.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(std::count_if(reader.packets.begin(), reader.packets.end(),
                          [](const Packet& packet) { return packet.topic == "b"; }),
            20);
}

TEST(ShardCore, RetainedMessagesGoOutAlthoughQos0ComesFasterThanTheirClientReads) {
  for (const bool durable : {false, true}) {
    broker::Limits limits;
    limits.output_bytes_max = 64 * 1024;
    Broker broker(17, 1, {}, limits);
    const Peer publisher(broker, 0, "publisher");
    for (int i = 0; i < 500; ++i) {
      publisher.line->Send(
          support::PublishPacket{.topic = absl::StrCat("r/", i), .payload = "x", .retain = true}
              .Encode(support::Version::k5));
    }
    const std::unique_ptr<Peer> reader =
        durable ? Peer::Durable(broker, 0, "reader") : std::make_unique<Peer>(broker, 0, "reader");
    reader->TakeTypes();
    reader->Subscribe("a");
    const Flood flood(broker, "a");
    broker.RunFor(absl::Milliseconds(50));
    reader->line->Send(support::Subscribe(support::Version::k5, 1, {{"r/#", 0}}));
    broker.RunFor(absl::Milliseconds(400));
    EXPECT_EQ(std::count_if(reader->packets.begin(), reader->packets.end(),
                            [](const Packet& packet) { return packet.topic.starts_with("r/"); }),
              500)
        << (durable ? "durable" : "transient");
  }
}

// The live topics of the durable session that is connected, if they are remembered.
broker::Session::Replays* ReplaysOfDurable(Broker& broker) {
  for (const auto& [number, connection] : broker.shard(0).core().connections) {
    if (connection->session->durable) return connection->session->replays.get();
  }
  return nullptr;
}

// Which topics came live matters as long as its partition may still replay them.
TEST(ShardCore, ADurableSessionForgetsWhatCameLiveAfterItsRetainedMessages) {
  Broker broker(20, 1);
  const std::unique_ptr<Peer> reader = Peer::Durable(broker, 0, "reader");
  reader->TakeTypes();
  const Peer publisher(broker, 0, "publisher");
  const auto publish = [&] {
    publisher.line->Send(
        support::PublishPacket{.topic = "r", .payload = "x", .retain = true}.Encode(
            support::Version::k5));
  };
  publish();
  broker.RunFor(absl::Milliseconds(100));
  reader->line->Send(support::Subscribe(support::Version::k5, 1, {{"r", 0}}));
  while (ReplaysOfDurable(broker) == nullptr) broker.RunFor(absl::Microseconds(10));
  ReplaysOfDurable(broker)->live_topics.Note("r", 1);  // As if it had come now.
  broker.RunFor(absl::Seconds(1));
  EXPECT_EQ(reader->TakeTypes(), std::vector{kSuback}) << "and it does not come again";
  EXPECT_NE(ReplaysOfDurable(broker), nullptr);
  broker.RunFor(absl::Seconds(61));
  reader->line->Send(std::string(support::kPingreq));
  broker.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(ReplaysOfDurable(broker), nullptr);
}

// However long its client takes to read a page, and whatever else comes meanwhile.
TEST(ShardCore, ADurableSessionRemembersWhatCameLiveUntilTheNextPageIsThere) {
  for (const bool more_comes : {false, true}) {
    broker::Limits limits;
    limits.output_bytes_max = 32 * 1024;
    Broker broker(21, 1, {}, limits);
    const std::unique_ptr<Peer> reader = Peer::Durable(broker, 0, "reader");
    reader->TakeTypes();
    reader->Subscribe("q", 1);
    const Peer publisher(broker, 0, "publisher");
    constexpr int kRetained = 200;  // Several pages.
    for (int i = 0; i < kRetained; ++i) {
      publisher.line->Send(support::PublishPacket{
          .topic = absl::StrCat("r/", 100 + i), .payload = std::string(3000, 'x'), .retain = true}
                               .Encode(support::Version::k5));
    }
    broker.RunFor(absl::Seconds(1));
    reader->line->Stall(true);
    reader->line->Send(support::Subscribe(support::Version::k5, 1, {{"r/#", 0}}));
    while (ReplaysOfDurable(broker) == nullptr) broker.RunFor(absl::Microseconds(10));
    ReplaysOfDurable(broker)->live_topics.Note("r/299", 1);  // As if it had come now.
    broker.RunFor(absl::Seconds(61));
    if (more_comes) {
      publisher.line->Send(
          support::PublishPacket{.topic = "q", .payload = "live", .qos = 1, .packet_id = 1}.Encode(
              support::Version::k5));
    }
    broker.RunFor(absl::Milliseconds(100));
    reader->line->Stall(false);
    broker.RunFor(absl::Seconds(1));
    int retained = 0;
    for (const Packet& packet : reader->packets) {
      if (packet.type != kPublish || packet.topic == "q") continue;
      ++retained;
      EXPECT_NE(packet.topic, "r/299") << "it came live";
    }
    EXPECT_EQ(retained, kRetained - 1);
    EXPECT_NE(ReplaysOfDurable(broker), nullptr);
    broker.RunFor(absl::Seconds(61));
    reader->line->Send(std::string(support::kPingreq));
    broker.RunFor(absl::Milliseconds(100));
    EXPECT_EQ(ReplaysOfDurable(broker), nullptr);
  }
}

// A subscription acts from when its SUBSCRIBE is read: whoever hears anything of the client's shard
// after that, and publishes at another one, reaches the subscriber. For none of many seeds the
// other shard knows of it too late, though SUBACK has not come yet.
TEST(ShardCore, ASubscriptionIsKnownEverywhereBeforeItsClientHearsAnythingAgain) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Broker broker(seed, 3);
    Peer subscriber(broker, 0, "subscriber");
    Peer publisher(broker, 1 + seed % 2, "publisher");
    subscriber.on_packet = [&](support::PacketType type) {
      if (type == kPingresp) publisher.Publish("t", "x");
    };
    subscriber.line->Send(support::Subscribe(support::Version::k5, 1, {{"t", 0}}) +
                          std::string(support::kPingreq));
    broker.RunFor(absl::Seconds(1));
    ASSERT_THAT(subscriber.TakeTypes(), Contains(kPublish));
  }
}

// The rules change while members are subscribed. Whichever shard they are on, who may not read any
// more only passes its turn on; and where nobody may, the message ends.
TEST(ShardCore, ASharedMessageGoesPastMembersThatMayNotReadItOnWhicheverShardTheyAre) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Broker broker(seed, 3);
    std::vector<std::unique_ptr<Peer>> barred;
    for (size_t i = 0; i < 6; ++i) {
      barred.push_back(std::make_unique<Peer>(broker, i % 3, "barred" + std::to_string(i)));
      barred.back()->Subscribe("$share/g/t", 2);
    }
    Peer member(broker, seed % 3, "member");
    member.Subscribe("$share/g/t", 2);
    Peer publisher(broker, 0, "publisher");
    for (size_t i = 0; i < 6; ++i) broker.TakeRightsFrom("barred" + std::to_string(i));
    const auto publish = [&] {
      for (uint16_t i = 1; i <= 30; ++i) {
        publisher.line->Send(support::PublishPacket{
            .topic = "t", .payload = std::to_string(i), .qos = i % 3u, .packet_id = i}
                                 .Encode(support::Version::k5));
        if (i % 3u == 2) publisher.line->Send(support::Ack(kPubrel, i));
      }
      broker.RunFor(absl::Seconds(1));
    };
    publish();
    EXPECT_EQ(member.TakeTypes(), std::vector<support::PacketType>(30, kPublish));
    broker.TakeRightsFrom("member");
    publish();
    EXPECT_THAT(member.packets, IsEmpty());
    for (const auto& peer : barred) EXPECT_THAT(peer->packets, IsEmpty());
    uint64_t dropped = 0;
    for (size_t i = 0; i < 3; ++i) {
      dropped += broker.shard(i).metrics().dropped[broker::DropCause::kNoShareMember].value();
    }
    EXPECT_EQ(dropped, 30u);
  }
}

// The same of members whose sessions are kept, connected or away: the partition would store for
// them what they never get.
TEST(ShardCore, ASharedMessageIsNotStoredForMembersThatMayNotReadItAway) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Broker broker(seed, 3);
    std::vector<std::unique_ptr<Peer>> barred;
    for (size_t i = 0; i < 6; ++i) {
      barred.push_back(Peer::Durable(broker, i % 3, "barred" + std::to_string(i)));
      ASSERT_EQ(barred.back()->TakeTypes(), std::vector{kConnack});
      barred.back()->Subscribe("$share/g/t", 2);
    }
    const auto member = Peer::Durable(broker, seed % 3, "member");
    member->TakeTypes();
    member->Subscribe("$share/g/t", 2);
    Peer publisher(broker, 0, "publisher");
    for (size_t i = 0; i < 6; ++i) broker.TakeRightsFrom("barred" + std::to_string(i));
    for (size_t i = 0; i < 6; i += 2) barred[i]->line->Break();
    broker.RunFor(absl::Milliseconds(100));
    for (uint16_t i = 1; i <= 30; ++i) {
      publisher.line->Send(support::PublishPacket{
          .topic = "t", .payload = std::to_string(i), .qos = 1, .packet_id = i}
                               .Encode(support::Version::k5));
    }
    broker.RunFor(absl::Seconds(1));
    EXPECT_EQ(publisher.TakeTypes(), std::vector<support::PacketType>(30, kPuback));
    EXPECT_EQ(member->TakeTypes(), std::vector<support::PacketType>(30, kPublish));
    for (const auto& peer : barred) EXPECT_THAT(peer->packets, IsEmpty());
  }
}

TEST(ShardCore, WhatWaitsForAMemberThatMayNotReadItAnyMoreGoesToAnotherOne) {
  Broker broker(7, 2);
  Peer slow(broker, 0);
  support::ConnectPacket connect{.client_id = "slow"};
  connect.properties.Number(support::PropertyId::kReceiveMaximum, 1);
  slow.line->Send(connect.Encode());
  broker.RunFor(absl::Milliseconds(100));
  slow.TakeTypes();
  slow.Subscribe("$share/g/t", 1);
  Peer publisher(broker, 1, "publisher");
  for (uint16_t i = 1; i <= 5; ++i) {
    publisher.line->Send(
        support::PublishPacket{.topic = "t", .payload = "x", .qos = 1, .packet_id = i}.Encode(
            support::Version::k5));
  }
  broker.RunFor(absl::Seconds(1));
  ASSERT_EQ(slow.packets.size(), 1u);
  Peer member(broker, 1, "member");
  member.Subscribe("$share/g/t", 1);
  broker.TakeRightsFrom("slow");
  slow.line->Send(support::Ack(kPuback, slow.packets[0].packet_id));
  broker.RunFor(absl::Seconds(1));
  EXPECT_EQ(member.TakeTypes(), std::vector<support::PacketType>(4, kPublish));
}

TEST(ShardCore, AShutdownSaysSoToEveryoneAndIsFinishedWhenTheyAreGone) {
  Broker broker(6, 1);
  Peer client(broker, 0, "client");
  broker.shard(0).Mail(broker::Control{[&] { broker.shard(0).core().ShutDown(); }});
  broker.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(client.packets.size(), 1u);
  EXPECT_EQ(client.packets[0].reason, 0x8B);
  EXPECT_NE(client.ended_ns, 0);
  EXPECT_FALSE(broker.shard(0).core().finished()) << "it lingers until the client ends too";
  client.line->Finish();
  broker.RunFor(absl::Milliseconds(100));
  EXPECT_TRUE(broker.shard(0).core().finished());
}

class Draining : public testing::Test {
 protected:
  static constexpr size_t kClients = 10;

  explicit Draining(broker::ShardOptions options = {}) : broker(7, 1, std::move(options)) {
    for (size_t i = 0; i < kClients; ++i)
      clients.push_back(std::make_unique<Peer>(broker, 0, absl::StrCat("client-", i)));
  }

  broker::ShardCore& core() { return broker.shard(0).core(); }
  void BeginDrain(uint32_t ticks) {
    broker.shard(0).Mail(broker::Control{[this, ticks] { core().drain.Begin(ticks); }});
  }
  size_t Told() const {
    return static_cast<size_t>(
        std::count_if(clients.begin(), clients.end(), [](const auto& client) {
          return !client->packets.empty() && client->packets.back().type == kDisconnect;
        }));
  }

  Broker broker;
  std::vector<std::unique_ptr<Peer>> clients;
};

TEST_F(Draining, TellsClientsToGoEvenlyAndIsDrainedWhenTheLastHasGone) {
  BeginDrain(50);
  broker.RunFor(absl::Milliseconds(300));
  EXPECT_EQ(Told(), 1u) << "the first at once";
  broker.RunFor(absl::Seconds(2));
  EXPECT_GE(Told(), 4u);
  EXPECT_LE(Told(), 6u);
  broker.RunFor(absl::Milliseconds(2800));
  EXPECT_EQ(Told(), kClients);
  for (const auto& client : clients) EXPECT_EQ(client->packets.back().reason, 0x8B);
  EXPECT_FALSE(core().drain.done());
  for (const auto& client : clients) client->line->Finish();
  broker.RunFor(absl::Milliseconds(100));
  EXPECT_TRUE(core().drain.done());
}

TEST_F(Draining, ServesThoseWhoAreStillThereAndTakesNobodyIn) {
  BeginDrain(50);
  broker.RunFor(absl::Milliseconds(300));
  Peer late(broker, 0);
  for (const auto& client : clients) client->line->Send(std::string(support::kPingreq));
  broker.RunFor(absl::Milliseconds(100));
  EXPECT_NE(late.ended_ns, 0);
  size_t answered = 0;
  for (const auto& client : clients) {
    for (const Packet& packet : client->packets) answered += packet.type == kPingresp ? 1 : 0;
  }
  EXPECT_EQ(answered, kClients - 1);
}

TEST_F(Draining, EndsAtOnceWhenHurried) {
  BeginDrain(50);
  broker.RunFor(absl::Milliseconds(300));
  broker.shard(0).Mail(broker::Control{[this] { core().ShutDown(absl::ZeroDuration()); }});
  broker.RunFor(absl::Milliseconds(200));
  EXPECT_EQ(Told(), kClients);
  EXPECT_TRUE(core().finished()) << "though nobody has closed";
}

TEST_F(Draining, WaitsForClientsIfThereIsNoDeadline) {
  broker.shard(0).Mail(broker::Control{[this] { core().ShutDown(absl::InfiniteDuration()); }});
  broker.RunFor(absl::Milliseconds(1500));
  EXPECT_EQ(Told(), kClients);
  EXPECT_FALSE(core().finished()) << "nobody has closed";
}

class DrainingToAnother : public Draining {
 protected:
  DrainingToAnother() : Draining(To("other.example:1883")) {}
  static broker::ShardOptions To(std::string reference) {
    broker::ShardOptions options;
    options.drain.server_reference = std::move(reference);
    return options;
  }
};

TEST_F(DrainingToAnother, SaysWhereToGoIfTheClientTakesASentenceSoLong) {
  constexpr uint32_t kSmall = 20;
  Peer small(broker, 0);
  small.line->Send(support::ConnectPacket{
      .client_id = "small",
      .properties = support::Number(support::PropertyId::kMaximumPacketSize, kSmall)}
                       .Encode());
  broker.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(small.TakeTypes(), std::vector{kConnack});
  BeginDrain(1);
  broker.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(Told(), kClients);
  EXPECT_EQ(clients[0]->packets.back().reason, 0x9C);
  EXPECT_EQ(clients[0]->packets.back().Text(support::PropertyId::kServerReference),
            "other.example:1883");
  ASSERT_EQ(small.packets.size(), 1u);
  EXPECT_EQ(small.packets[0].reason, 0x9C);
  EXPECT_LE(small.packets[0].bytes, kSmall) << "[MQTT5-3.1.2-24]";
}

}  // namespace
}  // namespace sim
