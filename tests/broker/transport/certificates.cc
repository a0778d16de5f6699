#include "tests/broker/transport/certificates.h"

#include <gtest/gtest.h>

#include <utility>

namespace broker {

TlsClient::TlsClient(Peer peer, const Options& options)
    : peer_(std::move(peer)), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
  SSL_CTX_set_mode(context_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE);
  if (options.max_version != 0) SSL_CTX_set_max_proto_version(context_.get(), options.max_version);
  if (options.identity != nullptr) {
    SSL_CTX_use_certificate(context_.get(), options.identity->certificate());
    SSL_CTX_use_PrivateKey(context_.get(), options.identity->key());
  }
  ssl_.reset(SSL_new(context_.get()), SSL_free);
  SSL_set_fd(ssl_.get(), peer_.fd());
  SSL_set_connect_state(ssl_.get());
  if (!options.server_name.empty()) {
    SSL_set_tlsext_host_name(ssl_.get(), options.server_name.c_str());
  }
  if (!options.alpn.empty()) {
    const std::string wire = std::string(1, static_cast<char>(options.alpn.size())) + options.alpn;
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                        static_cast<unsigned>(wire.size()));
  }
  if (options.session != nullptr) SSL_set_session(ssl_.get(), options.session);
}

IoState TlsClient::Handshake(Transport& transport) {
  IoState state = IoState::kAgain;
  bool done = false;
  // Each turn moves at least one flight; a connection over loopback may need some turns to arrive.
  for (int turn = 0; turn < 100000; ++turn) {
    done = SSL_do_handshake(ssl_.get()) == 1;
    state = ReadOnce(transport, 65536).end;
    if (state != IoState::kAgain || (done && transport.HandshakeDone())) break;
  }
  if (done) Receive();  // A ticket, or the server's refusal.
  return state;
}

void TlsClient::Send(std::string_view bytes) {
  EXPECT_EQ(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())),
            static_cast<int>(bytes.size()));
}

std::string TlsClient::Receive() {
  std::string bytes;
  char buffer[20000];
  for (;;) {
    const int got = SSL_read(ssl_.get(), buffer, sizeof(buffer));
    if (got <= 0) {
      ended_ = ended_ || SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN;
      return bytes;
    }
    bytes.append(buffer, static_cast<size_t>(got));
  }
}

std::string TlsClient::Alpn() const {
  const unsigned char* selected = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_.get(), &selected, &length);
  return std::string(reinterpret_cast<const char*>(selected), length);
}

std::string TlsClient::ServerCommonName() const {
  char name[100] = "";
  X509* const certificate = SSL_get1_peer_certificate(ssl_.get());
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name));
  X509_free(certificate);
  return name;
}

std::shared_ptr<SSL_SESSION> TlsClient::Session() const {
  return {SSL_get1_session(ssl_.get()), SSL_SESSION_free};
}

}  // namespace broker
