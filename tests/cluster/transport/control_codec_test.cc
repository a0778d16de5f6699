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
    const uint64_t all_have = uint64_t{group} << 20;  // 0: nothing is said.
    const std::string bytes = EncodeControl(RaftItem{group, 1ull << 40, data, all_have});
    EXPECT_EQ(bytes[0], pb::ControlItem::kRaft);
    pb::RaftMessage message;
    ASSERT_TRUE(message.ParseFromString(bytes.substr(1)));
    EXPECT_EQ(message.group(), group);
    EXPECT_EQ(message.to(), 1ull << 40);
    EXPECT_EQ(message.data(), data);
    EXPECT_EQ(message.all_have(), all_have);
    const auto parsed = ParseControl(bytes);
    ASSERT_TRUE(parsed.ok());
    const auto& item = std::get<RaftItem>(*parsed);
    EXPECT_EQ(item.group, group);
    EXPECT_EQ(item.to, 1ull << 40);
    EXPECT_EQ(item.data, data);
    EXPECT_EQ(item.all_have, all_have);
  }
}

TEST(ControlCodec, LeasesAreReadAsTheyWereWritten) {
  const NodeLife life{NodeId(7), Incarnation(9)};
  const auto request = ParseControl(EncodeControl(LeaseRequest{life, 12, true, {1'234, true}}));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(std::get<LeaseRequest>(*request).life, life);
  EXPECT_EQ(std::get<LeaseRequest>(*request).number, 12u);
  EXPECT_TRUE(std::get<LeaseRequest>(*request).ends);
  EXPECT_EQ(std::get<LeaseRequest>(*request).time.unix_ms, 1'234);
  EXPECT_TRUE(std::get<LeaseRequest>(*request).time.agreed);
  for (const auto kind :
       {LeaseAnswer::Kind::kGranted, LeaseAnswer::Kind::kGone, LeaseAnswer::Kind::kNotLeader}) {
    const auto answer = ParseControl(EncodeControl(LeaseAnswer{life, 13, kind, {1'235, true}}));
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(std::get<LeaseAnswer>(*answer).life, life);
    EXPECT_EQ(std::get<LeaseAnswer>(*answer).number, 13u);
    EXPECT_EQ(std::get<LeaseAnswer>(*answer).kind, kind);
    EXPECT_EQ(std::get<LeaseAnswer>(*answer).time.unix_ms, 1'235);
    EXPECT_TRUE(std::get<LeaseAnswer>(*answer).time.agreed);
  }
}

TEST(ControlCodec, MembersAndWhoIsToBeForgottenAreReadAsTheyWereWritten) {
  const auto wanted = ParseControl(EncodeControl(MembersWanted{77}));
  ASSERT_TRUE(wanted.ok());
  EXPECT_EQ(std::get<MembersWanted>(*wanted).index, 77u);
  const auto told = ParseControl(EncodeControl(MembersTold{78, std::string("\x00state", 6)}));
  ASSERT_TRUE(told.ok());
  EXPECT_EQ(std::get<MembersTold>(*told).index, 78u);
  EXPECT_EQ(std::get<MembersTold>(*told).members, std::string("\x00state", 6));
  const auto asked = ParseControl(EncodeControl(ForgetAsked{5, NodeId(4)}));
  ASSERT_TRUE(asked.ok());
  EXPECT_EQ(std::get<ForgetAsked>(*asked).token, 5u);
  EXPECT_EQ(std::get<ForgetAsked>(*asked).node, NodeId(4));
  for (const absl::Status& status : {absl::OkStatus(), absl::FailedPreconditionError("it runs")}) {
    const auto answered = ParseControl(EncodeControl(ForgetAnswered{5, status}));
    ASSERT_TRUE(answered.ok());
    EXPECT_EQ(std::get<ForgetAnswered>(*answered).token, 5u);
    EXPECT_EQ(std::get<ForgetAnswered>(*answered).status, status);
  }
  EXPECT_FALSE(ParseControl(std::string("\x06\x10\xff\xff\x07", 5)).ok());  // Node 131,071.
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
