#include "tests/mqtt/any_packet.h"

#include <ostream>
#include <type_traits>

namespace mqtt {
namespace {

// The one that `out` holds already, with all that is in it: a decoder may be given such a one.
template <typename Packet>
Packet& Used(AnyPacket& out) {
  if (Packet* const used = std::get_if<Packet>(&out)) return *used;
  return out.emplace<Packet>();
}

std::optional<Violation> DecodeBody(const FrameHeader& header, Bytes body, Version version,
                                    Sender sender, AnyPacket& out) {
  const uint8_t flags = header.flags;
  switch (header.type) {
    case PacketType::kConnect:
      return DecodeConnect(header, body, out.emplace<Connect>());
    case PacketType::kConnAck:
      return DecodeConnAck(flags, body, version, out.emplace<ConnAck>());
    case PacketType::kPublish:
      return DecodePublish(flags, body, version, sender, Used<Publish>(out));
    case PacketType::kPubAck:
    case PacketType::kPubRec:
    case PacketType::kPubRel:
    case PacketType::kPubComp:
      return DecodeAck(header.type, flags, body, version, Used<Ack>(out));
    case PacketType::kSubscribe:
      return DecodeSubscribe(flags, body, version, out.emplace<Subscribe>());
    case PacketType::kSubAck:
      return DecodeSubAck(flags, body, version, out.emplace<SubAck>());
    case PacketType::kUnsubscribe:
      return DecodeUnsubscribe(flags, body, version, out.emplace<Unsubscribe>());
    case PacketType::kUnsubAck:
      return DecodeUnsubAck(flags, body, version, out.emplace<UnsubAck>());
    case PacketType::kPingReq:
      out.emplace<PingReq>();
      return DecodePingReq(flags, body, version);
    case PacketType::kPingResp:
      out.emplace<PingResp>();
      return DecodePingResp(flags, body, version);
    case PacketType::kDisconnect:
      return DecodeDisconnect(flags, body, version, sender, out.emplace<Disconnect>());
    case PacketType::kAuth:
      return DecodeAuth(flags, body, version, sender, out.emplace<Auth>());
    case PacketType::kReserved:
      break;
  }
  return Violation{ReasonCode::kMalformedPacket, "reserved"};
}

}  // namespace

std::optional<Violation> Decode(Bytes frame, Version version, Sender sender, AnyPacket& out) {
  const FrameResult result = PeekFrame(frame, kPacketSizeMax, version);
  if (result.kind == FrameResult::Kind::kViolation) return result.violation;
  if (result.kind == FrameResult::Kind::kNeedMore) {
    return Violation{ReasonCode::kMalformedPacket, "incomplete"};
  }
  if (auto violation = CheckDirection(result.header.type, version, sender)) return violation;
  return DecodeBody(result.header, FrameBody(result.header, frame), version, sender, out);
}

std::optional<Violation> Check(std::string_view frame, Version version, Sender sender) {
  AnyPacket packet;
  return Decode(AsBytes(frame), version, sender, packet);
}

std::string ToFrame(const AnyPacket& packet, Version version, uint32_t packet_size_max) {
  std::string out;
  std::visit(
      [&](const auto& p) {
        using Packet = std::decay_t<decltype(p)>;
        if constexpr (std::is_same_v<Packet, Connect> || std::is_same_v<Packet, Auth>) {
          (void)Encode(p, out, packet_size_max);
        } else if constexpr (std::is_same_v<Packet, Publish>) {
          std::string scratch;
          (void)Encode(HeadOf(p, version, scratch), out, packet_size_max);
        } else if constexpr (std::is_same_v<Packet, PingReq>) {
          out.assign(AsText(kPingReqFrame));
        } else if constexpr (std::is_same_v<Packet, PingResp>) {
          out.assign(AsText(kPingRespFrame));
        } else {
          (void)Encode(p, version, out, packet_size_max);
        }
      },
      packet);
  return out;
}

std::ostream& operator<<(std::ostream& out, const AnyPacket& packet) {
  std::visit([&out](const auto& p) { out << p; }, packet);
  return out;
}

}  // namespace mqtt
