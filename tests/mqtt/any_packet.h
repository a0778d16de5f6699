// Any of the fifteen packets as one value, for tests that treat them alike.
#ifndef TESTS_MQTT_ANY_PACKET_H_
#define TESTS_MQTT_ANY_PACKET_H_

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <variant>

#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "mqtt/packets.h"

namespace mqtt {

using AnyPacket = std::variant<Connect, ConnAck, Publish, Ack, Subscribe, SubAck, Unsubscribe,
                               UnsubAck, PingReq, PingResp, Disconnect, Auth>;

// Decodes one whole frame as a receiver does: fixed header, direction, body. Packets view `frame`.
// A frame that is not complete is reported as "incomplete".
std::optional<Violation> Decode(Bytes frame, Version version, Sender sender, AnyPacket& out);

// Same from a string, when the packet does not matter.
std::optional<Violation> Check(std::string_view frame, Version version, Sender sender);

// The packet as a whole frame; empty if it exceeds `packet_size_max`.
std::string ToFrame(const AnyPacket& packet, Version version,
                    uint32_t packet_size_max = kPacketSizeMax);

std::ostream& operator<<(std::ostream& out, const AnyPacket& packet);

}  // namespace mqtt

#endif  // TESTS_MQTT_ANY_PACKET_H_
