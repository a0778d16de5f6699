#include "broker/core/forward_credit.h"

#include <gtest/gtest.h>

namespace broker {
namespace {

// Two shards; shard 0 sends, shard 1 takes.
struct Pair {
  ForwardCredit sender{2};
  ForwardCredit receiver{2};
  int told = 0;

  void Send(uint64_t count, uint64_t bytes) {
    for (uint64_t i = 0; i < count; ++i) sender.Sent(1, bytes);
  }
  void Take(uint64_t count, uint64_t bytes) {
    for (uint64_t i = 0; i < count; ++i) receiver.Received(0, bytes);
    receiver.TellSenders([this](storage::ShardId to, ForwardCredit::Amount amount) {
      EXPECT_EQ(to, 0);
      sender.Taken(1, amount);
      ++told;
    });
  }
};

TEST(ForwardCredit, IsBehindAtTheLimitOfMessages) {
  Pair pair;
  pair.Send(ForwardCredit::kMessagesMax - 1, 1);
  EXPECT_FALSE(pair.sender.IsBehind(1));
  pair.Send(1, 1);
  EXPECT_TRUE(pair.sender.IsBehind(1));
  EXPECT_FALSE(pair.sender.IsBehind(0));
}

TEST(ForwardCredit, IsBehindAtTheLimitOfBytes) {
  Pair pair;
  pair.Send(2, ForwardCredit::kBytesMax / 2 - 1);
  EXPECT_FALSE(pair.sender.IsBehind(1));
  pair.Send(1, 2);
  EXPECT_TRUE(pair.sender.IsBehind(1));
}

TEST(ForwardCredit, CatchesUpWhenHalfIsTaken) {
  Pair pair;
  pair.Send(ForwardCredit::kMessagesMax, 1);
  pair.Take(ForwardCredit::kMessagesMax / 2, 1);
  EXPECT_FALSE(pair.sender.HasCaughtUp(1));
  pair.Take(ForwardCredit::kMessagesMax / 4, 1);
  EXPECT_TRUE(pair.sender.HasCaughtUp(1));
}

TEST(ForwardCredit, TellsTheSenderSeldom) {
  Pair pair;
  pair.Send(ForwardCredit::kMessagesMax / 4, 1);
  pair.Take(ForwardCredit::kMessagesMax / 4 - 1, 1);
  EXPECT_EQ(pair.told, 0);
  pair.Take(1, 1);
  EXPECT_EQ(pair.told, 1);
}

// Whatever was taken before and not yet told, a sender at its limit hears of it in the end.
TEST(ForwardCredit, NobodyWaitsForEver) {
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{20'000}, ForwardCredit::kBytesMax}) {
    Pair pair;
    pair.Send(100, 0);
    pair.Take(100, 0);
    uint64_t sent = 0;
    for (; !pair.sender.IsBehind(1); ++sent) pair.Send(1, bytes);
    pair.Take(sent, bytes);
    EXPECT_TRUE(pair.sender.HasCaughtUp(1)) << bytes;
  }
}

}  // namespace
}  // namespace broker
