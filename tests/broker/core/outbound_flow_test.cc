// OutboundFlow: the exchanges of QoS 1 and 2, durable sequence numbers, and the queue behind them.
#include "broker/core/outbound_flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"

namespace broker {
namespace {

using mqtt::PacketId;
using mqtt::QoS;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Result = OutboundFlow::AckResult;

constexpr QoS kQos1 = QoS::kAtLeastOnce;
constexpr QoS kQos2 = QoS::kExactlyOnce;

mqtt::MessagePtr MessageOf(std::string_view topic) {
  return mqtt::Message::Create({.topic = topic, .payload = "payload"});
}

// ---- Exchanges ----

TEST(OutboundFlow, Qos1EndsWithPubAck) {
  OutboundFlow flow(10);
  const PacketId id = flow.Start(kQos1);
  EXPECT_EQ(flow.in_flight(), 1u);
  EXPECT_EQ(flow.OnPubAck(id), Result::kDone);
  EXPECT_EQ(flow.in_flight(), 0u);
  EXPECT_EQ(flow.OnPubAck(id), Result::kUnknown);
}

TEST(OutboundFlow, Qos2GoesThroughPubRecAndPubComp) {
  OutboundFlow flow(10);
  const PacketId id = flow.Start(kQos2);
  EXPECT_EQ(flow.OnPubRec(id, false, false), Result::kRelease);
  EXPECT_EQ(flow.OnPubRec(id, false, false), Result::kRelease) << "again: PUBREL again";
  EXPECT_EQ(flow.in_flight(), 1u) << "the window counts it until PUBCOMP";
  EXPECT_EQ(flow.OnPubComp(id), Result::kDone);
  EXPECT_EQ(flow.in_flight(), 0u);
  EXPECT_EQ(flow.OnPubRec(id, false, false), Result::kUnknown);
  EXPECT_EQ(flow.OnPubComp(id), Result::kUnknown);
}

TEST(OutboundFlow, PubRelOfADurableSessionWaitsForTheCommit) {
  OutboundFlow flow(10);
  flow.StartDurable(5, kQos2, false);
  const PacketId id = OutboundFlow::IdOf(5);
  EXPECT_FALSE(flow.OnPubRecCommitted(id));
  EXPECT_EQ(flow.OnPubRec(id, false, true), Result::kCommitFirst);
  EXPECT_EQ(flow.OnPubComp(id), Result::kWrongType) << "no PUBREL was sent";
  EXPECT_TRUE(flow.OnPubRecCommitted(id));
  EXPECT_FALSE(flow.OnPubRecCommitted(id)) << "PUBREL leaves once";
  EXPECT_EQ(flow.OnPubRec(id, false, true), Result::kRelease);
  EXPECT_EQ(flow.OnPubComp(id), Result::kDone);
  EXPECT_FALSE(flow.OnPubRecCommitted(id));
}

TEST(OutboundFlow, ARefusingPubRecEndsTheExchange) {
  for (const bool durable : {false, true}) {
    OutboundFlow flow(10);
    const PacketId id = flow.Start(kQos2);
    EXPECT_EQ(flow.OnPubRec(id, true, durable), Result::kDone);
    EXPECT_EQ(flow.in_flight(), 0u);
    EXPECT_EQ(flow.OnPubComp(id), Result::kUnknown);
  }
}

TEST(OutboundFlow, AfterItsPubRecAClientCannotRefuseAnyMore) {
  OutboundFlow flow(10);
  const PacketId id = flow.Start(kQos2);
  EXPECT_EQ(flow.OnPubRec(id, false, false), Result::kRelease);
  EXPECT_EQ(flow.OnPubRec(id, true, false), Result::kRelease);
  EXPECT_EQ(flow.in_flight(), 1u);
}

TEST(OutboundFlow, TheWrongAcknowledgementChangesNothing) {
  OutboundFlow flow(10);
  const PacketId one = flow.Start(kQos1);
  const PacketId two = flow.Start(kQos2);
  EXPECT_EQ(flow.OnPubRec(one, false, false), Result::kWrongType);
  EXPECT_EQ(flow.OnPubRec(one, true, true), Result::kWrongType);
  EXPECT_EQ(flow.OnPubComp(one), Result::kWrongType);
  EXPECT_EQ(flow.OnPubAck(two), Result::kWrongType);
  EXPECT_EQ(flow.OnPubComp(two), Result::kWrongType);
  EXPECT_EQ(flow.OnPubRec(two, false, false), Result::kRelease);
  EXPECT_EQ(flow.OnPubAck(two), Result::kWrongType);
  EXPECT_EQ(flow.in_flight(), 2u);
  EXPECT_EQ(flow.OnPubAck(one), Result::kDone);
  EXPECT_EQ(flow.OnPubComp(two), Result::kDone);
}

TEST(OutboundFlow, ARestoredReleaseWaitsForPubComp) {
  OutboundFlow flow(10);
  flow.StartDurable(70'000, kQos2, true);
  const PacketId id = OutboundFlow::IdOf(70'000);
  EXPECT_EQ(flow.OnPubRec(id, false, true), Result::kRelease);
  EXPECT_EQ(flow.OnPubComp(id), Result::kDone);
}

// ---- Window ----

TEST(OutboundFlow, NeverMoreInFlightThanTheWindow) {
  OutboundFlow flow(3);
  std::vector<PacketId> ids;
  while (flow.has_room()) ids.push_back(flow.Start(kQos1));
  EXPECT_THAT(ids, ElementsAre(PacketId{1}, PacketId{2}, PacketId{3}));
  flow.OnPubAck(PacketId{2});
  EXPECT_TRUE(flow.has_room());
  EXPECT_EQ(flow.Start(kQos2), PacketId{4}) << "not the one that was used last";
  EXPECT_FALSE(flow.has_room());
}

TEST(OutboundFlow, TheWidestWindowLeavesAnIdentifierFree) {
  OutboundFlow flow(65'535);
  size_t started = 0;
  for (; flow.has_room(); ++started) flow.Start(kQos1);
  EXPECT_EQ(started, 65'534u);
  EXPECT_EQ(flow.OnPubAck(PacketId{1}), Result::kDone);
  EXPECT_TRUE(flow.has_room());
}

// ---- Durable sequence numbers ----

TEST(OutboundFlow, IdentifiersOfSequencesAreNeverZero) {
  for (const uint64_t sequence :
       {uint64_t{1}, uint64_t{65'534}, uint64_t{65'535}, uint64_t{65'536}, uint64_t{131'069},
        uint64_t{131'070}, uint64_t{1} << 40, UINT64_MAX / 2}) {
    EXPECT_NE(OutboundFlow::IdOf(sequence).value, 0) << sequence;
    EXPECT_EQ(OutboundFlow::IdOf(sequence), OutboundFlow::IdOf(sequence + 65'535));
    EXPECT_NE(OutboundFlow::IdOf(sequence), OutboundFlow::IdOf(sequence + 65'534));
  }
}

TEST(OutboundFlow, IdentifiersLeadBackToTheirSequencesAcrossTheWrapAround) {
  for (const uint64_t start :
       {uint64_t{1}, uint64_t{65'000}, uint64_t{65'535 * 7 - 50}, (uint64_t{1} << 40) + 17}) {
    for (const uint64_t window : {uint64_t{1}, uint64_t{100}, uint64_t{1024}, uint64_t{65'534}}) {
      OutboundFlow flow(65'535);
      const uint64_t last = start + window - 1;
      for (uint64_t sequence = start; sequence <= last; ++sequence)
        flow.StartDurable(sequence, kQos1, false);
      ASSERT_EQ(flow.in_flight(), window);
      for (uint64_t sequence = start; sequence <= last; ++sequence)
        ASSERT_EQ(flow.SequenceOf(OutboundFlow::IdOf(sequence)), sequence);
    }
  }
}

TEST(OutboundFlow, AnOlderSequenceSentAgainKeepsTheOthers) {
  OutboundFlow flow(65'535);
  flow.StartDurable(65'540, kQos1, false);
  flow.StartDurable(65'530, kQos2, true);
  EXPECT_EQ(flow.SequenceOf(OutboundFlow::IdOf(65'540)), 65'540u);
  EXPECT_EQ(flow.SequenceOf(OutboundFlow::IdOf(65'530)), 65'530u);
}

// A long life of a durable session: acknowledged out of order within a window, past the wrap-around
// several times.
TEST(OutboundFlow, SequencesAreKnownForTheWholeLifeOfASession) {
  base::Rng rng(3);
  OutboundFlow flow(1024);
  std::deque<uint64_t> open;
  uint64_t next = 1;
  while (next < 400'000) {
    if (flow.has_room() && rng.Chance(0.55)) {
      if (rng.Chance(0.05)) next += rng.Below(100);  // QoS 0 and expired ones use none of ours.
      flow.StartDurable(next, kQos1, false);
      open.push_back(next++);
    } else if (!open.empty()) {
      const auto it = open.begin() + static_cast<ptrdiff_t>(rng.Below(open.size()));
      const PacketId id = OutboundFlow::IdOf(*it);
      ASSERT_EQ(flow.SequenceOf(id), *it);
      ASSERT_EQ(flow.OnPubAck(id), Result::kDone);
      ASSERT_EQ(flow.SequenceOf(id), *it) << "also when it is done";
      open.erase(it);
    }
    ASSERT_EQ(flow.in_flight(), open.size());
  }
}

// ---- The queue ----

TEST(OutboundFlow, TheQueueIsFirstInFirstOutAndCountsBytes) {
  OutboundFlow flow(1);
  EXPECT_TRUE(flow.queue_empty());
  EXPECT_EQ(flow.queued_bytes(), 0u);
  uint64_t bytes = 0;
  for (const char* const topic : {"a", "bb", "ccc"}) {
    OutboundMessage message{MessageOf(topic), kQos1, true, {7, 8}};
    bytes += message.message->bytes();
    flow.Push(std::move(message));
    EXPECT_EQ(flow.queued_bytes(), bytes);
  }
  EXPECT_EQ(flow.queued_messages(), 3u);
  EXPECT_EQ(flow.Front().message->topic(), "a");
  const OutboundMessage first = flow.Pop();
  EXPECT_EQ(first.message->topic(), "a");
  EXPECT_EQ(first.qos, kQos1);
  EXPECT_TRUE(first.retain);
  EXPECT_THAT(first.subscription_ids, ElementsAre(7, 8));
  EXPECT_EQ(flow.Pop().message->topic(), "bb");
  EXPECT_EQ(flow.Pop().message->topic(), "ccc");
  EXPECT_TRUE(flow.queue_empty());
  EXPECT_EQ(flow.queued_messages(), 0u);
  EXPECT_EQ(flow.queued_bytes(), 0u);
  flow.Push({MessageOf("d"), kQos1});
  EXPECT_EQ(flow.Pop().message->topic(), "d");
}

// ---- Shared messages ----

std::vector<std::string> HandedOn(OutboundFlow& flow) {
  std::vector<std::string> handed_on;
  flow.TakeShared([&](mqtt::MessagePtr message, const std::string& filter) {
    handed_on.push_back(std::string(message->topic()) + " " + filter);
  });
  return handed_on;
}

// [MQTT5-4.8.2-5]: QoS 2 in flight goes to no other client, whether PUBREC has come or not.
TEST(OutboundFlow, SharedMessagesThatOthersMayGetAreHandedOnInOrder) {
  OutboundFlow flow(100);
  const auto start = [&](std::string_view topic, QoS qos) {
    const PacketId id = flow.Start(qos);
    flow.RememberShared(id, MessageOf(topic), "$share/g/#");
    return id;
  };
  flow.OnPubAck(start("acknowledged", kQos1));
  flow.OnPubRec(start("received", kQos2), false, false);
  flow.OnPubRec(start("refused", kQos2), true, false);
  flow.Start(kQos1);  // Not shared.
  std::vector<std::string> expected;
  for (int i = 0; i < 20; ++i) {
    const std::string topic = "t" + std::to_string(i);
    start(topic, i % 2 == 0 ? kQos1 : kQos2);
    if (i % 2 == 0) expected.push_back(topic + " $share/g/#");
  }
  flow.Push({MessageOf("own"), kQos1});
  for (const QoS qos : {kQos1, kQos2}) {  // Never sent.
    flow.Push({MessageOf("queued"), qos, false, {}, "$share/h/#"});
    expected.push_back("queued $share/h/#");
  }
  EXPECT_EQ(HandedOn(flow), expected);
  EXPECT_THAT(HandedOn(flow), IsEmpty()) << "once";
  EXPECT_TRUE(flow.queue_empty());
}

TEST(OutboundFlow, AnIdentifierUsedAgainHoldsNoOldSharedMessage) {
  OutboundFlow flow(1);
  for (int i = 0; i < 65'535; ++i) {
    const PacketId id = flow.Start(kQos1);
    if (i == 0) flow.RememberShared(id, MessageOf("old"), "$share/g/#");
    flow.OnPubAck(id);
  }
  EXPECT_EQ(flow.Start(kQos1), PacketId{1});
  EXPECT_THAT(HandedOn(flow), IsEmpty());
}

// ---- Against a map of states ----

TEST(OutboundFlow, DoesWhatTheStateDiagramsSay) {
  enum class Stage { kAck, kRec, kCommit, kComp };
  base::Rng rng(11);
  OutboundFlow flow(50);
  std::map<uint16_t, Stage> model;
  for (int step = 0; step < 100'000; ++step) {
    SCOPED_TRACE(step);
    ASSERT_EQ(flow.has_room(), model.size() < 50);
    if (flow.has_room() && rng.Chance(0.5)) {
      const QoS qos = rng.Chance(0.5) ? kQos1 : kQos2;
      const PacketId id = flow.Start(qos);
      ASSERT_TRUE(model.emplace(id.value, qos == kQos1 ? Stage::kAck : Stage::kRec).second);
      continue;
    }
    uint16_t id = static_cast<uint16_t>(1 + rng.Below(65'535));
    if (!model.empty() && rng.Chance(0.9)) {
      auto it = model.lower_bound(id);
      id = it == model.end() ? model.begin()->first : it->first;
    }
    const auto it = model.find(id);
    const bool known = it != model.end();
    const Stage stage = known ? it->second : Stage::kAck;
    Result expected = Result::kUnknown;
    switch (rng.Below(4)) {
      case 0:
        if (known) expected = stage == Stage::kAck ? Result::kDone : Result::kWrongType;
        ASSERT_EQ(flow.OnPubAck(PacketId{id}), expected);
        break;
      case 1: {
        const bool durable = rng.Chance(0.5);
        const bool refused = rng.Chance(0.2);
        if (known && stage == Stage::kAck) {
          expected = Result::kWrongType;
        } else if (known && stage == Stage::kComp) {
          expected = Result::kRelease;
        } else if (known && stage == Stage::kRec && refused) {
          expected = Result::kDone;
        } else if (known) {
          expected = durable ? Result::kCommitFirst : Result::kRelease;
          it->second = durable ? Stage::kCommit : Stage::kComp;
        }
        ASSERT_EQ(flow.OnPubRec(PacketId{id}, refused, durable), expected);
        break;
      }
      case 2:
        if (known) expected = stage == Stage::kComp ? Result::kDone : Result::kWrongType;
        ASSERT_EQ(flow.OnPubComp(PacketId{id}), expected);
        break;
      case 3:
        ASSERT_EQ(flow.OnPubRecCommitted(PacketId{id}), known && stage == Stage::kCommit);
        if (known && stage == Stage::kCommit) it->second = Stage::kComp;
        break;
    }
    if (expected == Result::kDone) model.erase(id);
    ASSERT_EQ(flow.in_flight(), model.size());
  }
}

TEST(OutboundFlow, WhatHasExpiredLeavesTheQueueWhereverItStands) {
  OutboundFlow flow(10);
  const auto push = [&](std::string_view topic, int64_t expires) {
    OutboundMessage entry;
    entry.message = mqtt::Message::Create({.topic = topic, .expires_at_unix_ms = expires});
    flow.Push(std::move(entry));
  };
  push("never", 0);
  push("late", 300);
  push("soon", 100);
  std::vector<std::string> dropped;
  const auto drop = [&](const OutboundMessage& entry) {
    dropped.emplace_back(entry.message->topic());
  };
  flow.DropExpired(99, drop);
  EXPECT_THAT(dropped, IsEmpty());
  const uint64_t bytes = flow.queued_bytes();
  flow.DropExpired(100, drop);
  EXPECT_THAT(dropped, ElementsAre("soon"));
  EXPECT_EQ(flow.queued_messages(), 2u);
  EXPECT_LT(flow.queued_bytes(), bytes);
  flow.DropExpired(300, drop);
  EXPECT_THAT(dropped, ElementsAre("soon", "late"));
  EXPECT_EQ(flow.Pop().message->topic(), "never");
  EXPECT_TRUE(flow.queue_empty());
}

}  // namespace
}  // namespace broker
