// The seam between a connection and the bytes below it: TCP, unix sockets, TLS, WebSocket, and the
// PROXY header before any of them.
#ifndef BROKER_TRANSPORT_TRANSPORT_H_
#define BROKER_TRANSPORT_TRANSPORT_H_

#include <sys/uio.h>

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
  kError,   // Nothing more will come or go; `Transport::error` has the words.
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

// One connection. Owns its descriptor; may be handed to another thread before it is first used, and
// belongs to one shard's thread from then on. Register the descriptor once with
// EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET. Then
//   upon EPOLLIN, EPOLLRDHUP, EPOLLHUP, EPOLLERR, and upon any edge while `WantsWrite` or not yet
//     `HandshakeDone`: `Read`. After RDHUP, HUP, ERR: until it is not kOk, for no other edge comes;
//   after `Read`: again soon if `HasBufferedInput`;
//   upon EPOLLOUT: `Write` what waits.
class Transport {
 public:
  virtual ~Transport();  // Closes the descriptor.
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  virtual int fd() const = 0;

  // Never blocks. Handshakes (PROXY header, TLS, WebSocket upgrade) and answers of the transport's
  // own happen in here unseen: kAgain until there are bytes of the protocol above. One or few
  // system calls, whatever the peer does. `capacity` > 0; large is better (64 KiB).
  virtual ReadResult Read(char* buffer, size_t capacity) = 0;

  // Never blocks. What was not taken must be offered again first in the next call: the same bytes
  // (anywhere in memory), at least as many of them, and more may follow.
  // kAgain, 0 before `HandshakeDone`; kClosed after `StartClose`.
  virtual WriteResult Write(const iovec* ranges, size_t count) = 0;

  // The last `Read` left something behind that no edge will announce: it filled the buffer, bytes
  // were decoded or read ahead above the kernel, or its share of work was done. Call `Read` again
  // after others had their turn.
  virtual bool HasBufferedInput() const = 0;

  // Something of the transport's own (handshake, control frame, close frame) waits for writability;
  // `Read` goes on with it.
  virtual bool WantsWrite() const = 0;

  virtual bool HandshakeDone() const = 0;

  // Says goodbye in order: WebSocket close frame, TLS close_notify, then the end of our direction.
  // Best effort, never blocks. `Read` goes on working; for the goodbye to arrive, read and discard
  // until kClosed or kError (or a short time has passed) before the transport is destroyed.
  virtual void StartClose() = 0;

  // Valid once `HandshakeDone`. Asks the kernel and copies strings: once per connection.
  virtual PeerInfo peer() const = 0;

  // Why kError, in words for the log. Empty before.
  virtual std::string_view error() const = 0;

 protected:
  Transport() = default;
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_TRANSPORT_H_
