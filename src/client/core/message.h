// The values that an application hands to the client and gets from it. They own their bytes.
#ifndef CLIENT_CORE_MESSAGE_H_
#define CLIENT_CORE_MESSAGE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mqtt/reason_code.h"
#include "mqtt/types.h"

namespace mqttd::client {

// A name and a value chosen by users (§3.1.2.11.8), UTF-8. Order counts; a name may repeat. 5.0
// only.
struct UserProperty {
  std::string name;
  std::string value;

  friend bool operator==(const UserProperty&, const UserProperty&) = default;
};

// An Application Message (§3.3). What 3.1.1 lacks is not sent there.
struct Message {
  // A Topic Name: no wildcards, 1 to 65,535 bytes of UTF-8 [MQTT-3.3.2-2] [MQTT-4.7.3-1].
  std::string topic;
  // Any bytes. With `retain`, an empty payload removes the retained message [MQTT5-3.3.1-6].
  std::string payload;
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  bool retain = false;

  // ---- 5.0 only (§3.3.2.3).
  bool payload_is_utf8 = false;              // Payload Format Indicator 1.
  std::optional<uint32_t> message_expiry_s;  // Message Expiry Interval, seconds. Absent: for ever.
  std::string content_type;                  // Empty: not sent.
  std::string response_topic;                // Where an answer is wanted. Empty: not sent.
  std::string correlation_data;              // Empty: not sent.
  std::vector<UserProperty> user_properties;

  friend bool operator==(const Message&, const Message&) = default;
};

// A message as it arrived.
struct ReceivedMessage : Message {
  bool dup = false;          // The server may have sent it before [MQTT-3.3.1-1].
  mqtt::PacketId packet_id;  // 0 at QoS 0.
  uint16_t topic_alias = 0;  // As it came (§3.3.2.3.4); `topic` is what it stands for. 0: none.
  // Of the subscriptions that it matched, where they have one.
  std::vector<uint32_t> subscription_ids;
};

using MessageHandler = std::function<void(const ReceivedMessage&)>;

// A Topic Filter and what is wanted of it (§3.8.3.1). `filter` may be "$share/group/filter".
struct Subscription {
  std::string filter;
  mqtt::SubscriptionOptions options;

  friend bool operator==(const Subscription&, const Subscription&) = default;
};

// How a PUBLISH ended that the server answered; at QoS 0, success once it was handed to the
// transport. `reason` ≥ 0x80: the server refused it (5.0; a 3.1.1 server cannot say so).
struct PublishResult {
  mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess;
  std::string reason_string;
  std::vector<UserProperty> user_properties;

  bool ok() const { return !mqtt::IsError(reason); }
};

// One Reason Code per filter, in order: the QoS granted, or why not (≥ 0x80) [MQTT-3.9.3-1].
struct SubscribeResult {
  std::vector<mqtt::ReasonCode> reasons;
  std::string reason_string;
  std::vector<UserProperty> user_properties;

  bool ok() const;  // None was refused.
};

// 3.1.1 has no codes in UNSUBACK: `reasons` is empty there.
struct UnsubscribeResult {
  std::vector<mqtt::ReasonCode> reasons;
  std::string reason_string;
  std::vector<UserProperty> user_properties;

  bool ok() const;  // None was refused.
};

// CONNACK (§3.2), for the application.
struct ConnectResult {
  mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess;
  bool session_present = false;
  std::string client_id;  // Ours, or the one the server assigned [MQTT5-3.2.2-16].
  std::string reason_string;
  std::string server_reference;  // Another server to use, with 0x9C or 0x9D (§4.11).
  std::string response_information;
  uint32_t session_expiry_s = 0;
  uint16_t keep_alive_s = 0;
  uint16_t receive_maximum = 65'535;
  mqtt::QoS maximum_qos = mqtt::QoS::kExactlyOnce;
  bool retain_available = true;
  std::optional<uint32_t> maximum_packet_size;
  uint16_t topic_alias_maximum = 0;
  std::vector<UserProperty> user_properties;
  std::string authentication_data;  // The last of an extended authentication (§4.12).

  bool ok() const { return !mqtt::IsError(reason); }
};

// DISCONNECT from the server (5.0, §3.14).
struct ServerDisconnect {
  mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess;
  std::string reason_string;
  std::string server_reference;
};

// What SUBSCRIBE says beside its filters (5.0, §3.8.2.1).
struct SubscribeOptions {
  uint32_t subscription_id = 0;  // 1 to 268,435,455: comes back with each message. 0: none.
  std::vector<UserProperty> user_properties;  // Not repeated when the subscription is made again.
};

// DISCONNECT to the server (§3.14). 3.1.1 has nothing but the packet itself.
struct DisconnectOptions {
  // kDisconnectWithWill, and any error: the server publishes the will all the same.
  mqtt::ReasonCode reason = mqtt::ReasonCode::kNormalDisconnection;
  // A last change of the session's expiry; not 0 is an error if CONNECT said 0 (§3.14.2.2.2).
  std::optional<uint32_t> session_expiry_s;
  std::string reason_string;
  std::vector<UserProperty> user_properties;
};

inline bool AllAreGranted(const std::vector<mqtt::ReasonCode>& reasons) {
  for (const mqtt::ReasonCode reason : reasons) {
    if (mqtt::IsError(reason)) return false;
  }
  return true;
}
inline bool SubscribeResult::ok() const { return AllAreGranted(reasons); }
inline bool UnsubscribeResult::ok() const { return AllAreGranted(reasons); }

}  // namespace mqttd::client

#endif  // CLIENT_CORE_MESSAGE_H_
