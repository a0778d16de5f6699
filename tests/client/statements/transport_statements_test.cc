// What binds clients about the bytes below MQTT: each transport to each server, and what WebSocket
// carries, seen by a relay on the way.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "absl/strings/ascii.h"
#include "client/core/endpoint.h"
#include "tests/client/statements/statements_test.h"

namespace mqttd::client {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using testing::ElementsAre;
using testing::HasSubstr;

struct WebSocketFrame {
  uint8_t first = 0;  // FIN and opcode.
  std::string payload;
};

// RFC 6455, §5.2: takes whole frames off the front of `bytes`.
std::vector<WebSocketFrame> TakeFrames(std::string& bytes) {
  std::vector<WebSocketFrame> frames;
  size_t at = 0;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  size_t taken = 0;
  while (at + 2 <= bytes.size()) {
    WebSocketFrame frame{.first = byte(at)};
    const bool masked = (byte(at + 1) & 0x80) != 0;
    uint64_t size = byte(at + 1) & 0x7F;
    const size_t more = size == 126 ? 2 : size == 127 ? 8 : 0;
    at += 2;
    if (at + more + (masked ? 4 : 0) > bytes.size()) break;
    if (more != 0) size = 0;
    for (size_t i = 0; i < more; ++i) size = size << 8 | byte(at++);
    const size_t mask = at;
    if (masked) at += 4;
    if (at + size > bytes.size()) break;
    for (uint64_t i = 0; i < size; ++i) {
      frame.payload += static_cast<char>(byte(at + i) ^ (masked ? byte(mask + i % 4) : 0));
    }
    at += size;
    taken = at;
    frames.push_back(std::move(frame));
  }
  bytes.erase(0, taken);
  return frames;
}

// What follows the HTTP head.
std::vector<WebSocketFrame> FramesOf(const std::string& bytes) {
  std::string frames = bytes.substr(bytes.find("\r\n\r\n") + 4);
  return TakeFrames(frames);
}

// The bytes of the server's frames again, in frames of `piece` bytes.
class Reframer {
 public:
  explicit Reframer(size_t piece) : piece_(piece) {}

  std::string operator()(std::string_view bytes) {
    pending_ += bytes;
    std::string out;
    if (!head_passed_) {
      const size_t end = pending_.find("\r\n\r\n");
      if (end == std::string::npos) return out;
      out = pending_.substr(0, end + 4);
      pending_.erase(0, end + 4);
      head_passed_ = true;
    }
    for (const WebSocketFrame& frame : TakeFrames(pending_)) {
      if ((frame.first & 0x08) != 0) {  // Of WebSocket itself.
        Append(frame.first, frame.payload, out);
        continue;
      }
      for (size_t at = 0; at < frame.payload.size(); at += piece_) {
        Append(0x82, frame.payload.substr(at, piece_), out);
      }
    }
    return out;
  }

 private:
  static void Append(uint8_t first, const std::string& payload, std::string& out) {
    ASSERT_LT(payload.size(), 126u);
    out += static_cast<char>(first);
    out += static_cast<char>(payload.size());
    out += payload;
  }

