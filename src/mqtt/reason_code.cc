#include "mqtt/reason_code.h"

#include <ostream>

#include "mqtt/types.h"

namespace mqtt {
namespace {

constexpr uint16_t In(PacketType type) {
  return static_cast<uint16_t>(1u << static_cast<unsigned>(type));
}
constexpr uint16_t kConnAck = In(PacketType::kConnAck);
constexpr uint16_t kPubAckRec = In(PacketType::kPubAck) | In(PacketType::kPubRec);
constexpr uint16_t kPubRelComp = In(PacketType::kPubRel) | In(PacketType::kPubComp);
constexpr uint16_t kSubAck = In(PacketType::kSubAck);
constexpr uint16_t kUnsubAck = In(PacketType::kUnsubAck);
constexpr uint16_t kDisconnect = In(PacketType::kDisconnect);
constexpr uint16_t kAuth = In(PacketType::kAuth);

struct Row {
  ReasonCode reason;
  std::string_view name;
  uint16_t packets;
};

// §2.4, Table 2-6.
constexpr Row kRows[] = {
    {ReasonCode::kSuccess, "success",
     kConnAck | kPubAckRec | kPubRelComp | kSubAck | kUnsubAck | kDisconnect | kAuth},
    {ReasonCode::kGrantedQos1, "granted QoS 1", kSubAck},
    {ReasonCode::kGrantedQos2, "granted QoS 2", kSubAck},
    {ReasonCode::kDisconnectWithWill, "disconnect with Will Message", kDisconnect},
    {ReasonCode::kNoMatchingSubscribers, "no matching subscribers", kPubAckRec},
    {ReasonCode::kNoSubscriptionExisted, "no subscription existed", kUnsubAck},
    {ReasonCode::kContinueAuthentication, "continue authentication", kAuth},
    {ReasonCode::kReauthenticate, "re-authenticate", kAuth},
    {ReasonCode::kUnspecifiedError, "unspecified error",
     kConnAck | kPubAckRec | kSubAck | kUnsubAck | kDisconnect},
    {ReasonCode::kMalformedPacket, "malformed packet", kConnAck | kDisconnect},
    {ReasonCode::kProtocolError, "protocol error", kConnAck | kDisconnect},
    {ReasonCode::kImplementationSpecificError, "implementation specific error",
     kConnAck | kPubAckRec | kSubAck | kUnsubAck | kDisconnect},
    {ReasonCode::kUnsupportedProtocolVersion, "unsupported protocol version", kConnAck},
    {ReasonCode::kClientIdentifierNotValid, "client identifier not valid", kConnAck},
    {ReasonCode::kBadUserNameOrPassword, "bad user name or password", kConnAck},
    {ReasonCode::kNotAuthorized, "not authorized",
     kConnAck | kPubAckRec | kSubAck | kUnsubAck | kDisconnect},
    {ReasonCode::kServerUnavailable, "server unavailable", kConnAck},
    {ReasonCode::kServerBusy, "server busy", kConnAck | kDisconnect},
    {ReasonCode::kBanned, "banned", kConnAck},
    {ReasonCode::kServerShuttingDown, "server shutting down", kDisconnect},
    {ReasonCode::kBadAuthenticationMethod, "bad authentication method", kConnAck | kDisconnect},
    {ReasonCode::kKeepAliveTimeout, "keep alive timeout", kDisconnect},
    {ReasonCode::kSessionTakenOver, "session taken over", kDisconnect},
    {ReasonCode::kTopicFilterInvalid, "topic filter invalid", kSubAck | kUnsubAck | kDisconnect},
    {ReasonCode::kTopicNameInvalid, "topic name invalid", kConnAck | kPubAckRec | kDisconnect},
    {ReasonCode::kPacketIdentifierInUse, "packet identifier in use",
     kPubAckRec | kSubAck | kUnsubAck},
    {ReasonCode::kPacketIdentifierNotFound, "packet identifier not found", kPubRelComp},
    {ReasonCode::kReceiveMaximumExceeded, "receive maximum exceeded", kDisconnect},
    {ReasonCode::kTopicAliasInvalid, "topic alias invalid", kDisconnect},
    {ReasonCode::kPacketTooLarge, "packet too large", kConnAck | kDisconnect},
    {ReasonCode::kMessageRateTooHigh, "message rate too high", kDisconnect},
    {ReasonCode::kQuotaExceeded, "quota exceeded", kConnAck | kPubAckRec | kSubAck | kDisconnect},
    {ReasonCode::kAdministrativeAction, "administrative action", kDisconnect},
    {ReasonCode::kPayloadFormatInvalid, "payload format invalid",
     kConnAck | kPubAckRec | kDisconnect},
    {ReasonCode::kRetainNotSupported, "retain not supported", kConnAck | kDisconnect},
    {ReasonCode::kQosNotSupported, "QoS not supported", kConnAck | kDisconnect},
    {ReasonCode::kUseAnotherServer, "use another server", kConnAck | kDisconnect},
    {ReasonCode::kServerMoved, "server moved", kConnAck | kDisconnect},
    {ReasonCode::kSharedSubscriptionsNotSupported, "shared subscriptions not supported",
     kSubAck | kDisconnect},
    {ReasonCode::kConnectionRateExceeded, "connection rate exceeded", kConnAck | kDisconnect},
    {ReasonCode::kMaximumConnectTime, "maximum connect time", kDisconnect},
    {ReasonCode::kSubscriptionIdentifiersNotSupported, "subscription identifiers not supported",
     kSubAck | kDisconnect},
    {ReasonCode::kWildcardSubscriptionsNotSupported, "wildcard subscriptions not supported",
     kSubAck | kDisconnect},
};

const Row* Find(ReasonCode reason) {
  for (const Row& row : kRows) {
    if (row.reason == reason) return &row;
  }
  return nullptr;
}

}  // namespace

std::string_view ReasonCodeName(ReasonCode reason) {
  const Row* row = Find(reason);
  return row == nullptr ? "unknown reason code" : row->name;
}

bool IsAllowed(ReasonCode reason, PacketType type) {
  const Row* row = Find(reason);
  return row != nullptr && (row->packets & In(type)) != 0;
}

std::optional<ConnectReturnCode> ToConnectReturnCode(ReasonCode reason) {
  switch (reason) {
    case ReasonCode::kSuccess:
      return ConnectReturnCode::kAccepted;
    case ReasonCode::kUnsupportedProtocolVersion:
      return ConnectReturnCode::kUnacceptableProtocolVersion;
    case ReasonCode::kClientIdentifierNotValid:
      return ConnectReturnCode::kIdentifierRejected;
    case ReasonCode::kServerUnavailable:
    case ReasonCode::kServerBusy:
    case ReasonCode::kServerShuttingDown:
    case ReasonCode::kQuotaExceeded:
    case ReasonCode::kUseAnotherServer:
    case ReasonCode::kServerMoved:
    case ReasonCode::kConnectionRateExceeded:
    case ReasonCode::kUnspecifiedError:
    case ReasonCode::kImplementationSpecificError:
      return ConnectReturnCode::kServerUnavailable;
    case ReasonCode::kBadUserNameOrPassword:
      return ConnectReturnCode::kBadUserNameOrPassword;
    case ReasonCode::kNotAuthorized:
    case ReasonCode::kBanned:
    case ReasonCode::kBadAuthenticationMethod:
    case ReasonCode::kTopicNameInvalid:  // The Will's topic is not allowed to this Client.
      return ConnectReturnCode::kNotAuthorized;
    default:
      return std::nullopt;
  }
}

std::optional<ReasonCode> FromConnectReturnCode(uint8_t code) {
  switch (static_cast<ConnectReturnCode>(code)) {
    case ConnectReturnCode::kAccepted:
      return ReasonCode::kSuccess;
    case ConnectReturnCode::kUnacceptableProtocolVersion:
      return ReasonCode::kUnsupportedProtocolVersion;
    case ConnectReturnCode::kIdentifierRejected:
      return ReasonCode::kClientIdentifierNotValid;
    case ConnectReturnCode::kServerUnavailable:
      return ReasonCode::kServerUnavailable;
    case ConnectReturnCode::kBadUserNameOrPassword:
      return ReasonCode::kBadUserNameOrPassword;
    case ConnectReturnCode::kNotAuthorized:
      return ReasonCode::kNotAuthorized;
  }
  return std::nullopt;
}

std::ostream& operator<<(std::ostream& out, ReasonCode reason) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const auto value = static_cast<uint8_t>(reason);
  return out << "0x" << kHex[value >> 4] << kHex[value & 0x0F] << " " << ReasonCodeName(reason);
}

}  // namespace mqtt
