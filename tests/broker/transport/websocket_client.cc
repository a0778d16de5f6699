#include "tests/broker/transport/websocket_client.h"

#include <gtest/gtest.h>

namespace broker {
namespace {

void AppendBigEndian(uint64_t value, int bytes, std::string& out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out += static_cast<char>(value >> shift);
  }
}

}  // namespace

std::string ClientFrame(int first, std::string_view payload, uint32_t mask) {
  std::string frame(1, static_cast<char>(first));
  if (payload.size() < 126) {
    frame += static_cast<char>(0x80 | payload.size());
  } else if (payload.size() < 65536) {
    frame += static_cast<char>(0x80 | 126);
    AppendBigEndian(payload.size(), 2, frame);
  } else {
    frame += static_cast<char>(0x80 | 127);
    AppendBigEndian(payload.size(), 8, frame);
  }
  AppendBigEndian(mask, 4, frame);
  for (size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(static_cast<uint8_t>(payload[i]) ^ (mask >> (24 - 8 * (i % 4))));
  }
  return frame;
}

std::string UpgradeRequest(std::string_view path) {
  return "GET " + std::string(path) +
         " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
}

std::vector<ServerFrame> TakeServerFrames(std::string& bytes) {
  std::vector<ServerFrame> frames;
  for (;;) {
    if (bytes.size() < 2) return frames;
    const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
    EXPECT_EQ(at(1) & 0x80, 0) << "a server does not mask";
    uint64_t length = at(1) & 0x7F;
    size_t header = 2;
    if (length >= 126) {
      const size_t extended = length == 126 ? 2 : 8;
      if (bytes.size() < 2 + extended) return frames;
      length = 0;
      for (size_t i = 0; i < extended; ++i) length = length << 8 | at(2 + i);
      header += extended;
    }
    if (bytes.size() < header + length) return frames;
    frames.push_back({at(0), bytes.substr(header, length)});
    bytes.erase(0, header + length);
  }
}

}  // namespace broker
