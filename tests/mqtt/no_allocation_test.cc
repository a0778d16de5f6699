// The PUBLISH path allocates nothing: decoding, matching, measuring, writing, and the short
// acknowledgements.
#include <gtest/gtest.h>

#include <string>

#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "mqtt/topic.h"
#include "tests/mqtt/wire_text.h"
#include "tests/support/allocation_counter.h"

namespace mqtt {
namespace {

// From bytes to bytes, as the broker forwards a message. Returns what was written.
size_t Forward(std::string_view frame, Version version, Sender sender, Publish& packet,
               std::string& scratch, uint8_t* out) {
  const FrameResult result = PeekFrame(AsBytes(frame), kPacketSizeMax, version);
  const auto violation = DecodePublish(
      result.header.flags, FrameBody(result.header, AsBytes(frame)), version, sender, packet);
  if (violation.has_value() || !Matches("a/+/c", packet.topic)) return 0;
  PublishHead head = HeadOf(packet, version, scratch);
  head.topic_alias = 0;
  const PublishSize size = MeasurePublish(head);
  uint8_t* end = WritePublish(out, head, size).end;
  end = WriteAck(end, PacketType::kPubAck, version, packet.packet_id);
  return static_cast<size_t>(end - out);
}

size_t AllocationsOf(std::string_view frame, Version version, Sender sender = Sender::kClient) {
  Publish packet;
  std::string scratch;
  uint8_t out[1024];
  EXPECT_GT(Forward(frame, version, sender, packet, scratch, out), 0u);  // Warms `scratch` up.
  const size_t before = support::Allocations();
  EXPECT_GT(Forward(frame, version, sender, packet, scratch, out), 0u);
  return support::Allocations() - before;
}

TEST(NoAllocation, TheCounterCounts) {
  const size_t before = support::Allocations();
  const std::string text(1000, 'x');
  EXPECT_EQ(support::Allocations() - before, 1u);
}

TEST(NoAllocation, OnThePublishPath) {
  EXPECT_EQ(AllocationsOf(Frame(0x30, "s'a/b/c' 'payload'"), Version::k311), 0u);
  EXPECT_EQ(AllocationsOf(Frame(0x32, "s'a/b/c' 0001 p{} 'payload'"), Version::k5), 0u);
  EXPECT_EQ(AllocationsOf(Frame(0x32,
                                "s'a/b/c' 0001 p{01 01 03 s'text/plain; charset=utf-8'"
                                "  26 s'a name of some length' s'a value of some length'} 'p'"),
                          Version::k5),
            0u);
  EXPECT_EQ(AllocationsOf(Frame(0x32,
                                "s'a/b/c' 0001 p{02 0000003C 23 0001"
                                "  26 s'a name of some length' s'a value of some length'} 'p'"),
                          Version::k5),
            0u);
  EXPECT_EQ(AllocationsOf(Frame(0x32, "s'a/b/c' 0001 p{0B 01 0B 02 0B 03} 'p'"), Version::k5,
                          Sender::kServer),
            0u);
}

TEST(NoAllocation, WhenAPublishIsRefused) {
  const std::string frame = Frame(0x30, "s'a/#' p{} 'payload'");
  Publish packet;
  const size_t before = support::Allocations();
  const FrameResult result = PeekFrame(AsBytes(frame), kPacketSizeMax, Version::k5);
  const auto violation =
      DecodePublish(result.header.flags, FrameBody(result.header, AsBytes(frame)), Version::k5,
                    Sender::kClient, packet);
  EXPECT_EQ(support::Allocations() - before, 0u);
  EXPECT_TRUE(violation.has_value());
}

}  // namespace
}  // namespace mqtt
