// A TLS client that shows certificates made on the spot.
#ifndef TESTS_BROKER_TRANSPORT_CERTIFICATES_H_
#define TESTS_BROKER_TRANSPORT_CERTIFICATES_H_

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "broker/transport/transport.h"
#include "tests/broker/transport/sockets.h"
#include "tests/support/certificates.h"

namespace broker {

using support::Identity;
using support::PemDirectory;

// A non-blocking client on one end of a connection whose other end is a transport of this thread.
class TlsClient {
 public:
  struct Options {
    const Identity* identity = nullptr;
    int max_version = 0;
    std::string server_name;
    std::string alpn;                // One protocol.
    SSL_SESSION* session = nullptr;  // To be resumed.
  };
  TlsClient(Peer peer, const Options& options);
  explicit TlsClient(Peer peer) : TlsClient(std::move(peer), Options()) {}

  SSL* ssl() const { return ssl_.get(); }
  const Peer& peer() const { return peer_; }

  // Goes on until both ends are done or one has failed. What the transport said last.
  IoState Handshake(Transport& transport);
  void Send(std::string_view bytes);
  // All that is there now. Sets `ended` upon close_notify.
  std::string Receive();
  bool ended() const { return ended_; }
  std::string Alpn() const;
  std::string ServerCommonName() const;
  // The ticket that came last; take it before the client is destroyed.
  std::shared_ptr<SSL_SESSION> Session() const;

 private:
  Peer peer_;
  std::shared_ptr<SSL_CTX> context_;
  std::shared_ptr<SSL> ssl_;
  bool ended_ = false;
};

}  // namespace broker
#endif  // TESTS_BROKER_TRANSPORT_CERTIFICATES_H_
