#include "broker/transport/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/counted.h"
#include "base/status_macros.h"
#include "broker/transport/tls_transport.h"

namespace broker {
namespace {

// What OpenSSL has to say about its last failure. Empties its queue.
std::string OpenSslWords() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "unknown reason";
  if (ERR_SYSTEM_ERROR(code)) return strerrordesc_np(ERR_GET_REASON(code));
  const char* const reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "reason " + std::to_string(ERR_GET_REASON(code));
}

std::string Words(std::string_view a, const std::string& b, std::string_view c = {}) {
  return std::string(a).append(" '").append(b).append("'").append(c);
}

// OpenSSL's own words for an unreadable file are poor, so that is found out first.
absl::Status CheckReadable(std::string_view role, const std::string& file) {
  if (access(file.c_str(), R_OK) == 0) return absl::OkStatus();
  const std::string words = Words(role, file, std::string(": ") + strerrordesc_np(errno));
  return errno == ENOENT || errno == ENOTDIR ? absl::NotFoundError(words)
                                             : absl::PermissionDeniedError(words);
}

absl::Status BadFile(std::string_view role, const std::string& file, std::string_view advice) {
  return absl::InvalidArgumentError(Words(role, file, ": ") + OpenSslWords() + "; " +
                                    std::string(advice));
}

// Otherwise OpenSSL would ask at the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::Status LoadIdentity(SSL_CTX* context, const TlsOptions& options) {
  constexpr std::string_view kCertificate = "TLS certificate file";
  constexpr std::string_view kKey = "TLS key file";
  if (options.cert_file.empty() || options.key_file.empty()) {
    return absl::InvalidArgumentError("a TLS listener needs a certificate file and a key file");
  }
  RETURN_IF_ERROR(CheckReadable(kCertificate, options.cert_file));
  RETURN_IF_ERROR(CheckReadable(kKey, options.key_file));
  if (SSL_CTX_use_certificate_chain_file(context, options.cert_file.c_str()) != 1) {
    return BadFile(kCertificate, options.cert_file,
                   "it must be PEM: the server's certificate first, then its intermediates");
  }
  if (SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH) {
      ERR_clear_error();
      return absl::InvalidArgumentError(
          Words(kKey, options.key_file, " does not belong to the certificate in") +
          Words("", options.cert_file));
    }
    return BadFile(kKey, options.key_file,
                   "it must be a PEM private key without passphrase (openssl pkey -in … -out …)");
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        Words(kKey, options.key_file, " does not belong to the certificate in") +
        Words("", options.cert_file));
  }
  return absl::OkStatus();
}

absl::Status LoadClientAuthorities(SSL_CTX* context, const TlsOptions& options) {
  constexpr std::string_view kAuthorities = "TLS CA file";
  constexpr std::string_view kRevoked = "TLS revocation list file";
  using ClientCertificate = TlsOptions::ClientCertificate;
  const bool asks = options.client_certificate != ClientCertificate::kOff;
  if (asks && options.ca_file.empty()) {
    return absl::InvalidArgumentError(
        "client certificates need a CA file with the authorities that may sign them");
  }
  // Read also where nobody is asked for a certificate: a mistake in a file that is named is told.
  if (!options.ca_file.empty()) {
    RETURN_IF_ERROR(CheckReadable(kAuthorities, options.ca_file));
    if (SSL_CTX_load_verify_file(context, options.ca_file.c_str()) != 1) {
      return BadFile(kAuthorities, options.ca_file, "it must be PEM certificates");
    }
  }
  // The names of the authorities, sent to clients that have several certificates to choose from.
  if (asks) SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(options.ca_file.c_str()));
  if (!options.crl_file.empty()) {
    RETURN_IF_ERROR(CheckReadable(kRevoked, options.crl_file));
    X509_STORE* const store = SSL_CTX_get_cert_store(context);
    X509_LOOKUP* const lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (X509_load_crl_file(lookup, options.crl_file.c_str(), X509_FILETYPE_PEM) <= 0) {
      return BadFile(kRevoked, options.crl_file, "it must be PEM revocation lists");
    }
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  }
  const bool required = options.client_certificate == ClientCertificate::kRequired;
  const int verify = SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
  SSL_CTX_set_verify(context, asks ? verify : SSL_VERIFY_NONE, nullptr);
  return absl::OkStatus();
}

