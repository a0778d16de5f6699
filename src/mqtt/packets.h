// The fifteen MQTT Control Packets as plain values (§3).
//
// Decoders fill them with views into the frame: a packet is valid as long as the frame's bytes are.
// Encoders write them. What 3.1 and 3.1.1 lack keeps its default, which is what its absence means,
// so that a session need not ask for the version. `position` in the comments counts from the start
// of the variable header, in the order the fields stand in.
#ifndef MQTT_PACKETS_H_
#define MQTT_PACKETS_H_

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mqtt/property.h"
#include "mqtt/types.h"

namespace mqtt {

inline constexpr uint16_t kReceiveMaximumDefault = 65'535;

// The message that the Server publishes for a Client whose Network Connection ends otherwise than
// by a normal DISCONNECT (§3.1.2.5). Stands in CONNECT's payload after the Client Identifier, if
// the Will Flag (Connect Flags, bit 2) is 1: properties (5.0), topic, payload [MQTT-3.1.3-1].
struct Will {
  // Connect Flags, bits 4-3. Not 3 [MQTT5-3.1.2-12] [MQTT311-3.1.2-14]; 0 without a Will
  // [MQTT5-3.1.2-11] [MQTT311-3.1.2-13].
  QoS qos = QoS::kAtMostOnce;
  // Connect Flags, bit 5: publish it as a retained message [MQTT5-3.1.2-15] [MQTT311-3.1.2-17].
  bool retain = false;
  // UTF-8 Encoded String [MQTT5-3.1.3-11] [MQTT311-3.1.3-10], a valid Topic Name.
  std::string_view topic;
  // Two Byte Integer length and that many bytes (3.1.1: "Will Message"). May be empty.
  std::string_view payload;

  // 5.0 only, §3.1.3.2.
  // 0x18. Seconds between the end of the Network Connection and publishing; the end of the Session
  // or a new Network Connection ends it [MQTT5-3.1.3-9]. Absent: 0.
  uint32_t delay_interval = 0;
  // 0x02. Seconds the message lives, sent as its Message Expiry Interval. Absent: for ever.
  std::optional<uint32_t> message_expiry_interval;
  // All of the block, validated. With `properties_need_filter` it holds delay or expiry too, and
  // what belongs to the message is to be taken from it: see ForwardProperties.
  std::string_view raw_properties;
  bool properties_need_filter = false;

  friend bool operator==(const Will&, const Will&) = default;
};

// CONNECT (§3.1): a Client asks for a Session. First packet of a Network Connection [MQTT-3.1.0-1],
// and only once [MQTT-3.1.0-2]. Client to Server. Flags of the fixed header: 0.
//
// Position: Protocol Name ("MQTT"; "MQIsdp" in 3.1), Protocol Version, Connect Flags, Keep Alive,
// properties (5.0); then the payload: Client Identifier, Will, User Name, Password [MQTT-3.1.3-1].
struct Connect {
  // Byte 7: 5, 4, or 3 after "MQIsdp". Set by DecodeConnect even when it reports a Violation, as
  // far as it is known in which version to answer; else kUnknown.
  Version version = Version::kUnknown;
  // Byte 7, bit 7: the Client is a bridge of another broker. No version of MQTT has the bit;
  // bridges of mosquitto set it (0x83, 0x84) unless told not to. To 3.1 and 3.1.1 Clients it grants
  // what 5.0 has as subscription options: see `Session::bridge`.
  bool bridge = false;
  // Byte 8 (Connect Flags), bit 1. Begin with no Session state [MQTT5-3.1.2-4]. "Clean Session" in
  // 3.1.1, where it also makes the Session end with the connection [MQTT311-3.1.2-6], as in 5.0
  // Session Expiry Interval 0 does. Bit 0 is reserved and 0 [MQTT-3.1.2-3].
  bool clean_start = true;
  // Bytes 9-10. Seconds the Client may stay silent; 0 turns the mechanism off. The Server closes
  // after one and a half times as long [MQTT5-3.1.2-22] [MQTT311-3.1.2-24].
  uint16_t keep_alive = 0;
  // First field of the payload [MQTT-3.1.3-3], UTF-8 [MQTT-3.1.3-4]. Empty: the Server assigns one
  // [MQTT5-3.1.3-6] [MQTT311-3.1.3-6]; in 3.1.1 only with Clean Session 1 [MQTT311-3.1.3-8], never
  // in 3.1, both refused with 0x85 (return code 2). Its length is not limited here: 3.1 asks for
  // 1-23 bytes, but servers take longer ones.
  std::string_view client_id;
  std::optional<Will> will;
  // Connect Flags, bit 7; UTF-8 [MQTT5-3.1.3-12] [MQTT311-3.1.3-11].
  std::optional<std::string_view> user_name;
  // Connect Flags, bit 6; up to 65,535 bytes. In 3.1.1 only with a User Name [MQTT311-3.1.2-22], in
  // 5.0 also alone (§3.1.2.9).
  std::optional<std::string_view> password;

