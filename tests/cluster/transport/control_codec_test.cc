#include "cluster/transport/control_codec.h"

#include "base/rng.h"
#include "gtest/gtest.h"
#include "mqttd/cluster/v1/control.pb.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;

TEST(ControlCodec, AMessageOfRaftIsTheOneThatTheFileSays) {
  const std::string data(1000, 'x');
  for (const GroupId group : {GroupId{0}, GroupId{16}, GroupId{0xFFFF}}) {
    const std::string bytes = EncodeControl(RaftItem{group, 1ull << 40, data});
    EXPECT_EQ(bytes[0], pb::ControlItem::kRaft);
    pb::RaftMessage message;
    ASSERT_TRUE(message.ParseFromString(bytes.substr(1)));
    EXPECT_EQ(message.group(), group);
    EXPECT_EQ(message.to(), 1ull << 40);
    EXPECT_EQ(message.data(), data);
    const auto parsed = ParseControl(bytes);
    ASSERT_TRUE(parsed.ok());
    const auto& item = std::get<RaftItem>(*parsed);
    EXPECT_EQ(item.group, group);
    EXPECT_EQ(item.to, 1ull << 40);
    EXPECT_EQ(item.data, data);
  }
}

TEST(ControlCodec, LeasesAreReadAsTheyWereWritten) {
  const NodeLife life{NodeId(7), Incarnation(9)};
  const auto request = ParseControl(EncodeControl(LeaseRequest{life, 12, true}));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(std::get<LeaseRequest>(*request).life, life);
  EXPECT_EQ(std::get<LeaseRequest>(*request).number, 12u);
  EXPECT_TRUE(std::get<LeaseRequest>(*request).ends);
  for (const auto kind :
       {LeaseAnswer::Kind::kGranted, LeaseAnswer::Kind::kGone, LeaseAnswer::Kind::kNotLeader}) {
    const auto answer = ParseControl(EncodeControl(LeaseAnswer{life, 13, kind}));
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(std::get<LeaseAnswer>(*answer).life, life);
    EXPECT_EQ(std::get<LeaseAnswer>(*answer).number, 13u);
    EXPECT_EQ(std::get<LeaseAnswer>(*answer).kind, kind);
  }
}

TEST(ControlCodec, WhatNoReleaseWritesIsRefusedAndDoesNoHarm) {
  EXPECT_FALSE(ParseControl("").ok());
  EXPECT_FALSE(ParseControl("\x09").ok());
  EXPECT_FALSE(ParseControl(std::string("\x01\x08\xff\xff\x7f", 5)).ok());  // A group that is none.
  EXPECT_FALSE(ParseControl(EncodeControl(LeaseRequest{}) + "\xff").ok());
  EXPECT_FALSE(ParseControl(std::string("\x03\x20\x09", 3)).ok());  // A later release's answer.
  base::Rng rng(1);
  const std::string good = EncodeControl(RaftItem{300, 5, "some data of a message"});
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = good.substr(0, rng.Below(good.size() + 1));
    for (uint64_t i = rng.Below(4); i > 0 && !bytes.empty(); --i)
      bytes[rng.Below(bytes.size())] = static_cast<char>(rng());
    (void)ParseControl(bytes);
  }
}

}  // namespace
}  // namespace cluster
