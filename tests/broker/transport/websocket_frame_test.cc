#include "broker/transport/websocket_frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "tests/broker/transport/websocket_client.h"

namespace broker {
namespace {

using Event = WebSocketFrameDecoder::Event;
using namespace std::string_literals;

// What a decoder made of some input.
struct Decoded {
  std::string bytes;
  std::vector<std::pair<Event, std::string>> controls;
};

// Feeds `input` as one buffer, decoded in place, as a transport does.
void Feed(WebSocketFrameDecoder& decoder, std::string input, Decoded& decoded) {
  size_t used = 0;
  size_t written = 0;
  while (used < input.size()) {
    const auto step =
        decoder.Decode(input.data() + used, input.size() - used, input.data() + written);
    used += step.consumed;
    written += step.written;
    ASSERT_LE(written, used);
    if (step.event == Event::kNone) {
      ASSERT_EQ(used, input.size());
      break;
    }
    decoded.controls.emplace_back(step.event, decoder.control_payload());
    if (step.event == Event::kViolation || step.event == Event::kClose) break;
  }
  decoded.bytes.append(input, 0, written);
}

Decoded DecodeWhole(const std::string& input) {
  WebSocketFrameDecoder decoder;
  Decoded decoded;
  Feed(decoder, input, decoded);
  return decoded;
}

TEST(WebSocketFrame, TakesEachLengthFormAndAlignment) {
  for (const size_t size :
       {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 125, 126, 127, 255, 256, 65535, 65536, 70001}) {
    std::string payload(size, '\0');
    for (size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 31);
    EXPECT_EQ(DecodeWhole(ClientFrame(kFin | kBinary, payload)).bytes, payload) << size;
  }
}

TEST(WebSocketFrame, FragmentsAreOneStreamAndControlFramesStandBetweenThem) {
  const Decoded decoded = DecodeWhole(
      ClientFrame(kBinary, "one ") + ClientFrame(kFin | kPing, "p") +
      ClientFrame(kContinuation, "") + ClientFrame(kContinuation, "two ") +
      ClientFrame(kFin | kPong, std::string(125, 'q')) +
      ClientFrame(kFin | kContinuation, "three") + ClientFrame(kFin | kBinary, " four"));
  EXPECT_EQ(decoded.bytes, "one two three four");
  ASSERT_EQ(decoded.controls.size(), 2u);
  EXPECT_EQ(decoded.controls[0], std::pair(Event::kPing, "p"s));
  EXPECT_EQ(decoded.controls[1], std::pair(Event::kPong, std::string(125, 'q')));
}

TEST(WebSocketFrame, ReportsThePeersCloseCode) {
  const std::vector<std::pair<std::string, int>> rows = {{"", 1000},
                                                         {"\x03\xE8", 1000},
                                                         {"\x03\xE9"
                                                          "going away",
                                                          1001},
                                                         {"\x13\x87", 4999}};
  for (const auto& [payload, code] : rows) {
    WebSocketFrameDecoder decoder;
    std::string input = ClientFrame(kFin | kClose, payload);
    EXPECT_EQ(decoder.Decode(input.data(), input.size(), input.data()).event, Event::kClose);
    EXPECT_EQ(decoder.close_code(), code);
  }
}

TEST(WebSocketFrame, RefusesWhatTheSpecificationForbids) {
  struct Row {
    const char* what;
    std::string bytes;
    int code;
  };
  const std::string masked16 = "\x82\xFE"s;
  const std::string masked64 = "\x82\xFF"s;
  const std::vector<Row> rows = {
      {"text", ClientFrame(kFin | kText, "hi"), 1003},
      {"start of a fragmented text", ClientFrame(kText, ""), 1003},
      {"not masked", "\x82\x01x", 1002},
      {"not masked and empty", "\x82\x00"s, 1002},
      {"RSV1", ClientFrame(kFin | 0x40 | kBinary, ""), 1002},
      {"RSV2", ClientFrame(kFin | 0x20 | kBinary, ""), 1002},
      {"RSV3", ClientFrame(kFin | 0x10 | kBinary, ""), 1002},
      {"opcode 3", ClientFrame(kFin | 0x3, ""), 1002},
      {"opcode 7", ClientFrame(kFin | 0x7, ""), 1002},
      {"opcode 11", ClientFrame(kFin | 0xB, ""), 1002},
      {"opcode 15", ClientFrame(kFin | 0xF, ""), 1002},
      {"continuation of nothing", ClientFrame(kFin | kContinuation, ""), 1002},
      {"continuation after the end",
       ClientFrame(kBinary, "") + ClientFrame(kFin | kContinuation, "") +
           ClientFrame(kContinuation, ""),
       1002},
      {"message within a message", ClientFrame(kBinary, "") + ClientFrame(kBinary, ""), 1002},
      {"fragmented ping", ClientFrame(kPing, ""), 1002},
      {"long ping", ClientFrame(kFin | kPing, std::string(126, 'x')), 1002},
      {"16-bit length of 125",
       masked16 + "\x00\x7D"
                  "mask"s,
       1002},
      {"64-bit length of 65535",
       masked64 + "\0\0\0\0\0\0\xFF\xFF"
                  "mask"s,
       1002},
      {"64-bit length with the top bit",
       masked64 + "\x80\0\0\0\0\1\0\0"
                  "mask"s,
       1002},
      {"close frame of one byte", ClientFrame(kFin | kClose, "\x03"), 1002},
      {"close code 999", ClientFrame(kFin | kClose, "\x03\xE7"), 1002},
      {"close code 1005", ClientFrame(kFin | kClose, "\x03\xED"), 1002},
      {"close code 1015", ClientFrame(kFin | kClose, "\x03\xF7"), 1002},
      {"close code 5000", ClientFrame(kFin | kClose, "\x13\x88"), 1002},
  };
  for (const Row& row : rows) {
    WebSocketFrameDecoder decoder;
    std::string input = row.bytes;
    const auto step = decoder.Decode(input.data(), input.size(), input.data());
    EXPECT_EQ(step.event, Event::kViolation) << row.what;
    EXPECT_EQ(decoder.close_code(), row.code) << row.what;
    EXPECT_STRNE(decoder.error(), "") << row.what;
    EXPECT_EQ(decoder.Decode(input.data(), input.size(), input.data()).event, Event::kViolation);
  }
}

TEST(WebSocketFrame, AnUnmaskedFrameIsRefusedBeforeMoreOfItComes) {
  WebSocketFrameDecoder decoder;
  std::string start = "\x82\x7E";
  EXPECT_EQ(decoder.Decode(start.data(), start.size(), start.data()).event, Event::kViolation);
}

// A random conversation: its frames, and what they mean.
std::string RandomFrames(base::Rng& rng, Decoded& meaning) {
  std::string wire;
  bool inside = false;
  for (uint64_t frames = rng.Below(12); frames > 0; --frames) {
    std::string payload(rng.Chance(0.1) ? rng.Below(70000) : rng.Below(200), '\0');
    for (char& byte : payload) byte = static_cast<char>(rng());
    const uint32_t mask = static_cast<uint32_t>(rng());
    if (rng.Chance(0.3)) {
      payload.resize(std::min<size_t>(payload.size(), 125));
      const bool ping = rng.Chance(0.5);
      wire += ClientFrame(kFin | (ping ? kPing : kPong), payload, mask);
      meaning.controls.emplace_back(ping ? Event::kPing : Event::kPong, payload);
    } else {
      const bool last = rng.Chance(0.5);
      wire += ClientFrame((last ? kFin : 0) | (inside ? kContinuation : kBinary), payload, mask);
      inside = !last;
      meaning.bytes += payload;
    }
  }
  return wire;
}

TEST(WebSocketFrame, AnyCutOfTheStreamMeansTheSame) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    Decoded meaning;
    const std::string wire = RandomFrames(rng, meaning);
    WebSocketFrameDecoder decoder;
    Decoded decoded;
    const uint64_t piece_max = 1 + rng.Below(rng.Chance(0.5) ? 8 : 5000);
    for (size_t at = 0; at < wire.size();) {
      const size_t size = std::min<size_t>(wire.size() - at, 1 + rng.Below(piece_max));
      Feed(decoder, wire.substr(at, size), decoded);
      at += size;
    }
    ASSERT_EQ(decoded.bytes, meaning.bytes);
    ASSERT_EQ(decoded.controls, meaning.controls);
  }
}

TEST(WebSocketFrame, HeadersAreInTheirShortestForm) {
  const std::vector<std::pair<uint64_t, std::string>> rows = {
      {0, "\x82\x00"s},
      {125, "\x82\x7D"s},
      {126, "\x82\x7E\x00\x7E"s},
      {65535, "\x82\x7E\xFF\xFF"s},
      {65536, "\x82\x7F\0\0\0\0\0\1\0\0"s},
      {0x123456789A, "\x82\x7F\0\0\0\x12\x34\x56\x78\x9A"s}};
  for (const auto& [size, bytes] : rows) {
    char header[kServerFrameHeaderBytesMax];
    const size_t written = WriteFrameHeader(WebSocketOpcode::kBinary, size, header);
    EXPECT_EQ(std::string(header, written), bytes);
  }
  EXPECT_EQ(ControlFrame(WebSocketOpcode::kPong, "ab"),
            "\x8A\x02"
            "ab");
  EXPECT_EQ(CloseFrame(kCloseProtocolError), "\x88\x02\x03\xEA");
}

}  // namespace
}  // namespace broker
