// TLS over a stream socket: OpenSSL directly on the descriptor, no buffers of our own.
#ifndef BROKER_TRANSPORT_TLS_TRANSPORT_H_
#define BROKER_TRANSPORT_TLS_TRANSPORT_H_

#include <memory>
#include <string>
#include <string_view>

#include "broker/transport/listener_counters.h"
#include "broker/transport/proxy_protocol.h"
#include "broker/transport/tls_context.h"
#include "broker/transport/transport.h"

struct ssl_st;  // OpenSSL's SSL.

namespace broker {

// What is spoken inside, offered by ALPN as "mqtt" or "http/1.1". A client that names only others,
// or none, is served all the same.
enum class TlsApplication { kMqtt, kHttp };

// The server's end. The handshake costs 0.5-1 ms of the thread's time, inside one of the first
// calls of `Read`.
class TlsTransport final : public Transport {
 public:
  // Owns `fd`, which must be non-blocking; keeps what it needs of `context` alive.
  TlsTransport(int fd, const TlsContext& context, TlsApplication application,
               ConnectionSlot slot = {}, std::unique_ptr<ProxyStage> proxy = {});
  ~TlsTransport() override;

  int fd() const override { return fd_; }
  ReadResult Read(char* buffer, size_t capacity) override;
  // Small ranges are gathered into records of 16 KiB, the largest there are.
  WriteResult Write(const std::string_view* ranges, size_t count) override;
  bool HasBufferedInput() const override { return buffered_input_; }
  bool WantsWrite() const override { return wants_write_; }
  bool HandshakeDone() const override { return handshake_done_; }
  void StartClose() override;
  PeerInfo peer() const override;
  std::string_view error() const override { return error_; }

  TlsApplication application() const { return application_; }

 private:
  // kOk once the handshake is done.
  IoState DriveHandshake();
  // What a failed call of OpenSSL means; sets `wants_write_`, or `failed_` and `error_`.
  IoState Translate(int result, const char* doing);
  // One record of at most 16 KiB.
  WriteResult WriteRecord(const char* bytes, size_t size);

  int fd_;
  TlsApplication application_;
  bool handshake_done_ = false;
  bool buffered_input_ = false;
  bool wants_write_ = false;
  bool record_pending_ = false;  // A record was encrypted and is not yet sent to its end.
  bool failed_ = false;          // The SSL object may not be used any more.
  bool closing_ = false;         // Our direction has ended.
  bool socket_drained_ = false;  // The last recv returned less than asked: another is in vain.
  bool socket_ended_ = false;    // recv returned 0.
  int socket_errno_ = 0;         // Of the last recv or send that failed.
  ssl_st* ssl_;
  std::unique_ptr<ProxyStage> proxy_;
  // During the handshake: the kernel forgets the address of a peer that resets the connection.
  std::unique_ptr<PeerInfo> early_peer_;
  ConnectionSlot slot_;
  std::string error_;

  friend struct TlsSocketBio;
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_TLS_TRANSPORT_H_
