// Forwarded messages over links that break: none is lost, doubled or out of order.
#include "cluster/core/forward_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "cluster/core/traffic_codec.h"
#include "mqtt/message.h"

namespace cluster {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

ForwardBlock BlockOf(storage::ShardId from, const std::vector<std::string>& payloads) {
  ForwardBlock block{.from = from, .messages = 0, .bytes = std::string(kForwardHeadRoom, '\0')};
  for (const std::string& payload : payloads) {
    mqtt::MessageParts parts;
    parts.topic = "t";
    parts.payload = payload;
    AppendForwarded(parts, block.bytes);
    ++block.messages;
  }
  return block;
}

// The other end: what came, and in which shard's mailbox it lies.
struct Receiving {
  explicit Receiving(ForwardLimits limits) : receiver(limits, 2) { receiver.Begin(); }

  ForwardReceiver::Fate Take(std::string_view item) {
    std::string_view body;
    const absl::StatusOr<ForwardHead> head = ParseForwardHead(item, body);
    EXPECT_TRUE(head.ok()) << head.status();
    std::vector<Forwarded> messages;
    EXPECT_TRUE(ParseForwarded(body, messages).ok());
    const storage::ShardId to = head->from % 2;
    const auto readable = static_cast<uint32_t>(messages.size());
    // Every third is for the other shard.
    std::vector<ForwardReceiver::ForShard> parts = {{to, readable - readable / 3}};
    if (readable >= 3) parts.push_back({static_cast<storage::ShardId>(1 - to), readable / 3});
    const auto fate = receiver.OnBlock(*head, body.size(), parts);
    if (fate == ForwardReceiver::Fate::kRepeat) return fate;
    for (const Forwarded& one : messages) came.emplace_back(one.message->payload());
    for (const auto& part : parts) on_shard[part.shard] += part.readable;
    return fate;
  }
  void ShardTakes(storage::ShardId shard, uint64_t messages) {
    on_shard[shard] -= messages;
    receiver.Took(shard, messages);
  }

