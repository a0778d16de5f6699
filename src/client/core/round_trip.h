// A packet that is sent and the one that answers it.
#ifndef CLIENT_CORE_ROUND_TRIP_H_
#define CLIENT_CORE_ROUND_TRIP_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "client/core/message.h"
#include "mqtt/reason_code.h"
#include "mqtt/types.h"

namespace mqttd::client {

// Packets that a server answers. Their Packet Identifiers are the client's business.
struct PublishPacket {  // QoS 1: PUBACK. QoS 2: PUBCOMP, or the PUBREC that refuses it.
  Message message;
};
struct SubscribePacket {  // SUBACK
  std::vector<Subscription> subscriptions;
  SubscribeOptions options;
};
struct UnsubscribePacket {  // UNSUBACK
  std::vector<std::string> filters;
  std::vector<UserProperty> user_properties;
};
struct PingReqPacket {};         // PINGRESP
struct ReauthenticatePacket {};  // AUTH 0x19 and what follows: AUTH 0x00
using Packet = std::variant<PublishPacket, SubscribePacket, UnsubscribePacket, PingReqPacket,
                            ReauthenticatePacket>;

struct Answer {
  mqtt::PacketType type = mqtt::PacketType::kReserved;
  // One of PUBACK, PUBREC, PUBCOMP, AUTH; one for each filter of SUBACK and, in 5.0, of UNSUBACK;
  // none of PINGRESP.
  std::vector<mqtt::ReasonCode> reasons;
  std::string reason_string;
  std::vector<UserProperty> user_properties;

  bool ok() const { return AllAreGranted(reasons); }
};

inline Answer AnswerOf(mqtt::QoS qos, PublishResult result) {
  mqtt::PacketType type = mqtt::PacketType::kPubAck;
  if (qos == mqtt::QoS::kExactlyOnce) {
    type = result.ok() ? mqtt::PacketType::kPubComp : mqtt::PacketType::kPubRec;
  }
  return {
      type, {result.reason}, std::move(result.reason_string), std::move(result.user_properties)};
}
inline Answer AnswerOf(SubscribeResult result) {
  return {mqtt::PacketType::kSubAck, std::move(result.reasons), std::move(result.reason_string),
          std::move(result.user_properties)};
}
inline Answer AnswerOf(UnsubscribeResult result) {
  return {mqtt::PacketType::kUnsubAck, std::move(result.reasons), std::move(result.reason_string),
          std::move(result.user_properties)};
}

}  // namespace mqttd::client

#endif  // CLIENT_CORE_ROUND_TRIP_H_
