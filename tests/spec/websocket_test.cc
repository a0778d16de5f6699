// §6 MQTT over WebSocket: the handshake and what frames may hold. Frames are written by hand (RFC
// 6455).
#include <string>
#include <string_view>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using namespace std::string_literals;
using enum PacketType;

uint16_t WebSocketPort() {
  static support::BrokerProcess broker({.listen = {"ws://127.0.0.1:0/mqtt"}});
  return broker.port();
}

constexpr unsigned kText = 1;
constexpr unsigned kBinary = 2;
constexpr unsigned kPing = 9;
constexpr unsigned kPong = 10;
constexpr unsigned kFinal = 0x80;

// A frame of a client: always masked.
std::string WsFrame(unsigned first_byte, std::string_view payload) {
  std::string frame = U8(first_byte);
  frame += payload.size() < 126 ? U8(0x80U | static_cast<unsigned>(payload.size()))
                                : U8(0x80U | 126U) + U16(static_cast<unsigned>(payload.size()));
  const std::string mask = "\x12\x34\x56\x78"s;
  frame += mask;
  for (size_t i = 0; i < payload.size(); ++i) frame += static_cast<char>(payload[i] ^ mask[i % 4]);
  return frame;
}

std::string Binary(std::string_view payload) { return WsFrame(kFinal | kBinary, payload); }

class WebSocket {
 public:
  explicit WebSocket() : socket_(WebSocketPort()) {}

  // Sends the request; returns the head of the answer, empty when the connection was closed
  // instead.
  std::string Upgrade(std::string_view protocol_header, Where where = Where::current()) {
    socket_.Send(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
        std::string(protocol_header) + "\r\n");
    for (;;) {
      const size_t end = buffer_.find("\r\n\r\n");
      if (end != std::string::npos) {
        std::string head = buffer_.substr(0, end + 2);
        buffer_.erase(0, end + 4);
        return head;
      }
      if (!socket_.Receive(buffer_, where)) return "";
    }
  }

  void Open(Where where = Where::current()) {
    const std::string head = Upgrade("Sec-WebSocket-Protocol: mqtt\r\n", where);
    if (!head.starts_with("HTTP/1.1 101")) support::Fail("no upgrade: " + head, where);
  }

  void Send(std::string_view bytes) { socket_.Send(bytes); }

  // The next packet, from whatever frames it comes in.
  Packet Read(Where where = Where::current()) {
    for (;;) {
      const std::optional<size_t> size = support::FrameSize(packets_);
      if (size && *size <= packets_.size()) {
        support::Parsed parsed = support::Parse(kV5, std::string_view(packets_).substr(0, *size));
        if (!parsed.error.empty()) support::Fail("malformed: " + parsed.packet.ToString(), where);
        packets_.erase(0, *size);
        return parsed.packet;
      }
      const std::string payload = ReadFrame(where);
      if (opcode_ == 8 || closed_) support::Fail("closed instead of a packet", where);
      if (opcode_ == kPong) continue;
      EXPECT_EQ(opcode_, kBinary);
      packets_ += payload;
    }
  }

  // Until the end of the stream; a Close frame or DISCONNECT may come before it.
  void ExpectClosed(Where where = Where::current()) {
    while (!closed_) {
      const std::string payload = ReadFrame(where);
      if (!closed_ && opcode_ == kBinary &&
          PacketType{static_cast<uint8_t>(static_cast<uint8_t>(payload[0]) >> 4)} != kDisconnect) {
        support::Fail("a packet instead of the end", where);
      }
    }
  }

 private:
  std::string ReadFrame(Where where) {
    const auto need = [&](size_t bytes) {
      while (!closed_ && buffer_.size() < bytes) closed_ = !socket_.Receive(buffer_, where);
      return !closed_;
    };
    if (!need(2)) return "";
    opcode_ = static_cast<uint8_t>(buffer_[0]) & 0x0FU;
    size_t length = static_cast<uint8_t>(buffer_[1]);
    if ((length & 0x80) != 0) support::Fail("a server's frame is masked", where);
    size_t head = 2;
    if (length == 126) {
      if (!need(4)) return "";
      length = (static_cast<size_t>(static_cast<uint8_t>(buffer_[2])) << 8) |
               static_cast<uint8_t>(buffer_[3]);
      head = 4;
    }
    if (!need(head + length)) return "";
    std::string payload = buffer_.substr(head, length);
    buffer_.erase(0, head + length);
    return payload;
  }

  support::Socket socket_;
  std::string buffer_;
  std::string packets_;
  unsigned opcode_ = 0;
  bool closed_ = false;
};