  // Properties (5.0 only, §3.1.2.11). None may appear twice, User Property excepted.
  // 0x11. Seconds the Session outlives the Network Connection; 0xFFFFFFFF: for ever. Absent: 0. A
  // 3.1.1 Client says it with Clean Session: 1 is 0 seconds, 0 is for ever.
  uint32_t session_expiry_interval = 0;
  // 0x21. QoS 1 and 2 PUBLISH the Client will take unacknowledged [MQTT5-3.3.4-9]. Not 0.
  uint16_t receive_maximum = kReceiveMaximumDefault;
  // 0x27. Largest packet the Client accepts, in bytes with the fixed header [MQTT5-3.1.2-24]. Not
  // 0. Absent: no limit but the protocol's.
  std::optional<uint32_t> maximum_packet_size;
  // 0x22. Highest Topic Alias the Server may send [MQTT5-3.1.2-26]. 0: none [MQTT5-3.1.2-27].
  uint16_t topic_alias_maximum = 0;
  // 0x19. 1 asks for Response Information in CONNACK [MQTT5-3.1.2-28]. 0 or 1.
  bool request_response_information = false;
  // 0x17. 0 asks for no Reason String or User Property but in CONNACK, DISCONNECT and PUBLISH
  // [MQTT5-3.1.2-29]. 0 or 1.
  bool request_problem_information = true;
  // 0x26.
  UserProperties user_properties;
  // 0x15. Name of the extended authentication to be used (§4.12). Absent: none.
  std::optional<std::string_view> authentication_method;
  // 0x16. Bytes for it. Protocol Error without a method.
  std::optional<std::string_view> authentication_data;

  friend bool operator==(const Connect&, const Connect&) = default;
};

// CONNACK (§3.2): the Server's answer, before anything else but AUTH [MQTT5-3.2.0-1]
// [MQTT311-3.2.0-1]. Flags: 0.
//
// Position: byte 1 flags, byte 2 code, properties (5.0).
struct ConnAck {
  // Byte 1, bit 0: there was Session state to go on with [MQTT5-3.2.2-3] [MQTT311-3.2.2-2]; 0 when
  // a failure is reported [MQTT5-3.2.2-6] [MQTT311-3.2.2-4]. Reserved in 3.1 and written as 0
  // there.
  bool session_present = false;
  // Byte 2. In 3.1.1 a ConnectReturnCode, translated both ways (ToConnectReturnCode).
  ReasonCode reason = ReasonCode::kSuccess;

