// PUBLISH (§3.3): measured, then written into the caller's memory.
#include <cstring>

#include "base/check.h"
#include "mqtt/encode.h"
#include "mqtt/writer.h"

namespace mqtt {
namespace {

constexpr size_t kTopicAliasSize = 1 + 2;
constexpr size_t kMessageExpirySize = 1 + 4;

uint8_t* PutByte(uint8_t* p, unsigned value) {
  *p = static_cast<uint8_t>(value);
  return p + 1;
}

uint8_t* PutTwoBytes(uint8_t* p, unsigned value) {
  p[0] = static_cast<uint8_t>(value >> 8);
  p[1] = static_cast<uint8_t>(value);
  return p + 2;
}

uint8_t* PutFourBytes(uint8_t* p, uint32_t value) {
  return PutTwoBytes(PutTwoBytes(p, value >> 16), value & 0xFFFF);
}

uint8_t* PutVariableByteInteger(uint8_t* p, uint32_t value) {
  while (value >= 0x80) {
    p = PutByte(p, (value & 0x7F) | 0x80);
    value >>= 7;
  }
  return PutByte(p, value);
}

uint8_t* PutBytes(uint8_t* p, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
  return p + bytes.size();
}

uint8_t* PutId(uint8_t* p, PropertyId id) { return PutByte(p, static_cast<unsigned>(id)); }

uint8_t* PutProperties(uint8_t* p, const PublishHead& head, uint32_t property_length) {
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

}  // namespace

PublishSize MeasurePublish(const PublishHead& head) {
  size_t properties = 0;
  size_t remaining = 2 + head.topic.size() + head.payload.size();
  if (head.qos != QoS::kAtMostOnce) remaining += 2;
  if (head.version == Version::k5) {
    properties = head.forward_properties.size();
    if (head.topic_alias != 0) properties += kTopicAliasSize;
    if (head.message_expiry_interval.has_value()) properties += kMessageExpirySize;
    for (const uint32_t id : head.subscription_ids) properties += 1 + VariableByteIntegerSize(id);
    // Beyond four bytes of length nothing is written, as `total` then exceeds every limit.
    remaining += properties + VariableByteIntegerSize(static_cast<uint32_t>(properties));
  }
  return {.property_length = static_cast<uint32_t>(properties),
          .remaining_length = static_cast<uint32_t>(remaining),
          .total = 1 + VariableByteIntegerSize(static_cast<uint32_t>(remaining)) + remaining};
}

WrittenPublish WritePublishHeader(uint8_t* p, const PublishHead& head, const PublishSize& size) {
  DCHECK(size.total <= kPacketSizeMax) << "a PUBLISH of " << size.total << " bytes";
  DCHECK(head.topic.size() <= 0xFFFF) << "a topic of " << head.topic.size() << " bytes";
  const unsigned qos = static_cast<unsigned>(head.qos);
  p = PutByte(p, static_cast<unsigned>(PacketType::kPublish) << 4 | (head.dup ? 0x08u : 0u) |
                     qos << 1 | (head.retain ? 0x01u : 0u));
  p = PutVariableByteInteger(p, size.remaining_length);
  p = PutTwoBytes(p, static_cast<unsigned>(head.topic.size()));
  p = PutBytes(p, head.topic);
  WrittenPublish written;
  if (qos != 0) {  // [MQTT5-2.2.1-2] [MQTT311-2.3.1-5]
    written.packet_id = p;
    p = PutTwoBytes(p, head.packet_id.value);
  }
  if (head.version == Version::k5) p = PutProperties(p, head, size.property_length);
  written.end = p;
  return written;
}

WrittenPublish WritePublish(uint8_t* p, const PublishHead& head, const PublishSize& size) {
  WrittenPublish written = WritePublishHeader(p, head, size);
  written.end = PutBytes(written.end, head.payload);
  return written;
}

PublishHead HeadOf(const Publish& publish, Version version, std::string& scratch) {
  return {.version = version,
          .dup = publish.dup,
          .qos = publish.qos,
          .retain = publish.retain,
          .packet_id = publish.packet_id,
          .topic = publish.topic,
          .topic_alias = publish.topic_alias,
          .message_expiry_interval = publish.message_expiry_interval,
          .subscription_ids = publish.subscription_ids,
          .forward_properties = ForwardProperties(publish, scratch),
          .payload = publish.payload};
}

bool Encode(const PublishHead& head, std::string& out, uint32_t packet_size_max) {
  const PublishSize size = MeasurePublish(head);
  if (size.total > packet_size_max) return false;
  const size_t begin = out.size();
  out.resize(begin + size.total);
  WritePublish(reinterpret_cast<uint8_t*>(out.data() + begin), head, size);
  return true;
}

}  // namespace mqtt
