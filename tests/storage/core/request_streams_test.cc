// A shard's requests to partitions, and what a partition remembers of them.
#include "storage/core/request_streams.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/core/origins.h"
#include "tests/storage/core/harness.h"

namespace storage {
namespace {

constexpr uint32_t kPartitions = 4;

Addressed Number(RequestStreams& streams, Request request) {
  Addressed asked(std::move(request));
  streams.Number(asked);
  return asked;
}

Request AnAcknowledge(const std::string& client_id) {
  Acknowledge acknowledge;
  acknowledge.client_id = client_id;
  return acknowledge;
}

Request ASubscribe(const std::string& client_id, Token token) {
  Subscribe subscribe;
  subscribe.client_id = client_id;
  subscribe.token = token;
  return subscribe;
}

TEST(RequestStreams, EachPartitionHasItsOwnNumbers) {
  const uint32_t partitions = kPartitions;
  RequestStreams streams(partitions);
  std::vector<uint64_t> last(kPartitions, 0);
  for (int i = 0; i < 100; ++i) {
    const std::string client_id = std::to_string(i);
    const PartitionId expected = PartitionOfClient(client_id, kPartitions);
    const Addressed asked = Number(streams, AnAcknowledge(client_id));
    EXPECT_EQ(asked.partition, expected);
    EXPECT_EQ(asked.sequence, ++last[expected]);
    EXPECT_EQ(asked.kept_from, 1u);
  }
  EXPECT_EQ(Number(streams, ConfirmRoutes{7}).sequence, 0u);
  EXPECT_EQ(Number(streams, ScanRetained{}).sequence, 0u);
  EXPECT_EQ(streams.kept(), 100u);
}

TEST(RequestStreams, ALeaderThatAsksBehindALaterOneIsNotHeeded) {
  const uint32_t partitions = 2;
  RequestStreams streams(partitions);
  EXPECT_TRUE(streams.Heeds({.partition = 1, .life = 7, .by = NodeId(1)}));
  EXPECT_TRUE(streams.Heeds({.partition = 1, .life = 9, .by = NodeId(2)}));
  EXPECT_FALSE(streams.Heeds({.partition = 1, .life = 8, .by = NodeId(1)}));
  EXPECT_TRUE(streams.Heeds({.partition = 0, .life = 8, .by = NodeId(1)}));
  EXPECT_TRUE(streams.Heeds({.partition = 1, .life = 9, .by = NodeId(2)}));
}

TEST(RequestStreams, WhatIsAcknowledgedIsNotKept) {
  const uint32_t partitions = 1;
  RequestStreams streams(partitions);
  for (int i = 0; i < 10; ++i) Number(streams, AnAcknowledge("a"));
  streams.OnAck({.partition = 0, .through = 4});
  EXPECT_EQ(streams.kept(), 6u);
  EXPECT_EQ(Number(streams, AnAcknowledge("a")).kept_from, 5u);
  streams.OnAck({.partition = 0, .through = 4});
  EXPECT_EQ(streams.kept(), 7u);
  streams.OnAck({.partition = 0, .through = 11});
  EXPECT_EQ(streams.kept(), 0u);
  const Addressed next = Number(streams, AnAcknowledge("a"));
  EXPECT_EQ(next.sequence, 12u);
  EXPECT_EQ(next.kept_from, 12u);
}

TEST(RequestStreams, AnAnswerThatComesLaterIsWaitedFor) {
  const uint32_t partitions = 1;
  RequestStreams streams(partitions);
  Number(streams, ASubscribe("a", 1));
  Number(streams, ASubscribe("a", 2));
  Number(streams, AnAcknowledge("a"));
  streams.OnAnswer(2);  // Before the partition says so.
  EXPECT_EQ(streams.kept(), 2u);
  streams.OnAck({.partition = 0, .through = 3});
  EXPECT_EQ(streams.kept(), 1u);
  streams.OnAnswer(1);
  EXPECT_EQ(streams.kept(), 0u);
  streams.OnAnswer(1);
  streams.OnAnswer(99);
  EXPECT_EQ(streams.kept(), 0u);
}

// A partition has no leader, and clients try again and again.
TEST(RequestStreams, WhatNobodyWaitsForAnyMoreTakesNoMemoryAndNoNumberIsGivenTwice) {
  const uint32_t partitions = 1;
  RequestStreams streams(partitions);
  Number(streams, AnAcknowledge("first"));
  uint64_t last = 1;
  for (Token token = 1; token <= 10'000; ++token) {
    OpenSession open;
    open.client_id = "a";
    open.token = token;
    EXPECT_EQ(Number(streams, open).sequence, ++last);
    streams.OnAnswer(token);
    CloseSession close;
    close.client_id = "a";
    Addressed asked{Request(close)};
    streams.NumberForThisLeader(asked);
    EXPECT_EQ(asked.sequence, ++last);
    EXPECT_EQ(asked.kept_from, 1u);
  }
  EXPECT_EQ(streams.kept(), 1u);
  EXPECT_LT(streams.places(), 200u);
  Number(streams, AnAcknowledge("last"));
  Claims claims;
  std::vector<Addressed> repeats = streams.Repeat(claims, [](const Request&) { return false; });
  ASSERT_EQ(repeats.size(), 2u);
  EXPECT_EQ(repeats[0].sequence, 1u);
  EXPECT_EQ(repeats[1].sequence, last + 1);
  streams.OnAck({.partition = 0, .through = last});
  EXPECT_EQ(streams.kept(), 1u);
  repeats = streams.Repeat(claims, [](const Request&) { return false; });
  ASSERT_EQ(repeats.size(), 1u);
  EXPECT_EQ(repeats[0].sequence, last + 1);
  EXPECT_EQ(claims.kept_from, last + 1);
  streams.OnAck({.partition = 0, .through = last + 1});
  EXPECT_EQ(streams.places(), 0u);
}

// The leader that refused it has not said to be done with it, and the next one would accept it.
TEST(RequestStreams, WhatIsAnsweredIsNotAskedAgain) {
  const uint32_t partitions = 1;
  RequestStreams streams(partitions);
  for (Token token = 1; token <= 3; ++token) {
    AcceptInbound accept;
    accept.client_id = "a";
    accept.token = token;
    Number(streams, accept);
  }
  Claims claims;
  const std::vector<Addressed> repeats = streams.Repeat(
      claims, [](const Request& asked) { return std::get<AcceptInbound>(asked).token == 2; });
  ASSERT_EQ(repeats.size(), 2u);
  EXPECT_EQ(claims.repeats, 2u);
  EXPECT_EQ(claims.kept_from, 1u);
  EXPECT_EQ(repeats[0].sequence, 1u);
  EXPECT_EQ(repeats[1].sequence, 3u);
}

// ---- What the partition remembers --------------------------------------------------------------

// Requests of one origin, some of which are passed over; each is asked for several times while it
// may be. Against a set that forgets nothing.
TEST(OriginsTest, EachRequestIsTakenOnceHoweverOftenItIsAskedFor) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    Origins origins;
    std::set<uint64_t> taken;
    uint64_t next = 1;
    uint64_t kept_from = 1;
    for (int step = 0; step < 500; ++step) {
      const uint64_t sequence = rng.Chance(0.6) ? next++ : rng.Between(kept_from, next);
      next = std::max(next, sequence + 1);
      EXPECT_EQ(origins.IsApplied(3, sequence), taken.contains(sequence));
      if (rng.Chance(0.3)) continue;  // Refused.
      EXPECT_EQ(origins.Take(3, sequence), taken.insert(sequence).second);
      if (rng.Chance(0.05)) {
        kept_from = rng.Between(kept_from, next);
        origins.ForgetBelow(3, kept_from);
        EXPECT_TRUE(origins.FirstHole(3) == 0 || origins.FirstHole(3) >= kept_from);
      }
      if (!rng.Chance(0.1)) continue;
      pb::Meta meta;
      origins.WriteTo(meta);
      Origins loaded;
      ASSERT_TRUE(loaded.ReadFrom(meta).ok());
      EXPECT_EQ(loaded.Dump(), origins.Dump());
      origins = loaded;
    }
    EXPECT_FALSE(origins.IsApplied(4, 1));
  }
}

