#include "storage/core/message_codec.h"

namespace storage {
namespace {

// Field numbers of StoredMessage.
constexpr uint32_t kTopic = 1, kPayload = 2, kProperties = 3, kQos = 4, kRetain = 5, kCreated = 6,
                   kExpires = 7, kPublisher = 8;

}  // namespace

size_t StoredMessageSize(const mqtt::MessageParts& parts) {
  return wire::BytesSize(parts.topic) + wire::BytesSize(parts.payload) +
         wire::BytesSize(parts.properties) + wire::NumberSize(static_cast<uint64_t>(parts.qos)) +
         wire::NumberSize(parts.retain ? 1 : 0) +
         wire::NumberSize(static_cast<uint64_t>(parts.created_at_unix_ms)) +
         wire::NumberSize(static_cast<uint64_t>(parts.expires_at_unix_ms)) +
         wire::BytesSize(parts.publisher);
}

void WriteStoredMessage(const mqtt::MessageParts& parts, wire::Writer& out) {
  out.Bytes(kTopic, parts.topic);
  out.Bytes(kPayload, parts.payload);
  out.Bytes(kProperties, parts.properties);
  out.Number(kQos, static_cast<uint64_t>(parts.qos));
  out.Number(kRetain, parts.retain ? 1 : 0);
  out.Number(kCreated, static_cast<uint64_t>(parts.created_at_unix_ms));
  out.Number(kExpires, static_cast<uint64_t>(parts.expires_at_unix_ms));
  out.Bytes(kPublisher, parts.publisher);
}

std::string EncodeStoredMessage(const mqtt::MessageParts& parts) {
  std::string bytes;
  wire::Append(bytes, StoredMessageSize(parts),
               [&](wire::Writer& out) { WriteStoredMessage(parts, out); });
  return bytes;
}

std::optional<mqtt::MessageParts> ParseStoredMessage(std::string_view bytes) {
  mqtt::MessageParts parts;
  wire::Reader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case kTopic:
        parts.topic = reader.bytes();
        break;
      case kPayload:
        parts.payload = reader.bytes();
        break;
      case kProperties:
        parts.properties = reader.bytes();
        break;
      case kQos:
        if (reader.number() > 2) return std::nullopt;
        parts.qos = static_cast<mqtt::QoS>(reader.number());
        break;
      case kRetain:
        parts.retain = reader.number() != 0;
        break;
      case kCreated:
        parts.created_at_unix_ms = static_cast<int64_t>(reader.number());
        break;
      case kExpires:
        parts.expires_at_unix_ms = static_cast<int64_t>(reader.number());
        break;
      case kPublisher:
        parts.publisher = reader.bytes();
        break;
      default:
        break;
    }
  }
  if (!reader.ok() || parts.topic.empty()) return std::nullopt;
  return parts;
}

mqtt::MessagePtr DecodeStoredMessage(std::string_view bytes) {
  const std::optional<mqtt::MessageParts> parts = ParseStoredMessage(bytes);
  return parts.has_value() ? mqtt::Message::Create(*parts) : mqtt::MessagePtr();
}

}  // namespace storage
