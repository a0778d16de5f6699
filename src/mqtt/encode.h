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
#include "mqtt/encode_publish.h"
#include "mqtt/frame.h"
#include "mqtt/packets.h"
#include "mqtt/types.h"

namespace mqtt {

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
