#include "client/trace.h"

#include <optional>
#include <sstream>
#include <string>

#include "mqtt/decode.h"
#include "mqtt/frame.h"
#include "mqtt/packets.h"

namespace mqttd::client {
namespace {

template <typename Packet, typename Decode>
std::string Words(Packet packet, const Decode& decode) {
  std::ostringstream words;
  if (const std::optional<mqtt::Violation> violation = decode(packet)) {
    words << *violation;
  } else {
    words << packet;
  }
  return words.str();
}

std::string Describe(const mqtt::FrameHeader& header, mqtt::Bytes body, mqtt::Version version,
                     mqtt::Sender sender) {
  using mqtt::PacketType;
  const uint8_t flags = header.flags;
  switch (header.type) {
    case PacketType::kConnect:
      return Words(mqtt::Connect(),
                   [&](auto& packet) { return mqtt::DecodeConnect(header, body, packet); });
    case PacketType::kConnAck:
      return Words(mqtt::ConnAck(),
                   [&](auto& packet) { return mqtt::DecodeConnAck(flags, body, version, packet); });
    case PacketType::kPublish:
      return Words(mqtt::Publish(), [&](auto& packet) {
        return mqtt::DecodePublish(flags, body, version, sender, packet);
      });
    case PacketType::kPubAck:
    case PacketType::kPubRec:
    case PacketType::kPubRel:
    case PacketType::kPubComp:
      return Words(mqtt::Ack(), [&](auto& packet) {
        return mqtt::DecodeAck(header.type, flags, body, version, packet);
      });
    case PacketType::kSubscribe:
      return Words(mqtt::Subscribe(), [&](auto& packet) {
        return mqtt::DecodeSubscribe(flags, body, version, packet);
      });
    case PacketType::kSubAck:
      return Words(mqtt::SubAck(),
                   [&](auto& packet) { return mqtt::DecodeSubAck(flags, body, version, packet); });
    case PacketType::kUnsubscribe:
      return Words(mqtt::Unsubscribe(), [&](auto& packet) {
        return mqtt::DecodeUnsubscribe(flags, body, version, packet);
      });
    case PacketType::kUnsubAck:
      return Words(mqtt::UnsubAck(), [&](auto& packet) {
        return mqtt::DecodeUnsubAck(flags, body, version, packet);
      });
    case PacketType::kDisconnect:
      return Words(mqtt::Disconnect(), [&](auto& packet) {
        return mqtt::DecodeDisconnect(flags, body, version, sender, packet);
      });
    case PacketType::kAuth:
      return Words(mqtt::Auth(), [&](auto& packet) {
        return mqtt::DecodeAuth(flags, body, version, sender, packet);
      });
    default:
      return std::string(mqtt::PacketTypeName(header.type));
  }
}

}  // namespace

void Trace(const Tracer& tracer, mqtt::Bytes bytes, mqtt::Version version, mqtt::Sender sender) {
  while (true) {
    const mqtt::FrameResult frame = mqtt::PeekFrame(bytes, mqtt::kPacketSizeMax, version);
    if (frame.kind != mqtt::FrameResult::Kind::kComplete) return;
    tracer(sender, Describe(frame.header, mqtt::FrameBody(frame.header, bytes), version, sender));
    bytes.remove_prefix(frame.header.frame_size());
  }
}

}  // namespace mqttd::client