  const size_t piece_;
  bool head_passed_ = false;
  std::string pending_;
};

// One TCP connection, to where `url` points. `piece`: how much of MQTT a frame has that comes to
// the client; 0: as the server frames it.
class Relay {
 public:
  Relay(asio::io_context& io, const std::string& url, size_t piece)
      : io_(io),
        piece_(piece),
        acceptor_(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
        client_(io),
        server_(io) {
    const absl::StatusOr<Endpoint> endpoint = ParseEndpoint(url);
    EXPECT_TRUE(endpoint.ok());
    server_.connect(tcp::endpoint(asio::ip::address_v4::loopback(), endpoint->port));
    url_ = absl::StrCat("ws://127.0.0.1:", acceptor_.local_endpoint().port(), endpoint->path);
    asio::co_spawn(io_, Accept(), asio::detached);
  }

  const std::string& url() const { return url_; }
  const std::string& from_client() const { return from_client_; }
  const std::string& from_server() const { return from_server_; }
  void Close() {
    error_code ignored;
    acceptor_.close(ignored);
    client_.close(ignored);
    server_.close(ignored);
  }

 private:
  static constexpr size_t kBytes = size_t{64} << 10;

  asio::awaitable<void> Accept() {
    error_code error;
    co_await acceptor_.async_accept(client_, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    asio::co_spawn(io_, Carry(client_, server_, from_client_, nullptr), asio::detached);
    asio::co_spawn(io_, Carry(server_, client_, from_server_, piece_ == 0 ? nullptr : &reframe_),
                   asio::detached);
  }
  static asio::awaitable<void> Carry(tcp::socket& from, tcp::socket& to, std::string& heard,
                                     Reframer* reframe) {
    std::vector<char> bytes(kBytes);
    error_code error;
    while (!error) {
      const size_t count = co_await from.async_read_some(
          asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      heard.append(bytes.data(), count);
      std::string on(bytes.data(), count);
      if (reframe != nullptr) on = (*reframe)(on);
      co_await asio::async_write(to, asio::buffer(on),
                                 asio::redirect_error(asio::use_awaitable, error));
    }
    error_code ignored;
    to.close(ignored);
  }

  asio::io_context& io_;
  const size_t piece_;
  Reframer reframe_{piece_};
  std::string url_;
  tcp::acceptor acceptor_;
  tcp::socket client_;
  tcp::socket server_;
  std::string from_client_;
  std::string from_server_;
};

class TransportStatements : public ClientStatements {
 protected:
  // Over the relay: messages both ways, large and small.
  Subject& Talk(Version version, size_t piece) {
    relay_ = std::make_unique<Relay>(io_, peer().websocket_url, piece);
    Subject& subject = Join(version, [&](Options& options) { options.servers = {relay_->url()}; });
    Subscribe(subject, Own("t"), QoS::kExactlyOnce);
    Publish(subject, "small", QoS::kExactlyOnce);
    Publish(subject, std::string(100'000, 'x'), QoS::kAtLeastOnce);
    Until([&] { return subject.got.size() == 2; });
    EXPECT_THAT(subject.payloads(), ElementsAre("small", std::string(100'000, 'x')));
    return subject;
  }
  void TearDown() override {
    if (relay_ != nullptr) relay_->Close();
  }
  void BytesArriveInOrder(Version version);
  void MqttGoesInBinaryFrames(Version version);
  void PacketsNeedNotLineUp(Version version);
  void TheSubprotocolIsMqtt(Version version);

  std::unique_ptr<Relay> relay_;
};
MQTTD_AGAINST_BOTH_SERVERS(TransportStatements);

void TransportStatements::BytesArriveInOrder(Version version) {
  std::string payload;
  for (int i = 0; payload.size() < (1u << 19); ++i) payload += std::to_string(i) + ",";
  for (const std::string& url : {peer().unix_url, peer().tcp_url, peer().websocket_url}) {
    SCOPED_TRACE(url);
    Subject& subject = Join(version, [&](Options& options) { options.servers = {url}; });
    Subscribe(subject, Own("t"), QoS::kAtLeastOnce);
    for (int i = 0; i < 3; ++i) Publish(subject, payload, QoS::kAtLeastOnce);
    Until([&] { return subject.got.size() == 3; });
    EXPECT_THAT(subject.payloads(), ElementsAre(payload, payload, payload));
    ASSERT_TRUE(Disconnect(subject).ok());
  }
}
TEST_P(TransportStatements, MQTT5_4_2_0_1) { BytesArriveInOrder(Version::k5); }
TEST_P(TransportStatements, MQTT311_7_1_2_1) { BytesArriveInOrder(Version::k311); }

// Neither server knows anything of this client.
TEST_P(TransportStatements, MQTT311_7_0_0_2) {
  Subject& subject = Join(Version::k311);
  Subscribe(subject, Own("t"), QoS::kExactlyOnce);
  for (const QoS qos : {QoS::kAtMostOnce, QoS::kAtLeastOnce, QoS::kExactlyOnce}) {
    Publish(subject, "x", qos);
  }
  Until([&] { return subject.got.size() == 3; });
  ASSERT_TRUE(Disconnect(subject).ok());
}

void TransportStatements::MqttGoesInBinaryFrames(Version version) {
  Talk(version, 0);
  const auto frames = FramesOf(relay_->from_client());
  ASSERT_FALSE(frames.empty());
  uint8_t opcode = 0x2;
  std::string bytes;
  for (const WebSocketFrame& frame : frames) {
    if ((frame.first & 0x08) != 0) continue;  // Of WebSocket itself.
    EXPECT_EQ(frame.first & 0x0F, opcode);
    opcode = (frame.first & 0x80) != 0 ? 0x2 : 0x0;  // Or its continuation.
    bytes += frame.payload;
  }
  EXPECT_EQ(static_cast<uint8_t>(bytes[0]), 0x10) << "CONNECT";
}
TEST_P(TransportStatements, MQTT5_6_0_0_1) { MqttGoesInBinaryFrames(Version::k5); }
TEST_P(TransportStatements, MQTT311_6_0_0_1) { MqttGoesInBinaryFrames(Version::k311); }

// What the server says comes in frames of three bytes: a packet in many, some with parts of two.
void TransportStatements::PacketsNeedNotLineUp(Version version) { Talk(version, 3); }
TEST_P(TransportStatements, MQTT5_6_0_0_2) { PacketsNeedNotLineUp(Version::k5); }
TEST_P(TransportStatements, MQTT311_6_0_0_2) { PacketsNeedNotLineUp(Version::k311); }

void TransportStatements::TheSubprotocolIsMqtt(Version version) {
  Talk(version, 0);
  const std::string head =
      relay_->from_client().substr(0, relay_->from_client().find("\r\n\r\n") + 2);
  EXPECT_THAT(absl::AsciiStrToLower(head), HasSubstr("sec-websocket-protocol: mqtt\r\n"));
}
TEST_P(TransportStatements, MQTT5_6_0_0_3) { TheSubprotocolIsMqtt(Version::k5); }
TEST_P(TransportStatements, MQTT311_6_0_0_3) { TheSubprotocolIsMqtt(Version::k311); }

}  // namespace
}  // namespace mqttd::client
