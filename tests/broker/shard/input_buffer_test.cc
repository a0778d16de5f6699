// Bytes of packets that are not complete: what they hold, and in whose account.
#include "broker/shard/input_buffer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

#include "tests/support/cpu_cost.h"

namespace broker {
namespace {

mqtt::Bytes Of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
std::string TextOf(const InputBuffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.bytes().data()), buffer.size()};
}

struct Fixture {
  base::MemoryAccount account;
  InputBuffers buffers{account};
  int64_t accounted() const { return account.bytes(base::MemoryUse::kInput); }
  std::vector<uint64_t> order() const {
    std::vector<uint64_t> connections;
    buffers.ForEach(
        [&](uint64_t connection, uint64_t, uint32_t) { connections.push_back(connection); });
    return connections;
  }
};

TEST(InputBuffer, HoldsNoMoreThanThePacketAndTheAccountSaysSo) {
  Fixture f;
  InputBuffer buffer;
  EXPECT_EQ(buffer.held_bytes(), 0u);
  f.buffers.Append(buffer, Of("head"), 200'000'000, {.connection = 1, .tick = 7});
  EXPECT_LT(buffer.held_bytes(), 100u) << "what is only announced takes nothing";
  EXPECT_EQ(f.accounted(), static_cast<int64_t>(buffer.held_bytes()));
  EXPECT_TRUE(buffer.half_sent());
  EXPECT_EQ(buffer.begun_tick(), 7u);
  std::string all = "head";
  const std::string piece(1000, 'x');
  InputBuffer small;
  for (int i = 0; i < 100; ++i) {
    f.buffers.Append(small, Of(piece), 100'000, {.connection = 2, .tick = 8});
    f.buffers.Append(buffer, Of(piece), 200'000'000, {.connection = 1, .tick = 9});
    all += piece;
  }
  EXPECT_LT(small.held_bytes(), 100'100u);
  EXPECT_LE(buffer.held_bytes(), 2 * all.size() + 100);
  EXPECT_EQ(f.accounted(), static_cast<int64_t>(buffer.held_bytes() + small.held_bytes()));
  EXPECT_EQ(TextOf(buffer), all);
  EXPECT_EQ(buffer.begun_tick(), 7u);
  const InputBuffer taken = f.buffers.Take(buffer);
  EXPECT_EQ(TextOf(taken), all);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(f.accounted(), static_cast<int64_t>(small.held_bytes()));
  f.buffers.Clear(small);
  f.buffers.Clear(small);
  EXPECT_EQ(f.accounted(), 0);
}

TEST(InputBuffer, ThoseThatBeganFirstComeFirstWhereverTheyLie) {
  Fixture f;
  std::deque<InputBuffer> buffers(4);
  for (uint64_t i = 0; i < 4; ++i) f.buffers.Append(buffers[i], Of("x"), 0, {.connection = i});
  EXPECT_THAT(f.order(), testing::ElementsAre(0, 1, 2, 3));
  const std::string large(1 << 20, 'y');
  for (const size_t i : {2, 0, 3, 1}) f.buffers.Append(buffers[i], Of(large), 0, {});  // They move.
  EXPECT_THAT(f.order(), testing::ElementsAre(0, 1, 2, 3));
  f.buffers.Clear(buffers[0]);
  f.buffers.Clear(buffers[2]);
  EXPECT_THAT(f.order(), testing::ElementsAre(1, 3));
  f.buffers.Append(buffers[0], Of("x"), 0, {.connection = 0});
  EXPECT_THAT(f.order(), testing::ElementsAre(1, 3, 0));
  f.buffers.Clear(buffers[3]);
  f.buffers.Clear(buffers[1]);
  f.buffers.Clear(buffers[0]);
  EXPECT_THAT(f.order(), testing::IsEmpty());
}

TEST(InputBuffer, WhatCameBeforeAPauseIsNoHalfSentPacket) {
  Fixture f;
  InputBuffer buffer;
  f.buffers.Append(buffer, Of("several packets"), 0, {.connection = 1, .unread = true});
  EXPECT_FALSE(buffer.half_sent());
  f.buffers.Clear(buffer);
}

// A packet in pieces: cost of each, whether it is 16 or 160 MB large. The smaller one stays in the
// processor's cache and in pages that the process has, which makes a piece some 400 ns cheaper and
// is not meant; to move what came before with each piece would cost milliseconds.
TEST(InputBuffer, CostsAsMuchForEachByteHoweverLargeThePacketIs) {
  const auto ns_each = [](size_t size) {
    const std::string piece(1448, 'x');
    return support::CpuNsPerItem(size / piece.size(), 3, [&] {
      Fixture f;
      InputBuffer buffer;
      while (buffer.size() < size) f.buffers.Append(buffer, Of(piece), 2 * size, {});
      f.buffers.Clear(buffer);
    });
  };
  constexpr double kNewPagesNs = 400;
  EXPECT_LT(support::PrintedRatio("a piece of 1,448 bytes", ns_each(16'000'000),
                                  ns_each(160'000'000), kNewPagesNs),
            5);
}

}  // namespace
}  // namespace broker
