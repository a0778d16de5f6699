// Bytes of packets in a notation that can be read:
//   hex digits in pairs, spaces anywhere    0007 00 ff
//   'abc'    these characters
//   s'abc'   a UTF-8 Encoded String or Binary Data: two bytes of length before them
//   p{…}     a property block: its length as a Variable Byte Integer before it
#ifndef TESTS_MQTT_WIRE_TEXT_H_
#define TESTS_MQTT_WIRE_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace mqtt {

std::string Wire(std::string_view text);

// A whole packet: byte 1, the Remaining Length, the body in the notation above.
std::string Frame(uint8_t first_byte, std::string_view body_text);

}  // namespace mqtt

#endif  // TESTS_MQTT_WIRE_TEXT_H_
