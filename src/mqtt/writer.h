// Inside src/mqtt: appends the data representations of §1.5 to a string.
#ifndef MQTT_WRITER_H_
#define MQTT_WRITER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "mqtt/property.h"
#include "mqtt/types.h"

namespace mqtt {

inline void AppendByte(std::string& out, unsigned value) {
  out.push_back(static_cast<char>(value));
}

inline void AppendTwoBytes(std::string& out, unsigned value) {
  AppendByte(out, value >> 8 & 0xFF);
  AppendByte(out, value & 0xFF);
}

inline void AppendFourBytes(std::string& out, uint32_t value) {
  AppendTwoBytes(out, value >> 16);
  AppendTwoBytes(out, value & 0xFFFF);
}

inline void AppendVariableByteInteger(std::string& out, uint32_t value) {
  while (value >= 0x80) {
    AppendByte(out, (value & 0x7F) | 0x80);
    value >>= 7;
  }
  AppendByte(out, value);
}

// Of a UTF-8 Encoded String, and of Binary Data.
inline constexpr size_t kStringBytesMax = 65'535;

// A length of two bytes, then the bytes: UTF-8 Encoded String and Binary Data alike.
inline void AppendString(std::string& out, std::string_view text) {
  CHECK(text.size() <= kStringBytesMax)
      << "an MQTT string holds at most 65,535 bytes, not " << text.size();
  AppendTwoBytes(out, static_cast<unsigned>(text.size()));
  out.append(text);
}

// Properties, by type of value.
inline void AppendPropertyId(std::string& out, PropertyId id) {
  AppendByte(out, static_cast<unsigned>(id));
}
inline void AppendByteProperty(std::string& out, PropertyId id, unsigned value) {
  AppendPropertyId(out, id);
  AppendByte(out, value);
}
inline void AppendTwoByteProperty(std::string& out, PropertyId id, unsigned value) {
  AppendPropertyId(out, id);
  AppendTwoBytes(out, value);
}
inline void AppendFourByteProperty(std::string& out, PropertyId id, uint32_t value) {
  AppendPropertyId(out, id);
  AppendFourBytes(out, value);
}
inline void AppendFourByteProperty(std::string& out, PropertyId id, std::optional<uint32_t> value) {
  if (value.has_value()) AppendFourByteProperty(out, id, *value);
}
inline void AppendTextProperty(std::string& out, PropertyId id,
                               std::optional<std::string_view> value) {
  if (!value.has_value()) return;
  AppendPropertyId(out, id);
  AppendString(out, *value);
}
inline void AppendUserProperties(std::string& out, const UserProperties& properties) {
  for (const UserProperty& property : properties) {
    AppendPropertyId(out, PropertyId::kUserProperty);
    AppendString(out, property.name);
    AppendString(out, property.value);
  }
}

}  // namespace mqtt

#endif  // MQTT_WRITER_H_
