// The server's TLS settings and files, checked and loaded.
#ifndef BROKER_TRANSPORT_TLS_CONTEXT_H_
#define BROKER_TRANSPORT_TLS_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX.

namespace broker {

struct TlsOptions {
  enum class ClientCertificate { kOff, kOptional, kRequired };
  enum class MinVersion { kTls12, kTls13 };

  std::string cert_file;  // PEM: the server's certificate, then its intermediates.
  std::string key_file;   // PEM, not encrypted.
  std::string ca_file;    // PEM: who may sign clients' certificates.
  std::string
      crl_file;  // PEM: revocation lists. Then every issuer of client certificates needs one.
  ClientCertificate client_certificate = ClientCertificate::kOff;
  MinVersion min_version = MinVersion::kTls12;
  std::string ciphers;       // OpenSSL's list for TLS 1.2; empty: OpenSSL's default.
  std::string ciphersuites;  // The same for TLS 1.3.

  friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

// Immutable, shared by all shards and by the connections made with it. Session tickets are
// stateless with keys of this context only: after a reload nobody resumes a session that the new
// certificates or revocation list would refuse.
class TlsContext {
 public:
  // Reads the files: blocking. Errors name the file and what to do about it: kNotFound,
  // kPermissionDenied, kInvalidArgument.
  static absl::StatusOr<std::shared_ptr<TlsContext>> Create(const TlsOptions& options);

  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* native() const { return context_; }

  // When the first certificate of the chain that is shown to clients runs out, since 1970.
  int64_t expires_unix_s() const { return expires_unix_s_; }

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}

  ssl_ctx_st* context_;
  int64_t expires_unix_s_ = 0;
};

// What to say of a certificate that runs out at `expires_unix_s`; empty: nothing yet. From two
// weeks before on: where certificates are renewed by themselves, that has failed by then.
std::string CertificateWarning(int64_t expires_unix_s, int64_t now_unix_s);

}  // namespace broker
#endif  // BROKER_TRANSPORT_TLS_CONTEXT_H_