absl::Status SetCiphers(SSL_CTX* context, const TlsOptions& options) {
  if (!options.ciphers.empty() && SSL_CTX_set_cipher_list(context, options.ciphers.c_str()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        Words("TLS ciphers", options.ciphers, ": none known (openssl ciphers lists them)"));
  }
  if (!options.ciphersuites.empty() &&
      SSL_CTX_set_ciphersuites(context, options.ciphersuites.c_str()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(Words("TLS 1.3 ciphersuites", options.ciphersuites,
                                            ": unknown (openssl ciphers -s -tls1_3 lists them)"));
  }
  return absl::OkStatus();
}

// RFC 7301. A client that offers only what we do not speak is served without ALPN: many MQTT
// libraries send whatever their TLS stack was set up with.
int SelectApplication(SSL* ssl, const unsigned char** selected, unsigned char* selected_bytes,
                      const unsigned char* offered, unsigned offered_bytes, void*) {
  const auto* const transport = static_cast<const TlsTransport*>(SSL_get_app_data(ssl));
  const bool http = transport->application() == TlsApplication::kHttp;
  const std::string_view ours = http ? "http/1.1" : "mqtt";
  for (unsigned at = 0; at < offered_bytes; at += 1u + offered[at]) {
    const unsigned length = offered[at];
    if (length == ours.size() && std::memcmp(offered + at + 1, ours.data(), length) == 0) {
      *selected = offered + at + 1;
      *selected_bytes = static_cast<unsigned char>(length);
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_NOACK;
}

// Versions, memory and system calls per connection, session tickets.
void SetBehaviour(SSL_CTX* context, TlsOptions::MinVersion min_version) {
  const bool only_13 = min_version == TlsOptions::MinVersion::kTls13;
  SSL_CTX_set_min_proto_version(context, only_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   // MQTT's own DISCONNECT says whether the end was meant.
                                   SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);  // One recv for all that is there, not two per record.
  SSL_CTX_set_dh_auto(context, 1);
  // Sessions live in the client's ticket only, encrypted with keys that die with this context.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 1);
  constexpr unsigned char kSessionContext[] = "mqttd";
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof(kSessionContext) - 1);
  SSL_CTX_set_default_passwd_cb(context, NoPassphrase);
  SSL_CTX_set_alpn_select_cb(context, SelectApplication, nullptr);
}

int64_t ExpiryOf(const X509* certificate) {
  tm time{};
  if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1)
    return 0;
  return timegm(&time);
}

}  // namespace

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

absl::StatusOr<std::shared_ptr<TlsContext>> TlsContext::Create(const TlsOptions& options) {
  ERR_clear_error();
  SSL_CTX* const native = SSL_CTX_new(TLS_server_method());
  if (native == nullptr) return absl::ResourceExhaustedError("TLS: " + OpenSslWords());
  std::shared_ptr<TlsContext> context(new TlsContext(native));
  SetBehaviour(native, options.min_version);
  RETURN_IF_ERROR(SetCiphers(native, options));
  RETURN_IF_ERROR(LoadIdentity(native, options));
  RETURN_IF_ERROR(LoadClientAuthorities(native, options));
  context->expires_unix_s_ = ExpiryOf(SSL_CTX_get0_certificate(native));
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(native, &chain);
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    context->expires_unix_s_ =
        std::min(context->expires_unix_s_, ExpiryOf(sk_X509_value(chain, i)));
  }
  return context;
}

std::string CertificateWarning(int64_t expires_unix_s, int64_t now_unix_s) {
  constexpr int64_t kDay = 86400, kWarnBefore = 14 * kDay;
  const int64_t left_s = expires_unix_s - now_unix_s;
  if (left_s > kWarnBefore) return {};
  if (left_s <= 0) return "the certificate has run out: clients that verify it cannot connect";
  if (left_s < kDay) return "the certificate runs out in less than a day";
  return "the certificate runs out in " + base::Counted(left_s / kDay, "day");
}

}  // namespace broker