TEST(OriginsTest, ADamagedRecordIsNoticed) {
  pb::Meta meta;
  pb::Origin& record = *meta.add_origins();
  record.set_number(1);
  record.set_last(5);
  for (const uint64_t number : {2, 9}) record.add_holes(number);
  Origins origins;
  EXPECT_FALSE(origins.ReadFrom(meta).ok());
}

void Ask(pb::Command& command, uint64_t sequence) {
  command.set_origin(1);
  command.set_sequence(sequence);
}

class Repeats : public testing::Test {
 protected:
  Outcome Enqueue(uint64_t sequence, const std::string& payload) {
    pb::Command& command = h_.Add();
    Ask(command, sequence);
    command.mutable_enqueue()->set_message(Stored({.topic = "t", .payload = payload}));
    command.mutable_enqueue()->set_match(true);
    return h_.Commit().at(0);
  }
  uint64_t queued() { return h_.partition().Find("c")->queue.messages(); }

  Harness h_;
};

TEST_F(Repeats, AreNotAppliedAgain) {
  h_.Open("c");
  h_.Subscribe("c", "t");
  EXPECT_EQ(Enqueue(1, "a").code, OutcomeCode::kOk);
  EXPECT_EQ(Enqueue(1, "a").code, OutcomeCode::kRepeat);
  EXPECT_EQ(Enqueue(3, "b").code, OutcomeCode::kOk);
  EXPECT_EQ(Enqueue(3, "b").code, OutcomeCode::kRepeat);
  EXPECT_EQ(Enqueue(2, "was refused before").code, OutcomeCode::kOk);
  EXPECT_EQ(Enqueue(2, "was refused before").code, OutcomeCode::kRepeat);
  EXPECT_EQ(queued(), 3u);
}

