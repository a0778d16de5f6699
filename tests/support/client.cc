#include "tests/support/client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "tests/support/patience.h"

namespace support {
namespace {

// Bounds a wait for something that should come; reached only by a failure.
constexpr int kPatienceMs = 15'000;

std::string Hex(unsigned value) {
  char text[8];
  std::snprintf(text, sizeof(text), "0x%02X", value);
  return text;
}

}  // namespace

void Fail(const std::string& message, Where where) {
  const testing::TestPartResult result(testing::TestPartResult::kFatalFailure, where.file_name(),
                                       static_cast<int>(where.line()), message.c_str());
  ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line())) << message;
  throw testing::AssertionException(result);
}

std::string Unique(std::string_view suffix) {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  return std::string(test->test_suite_name()) + "." + test->name() + "/" + std::string(suffix);
}

Socket::Socket(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    Fail("connect: " + std::string(std::strerror(errno)), Where::current());
  }
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Socket::~Socket() { Close(); }

void Socket::Send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

bool Socket::Receive(std::string& buffer, Where where) const {
  pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
  if (poll(&readable, 1, kPatienceMs * TestSlowdown()) != 1)
    Fail("nothing came, and the connection is still open", where);
  char bytes[65536];
  const ssize_t count = recv(fd_, bytes, sizeof(bytes), 0);
  if (count <= 0) return false;  // The end, or a reset: closed either way.
  buffer.append(bytes, static_cast<size_t>(count));
  return true;
}

void Socket::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

void Socket::Reset() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  Close();
}

void Socket::FinishSending() const { shutdown(fd_, SHUT_WR); }

RawClient::RawClient(uint16_t port, const ConnectPacket& connect, Where where)
    : RawClient(port, connect.version) {
  Send(connect.Encode());
  ExpectConnack(0, where);
}

RawClient& RawClient::Send(std::string_view bytes) {
  socket_.Send(bytes);
  return *this;
}

std::optional<Packet> RawClient::Read(Where where) {
  if (kept_.empty()) return ReadFromSocket(where);
  Packet packet = std::move(kept_.front());
  kept_.pop_front();
  return packet;
}

Packet RawClient::Await(PacketType type, uint16_t packet_id, Where where) {
  for (;;) {
    std::optional<Packet> packet = ReadFromSocket(where);
    if (!packet) Fail("the connection was closed instead of " + std::string(Name(type)), where);
    if (packet->type == PacketType::kPublish) {
      kept_.push_back(*std::move(packet));
      continue;
    }
    if (packet->type != type || packet->packet_id != packet_id || packet->reason >= 0x80) {
      Fail("expected " + std::string(Name(type)) + " of " + std::to_string(packet_id) + ", got " +
               packet->ToString(),
           where);
    }
    return *std::move(packet);
  }
}

std::optional<Packet> RawClient::ReadFromSocket(Where where) {
  for (;;) {
    const std::optional<size_t> size = FrameSize(buffer_);
    if (size && *size <= buffer_.size()) {
      Parsed parsed = Parse(version_, std::string_view(buffer_).substr(0, *size));
      if (!parsed.error.empty())
        Fail("malformed packet from the broker: " + parsed.error + ": " + parsed.packet.ToString(),
             where);
      buffer_.erase(0, *size);
      return std::move(parsed.packet);
    }
    if (!socket_.Receive(buffer_, where)) {
      if (!buffer_.empty()) Fail("the connection ended inside a packet", where);
      return std::nullopt;
    }
  }
}

Packet RawClient::Expect(PacketType type, Where where) {
  std::optional<Packet> packet = Read(where);
  if (!packet) Fail("the connection was closed instead of " + std::string(Name(type)), where);
  if (packet->type != type)
    Fail("expected " + std::string(Name(type)) + ", got " + packet->ToString(), where);
  return *std::move(packet);
}

Packet RawClient::ExpectConnack(unsigned reason, Where where) {
  connack_ = Expect(PacketType::kConnack, where);
  if (connack_.reason != reason)
    Fail("expected CONNACK " + Hex(reason) + ", got " + connack_.ToString(), where);
  return connack_;
}

Packet RawClient::ExpectPublish(std::string_view topic, std::string_view payload, Where where) {
  Packet packet = Expect(PacketType::kPublish, where);
  if (packet.topic != topic || packet.payload != payload) {
    Fail("expected topic=" + std::string(topic) + " payload=" + std::string(payload) + ", got " +
             packet.ToString(),
         where);
  }
  return packet;
}

Packet RawClient::ExpectAck(PacketType type, uint16_t packet_id, unsigned reason, Where where) {
  Packet packet = Expect(type, where);
  if (packet.packet_id != packet_id || packet.reason != reason) {
    Fail("expected " + std::string(Name(type)) + " of " + std::to_string(packet_id) + " with " +
             Hex(reason) + ", got " + packet.ToString(),
         where);
  }
  return packet;
}

void RawClient::ExpectClosed(Where where) {
  if (const std::optional<Packet> packet = Read(where))
    Fail("expected the end, got " + packet->ToString(), where);
}

void RawClient::ExpectDisconnect(unsigned reason, Where where) {
  if (version_ == Version::k5) {
    const Packet packet = Expect(PacketType::kDisconnect, where);
    if (packet.reason != reason)
      Fail("expected DISCONNECT " + Hex(reason) + ", got " + packet.ToString(), where);
  }
  ExpectClosed(where);
}

void RawClient::ExpectNothing(Where where) {
  Send(kPingreq);
  Expect(PacketType::kPingresp, where);
}

Packet RawClient::Subscribe(const std::vector<Filter>& filters, const Properties& properties,
                            Where where) {
  const uint16_t id = next_packet_id_++;
  Send(support::Subscribe(version_, id, filters, properties));
  Packet suback = Await(PacketType::kSuback, id, where);
  for (size_t i = 0; i < filters.size(); ++i) {
    if (suback.reasons.size() != filters.size() || suback.reasons[i] != (filters[i].options & 3)) {
      Fail("not granted as asked: " + suback.ToString(), where);
    }
  }
  return suback;
}

Packet RawClient::Unsubscribe(const std::vector<std::string>& filters, Where where) {
  const uint16_t id = next_packet_id_++;
  Send(support::Unsubscribe(version_, id, filters));
  return Await(PacketType::kUnsuback, id, where);
}

void RawClient::Publish(PublishPacket publish, Where where) {
  if (publish.qos > 0) publish.packet_id = next_packet_id_++;
  Send(publish);
  if (publish.qos == 0) return;
  Await(publish.qos == 1 ? PacketType::kPuback : PacketType::kPubrec, publish.packet_id, where);
  if (publish.qos == 1) return;
  Send(Ack(PacketType::kPubrel, publish.packet_id));
  Await(PacketType::kPubcomp, publish.packet_id, where);
}

void RawClient::Disconnect(unsigned reason, const Properties& properties, Where where) {
  Send(support::Disconnect(version_, reason, properties));
  ExpectClosed(where);
}

void RawClient::Acknowledge(const Packet& publish, Where where) {
  if (publish.qos() == 1) Send(Ack(PacketType::kPuback, publish.packet_id));
  if (publish.qos() != 2) return;
  Send(Ack(PacketType::kPubrec, publish.packet_id));
  Await(PacketType::kPubrel, publish.packet_id, where);
  Send(Ack(PacketType::kPubcomp, publish.packet_id));
}

}  // namespace support
