#include "mqtt/frame.h"

#include <gtest/gtest.h>

#include "mqtt/writer.h"
#include "tests/mqtt/wire_text.h"

namespace mqtt {
namespace {

using Kind = FrameResult::Kind;

FrameResult Peek(std::string_view wire, Version version = Version::k5,
                 uint32_t packet_size_max = kPacketSizeMax) {
  return PeekFrame(AsBytes(Wire(wire)), packet_size_max, version);
}

TEST(PeekFrame, NeedsTwoBytesToBegin) {
  EXPECT_EQ(Peek("").kind, Kind::kNeedMore);
  EXPECT_EQ(Peek("").bytes_needed, 2u);
  EXPECT_EQ(Peek("30").kind, Kind::kNeedMore);
  EXPECT_EQ(Peek("30").bytes_needed, 2u);
  EXPECT_EQ(Peek("30 ff").bytes_needed, 3u);
  EXPECT_EQ(Peek("30 ff ff").bytes_needed, 4u);
  EXPECT_EQ(Peek("30 ff ff ff").bytes_needed, 5u);
}

TEST(PeekFrame, SplitsTheFirstByte) {
  const FrameResult result = Peek("3d 00");
  ASSERT_EQ(result.kind, Kind::kComplete);
  EXPECT_EQ(result.header.type, PacketType::kPublish);
  EXPECT_EQ(result.header.flags, 0x0D);
  EXPECT_EQ(result.header.header_size, 2);
  EXPECT_EQ(result.header.frame_size(), 2u);
}

TEST(PeekFrame, TellsTheExactSizeOnceTheHeaderIsThere) {
  const FrameResult result = Peek("30 03 0001");
  EXPECT_EQ(result.kind, Kind::kNeedMore);
  EXPECT_EQ(result.header.header_size, 2);
  EXPECT_EQ(result.bytes_needed, 5u);
  EXPECT_EQ(Peek("30 03 000161").kind, Kind::kComplete);
}

TEST(PeekFrame, LeavesWhatFollowsAlone) {
  const std::string bytes = Wire("c0 00 30 ff");
  const FrameResult result = PeekFrame(AsBytes(bytes), kPacketSizeMax, Version::k5);
  ASSERT_EQ(result.kind, Kind::kComplete);
  EXPECT_EQ(result.header.frame_size(), 2u);
  EXPECT_TRUE(FrameBody(result.header, AsBytes(bytes)).empty());
}

TEST(PeekFrame, ReadsEveryLengthOfRemainingLength) {
  // §1.5.5, Table 1-1: the ends of the ranges that one to four bytes cover.
  for (const uint32_t length :
       {0u, 1u, 127u, 128u, 16'383u, 16'384u, 2'097'151u, 2'097'152u, kRemainingLengthMax}) {
    std::string bytes = "\x30";
    AppendVariableByteInteger(bytes, length);
    const FrameResult result = PeekFrame(AsBytes(bytes), kPacketSizeMax, Version::k5);
    EXPECT_EQ(result.kind, length == 0 ? Kind::kComplete : Kind::kNeedMore);
    EXPECT_EQ(result.header.remaining_length, length);
    EXPECT_EQ(result.header.header_size, bytes.size());
    EXPECT_EQ(result.bytes_needed, bytes.size() + length);
    EXPECT_TRUE(result.header.length_is_minimal);
  }
}

TEST(PeekFrame, RefusesAFifthLengthByte) {
  for (const Version version : {Version::kUnknown, Version::k311, Version::k5}) {
    const FrameResult result = Peek("30 80 80 80 80", version);
    ASSERT_EQ(result.kind, Kind::kViolation);
    EXPECT_EQ(result.violation.reason, ReasonCode::kMalformedPacket);
    EXPECT_EQ(result.violation.rule, version == Version::k5 ? "MQTT5-1.5.5" : "MQTT311-2.2.3");
  }
}

TEST(PeekFrame, RefusesTypeZero) {
  EXPECT_EQ(Peek("00").violation, (Violation{ReasonCode::kMalformedPacket, "MQTT5-2.1.2"}));
  EXPECT_EQ(Peek("0f 00", Version::k311).violation,
            (Violation{ReasonCode::kMalformedPacket, "MQTT311-2.2.1"}));
}

TEST(PeekFrame, WantsTheShortestLengthInVersion5Only_MQTT5_1_5_5_1) {
  const FrameResult v5 = Peek("c0 80 00");
  ASSERT_EQ(v5.kind, Kind::kViolation);
  EXPECT_EQ(v5.violation, (Violation{ReasonCode::kMalformedPacket, "MQTT5-1.5.5-1"}));

  const FrameResult v311 = Peek("c0 80 00", Version::k311);
  EXPECT_EQ(v311.kind, Kind::kComplete);
  EXPECT_FALSE(v311.header.length_is_minimal);
  EXPECT_EQ(v311.header.header_size, 3);
}

TEST(PeekFrame, RefusesALargePacketBeforeItsBodyArrives) {
  EXPECT_EQ(Peek("30 08", Version::k5, 10).kind, Kind::kNeedMore);
  const FrameResult result = Peek("30 09", Version::k5, 10);
  ASSERT_EQ(result.kind, Kind::kViolation);
  EXPECT_EQ(result.violation.reason, ReasonCode::kPacketTooLarge);
}

}  // namespace
}  // namespace mqtt
