// The client's half of the WebSocket protocol, written apart from the broker's.
#ifndef TESTS_BROKER_TRANSPORT_WEBSOCKET_CLIENT_H_
#define TESTS_BROKER_TRANSPORT_WEBSOCKET_CLIENT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace broker {

inline constexpr uint8_t kContinuation = 0x00, kText = 0x01, kBinary = 0x02, kClose = 0x08,
                         kPing = 0x09, kPong = 0x0A, kFin = 0x80;

// A masked frame; `first` is opcode and flags.
std::string ClientFrame(int first, std::string_view payload, uint32_t mask = 0x1B2C3D4E);

std::string UpgradeRequest(std::string_view path = "/mqtt");

struct ServerFrame {
  uint8_t first = 0;
  std::string payload;

  friend bool operator==(const ServerFrame&, const ServerFrame&) = default;
};

// Takes whole frames off the beginning of `bytes`; fails the test if one is masked.
std::vector<ServerFrame> TakeServerFrames(std::string& bytes);

}  // namespace broker
#endif  // TESTS_BROKER_TRANSPORT_WEBSOCKET_CLIENT_H_
