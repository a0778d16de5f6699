// Reason Codes of MQTT 5.0 (§2.4) and their counterparts in MQTT 3.1 and 3.1.1.
#ifndef MQTT_REASON_CODE_H_
#define MQTT_REASON_CODE_H_

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string_view>

namespace mqtt {

enum class PacketType : uint8_t;

// One byte that says how an operation ended (§2.4, Table 2-6). Below 0x80: it succeeded. 0x80 and
// above: it failed. Used in CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT
// and AUTH, each of which allows only some of them: see `IsAllowed`.
enum class ReasonCode : uint8_t {
  kSuccess = 0x00,                 // CONNACK PUBACK PUBREC PUBREL PUBCOMP UNSUBACK AUTH
  kNormalDisconnection = 0x00,     // DISCONNECT: discard the Will Message
  kGrantedQos0 = 0x00,             // SUBACK
  kGrantedQos1 = 0x01,             // SUBACK
  kGrantedQos2 = 0x02,             // SUBACK
  kDisconnectWithWill = 0x04,      // DISCONNECT: publish the Will Message all the same
  kNoMatchingSubscribers = 0x10,   // PUBACK PUBREC
  kNoSubscriptionExisted = 0x11,   // UNSUBACK
  kContinueAuthentication = 0x18,  // AUTH
  kReauthenticate = 0x19,          // AUTH
  kUnspecifiedError = 0x80,
  kMalformedPacket = 0x81,  // Bytes that do not parse.
  kProtocolError = 0x82,    // Bytes that parse but say what they must not, or come out of order.
  kImplementationSpecificError = 0x83,
  kUnsupportedProtocolVersion = 0x84,
  kClientIdentifierNotValid = 0x85,
  kBadUserNameOrPassword = 0x86,
  kNotAuthorized = 0x87,
  kServerUnavailable = 0x88,
  kServerBusy = 0x89,
  kBanned = 0x8A,
  kServerShuttingDown = 0x8B,
  kBadAuthenticationMethod = 0x8C,
  kKeepAliveTimeout = 0x8D,
  kSessionTakenOver = 0x8E,
  kTopicFilterInvalid = 0x8F,
  kTopicNameInvalid = 0x90,
  kPacketIdentifierInUse = 0x91,
  kPacketIdentifierNotFound = 0x92,
  kReceiveMaximumExceeded = 0x93,
  kTopicAliasInvalid = 0x94,
  kPacketTooLarge = 0x95,
  kMessageRateTooHigh = 0x96,
  kQuotaExceeded = 0x97,
  kAdministrativeAction = 0x98,
  kPayloadFormatInvalid = 0x99,
  kRetainNotSupported = 0x9A,
  kQosNotSupported = 0x9B,
  kUseAnotherServer = 0x9C,
  kServerMoved = 0x9D,
  kSharedSubscriptionsNotSupported = 0x9E,
  kConnectionRateExceeded = 0x9F,
  kMaximumConnectTime = 0xA0,
  kSubscriptionIdentifiersNotSupported = 0xA1,
  kWildcardSubscriptionsNotSupported = 0xA2,
};

// True for 0x80 and above: the operation failed (§2.4).
constexpr bool IsError(ReasonCode reason) { return static_cast<uint8_t>(reason) >= 0x80; }

// The specification's name in lower case, such as "malformed packet"; "unknown reason code" for a
// byte that has none. 0x00 is "success" whatever the packet.
std::string_view ReasonCodeName(ReasonCode reason);

// Whether a packet of this type may carry the code, by whoever sends it (§2.4, Table 2-6): the rule
// behind [MQTT5-3.2.2-8] [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1]
// [MQTT5-3.9.3-2] [MQTT5-3.11.3-2] [MQTT5-3.14.2-1] [MQTT5-3.15.2-1].
bool IsAllowed(ReasonCode reason, PacketType type);

// CONNACK's byte 2 in MQTT 3.1 and 3.1.1 (§3.2.2.3, Table 3.1 there).
enum class ConnectReturnCode : uint8_t {
  kAccepted = 0,
  kUnacceptableProtocolVersion = 1,
  kIdentifierRejected = 2,
  kServerUnavailable = 3,
  kBadUserNameOrPassword = 4,
  kNotAuthorized = 5,
};

// The return code that says the same as `reason`, as far as six codes can. None where the Server
// must close the Network Connection without a CONNACK: a CONNECT that does not conform
// [MQTT311-3.1.4-1], or no code is applicable [MQTT311-3.2.2-6].
std::optional<ConnectReturnCode> ToConnectReturnCode(ReasonCode reason);

// The reverse, for a client: the nearest Reason Code. None for a reserved return code (6-255).
std::optional<ReasonCode> FromConnectReturnCode(uint8_t code);

std::ostream& operator<<(std::ostream& out, ReasonCode reason);  // 0x81 malformed packet

}  // namespace mqtt

#endif  // MQTT_REASON_CODE_H_
