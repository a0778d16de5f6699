// The small types that every part of the protocol shares.
#ifndef MQTT_TYPES_H_
#define MQTT_TYPES_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/types/span.h"
#include "mqtt/reason_code.h"

namespace mqtt {

using Bytes = absl::Span<const uint8_t>;

inline Bytes AsBytes(std::string_view text) {
  return Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}
inline std::string_view AsText(Bytes bytes) {
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// The Protocol Version (5.0) or Protocol Level (3.1.1) byte of CONNECT, §3.1.2.2.
enum class Version : uint8_t {
  kUnknown = 0,  // No CONNECT has been understood yet.
  k31 = 3,       // "MQIsdp", as mosquitto accepts it: 3.1.1 but for CONNECT and a few flags.
  k311 = 4,
  k5 = 5,
};

// Quality of Service, §4.3. The wire value 3 is malformed [MQTT-3.3.1-4] and never becomes a QoS.
enum class QoS : uint8_t { kAtMostOnce = 0, kAtLeastOnce = 1, kExactlyOnce = 2 };

constexpr QoS Min(QoS a, QoS b) { return a < b ? a : b; }

// MQTT Control Packet type: byte 1, bits 7-4 of the fixed header (§2.1.2; §2.2.1 in 3.1.1).
enum class PacketType : uint8_t {
  kReserved = 0,  // Forbidden.
  kConnect = 1,
  kConnAck = 2,
  kPublish = 3,
  kPubAck = 4,
  kPubRec = 5,
  kPubRel = 6,
  kPubComp = 7,
  kSubscribe = 8,
  kSubAck = 9,
  kUnsubscribe = 10,
  kUnsubAck = 11,
  kPingReq = 12,
  kPingResp = 13,
  kDisconnect = 14,
  kAuth = 15,  // 5.0 only; reserved in 3.1.1.
};

std::string_view PacketTypeName(PacketType type);  // "CONNECT"

// Packet Identifier (§2.2.1; §2.3.1 in 3.1.1). Zero is no identifier: it never stands in a packet.
struct PacketId {
  uint16_t value = 0;

  explicit constexpr operator bool() const { return value != 0; }
  friend constexpr auto operator<=>(PacketId, PacketId) = default;
  template <typename H>
  friend H AbslHashValue(H h, PacketId id) {
    return H::combine(std::move(h), id.value);
  }
};

// Who sent the bytes: some packets, fields and properties go in one direction only.
enum class Sender : uint8_t { kClient, kServer };

// What the Server sends of retained messages when a subscription is made, §3.8.3.1, bits 4-5.
enum class RetainHandling : uint8_t {
  kSend = 0,       // [MQTT5-3.3.1-9]
  kSendIfNew = 1,  // [MQTT5-3.3.1-10] Only if the subscription did not exist yet.
  kDoNotSend = 2,  // [MQTT5-3.3.1-11]
};

// The byte after each Topic Filter in SUBSCRIBE, §3.8.3.1. 3.1.1 has the QoS only, which means:
// no_local = false, retain_as_published = false, retain_handling = kSend.
struct SubscriptionOptions {
  QoS qos = QoS::kAtMostOnce;        // Bits 0-1: the highest QoS at which messages are delivered.
  bool no_local = false;             // Bit 2: not to the Client that published [MQTT5-3.8.3-3].
  bool retain_as_published = false;  // Bit 3: forward the RETAIN flag [MQTT5-3.3.1-12,-13].
  RetainHandling retain_handling = RetainHandling::kSend;  // Bits 4-5.

  friend constexpr bool operator==(SubscriptionOptions, SubscriptionOptions) = default;

  constexpr uint8_t ToByte() const {
    return static_cast<uint8_t>(static_cast<unsigned>(qos) | (no_local ? 0x04u : 0u) |
                                (retain_as_published ? 0x08u : 0u) |
                                static_cast<unsigned>(retain_handling) << 4);
  }
  // `byte` is one that a decoder or ToByte has passed: QoS and Retain Handling below 3, bits 6-7
  // zero.
  static constexpr SubscriptionOptions FromByte(uint8_t byte) {
    return {.qos = static_cast<QoS>(byte & 0x03),
            .no_local = (byte & 0x04) != 0,
            .retain_as_published = (byte & 0x08) != 0,
            .retain_handling = static_cast<RetainHandling>((byte >> 4) & 0x03)};
  }
};

// Bytes that a Variable Byte Integer takes (§1.5.5; §2.2.3 in 3.1.1).
constexpr size_t VariableByteIntegerSize(uint32_t value) {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20'0000 ? 3 : 4;
}

// What a peer did wrong. An absent `std::optional<Violation>` is "all is well".
struct Violation {
  // What CONNACK or DISCONNECT should say (5.0; `ToConnectReturnCode` translates for 3.1.1, where
  // after CONNECT the Network Connection is just closed).
  ReasonCode reason = ReasonCode::kMalformedPacket;
  // Static text, fit for a metric's label: the statement that was broken ("MQTT5-3.3.4-7",
  // "MQTT311-3.8.3-3", "MQTT-3.3.1-4" where number and meaning agree in both versions), or the
  // section where a rule has no number of its own ("MQTT5-3.1.2.11.3").
  std::string_view rule;

  friend bool operator==(const Violation&, const Violation&) = default;
};

std::ostream& operator<<(std::ostream& out, Version version);  // 3.1.1
std::ostream& operator<<(std::ostream& out, QoS qos);          // 1
std::ostream& operator<<(std::ostream& out, PacketType type);  // PUBLISH
std::ostream& operator<<(std::ostream& out, PacketId id);      // 17
std::ostream& operator<<(std::ostream& out, Sender sender);    // client
std::ostream& operator<<(std::ostream& out, RetainHandling handling);
std::ostream& operator<<(std::ostream& out, const SubscriptionOptions& options);
std::ostream& operator<<(std::ostream& out, const Violation& violation);

}  // namespace mqtt

#endif  // MQTT_TYPES_H_
