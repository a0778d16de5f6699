// PUBLISH (§3.3): measured, then written into the caller's memory. In a header, because it is the
// fast path: a head that is built for one call then stays in registers.
#ifndef MQTT_ENCODE_PUBLISH_H_
#define MQTT_ENCODE_PUBLISH_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "absl/types/span.h"
#include "base/check.h"
#include "mqtt/frame.h"
#include "mqtt/packets.h"
#include "mqtt/property.h"
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

namespace internal {

inline constexpr size_t kTopicAliasSize = 1 + 2;
inline constexpr size_t kMessageExpirySize = 1 + 4;

inline uint8_t* PutByte(uint8_t* p, unsigned value) {
  *p = static_cast<uint8_t>(value);
  return p + 1;
}

inline uint8_t* PutTwoBytes(uint8_t* p, unsigned value) {
  p[0] = static_cast<uint8_t>(value >> 8);
  p[1] = static_cast<uint8_t>(value);
  return p + 2;
}

inline uint8_t* PutFourBytes(uint8_t* p, uint32_t value) {
  return PutTwoBytes(PutTwoBytes(p, value >> 16), value & 0xFFFF);
}

inline uint8_t* PutVariableByteInteger(uint8_t* p, uint32_t value) {
  while (value >= 0x80) {
    p = PutByte(p, (value & 0x7F) | 0x80);
    value >>= 7;
  }
  return PutByte(p, value);
}

inline uint8_t* PutBytes(uint8_t* p, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
  return p + bytes.size();
}

inline uint8_t* PutId(uint8_t* p, PropertyId id) { return PutByte(p, static_cast<unsigned>(id)); }

inline uint8_t* PutProperties(uint8_t* p, const PublishHead& head, uint32_t property_length) {
  p = PutVariableByteInteger(p, property_length);  // [MQTT5-2.2.2-1]
  if (property_length == 0) return p;
  if (head.topic_alias != 0) {
    p = PutTwoBytes(PutId(p, PropertyId::kTopicAlias), head.topic_alias);
  }
  if (head.message_expiry_interval.has_value()) {
    p = PutFourBytes(PutId(p, PropertyId::kMessageExpiryInterval), *head.message_expiry_interval);
  }
  for (const uint32_t id : head.subscription_ids) {
    p = PutVariableByteInteger(PutId(p, PropertyId::kSubscriptionIdentifier), id);
  }
  return PutBytes(p, head.forward_properties);
}

}  // namespace internal

// All lengths of a PUBLISH, so that measuring is done once.
struct PublishSize {
  uint32_t property_length = 0;  // Value of the Property Length field.
  uint32_t remaining_length = 0;
  size_t total = 0;  // Fixed header to payload. May exceed what the receiver takes, or
                     // kPacketSizeMax: the caller compares before it writes.
};
inline PublishSize MeasurePublish(const PublishHead& head) {
  size_t properties = 0;
  size_t remaining = 2 + head.topic.size() + head.payload.size();
  if (head.qos != QoS::kAtMostOnce) remaining += 2;
  if (head.version == Version::k5) {
    properties = head.forward_properties.size();
    if (head.topic_alias != 0) properties += internal::kTopicAliasSize;
    if (head.message_expiry_interval.has_value()) properties += internal::kMessageExpirySize;
    for (const uint32_t id : head.subscription_ids) properties += 1 + VariableByteIntegerSize(id);
    // Beyond four bytes of length nothing is written, as `total` then exceeds every limit.
    remaining += properties + VariableByteIntegerSize(static_cast<uint32_t>(properties));
  }
  return {.property_length = static_cast<uint32_t>(properties),
          .remaining_length = static_cast<uint32_t>(remaining),
          .total = 1 + VariableByteIntegerSize(static_cast<uint32_t>(remaining)) + remaining};
}

struct WrittenPublish {
  uint8_t* packet_id = nullptr;  // Where the two bytes stand; null at QoS 0. For PatchPacketId.
  uint8_t* end = nullptr;        // One behind the last byte written.
};

// All but the payload, `size.total - head.payload.size()` bytes: for payloads sent by reference.
inline WrittenPublish WritePublishHeader(uint8_t* p, const PublishHead& head,
                                         const PublishSize& size) {
  DCHECK(size.total <= kPacketSizeMax) << "a PUBLISH of " << size.total << " bytes";
  DCHECK(head.topic.size() <= 0xFFFF) << "a topic of " << head.topic.size() << " bytes";
  const unsigned qos = static_cast<unsigned>(head.qos);
  p = internal::PutByte(p, static_cast<unsigned>(PacketType::kPublish) << 4 |
                               (head.dup ? 0x08u : 0u) | qos << 1 | (head.retain ? 0x01u : 0u));
  p = internal::PutVariableByteInteger(p, size.remaining_length);
  p = internal::PutTwoBytes(p, static_cast<unsigned>(head.topic.size()));
  p = internal::PutBytes(p, head.topic);
  WrittenPublish written;
  if (qos != 0) {  // [MQTT5-2.2.1-2] [MQTT311-2.3.1-5]
    written.packet_id = p;
    p = internal::PutTwoBytes(p, head.packet_id.value);
  }
  if (head.version == Version::k5) p = internal::PutProperties(p, head, size.property_length);
  written.end = p;
  return written;
}

// Writes `size.total` bytes at `p`. `size` is MeasurePublish(head), of at most kPacketSizeMax.
inline WrittenPublish WritePublish(uint8_t* p, const PublishHead& head, const PublishSize& size) {
  WrittenPublish written = WritePublishHeader(p, head, size);
  written.end = internal::PutBytes(written.end, head.payload);
  return written;
}

inline void PatchPacketId(uint8_t* p, PacketId id) {
  p[0] = static_cast<uint8_t>(id.value >> 8);
  p[1] = static_cast<uint8_t>(id.value);
}

}  // namespace mqtt

#endif  // MQTT_ENCODE_PUBLISH_H_
