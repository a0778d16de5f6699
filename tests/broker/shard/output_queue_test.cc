#include "broker/shard/output_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace broker {
namespace {

// Takes what the test allows it to.
class Sink final : public Stream {
 public:
  ReadResult Read(char*, size_t) override { return {IoState::kAgain, 0}; }
  WriteResult Write(const std::string_view* ranges, size_t count) override {
    size_t offered = 0, taken = 0;
    for (size_t i = 0; i < count; ++i) {
      offered += ranges[i].size();
      const std::string_view part = ranges[i].substr(0, std::min(ranges[i].size(), room));
      written += part;
      taken += part.size();
      room -= part.size();
    }
    return {taken < offered ? IoState::kAgain : IoState::kOk, taken};
  }
  bool HasBufferedInput() const override { return false; }
  bool HasUnreadInput() const override { return false; }
  bool HandshakeDone() const override { return true; }
  void StartClose() override {}
  PeerInfo peer() const override { return {}; }
  std::string_view error() const override { return ""; }

  size_t room = 0;
  std::string written;
};

mqtt::MessagePtr MessageOf(const std::string& payload) {
  mqtt::MessageParts parts;
  parts.topic = "t";
  parts.payload = payload;
  return mqtt::Message::Create(parts);
}

TEST(OutputQueue, HoldsLittleBesideTheMessagesThatItRefersTo) {
  BufferPool pool;
  {
    OutputQueue queue;
    const mqtt::MessagePtr message = MessageOf(std::string(1100, 'x'));
    for (int i = 0; i < 900; ++i) {
      queue.Append(pool, std::string(30, 'h'));
      queue.AppendReference(pool, message, message->payload());
    }
    EXPECT_EQ(queue.bytes(), 900u * 1130);
    EXPECT_LT(pool.held_bytes(), 64 * 1024);
    queue.Clear(pool);
  }
  OutputQueue ends_full;
  ends_full.Append(pool, "x");
}

TEST(OutputQueue, KeepsTheOrderHoweverLittleTheStreamTakesAtATime) {
  BufferPool pool;
  OutputQueue queue;
  Sink sink;
  std::string expected;
  uint64_t chance = 1;
  const auto next = [&](uint64_t below) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (chance >> 33) % below;
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string bytes(1 + next(i % 50 == 0 ? 20'000 : 40), static_cast<char>('a' + i % 26));
    expected += bytes;
    if (next(2) == 0) {
      queue.Append(pool, bytes);
    } else {
      const mqtt::MessagePtr message = MessageOf(bytes);
      queue.AppendReference(pool, message, message->payload());
    }
    sink.room = next(3) == 0 ? next(300) : 0;
    if (sink.room != 0) queue.Flush(pool, sink);
    EXPECT_EQ(queue.written() + queue.bytes(), expected.size());
  }
  sink.room = SIZE_MAX;
  EXPECT_EQ(queue.Flush(pool, sink), IoState::kOk);
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(sink.written == expected);
}

}  // namespace
}  // namespace broker