  // Properties (5.0 only, §3.2.2.3): what the Server supports and has changed.
  // 0x11. The value the Server uses instead of the Client's. Absent: the Client's.
  std::optional<uint32_t> session_expiry_interval;
  // 0x21. Not 0. [MQTT5-3.3.4-7]
  uint16_t receive_maximum = kReceiveMaximumDefault;
  // 0x24. Highest QoS of a PUBLISH or a Will that the Server takes; on the wire 0 or 1, 2 is said
  // by absence [MQTT5-3.2.2-9].
  QoS maximum_qos = QoS::kExactlyOnce;
  // 0x25. Whether RETAIN may be 1 [MQTT5-3.2.2-14].
  bool retain_available = true;
  // 0x27. Largest packet the Server accepts [MQTT5-3.2.2-15]. Not 0.
  std::optional<uint32_t> maximum_packet_size;
  // 0x12. For a Client that sent an empty one [MQTT5-3.2.2-16].
  std::optional<std::string_view> assigned_client_identifier;
  // 0x22. [MQTT5-3.2.2-17] [MQTT5-3.2.2-18]
  uint16_t topic_alias_maximum = 0;
  // 0x1F. For people reading logs, not for programs. Left out rather than make the packet too large
  // for the Client [MQTT5-3.2.2-19].
  std::optional<std::string_view> reason_string;
  // 0x26. Likewise [MQTT5-3.2.2-20].
  UserProperties user_properties;
  // 0x28, 0x29, 0x2A. Wildcards, Subscription Identifiers, Shared Subscriptions are supported.
  bool wildcard_subscription_available = true;
  bool subscription_identifier_available = true;
  bool shared_subscription_available = true;
  // 0x13. Seconds; replaces the Client's Keep Alive [MQTT5-3.1.2-21].
  std::optional<uint16_t> server_keep_alive;
  // 0x1A. From which the Client makes its Response Topics; only if it asked [MQTT5-3.1.2-28].
  std::optional<std::string_view> response_information;
  // 0x1C. Another Server, with 0x9C or 0x9D (§4.11).
  std::optional<std::string_view> server_reference;
  // 0x15, 0x16. The CONNECT's method [MQTT5-4.12.0-5] and the exchange's last data.
  std::optional<std::string_view> authentication_method;
  std::optional<std::string_view> authentication_data;

  friend bool operator==(const ConnAck&, const ConnAck&) = default;
};

// PUBLISH (§3.3): an Application Message, in either direction.
//
// Fixed header, byte 1: bit 3 DUP, bits 2-1 QoS, bit 0 RETAIN. Position: Topic Name, Packet
// Identifier (QoS > 0), properties (5.0); the payload is the rest.
struct Publish {
  // This is, or may be, a repeat of an earlier try [MQTT-3.3.1-1]. 0 at QoS 0 [MQTT-3.3.1-2]. Says
  // nothing about what is sent onward [MQTT-3.3.1-3].
  bool dup = false;
  // Not 3 [MQTT-3.3.1-4].
  QoS qos = QoS::kAtMostOnce;
  // To the Server: keep this as the topic's retained message [MQTT-3.3.1-5]. To a Client: it is
  // one, or the publisher's flag where Retain As Published asks for that [MQTT5-3.3.1-13].
  bool retain = false;
  // Two Byte Integer, absent at QoS 0 [MQTT5-2.2.1-2] [MQTT311-2.3.1-5], else not 0 [MQTT5-2.2.1-3]
  // [MQTT311-2.3.1-1].
  PacketId packet_id;
  // UTF-8 Encoded String [MQTT-3.3.2-1] without wildcards [MQTT-3.3.2-2]. In 5.0 it may be empty if
  // a Topic Alias is there; in 3.1.1 never [MQTT311-4.7.3-1].
  std::string_view topic;
  // As many bytes as are left. With RETAIN, empty removes the retained message [MQTT5-3.3.1-6]
  // [MQTT311-3.3.1-10].
  std::string_view payload;

  // Properties (5.0 only, §3.3.2.3).
  // 0x23. Number that stands for the topic from now on (with a topic) or stood for it before (with
  // none), on this Network Connection only [MQTT5-3.3.2-7]. 0 here: none; on the wire 0 is an error
  // [MQTT5-3.3.2-8]. Whether it is above the receiver's maximum is for the session to judge: 0x94.
  uint16_t topic_alias = 0;
  // 0x02. Seconds the message still lives [MQTT5-3.3.2-5] [MQTT5-3.3.2-6]. Absent: for ever.
  std::optional<uint32_t> message_expiry_interval;
  // All of the block, validated. With `properties_need_filter` it also holds Topic Alias, Message
  // Expiry Interval or Subscription Identifiers; without, it can be forwarded as it is.
  std::string_view raw_properties;
  bool properties_need_filter = false;
  // 0x0B. From the Server only [MQTT5-3.3.4-6]: of every matching subscription that has one
  // [MQTT5-3.3.4-4]. 1 to 268,435,455.
  std::vector<uint32_t> subscription_ids;

