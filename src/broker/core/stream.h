// The bytes of one connection, as a shard wants them from outside: what came and what is to leave,
// and who is at the other end. Sockets implement it (transport/transport.h), and so do tests.
#ifndef BROKER_CORE_STREAM_H_
#define BROKER_CORE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace broker {

enum class IoState {
  kOk,
  kAgain,   // The kernel has no more for us (or no room): the next edge of the descriptor tells.
  kClosed,  // The peer ended in order: end of stream, TLS close_notify, WebSocket close frame.
  kError,   // Nothing more will come or go; `Stream::error` has the words.
};

std::ostream& operator<<(std::ostream& out, IoState state);

struct ReadResult {
  IoState state = IoState::kAgain;
  size_t bytes =
      0;  // Stand at the start of the buffer. kOk implies bytes > 0, all others bytes = 0.
};

// kOk: all ranges were taken. kAgain: only the first `bytes` of them; the rest waits for
// writability.
struct WriteResult {
  IoState state = IoState::kAgain;
  size_t bytes = 0;
};

// Who is at the other end. Behind a proxy that speaks the PROXY protocol: who the proxy says it is.
struct PeerInfo {
  std::string address;  // "192.0.2.1", "2001:db8::1", or "unix" for a unix socket.
  uint16_t port = 0;
  std::string local_address;  // Of our end; the path of a unix socket.
  uint16_t local_port = 0;
  bool proxied = false;  // The addresses come from a PROXY header.

  bool tls = false;  // Here or, when `proxied`, at the proxy.
  std::string tls_version;
  std::string cipher;
  std::string server_name;  // What the client asked for: SNI, or the PROXY header's authority.

  // The client's verified certificate; empty if it has none.
  std::string certificate_subject_cn;
  std::string certificate_subject_dn;         // RFC 2253: "CN=sensor-7,O=Example".
  std::vector<std::string> certificate_sans;  // "DNS:…", "IP:…", "email:…", "URI:…".

  std::string websocket_path;  // As requested, without the query. Empty if not WebSocket.
};

// Owned by its Connection, used on the shard's thread. Whoever runs the shard tells it
// (ShardCore::OnReady) when there is something to read, or room to write again.
class Stream {
 public:
  virtual ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Never blocks. kAgain: nothing now; OnReady says when. What lies below the protocol (handshakes,
  // control frames) happens in here unseen. Its work is bounded, whatever the peer does.
  // `capacity` > 0; large is better (64 KiB).
  virtual ReadResult Read(char* buffer, size_t capacity) = 0;

  // Never blocks. What was not taken must be offered again first in the next call: the same bytes
  // (anywhere in memory), at least as many of them, and more may follow.
  // kAgain, 0 before `HandshakeDone`; kClosed after `StartClose`.
  virtual WriteResult Write(const std::string_view* ranges, size_t count) = 0;

  // The last `Read` left something behind that nobody will announce: it filled the buffer, bytes
  // were decoded or read ahead, or its share of work was done. Call `Read` again after others had
  // their turn.
  virtual bool HasBufferedInput() const = 0;

  // Bytes of the peer's have arrived and wait to be read: whether it is we who keep it waiting.
  virtual bool HasUnreadInput() const = 0;

  virtual bool HandshakeDone() const = 0;

  // Says goodbye in order, and ends our direction. Best effort, never blocks. `Read` goes on
  // working; for the goodbye to arrive, read and discard until kClosed or kError (or a short time
  // has passed) before the stream is destroyed.
  virtual void StartClose() = 0;

  // As far as it is known: before `HandshakeDone` perhaps nothing but the addresses. Asks the
  // kernel and copies strings: once per connection.
  virtual PeerInfo peer() const = 0;

  // Why kError, in words for the log. Empty before.
  virtual std::string_view error() const = 0;

 protected:
  Stream() = default;
};

}  // namespace broker
#endif  // BROKER_CORE_STREAM_H_