bool HasHeader(const std::string& head, std::string_view name, std::string_view value) {
  std::string lower = head;
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return lower.find("\r\n" + std::string(name) + ": " + std::string(value) + "\r\n") !=
         std::string::npos;
}

void RefusesOtherFrames() {
  for (const bool connected : {false, true}) {
    WebSocket ws;
    ws.Open();
    if (connected) {
      ws.Send(Binary(Transient(kV5, "client").Encode()));
      EXPECT_EQ(ws.Read().type, kConnack);
    }
    ws.Send(WsFrame(kFinal | kText, connected ? std::string(support::kPingreq)
                                              : Transient(kV5, "client").Encode()));
    ws.ExpectClosed();
  }
  // Control frames are no data frames: a ping does no harm, and does not part a packet.
  WebSocket ws;
  ws.Open();
  const std::string connect = Transient(kV5, "client").Encode();
  ws.Send(WsFrame(kBinary, connect.substr(0, 5)) + WsFrame(kFinal | kPing, "hi") +
          WsFrame(kFinal | 0, connect.substr(5)));
  EXPECT_EQ(ws.Read().type, kConnack);
}
TEST(Spec, MQTT5_6_0_0_1) { RefusesOtherFrames(); }
TEST(Spec, MQTT311_6_0_0_1) { RefusesOtherFrames(); }

// Packets over frames in every way: one by one, a byte a frame, all in one, fragments, an empty
// frame.
void PacketsNeedNotMatchFrames() {
  const std::string topic = Unique("t");
  const std::string connect = Transient(kV5, "client").Encode();
  const std::string rest =
      support::Subscribe(kV5, 1, {{topic, 0}}) +
      PublishPacket{.topic = topic, .payload = std::string(300, 'x')}.Encode(kV5) +
      std::string(support::kPingreq);
  const auto expect_all = [&](WebSocket& ws) {
    EXPECT_EQ(ws.Read().type, kConnack);
    int publishes = 0, pongs = 0, subacks = 0;
    for (int i = 0; i < 3; ++i) {
      const Packet packet = ws.Read();
      publishes += packet.type == kPublish && packet.payload == std::string(300, 'x');
      pongs += packet.type == kPingresp;
      subacks += packet.type == kSuback;
    }
    EXPECT_TRUE(publishes == 1 && pongs == 1 && subacks == 1);
  };
  {
    WebSocket ws;
    ws.Open();
    ws.Send(Binary(connect + rest));
    expect_all(ws);
  }
  {
    WebSocket ws;
    ws.Open();
    std::string bytes;
    for (const char c : connect + rest) bytes += Binary(std::string_view(&c, 1));
    ws.Send(bytes);
    expect_all(ws);
  }
  {
    WebSocket ws;
    ws.Open();
    const std::string all = connect + rest;
    ws.Send(WsFrame(kBinary, all.substr(0, 10)) + WsFrame(0, "") +
            WsFrame(kFinal | 0, all.substr(10, 40)));
    ws.Send(Binary("") + Binary(all.substr(50)));
    expect_all(ws);
  }
}
TEST(Spec, MQTT5_6_0_0_2) { PacketsNeedNotMatchFrames(); }
TEST(Spec, MQTT311_6_0_0_2) { PacketsNeedNotMatchFrames(); }

// A client that does not offer mqtt is not served.
void WantsTheSubprotocol() {
  for (const char* header :
       {"", "Sec-WebSocket-Protocol: chat\r\n", "Sec-WebSocket-Protocol: mqttx\r\n"}) {
    WebSocket ws;
    EXPECT_FALSE(ws.Upgrade(header).starts_with("HTTP/1.1 101")) << header;
  }
}
TEST(Spec, MQTT5_6_0_0_3) { WantsTheSubprotocol(); }
TEST(Spec, MQTT311_6_0_0_3) { WantsTheSubprotocol(); }

void SelectsMqtt() {
  for (const char* header :
       {"Sec-WebSocket-Protocol: mqtt\r\n", "Sec-WebSocket-Protocol: chat, mqtt\r\n",
        "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: mqtt\r\n"}) {
    WebSocket ws;
    const std::string head = ws.Upgrade(header);
    EXPECT_TRUE(head.starts_with("HTTP/1.1 101")) << head;
    EXPECT_TRUE(HasHeader(head, "sec-websocket-protocol", "mqtt")) << head;
    EXPECT_TRUE(HasHeader(head, "sec-websocket-accept", "s3pplmbitxaq9kygzzhzrbk+xoo="))
        << head;  // Of that key.
  }
}
TEST(Spec, MQTT5_6_0_0_4) { SelectsMqtt(); }
TEST(Spec, MQTT311_6_0_0_4) { SelectsMqtt(); }

}  // namespace
}  // namespace spec
