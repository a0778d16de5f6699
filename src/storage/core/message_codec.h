// Application Messages as bytes: StoredMessage of proto/mqttd/storage/v1/records.proto, written and
// read by hand. The bytes are the protobuf encoding, without a protobuf object in between.
#ifndef STORAGE_CORE_MESSAGE_CODEC_H_
#define STORAGE_CORE_MESSAGE_CODEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mqtt/message.h"
#include "storage/core/wire.h"

namespace storage {

size_t StoredMessageSize(const mqtt::MessageParts& parts);
// Writes a StoredMessage, of that size.
void WriteStoredMessage(const mqtt::MessageParts& parts, wire::Writer& out);
std::string EncodeStoredMessage(const mqtt::MessageParts& parts);
inline std::string EncodeStoredMessage(const mqtt::Message& message) {
  return EncodeStoredMessage(message.parts());
}

// Views into `bytes`. None if they are not a StoredMessage. Unknown fields are skipped.
std::optional<mqtt::MessageParts> ParseStoredMessage(std::string_view bytes);

// One allocation. Null if the bytes are not a StoredMessage.
mqtt::MessagePtr DecodeStoredMessage(std::string_view bytes);

}  // namespace storage

#endif  // STORAGE_CORE_MESSAGE_CODEC_H_
