#include "cluster/link/frame.h"

#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;

TEST(LinkFrame, IsTheMessageThatTheFileSays) {
  std::string bytes;
  AppendItem("one", bytes);
  AppendItem("", bytes);
  AppendItem(std::string(300, 'x'), bytes);
  AppendPing(12345678901, bytes);
  pb::ToPeer message;
  ASSERT_TRUE(message.ParseFromString(bytes));
  EXPECT_THAT(message.items(), testing::ElementsAre("one", "", std::string(300, 'x')));
  EXPECT_EQ(message.ping(), 12345678901u);
  FrameView frame;
  ASSERT_TRUE(ParseFrame(message.SerializeAsString(), frame));
  EXPECT_EQ(frame.ping, 12345678901u);
  ASSERT_THAT(frame.items, testing::SizeIs(3));
  EXPECT_EQ(frame.items[2].size, 300u);
}

TEST(LinkFrame, BackIsTheMessageThatTheFileSays) {
  const std::string bytes = EncodeBackFrame({.pong = 7, .taken = {.items = 300, .bytes = 1 << 20}});
  pb::FromPeer message;
  ASSERT_TRUE(message.ParseFromString(bytes));
  EXPECT_EQ(message.pong(), 7u);
  EXPECT_EQ(message.items_taken(), 300u);
  EXPECT_EQ(message.bytes_taken(), 1u << 20);
  BackFrame back;
  ASSERT_TRUE(ParseBackFrame(bytes, back));
  EXPECT_EQ(back.pong, 7u);
  EXPECT_EQ(back.taken, (LinkCredit::Amount{.items = 300, .bytes = 1 << 20}));
}

TEST(LinkFrame, WhatALaterReleaseAddsIsSkipped) {
  std::string bytes;
  AppendItem("one", bytes);
  bytes += std::string("\x78\x01", 2);                           // Field 15, a number.
  bytes += std::string("\x7a\x02xx", 4);                         // Bytes.
  bytes += std::string("\x79\0\0\0\0\0\0\0\0\x7d\0\0\0\0", 14);  // Of eight and of four bytes.
  AppendItem("two", bytes);
  FrameView frame;
  ASSERT_TRUE(ParseFrame(bytes, frame));
  ASSERT_THAT(frame.items, testing::SizeIs(2));
  EXPECT_EQ(bytes.substr(frame.items[1].at, frame.items[1].size), "two");
}

// Whatever bytes: read, or refused; items are inside of them.
TEST(LinkFrame, DamagedBytesDoNoHarm) {
  base::Rng rng(1);
  std::string good;
  for (int i = 0; i < 5; ++i) AppendItem(std::string(rng.Below(40), 'a'), good);
  AppendPing(99, good);
  size_t refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = good.substr(0, rng.Below(good.size() + 1));
    for (uint64_t i = rng.Below(4); i > 0 && !bytes.empty(); --i)
      bytes[rng.Below(bytes.size())] = static_cast<char>(rng());
    FrameView frame;
    BackFrame back;
    (void)ParseBackFrame(bytes, back);
    if (!ParseFrame(bytes, frame)) {
      ++refused;
      continue;
    }
    for (const ItemPlace& item : frame.items) ASSERT_LE(item.at + item.size, bytes.size());
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace cluster
