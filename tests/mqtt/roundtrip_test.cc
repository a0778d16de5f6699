// decode(encode(packet)) == packet, and what becomes of packets that are cut short or damaged.
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <tuple>

#include "mqtt/writer.h"
#include "tests/mqtt/random_packet.h"

namespace mqtt {
namespace {

class RoundTrip : public testing::TestWithParam<std::tuple<Version, Sender>> {
 protected:
  Version version() const { return std::get<0>(GetParam()); }
  Sender sender() const { return std::get<1>(GetParam()); }

  std::optional<Violation> DecodeFrame(std::string_view frame, AnyPacket& out) const {
    return Decode(AsBytes(frame), version(), sender(), out);
  }
};

TEST_P(RoundTrip, DecodeOfEncodeIsThePacket) {
  RandomPackets random(1 + static_cast<uint64_t>(version()));
  std::set<size_t> kinds;
  AnyPacket decoded;  // Of what was in it before nothing must be left.
  std::string frame;
  for (int i = 0; i < 20'000; ++i) {
    const AnyPacket packet = random.Next(version(), sender());
    frame = ToFrame(packet, version());
    const auto violation = DecodeFrame(frame, decoded);
    ASSERT_FALSE(violation.has_value()) << *violation << " in " << packet;
    ASSERT_EQ(decoded, packet);
    ASSERT_EQ(ToFrame(decoded, version()), frame) << packet;
    kinds.insert(packet.index());
  }
  EXPECT_GE(kinds.size(), sender() == Sender::kServer && version() != Version::k5 ? 6u : 7u);
}

// The fixed header says how long the packet is, so a frame cut anywhere is never a packet.
TEST_P(RoundTrip, ACutFrameIsIncomplete) {
  RandomPackets random(2);
  for (int i = 0; i < 300; ++i) {
    const AnyPacket packet = random.Next(version(), sender());
    const std::string frame = ToFrame(packet, version());
    for (size_t size = 0; size < frame.size(); ++size) {
      const FrameResult result =
          PeekFrame(AsBytes(std::string_view(frame).substr(0, size)), kPacketSizeMax, version());
      ASSERT_EQ(result.kind, FrameResult::Kind::kNeedMore) << packet << " at " << size;
      ASSERT_GT(result.bytes_needed, size);
      ASSERT_LE(result.bytes_needed, frame.size());
    }
  }
}

// Cut at byte `size` of the body, with a fixed header that agrees. Some forms are shorter forms of
// the same packet; whatever is accepted must be a packet that can be written again.
TEST_P(RoundTrip, ACutBodyIsRefusedOrIsAShorterPacket) {
  RandomPackets random(3);
  for (int i = 0; i < 2'000; ++i) {
    const AnyPacket packet = random.Next(version(), sender());
    const std::string frame = ToFrame(packet, version());
    const size_t header_size =
        PeekFrame(AsBytes(frame), kPacketSizeMax, version()).header.header_size;
    const std::string_view body = std::string_view(frame).substr(header_size);
    for (size_t size = 0; size < body.size(); ++size) {
      std::string cut(1, frame[0]);
      AppendVariableByteInteger(cut, static_cast<uint32_t>(size));
      cut.append(body.substr(0, size));
      AnyPacket decoded;
      const auto violation = DecodeFrame(cut, decoded);
      if (std::holds_alternative<Connect>(packet) && version() != Version::k31) {
        ASSERT_TRUE(violation.has_value()) << packet << " at " << size;
      }
      if (violation.has_value()) {
        ASSERT_TRUE(IsError(violation->reason));
        ASSERT_FALSE(violation->rule.empty());
      } else {
        AnyPacket again;
        const std::string rewritten = ToFrame(decoded, version());
        ASSERT_FALSE(DecodeFrame(rewritten, again).has_value()) << decoded;
        ASSERT_EQ(again, decoded);
      }
    }
  }
}

TEST_P(RoundTrip, ABodyWithAByteMoreIsRefused) {
  RandomPackets random(4);
  for (int i = 0; i < 2'000; ++i) {
    const AnyPacket packet = random.Next(version(), sender());
    if (std::holds_alternative<Publish>(packet)) continue;  // Its payload takes the byte.
    const std::string frame = ToFrame(packet, version());
    const size_t header_size =
        PeekFrame(AsBytes(frame), kPacketSizeMax, version()).header.header_size;
    std::string longer(1, frame[0]);
    AppendVariableByteInteger(longer, static_cast<uint32_t>(frame.size() - header_size + 1));
    longer.append(frame, header_size);
    longer.push_back('\x7F');  // No Reason Code, no Property Length that fits.
    AnyPacket decoded;
    ASSERT_TRUE(DecodeFrame(longer, decoded).has_value()) << packet << " became " << decoded;
  }
}

// One byte changed: refused, or a packet that survives another round.
TEST_P(RoundTrip, ADamagedFrameIsRefusedOrIsAnotherPacket) {
  RandomPackets random(5);
  base::Rng rng(6);
  for (int i = 0; i < 20'000; ++i) {
    std::string frame = ToFrame(random.Next(version(), sender()), version());
    frame[rng.Below(frame.size())] = static_cast<char>(rng.Below(256));
    AnyPacket decoded;
    const auto violation = DecodeFrame(frame, decoded);
    if (violation.has_value()) continue;
    const Connect* connect = std::get_if<Connect>(&decoded);
    const Version written_in = connect == nullptr ? version() : connect->version;
    AnyPacket again;
    const std::string rewritten = ToFrame(decoded, written_in);
    ASSERT_FALSE(Decode(AsBytes(rewritten), written_in, sender(), again).has_value()) << decoded;
    ASSERT_EQ(ToFrame(again, written_in), rewritten) << decoded;
  }
}

TEST_P(RoundTrip, EveryPacketPrintsInOneLine) {
  RandomPackets random(7);
  for (int i = 0; i < 2'000; ++i) {
    std::ostringstream text;
    text << random.Next(version(), sender());
    ASSERT_FALSE(text.str().empty());
    for (const char c : text.str()) ASSERT_FALSE(static_cast<uint8_t>(c) < 0x20) << text.str();
  }
}

std::string Name(const testing::TestParamInfo<std::tuple<Version, Sender>>& param) {
  const auto [version, sender] = param.param;
  std::string name = "V31";
  if (version == Version::k311) name = "V311";
  if (version == Version::k5) name = "V50";
  return name + (sender == Sender::kClient ? "FromClient" : "FromServer");
}

INSTANTIATE_TEST_SUITE_P(, RoundTrip,
                         testing::Combine(testing::Values(Version::k31, Version::k311, Version::k5),
                                          testing::Values(Sender::kClient, Sender::kServer)),
                         Name);

}  // namespace
}  // namespace mqtt
