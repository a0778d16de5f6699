// From a packet to bytes. Sizes first, then straight into the caller's memory for the hot ones; the
// others append to a string. Callers pass what is valid: the encoders check nothing but by
// assertion.
#ifndef MQTT_ENCODE_H_
#define MQTT_ENCODE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "mqtt/frame.h"
#include "mqtt/packets.h"
#include "mqtt/types.h"

namespace mqtt {

// A PUBLISH to be written. Differs from Publish in that the properties come ready from the message
// and what belongs to the one receiver beside them.
struct PublishHead {
  Version version = Version::k311;
  bool dup = false;
  QoS qos = QoS::kAtMostOnce;
  bool retain = false;
  PacketId packet_id;      // Written at QoS > 0; may be 0 and be patched later.
  std::string_view topic;  // Empty only with a topic_alias.
  // 5.0 only; ignored for the others.
  uint16_t topic_alias = 0;                         // 0: none.
  std::optional<uint32_t> message_expiry_interval;  // What remains of it, [MQTT5-3.3.2-6].
  absl::Span<const uint32_t> subscription_ids;      // [MQTT5-3.3.4-4]
  std::string_view forward_properties;              // Written last, as they are.
  std::string_view payload;
};

// All lengths of a PUBLISH, so that measuring is done once.
struct PublishSize {
  uint32_t property_length = 0;  // Value of the Property Length field.
  uint32_t remaining_length = 0;
  size_t total = 0;  // Fixed header to payload. May exceed what the receiver takes, or
                     // kPacketSizeMax: the caller compares before it writes.
};
PublishSize MeasurePublish(const PublishHead& head);

struct WrittenPublish {
  uint8_t* packet_id = nullptr;  // Where the two bytes stand; null at QoS 0. For PatchPacketId.
  uint8_t* end = nullptr;        // One behind the last byte written.
};

// Writes `size.total` bytes at `p`. `size` is MeasurePublish(head), of at most kPacketSizeMax.
WrittenPublish WritePublish(uint8_t* p, const PublishHead& head, const PublishSize& size);

// All but the payload, `size.total - head.payload.size()` bytes: for payloads sent by reference.
WrittenPublish WritePublishHeader(uint8_t* p, const PublishHead& head, const PublishSize& size);

inline void PatchPacketId(uint8_t* p, PacketId id) {
  p[0] = static_cast<uint8_t>(id.value >> 8);
  p[1] = static_cast<uint8_t>(id.value);
}

// The head that writes `publish` again, for this receiver's version. `scratch` backs
// forward_properties where some had to be filtered out.
PublishHead HeadOf(const Publish& publish, Version version, std::string& scratch);

// PUBACK, PUBREC, PUBREL, PUBCOMP in their shortest form: Remaining Length 2, or 3 in 5.0 with a
// Reason Code other than 0x00. At most kAckSizeMax bytes; returns one behind the last.
inline constexpr size_t kAckSizeMax = 5;
inline uint8_t* WriteAck(uint8_t* p, PacketType type, Version version, PacketId id,
                         ReasonCode reason = ReasonCode::kSuccess) {
  const bool with_reason = version == Version::k5 && reason != ReasonCode::kSuccess;
  p[0] = static_cast<uint8_t>(static_cast<unsigned>(type) << 4 |
                              (type == PacketType::kPubRel ? 0x02u : 0u));
  p[1] = with_reason ? 3 : 2;
  PatchPacketId(p + 2, id);
  if (!with_reason) return p + 4;
  p[4] = static_cast<uint8_t>(reason);
  return p + 5;
}

inline constexpr std::array<uint8_t, 2> kPingReqFrame = {0xC0, 0x00};
inline constexpr std::array<uint8_t, 2> kPingRespFrame = {0xD0, 0x00};

// The rest append to `out`. `packet_size_max` is the receiver's Maximum Packet Size. Packets that
// have a Reason String give up their User Properties first and then it, to stay within the limit,
// as the specification asks for each of them ([MQTT5-3.2.2-19] and its like). False, with nothing
// appended, if the packet is too large even so.
bool Encode(const Connect& packet, std::string& out, uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const ConnAck& packet, Version version, std::string& out,
            uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const Ack& packet, Version version, std::string& out,
            uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const Subscribe& packet, Version version, std::string& out,
            uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const SubAck& packet, Version version, std::string& out,
            uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const Unsubscribe& packet, Version version, std::string& out,
            uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const UnsubAck& packet, Version version, std::string& out,
            uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const Disconnect& packet, Version version, std::string& out,
            uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const Auth& packet, std::string& out, uint32_t packet_size_max = kPacketSizeMax);
bool Encode(const PublishHead& head, std::string& out, uint32_t packet_size_max = kPacketSizeMax);

// The CONNACK that refuses a CONNECT, in the version's form, with no property but `reason_string`,
// and without that if it does not fit [MQTT5-3.2.2-19]. Nothing is appended if the client must be
// left without an answer: version unknown, no 3.1.1 return code applies [MQTT311-3.1.4-1]
// [MQTT311-3.2.2-6], or no CONNACK is small enough [MQTT5-3.1.2-24].
void EncodeRefusal(Version version, ReasonCode reason, std::string_view reason_string,
                   std::string& out, uint32_t packet_size_max = kPacketSizeMax);

}  // namespace mqtt

#endif  // MQTT_ENCODE_H_