  friend bool operator==(const Publish&, const Publish&) = default;
};

// The properties that go on with the message, as raw bytes in their order. Copies into `scratch`,
// and returns a view of it, only if some do not go on.
std::string_view ForwardProperties(const Publish& publish, std::string& scratch);
std::string_view ForwardProperties(const Will& will, std::string& scratch);

// PUBACK (§3.4), PUBREC (§3.5), PUBREL (§3.6), PUBCOMP (§3.7): one shape. In either direction.
// Flags: 0, but 2 in PUBREL [MQTT-3.6.1-1] (3.1 also sets DUP there when it sends again).
//
// Position: Packet Identifier; in 5.0 Reason Code, which may be left out with all behind it if it
// is 0x00 (Remaining Length 2); properties, whose length may be left out if there are none (3).
struct Ack {
  PacketType type = PacketType::kPubAck;
  // That of the PUBLISH [MQTT5-2.2.1-5] [MQTT311-2.3.1-6]. Not 0.
  PacketId packet_id;
  // 5.0 only. One of those the packet type allows [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1]
  // [MQTT5-3.7.2-1]. PUBACK and PUBREC with 0x80 or above end the exchange [MQTT5-4.4.0-2].
  ReasonCode reason = ReasonCode::kSuccess;
  // 0x1F and 0x26, left out if the packet would become too large for the receiver [MQTT5-3.4.2-2]
  // [MQTT5-3.4.2-3], and so on for the other three.
  std::optional<std::string_view> reason_string;
  UserProperties user_properties;

  friend bool operator==(const Ack&, const Ack&) = default;
};

struct Subscription {
  // UTF-8 Encoded String [MQTT-3.8.3-1], a valid Topic Filter (topic.h).
  std::string_view filter;
  // One byte behind it.
  SubscriptionOptions options;

  friend bool operator==(const Subscription&, const Subscription&) = default;
};

// SUBSCRIBE (§3.8). Client to Server. Flags: 2 [MQTT-3.8.1-1] (3.1 also DUP).
//
// Position: Packet Identifier, properties (5.0), then one or more pairs of filter and options
// [MQTT5-3.8.3-2] [MQTT311-3.8.3-3].
struct Subscribe {
  PacketId packet_id;  // Not 0 [MQTT5-2.2.1-3] [MQTT311-2.3.1-1].
  // 0x0B, 5.0. Comes back in each PUBLISH the subscriptions cause [MQTT5-3.3.4-3]. 1 to
  // 268,435,455; 0 here: none, on the wire a Protocol Error (§3.8.2.1.2).
  uint32_t subscription_id = 0;
  UserProperties user_properties;  // 0x26
  std::vector<Subscription> subscriptions;

  friend bool operator==(const Subscribe&, const Subscribe&) = default;
};

// SUBACK (§3.9). Server to Client. Flags: 0.
//
// Position: Packet Identifier, properties (5.0), then one code for each filter, in order
// [MQTT-3.9.3-1].
struct SubAck {
  PacketId packet_id;                             // Of the SUBSCRIBE [MQTT-3.8.4-2].
  std::optional<std::string_view> reason_string;  // 0x1F [MQTT5-3.9.2-1]
  UserProperties user_properties;                 // 0x26 [MQTT5-3.9.2-2]
  // The granted QoS, or the failure [MQTT5-3.9.3-2]. 3.1.1 knows one failure, 0x80
  // [MQTT311-3.9.3-2], and 3.1 none: the encoder writes 0x80 to both for all of them.
  std::vector<ReasonCode> reasons;

  friend bool operator==(const SubAck&, const SubAck&) = default;
};

// UNSUBSCRIBE (§3.10). Client to Server. Flags: 2 [MQTT-3.10.1-1] (3.1 also DUP).
//
// Position: Packet Identifier, properties (5.0), then one or more Topic Filters [MQTT-3.10.3-2].
struct Unsubscribe {
  PacketId packet_id;
  UserProperties user_properties;         // 0x26
  std::vector<std::string_view> filters;  // UTF-8 [MQTT-3.10.3-1], valid.

  friend bool operator==(const Unsubscribe&, const Unsubscribe&) = default;
};

// UNSUBACK (§3.11). Server to Client. Flags: 0.
//
// Position: Packet Identifier, properties and one code for each filter in order [MQTT5-3.11.3-1].
// In 3.1.1 the Packet Identifier only.
struct UnsubAck {
  PacketId packet_id;                             // [MQTT5-3.10.4-5] [MQTT311-3.10.4-4]
  std::optional<std::string_view> reason_string;  // 0x1F [MQTT5-3.11.2-1]
  UserProperties user_properties;                 // 0x26 [MQTT5-3.11.2-2]
  std::vector<ReasonCode> reasons;                // 5.0 [MQTT5-3.11.3-2]