  ForwardReceiver receiver;
  std::vector<std::string> came;
  uint64_t on_shard[2] = {};
};

bool OnTaken(ForwardSender& sender, const ForwardsTaken& taken) {
  return sender.OnTaken(taken, [](storage::ShardId, uint64_t) { ADD_FAILURE() << "a receipt"; });
}

TEST(ForwardStream, IsFullUntilEnoughIsTaken) {
  ForwardSender sender({.messages = 4, .bytes = 1000});
  Receiving there({.messages = 4, .bytes = 1000});
  for (const char* const payload : {"1", "2", "3", "4"}) {
    EXPECT_FALSE(sender.IsFull());
    sender.Add(BlockOf(0, {payload}));
  }
  EXPECT_TRUE(sender.IsFull());
  while (const auto item = sender.Next()) {
    EXPECT_EQ(there.Take(*item), ForwardReceiver::Fate::kNew);
    sender.Sent();
  }
  EXPECT_TRUE(OnTaken(sender, there.receiver.taken()));
  EXPECT_EQ(sender.kept(), 0u) << "it is there, so it is not kept";
  EXPECT_TRUE(sender.IsFull()) << "but nobody has taken it";
  there.ShardTakes(0, 1);
  EXPECT_TRUE(there.receiver.HasNews());
  EXPECT_TRUE(OnTaken(sender, there.receiver.taken()));
  EXPECT_FALSE(sender.IsFull());
  EXPECT_FALSE(sender.HasRoom());
  there.ShardTakes(0, 2);
  EXPECT_TRUE(OnTaken(sender, there.receiver.taken()));
  EXPECT_TRUE(sender.HasRoom());
}

TEST(ForwardStream, ANodeThatTakesWhatItWasNotSentIsFoundOut) {
  ForwardSender sender({});
  sender.Add(BlockOf(0, {"a"}));
  EXPECT_FALSE(OnTaken(sender, {.through = 2}));
  EXPECT_FALSE(OnTaken(sender, {.through = 1, .messages = 2}));
  EXPECT_FALSE(OnTaken(sender, {.through = 1, .messages = 1, .bytes = 1000}));
  EXPECT_TRUE(OnTaken(sender, {.through = 1, .messages = 1}));
}

TEST(ForwardStream, WhoWaitsHearsWhenItIsThereAndNotBefore) {
  ForwardSender sender({});
  std::vector<std::pair<storage::ShardId, uint64_t>> receipts;
  const auto taken = [&](uint64_t through) {
    receipts.clear();
    EXPECT_TRUE(sender.OnTaken({.through = through}, [&](storage::ShardId from, uint64_t receipt) {
      receipts.emplace_back(from, receipt);
    }));
    return receipts;
  };
  for (const auto& [from, receipt] : {std::pair{0, 7}, {1, 3}, {1, 0}, {0, 9}}) {
    ForwardBlock block = BlockOf(static_cast<storage::ShardId>(from), {"a", "b"});
    block.receipt = static_cast<uint64_t>(receipt);
    sender.Add(std::move(block));
  }
  EXPECT_THAT(taken(1), IsEmpty()) << "the other message of the block is not there";
  EXPECT_THAT(taken(4), ElementsAre(Pair(0, 7), Pair(1, 3)));
  EXPECT_THAT(taken(4), IsEmpty());
  EXPECT_THAT(taken(8), ElementsAre(Pair(0, 9)));
}

TEST(ForwardStream, WhatCannotBeReadIsNotWaitedFor) {
  ForwardReceiver receiver({}, 1);
  receiver.Begin();
  receiver.OnBlock({.from = 0, .first = 1, .messages = 3}, 30, {{0, 0}});
  receiver.OnBlock({.from = 0, .first = 4, .messages = 2}, 20, {{0, 1}});
  EXPECT_EQ(receiver.taken(), (ForwardsTaken{.through = 5, .messages = 3, .bytes = 30}));
  receiver.Took(0, 1);
  EXPECT_EQ(receiver.taken(), (ForwardsTaken{.through = 5, .messages = 5, .bytes = 50}));
}

TEST(ForwardStream, WhatIsMissingIsNoticed) {
  ForwardReceiver receiver({}, 1);
  receiver.Begin();
  EXPECT_EQ(receiver.OnBlock({.from = 0, .first = 1, .messages = 1}, 1, {{0, 1}}),
            ForwardReceiver::Fate::kNew);
  EXPECT_EQ(receiver.OnBlock({.from = 0, .first = 3, .messages = 1}, 1, {{0, 1}}),
            ForwardReceiver::Fate::kGap);
}

// A former life's messages lie in mailboxes still, and are not counted as the new one's.
TEST(ForwardStream, AnotherLifeOfTheSenderCountsAnew) {
  ForwardReceiver receiver({}, 1);
  receiver.Begin();
  receiver.OnBlock({.from = 0, .first = 1, .messages = 5}, 50, {{0, 5}});
  receiver.Begin();
  receiver.OnBlock({.from = 0, .first = 1, .messages = 2}, 20, {{0, 2}});
  receiver.Took(0, 6);
  EXPECT_EQ(receiver.taken(), (ForwardsTaken{.through = 2}));
  receiver.Took(0, 1);
  EXPECT_EQ(receiver.taken(), (ForwardsTaken{.through = 2, .messages = 2, .bytes = 20}));
}

// Links break at any moment with what is on its way, in either direction.
TEST(ForwardStream, RandomTrafficOverBrokenLinksComesOnceAndInOrder) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    base::Rng rng(seed);
    const ForwardLimits limits{.messages = 1 + rng.Below(50), .bytes = 50 + rng.Below(3000)};
    ForwardSender sender(limits);
    Receiving there(limits);
    std::vector<std::string> sent;
    std::deque<std::string> network;
    std::deque<ForwardsTaken> back;
    const auto step = [&](uint64_t what) {
      if (what < 30) {
        if (sender.IsFull()) return;
        std::vector<std::string> payloads;
        for (uint64_t i = 1 + rng.Below(4); i > 0; --i) {
          payloads.push_back(absl::StrCat(sent.size(), std::string(rng.Below(40), '.')));
          sent.push_back(payloads.back());
        }
        sender.Add(BlockOf(static_cast<storage::ShardId>(rng.Below(5)), payloads));
      } else if (what < 55) {
        const auto item = sender.Next();
        if (!item.has_value()) return;
        network.emplace_back(*item);
        sender.Sent();
      } else if (what < 75) {
        if (network.empty()) return;
        EXPECT_NE(there.Take(network.front()), ForwardReceiver::Fate::kGap);
        network.pop_front();
      } else if (what < 85) {
        const auto shard = static_cast<storage::ShardId>(rng.Below(2));
        there.ShardTakes(shard, rng.Below(there.on_shard[shard] + 1));
        if (!there.receiver.HasNews()) return;
        back.push_back(there.receiver.taken());
        there.receiver.Told();
      } else if (what < 95) {
        if (back.empty()) return;
        EXPECT_TRUE(OnTaken(sender, back.front()));
        back.pop_front();
      } else {
        network.clear();
        sender.Resend();
        if (rng.Chance(0.5)) back.clear();
        back.push_back(there.receiver.taken());  // As at the begin of each link.
      }
    };
    for (int i = 0; i < 3000; ++i) {
      step(rng.Below(100));
      ASSERT_LE(sent.size() - there.came.size(), limits.messages + 4);
      ASSERT_TRUE(std::equal(there.came.begin(), there.came.end(), sent.begin()));
    }
    for (int i = 0; i < 3000; ++i) step(30 + rng.Below(65));
    ASSERT_EQ(there.came, sent);
    there.ShardTakes(0, there.on_shard[0]);
    there.ShardTakes(1, there.on_shard[1]);
    ASSERT_TRUE(OnTaken(sender, there.receiver.taken()));
    ASSERT_TRUE(sender.HasRoom());
    ASSERT_EQ(sender.kept(), 0u);
    ASSERT_EQ(sender.kept_bytes(), 0u);
    ASSERT_GT(sent.size(), 50u);
  }
}

}  // namespace
}  // namespace cluster
