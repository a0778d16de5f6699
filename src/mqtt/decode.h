// From a frame's body to a packet, or to the rule it breaks.
//
// All decoders are alike: `flags` are the fixed header's (byte 1, bits 3-0), `body` is what follows
// the fixed header (frame.h), `out` is overwritten and views `body`. They return nothing if all is
// well, else the Violation, and then `out` is of no use. They check all that one packet shows by
// itself; what needs memory of earlier packets (quotas, aliases, order, negotiated limits) is the
// session's. All take the bytes apart in one pass, left to right; the first fault is the one
// reported.
#ifndef MQTT_DECODE_H_
#define MQTT_DECODE_H_

#include <cstdint>
#include <optional>

#include "mqtt/frame.h"
#include "mqtt/packets.h"
#include "mqtt/types.h"

namespace mqtt {

// CONNECT tells the version, so it takes the whole fixed header. On a Violation `out.version` is
// the version in whose form a CONNACK may be sent (encode.h, EncodeRefusal), kUnknown if none may:
//   Protocol Name unknown              0x84, kUnknown   [MQTT-3.1.2-1]
//   Protocol Version above 5           0x84, k5         [MQTT5-3.1.2-2]
//   below 4, or MQIsdp and not 3       0x84, k311       [MQTT311-3.1.2-2]
//   later faults                       as found, in the client's version
// The bridge bit of mosquitto (0x80 in the level) is not taken off: 0x84.
[[nodiscard]] std::optional<Violation> DecodeConnect(const FrameHeader& header, Bytes body,
                                                     Connect& out);

// The fast path: no allocation and no copy. (Subscription Identifiers, which only a client sees,
// need room for as many; an `out` that is used again keeps it.)
[[nodiscard]] std::optional<Violation> DecodePublish(uint8_t flags, Bytes body, Version version,
                                                     Sender sender, Publish& out);

// PUBACK, PUBREC, PUBREL, PUBCOMP: `type` says which.
[[nodiscard]] std::optional<Violation> DecodeAck(PacketType type, uint8_t flags, Bytes body,
                                                 Version version, Ack& out);

// A filter that is not well formed is a fault of the whole packet; 5.0's rules for $share are
// checked, and No Local on a Shared Subscription [MQTT5-3.8.3-4].
[[nodiscard]] std::optional<Violation> DecodeSubscribe(uint8_t flags, Bytes body, Version version,
                                                       Subscribe& out);
[[nodiscard]] std::optional<Violation> DecodeUnsubscribe(uint8_t flags, Bytes body, Version version,
                                                         Unsubscribe& out);
[[nodiscard]] std::optional<Violation> DecodePingReq(uint8_t flags, Bytes body, Version version);
[[nodiscard]] std::optional<Violation> DecodeDisconnect(uint8_t flags, Bytes body, Version version,
                                                        Sender sender, Disconnect& out);
[[nodiscard]] std::optional<Violation> DecodeAuth(uint8_t flags, Bytes body, Version version,
                                                  Sender sender, Auth& out);

// What a client receives.
[[nodiscard]] std::optional<Violation> DecodeConnAck(uint8_t flags, Bytes body, Version version,
                                                     ConnAck& out);
[[nodiscard]] std::optional<Violation> DecodeSubAck(uint8_t flags, Bytes body, Version version,
                                                    SubAck& out);
[[nodiscard]] std::optional<Violation> DecodeUnsubAck(uint8_t flags, Bytes body, Version version,
                                                      UnsubAck& out);
[[nodiscard]] std::optional<Violation> DecodePingResp(uint8_t flags, Bytes body, Version version);

// The Violation for a packet type that `sender` may never send in this version: CONNACK from a
// Client, AUTH in 3.1.1, ... Nothing for one it may. (A second CONNECT is the session's to refuse.)
[[nodiscard]] std::optional<Violation> CheckDirection(PacketType type, Version version,
                                                      Sender sender);

}  // namespace mqtt

#endif  // MQTT_DECODE_H_