  friend bool operator==(const UnsubAck&, const UnsubAck&) = default;
};

// PINGREQ (§3.12) from the Client, PINGRESP (§3.13) from the Server [MQTT-3.12.4-1]. Flags: 0, no
// body.
struct PingReq {
  friend bool operator==(const PingReq&, const PingReq&) = default;
};
struct PingResp {
  friend bool operator==(const PingResp&, const PingResp&) = default;
};

// DISCONNECT (§3.14): the last packet before the sender closes [MQTT5-3.14.4-1,-2]. Flags: 0
// [MQTT-3.14.1-1]. From the Client; in 5.0 also from the Server, once it has sent a successful
// CONNACK [MQTT5-3.14.0-1].
//
// Position (5.0): Reason Code, left out with all behind it if it is 0x00 (Remaining Length 0);
// properties, whose length may be left out if there are none (1). In 3.1.1 no body.
struct Disconnect {
  // 0x00 discards the Will Message [MQTT5-3.14.4-3]; any other leaves it to be published.
  // [MQTT5-3.14.2-1]
  ReasonCode reason = ReasonCode::kNormalDisconnection;
  // 0x11. A last change of the Client's Session Expiry Interval; never from the Server
  // [MQTT5-3.14.2-2]. Not 0 is a Protocol Error if CONNECT's was 0 (§3.14.2.2.2): the session's
  // business, as the decoder does not know it.
  std::optional<uint32_t> session_expiry_interval;
  std::optional<std::string_view> reason_string;     // 0x1F [MQTT5-3.14.2-3]
  UserProperties user_properties;                    // 0x26 [MQTT5-3.14.2-4]
  std::optional<std::string_view> server_reference;  // 0x1C, from the Server only (§4.11).

  friend bool operator==(const Disconnect&, const Disconnect&) = default;
};

// AUTH (§3.15): one step of an extended authentication (§4.12), in either direction. 5.0 only.
// Flags: 0 [MQTT5-3.15.1-1].
//
// Position: Reason Code, properties. Both may be left out only if the code is 0x00 and there are no
// properties (Remaining Length 0).
struct Auth {
  // 0x00 success (Server), 0x18 continue (both), 0x19 re-authenticate (Client) [MQTT5-3.15.2-1].
  ReasonCode reason = ReasonCode::kSuccess;
  // 0x15. Always the one of CONNECT [MQTT5-4.12.0-5]; a Protocol Error to leave it out, which the
  // decoder reports.
  std::optional<std::string_view> authentication_method;
  std::optional<std::string_view> authentication_data;  // 0x16
  std::optional<std::string_view> reason_string;        // 0x1F [MQTT5-3.15.2-2]
  UserProperties user_properties;                       // 0x26 [MQTT5-3.15.2-3]

  friend bool operator==(const Auth&, const Auth&) = default;
};

// One line each, without line breaks whatever the bytes: `PUBLISH qos=1 id=7 topic="a/b"
// payload=12B`. Passwords and authentication data are never shown, only their size.
std::ostream& operator<<(std::ostream& out, const Will& will);
std::ostream& operator<<(std::ostream& out, const Connect& packet);
std::ostream& operator<<(std::ostream& out, const ConnAck& packet);
std::ostream& operator<<(std::ostream& out, const Publish& packet);
std::ostream& operator<<(std::ostream& out, const Ack& packet);
std::ostream& operator<<(std::ostream& out, const Subscribe& packet);
std::ostream& operator<<(std::ostream& out, const SubAck& packet);
std::ostream& operator<<(std::ostream& out, const Unsubscribe& packet);
std::ostream& operator<<(std::ostream& out, const UnsubAck& packet);
std::ostream& operator<<(std::ostream& out, const PingReq& packet);
std::ostream& operator<<(std::ostream& out, const PingResp& packet);
std::ostream& operator<<(std::ostream& out, const Disconnect& packet);
std::ostream& operator<<(std::ostream& out, const Auth& packet);

}  // namespace mqtt

#endif  // MQTT_PACKETS_H_