TEST_F(Repeats, OfARequestWithSeveralCommandsAllAreOrNone) {
  h_.Open("c");
  h_.Subscribe("c", "t");
  for (int i = 0; i < 2; ++i) {
    for (const char* const payload : {"a", "b"}) {
      pb::Command& command = h_.Add();
      Ask(command, 7);
      command.mutable_enqueue()->set_message(Stored({.topic = "t", .payload = payload}));
      command.mutable_enqueue()->set_match(true);
    }
    for (const Outcome& outcome : h_.Commit()) {
      EXPECT_EQ(outcome.code, i == 0 ? OutcomeCode::kOk : OutcomeCode::kRepeat);
    }
  }
  EXPECT_EQ(queued(), 2u);
}

TEST_F(Repeats, HolesAreForgottenWhenTheirAskerHasThem) {
  h_.Open("c");
  Enqueue(100, "a");
  EXPECT_EQ(h_.partition().origins().FirstHole(1), 1u);
  pb::Command& command = h_.Add();
  Ask(command, 101);
  command.set_kept_from(60);
  command.mutable_enqueue()->set_message(Stored({.topic = "t", .payload = "b"}));
  h_.Commit();
  EXPECT_EQ(h_.partition().origins().FirstHole(1), 60u);
}

// Whether its CloseNode has come yet or comes behind the first request of the next life.
TEST_F(Repeats, ANewLifeOfANodeIsNotTakenForTheOneBefore) {
  h_.Open("c");
  h_.Subscribe("c", "t");
  const auto origin_of = [](uint32_t incarnation) {
    return OriginOf({.node = NodeId(2), .shard = 1, .incarnation = Incarnation(incarnation)});
  };
  const auto enqueue = [&](uint64_t origin, uint64_t sequence) {
    pb::Command& command = h_.Add();
    command.set_origin(origin);
    command.set_sequence(sequence);
    command.mutable_enqueue()->set_message(Stored({.topic = "t", .payload = "a"}));
    command.mutable_enqueue()->set_match(true);
    h_.Commit();
  };
  enqueue(origin_of(1), 1);
  enqueue(origin_of(1), 2);
  enqueue(origin_of(2), 1);
  EXPECT_EQ(queued(), 3u);
  enqueue(origin_of(2), 1);
  EXPECT_EQ(queued(), 3u);
  h_.Reload();
  EXPECT_THAT(h_.partition().origins().Shards(),
              testing::ElementsAre(
                  ShardAddress{.node = NodeId(2), .shard = 1, .incarnation = Incarnation(1)},
                  ShardAddress{.node = NodeId(2), .shard = 1, .incarnation = Incarnation(2)}));
  pb::CloseNode& gone = *h_.Add().mutable_close_node();
  gone.set_node(2);
  gone.set_incarnation(1);
  h_.Commit();
  EXPECT_TRUE(h_.partition().origins().IsApplied(origin_of(2), 1));
  EXPECT_FALSE(h_.partition().origins().IsApplied(origin_of(1), 1));
}

TEST(Origins, NobodyHasTheNumberOfSomebodyElse) {
  EXPECT_EQ(OriginOf({.shard = 0}), 1u);  // As it has always been.
  EXPECT_EQ(OriginOf({.shard = 3, .incarnation = Incarnation(9)}), 4u);
  const uint64_t outbox = Origins::OfOutbox(63);
  EXPECT_TRUE(Origins::IsOutbox(outbox));
  for (const uint64_t of_shard :
       {OriginOf({.shard = 65534}), OriginOf({.node = NodeId(1)}),
        OriginOf(
            {.node = NodeId(65535), .shard = 65535, .incarnation = Incarnation(0xFFFFFFFF)})}) {
    EXPECT_FALSE(Origins::IsOutbox(of_shard)) << of_shard;
  }
}

TEST_F(Repeats, AfterAStartNumbersBeginAnew) {
  h_.Open("c");
  h_.Subscribe("c", "t");
  Enqueue(1, "a");
  h_.Add().mutable_close_node();
  h_.Commit();
  EXPECT_TRUE(h_.partition().origins().Shards().empty());
  EXPECT_EQ(Enqueue(1, "b").code, OutcomeCode::kOk);
  EXPECT_EQ(queued(), 2u);
}

}  // namespace
}  // namespace storage
