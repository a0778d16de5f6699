// A blocking MQTT client for tests: sends what it is told, and says what must come back.
#ifndef TESTS_SUPPORT_CLIENT_H_
#define TESTS_SUPPORT_CLIENT_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/wire.h"

namespace support {

// Where a call was made: a failure is reported there.
using Where = std::source_location;

// A TCP connection to 127.0.0.1. Reading waits until a deadline that only a failure reaches.
class Socket {
 public:
  explicit Socket(uint16_t port);
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // What the peer no longer takes is dropped: it may have closed for cause.
  void Send(std::string_view bytes) const;
  // More bytes appended to `buffer`; false when the peer has closed. Fails the test at the
  // deadline.
  bool Receive(std::string& buffer, Where where) const;
  // Lets go without a DISCONNECT, with FIN (`Close`) or RST (`Reset`).
  void Close();
  void Reset();
  // Ends our half only: the peer reads what we sent and then the end of the stream.
  void FinishSending() const;
  bool open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Each Expect… reads the next packet, and fails and ends the test case when it is not the one.
class RawClient {
 public:
  explicit RawClient(uint16_t port, Version version = Version::k5)
      : socket_(port), version_(version) {}
  // Connects and expects CONNACK 0.
  RawClient(uint16_t port, const ConnectPacket& connect, Where where = Where::current());

  Version version() const { return version_; }
  const Packet& connack() const { return connack_; }
  Socket& socket() { return socket_; }

  RawClient& Send(std::string_view bytes);
  RawClient& Send(const PublishPacket& publish) { return Send(publish.Encode(version_)); }

  // The next packet, nullopt at the end of the stream.
  std::optional<Packet> Read(Where where = Where::current());
  Packet Expect(PacketType type, Where where = Where::current());
  Packet ExpectConnack(unsigned reason = 0, Where where = Where::current());
  Packet ExpectPublish(std::string_view topic, std::string_view payload,
                       Where where = Where::current());
  // PUBACK … PUBCOMP, SUBACK, UNSUBACK of that identifier.
  Packet ExpectAck(PacketType type, uint16_t packet_id, unsigned reason = 0,
                   Where where = Where::current());
  // The stream ends, and nothing comes before.
  void ExpectClosed(Where where = Where::current());
  // 5.0: DISCONNECT with that reason, then the end. Earlier versions have no such packet: the end
  // alone.
  void ExpectDisconnect(unsigned reason, Where where = Where::current());
  // PINGREQ, and the next packet is its PINGRESP: nothing was on its way before.
  void ExpectNothing(Where where = Where::current());

  // Whole exchanges. A PUBLISH that comes in between is kept, and is what the next Expect… or Read
  // gives.
  Packet Subscribe(const std::vector<Filter>& filters, const Properties& properties = {},
                   Where where = Where::current());
  Packet Unsubscribe(const std::vector<std::string>& filters, Where where = Where::current());
  // Until PUBACK or PUBCOMP; the identifier is chosen here.
  void Publish(PublishPacket publish, Where where = Where::current());
  // DISCONNECT and the end of the stream.
  void Disconnect(unsigned reason = 0, const Properties& properties = {},
                  Where where = Where::current());
  // Acknowledges a PUBLISH of QoS 1 or 2 to its end.
  void Acknowledge(const Packet& publish, Where where = Where::current());

 private:
  std::optional<Packet> ReadFromSocket(Where where);
  // The next packet that is no PUBLISH; those before it are kept.
  Packet Await(PacketType type, uint16_t packet_id, Where where);

  Socket socket_;
  Version version_;
  std::string buffer_;
  std::deque<Packet> kept_;
  Packet connack_;
  uint16_t next_packet_id_ = 1000;  // Apart from the identifiers that cases choose.
};

// A name for the running test case: client identifiers and topics made from it meet no other
// case's.
std::string Unique(std::string_view suffix);

// Fails the running test case at `where` and ends it.
[[noreturn]] void Fail(const std::string& message, Where where);

}  // namespace support
#endif  // TESTS_SUPPORT_CLIENT_H_
