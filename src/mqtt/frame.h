// The fixed header: cuts the byte stream of a Network Connection into MQTT Control Packets (§2.1).
#ifndef MQTT_FRAME_H_
#define MQTT_FRAME_H_

#include <cstddef>
#include <cstdint>

#include "mqtt/types.h"

namespace mqtt {

// The largest Remaining Length (four bytes of seven bits, §1.5.5; §2.2.3 in 3.1.1), and the largest
// packet: one type byte and four length bytes before it.
inline constexpr uint32_t kRemainingLengthMax = 268'435'455;
inline constexpr uint32_t kPacketSizeMax = kRemainingLengthMax + 5;

// A frame is one whole packet: fixed header and body. The body is what the decoders take.
struct FrameHeader {
  PacketType type = PacketType::kReserved;  // Byte 1, bits 7-4.
  uint8_t flags = 0;                        // Byte 1, bits 3-0.
  uint8_t header_size = 0;                  // 2-5: byte 1 and the Remaining Length field.
  bool length_is_minimal = true;            // Remaining Length in the fewest bytes possible.
  uint32_t remaining_length = 0;            // Size of the body.

  size_t frame_size() const { return size_t{header_size} + remaining_length; }
};

struct FrameResult {
  enum class Kind : uint8_t {
    kComplete,   // `header` is set, and the whole frame is in the input.
    kNeedMore,   // `bytes_needed` in all, counted from the frame's first byte, before asking again.
                 // `header.header_size` > 0 if the header was complete: bytes_needed is then exact.
    kViolation,  // `violation` is set; the stream cannot be read further.
  };
  Kind kind = Kind::kNeedMore;
  FrameHeader header;
  size_t bytes_needed = 2;
  Violation violation;
};

// Looks at a frame's first bytes. `packet_size_max` is the limit of the receiver, over the whole
// frame (Maximum Packet Size, §3.1.2.11.4, §3.2.2.3.6), checked as soon as the length is known, so
// that nothing is buffered for a packet that will be refused.
//   packet type 0                  0x81  MQTT5-2.1.2 / MQTT311-2.2.1
//   more than four length bytes    0x81  MQTT5-1.5.5 / MQTT311-2.2.3
//   length not minimal, 5.0 only   0x81  [MQTT5-1.5.5-1]
//   larger than packet_size_max    0x95  MQTT5-3.1.2.11.4 (also said to 3.1.1 clients, by closing)
// Before CONNECT the version is kUnknown: DecodeConnect then checks the minimal length itself.
// Cost: a few nanoseconds; does not look at the body.
inline FrameResult PeekFrame(Bytes bytes, uint32_t packet_size_max, Version version) {
  FrameResult result;
  if (bytes.empty()) return result;
  const auto violate = [&result](ReasonCode reason, std::string_view rule) {
    result.kind = FrameResult::Kind::kViolation;
    result.violation = {reason, rule};
    return result;
  };
  const bool v5 = version == Version::k5;
  const auto type = static_cast<PacketType>(bytes[0] >> 4);
  if (type == PacketType::kReserved) {
    return violate(ReasonCode::kMalformedPacket, v5 ? "MQTT5-2.1.2" : "MQTT311-2.2.1");
  }
  uint32_t length = 0;
  for (size_t i = 1;; ++i) {
    if (i > 4) return violate(ReasonCode::kMalformedPacket, v5 ? "MQTT5-1.5.5" : "MQTT311-2.2.3");
    if (i >= bytes.size()) {
      result.bytes_needed = i + 1;
      return result;
    }
    const uint8_t byte = bytes[i];
    length |= static_cast<uint32_t>(byte & 0x7F) << (7 * (i - 1));
    if ((byte & 0x80) != 0) continue;
    result.header = {.type = type,
                     .flags = static_cast<uint8_t>(bytes[0] & 0x0F),
                     .header_size = static_cast<uint8_t>(i + 1),
                     .length_is_minimal = i == 1 || byte != 0,
                     .remaining_length = length};
    break;
  }
  if (v5 && !result.header.length_is_minimal) {
    return violate(ReasonCode::kMalformedPacket, "MQTT5-1.5.5-1");
  }
  result.bytes_needed = result.header.frame_size();
  if (result.bytes_needed > packet_size_max) {
    return violate(ReasonCode::kPacketTooLarge, "MQTT5-3.1.2.11.4");
  }
  if (result.bytes_needed <= bytes.size()) result.kind = FrameResult::Kind::kComplete;
  return result;
}

// The body of a complete frame that starts at bytes[0].
inline Bytes FrameBody(const FrameHeader& header, Bytes bytes) {
  return bytes.subspan(header.header_size, header.remaining_length);
}

}  // namespace mqtt

#endif  // MQTT_FRAME_H_
