// Certificates made on the spot, and a TLS client that shows them.
#ifndef TESTS_BROKER_TRANSPORT_CERTIFICATES_H_
#define TESTS_BROKER_TRANSPORT_CERTIFICATES_H_

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "broker/transport/transport.h"
#include "tests/broker/transport/sockets.h"
#include "tests/support/temp_dir.h"

namespace broker {

// A directory of PEM files that is gone with the object.
class PemDirectory {
 public:
  std::string File(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string Write(const std::string& name, const std::string& content) const;

 private:
  const support::TempDir directory_;
};

// A P-256 key with its certificate.
class Identity {
 public:
  struct Options {
    std::string common_name;
    std::string alternative_names;  // OpenSSL's notation: "DNS:a,IP:127.0.0.1". May be empty.
    bool authority = false;
    bool expired = false;
    long serial = 1;
  };
  // Signed by `issuer`, or by itself.
  explicit Identity(const Options& options, const Identity* issuer = nullptr);

  X509* certificate() const { return certificate_.get(); }
  EVP_PKEY* key() const { return key_.get(); }
  std::string CertificatePem() const;
  std::string KeyPem(const std::string& passphrase = "") const;
  // A revocation list of this authority with those serial numbers.
  std::string RevocationListPem(const std::vector<long>& serials) const;

 private:
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
};

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
