#include "cluster/link/credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace cluster {
namespace {

constexpr unsigned kLookedAtEverySeconds = 60;

absl::Status CheckFile(const std::string& key, const std::string& path, const std::string& mark,
                       const std::string& what) {
  if (path.empty())
    return absl::InvalidArgumentError(
        absl::StrCat(key, ": it is needed, for nodes know each other by their certificates"));
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return absl::InvalidArgumentError(absl::StrCat(key, ": cannot read ", path));
  if (!absl::StrContains(text.str(), mark))
    return absl::InvalidArgumentError(absl::StrCat(key, ": there is no ", what, " in ", path));
  return absl::OkStatus();
}

bool HasTls(const LinkTls& tls) {
  return !tls.cert_file.empty() || !tls.key_file.empty() || !tls.ca_file.empty();
}

}  // namespace

bool IsLoopback(const std::string& address) {
  return absl::StartsWith(address, "127.") || absl::StartsWith(address, "[::1]:") ||
         absl::StartsWith(address, "localhost:");
}

absl::Status CheckLinkCredentials(const LinkOptions& options) {
  const LinkTls& tls = options.tls;
  if (!HasTls(tls)) {
    if (options.allow_plaintext || IsLoopback(options.listen)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "nodes would speak to each other at ", options.listen,
        " without TLS: whoever reaches that port could read and change everything. Set "
        "cluster.cert_file, key_file and ca_file, or say that plain text is allowed there "
        "(cluster.allow_plaintext)"));
  }
  RETURN_IF_ERROR(
      CheckFile("cluster.cert_file", tls.cert_file, "BEGIN CERTIFICATE", "certificate"));
  RETURN_IF_ERROR(CheckFile("cluster.key_file", tls.key_file, "PRIVATE KEY", "private key"));
  return CheckFile("cluster.ca_file", tls.ca_file, "BEGIN CERTIFICATE", "certificate");
}

absl::StatusOr<LinkCredentials> MakeLinkCredentials(const LinkOptions& options) {
  const LinkTls& tls = options.tls;
  RETURN_IF_ERROR(CheckLinkCredentials(options));
  if (!HasTls(tls))
    return LinkCredentials{grpc::InsecureServerCredentials(), grpc::InsecureChannelCredentials(),
                           nullptr};
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      tls.key_file, tls.cert_file, tls.ca_file, kLookedAtEverySeconds);
  grpc::experimental::TlsServerCredentialsOptions server(provider);
  server.watch_root_certs();
  server.watch_identity_key_cert_pairs();
  server.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  // The caller's certificate has to be signed by that authority; which node it is, it says.
  server.set_certificate_verifier(std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
  grpc::experimental::TlsChannelCredentialsOptions channel;
  channel.set_certificate_provider(provider);
  channel.watch_root_certs();
  channel.watch_identity_key_cert_pairs();
  channel.set_verify_server_certs(true);
  if (!tls.check_names) {
    channel.set_check_call_host(false);
    channel.set_certificate_verifier(
        std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
  }
  return LinkCredentials{grpc::experimental::TlsServerCredentials(server),
                         grpc::experimental::TlsCredentials(channel), provider};
}

std::string InOperatorsWords(const std::string& error) {
  if (absl::StrContains(error, "Connection refused"))
    return "nothing listens there: is the node running?";
  if (absl::StrContains(error, "certificate verify failed"))
    return "the certificate of the node there is not signed by the authority in ca_file";
  if (absl::StrContains(error, "Hostname Verification"))
    return "the certificate of the node there is for another name";
  if (absl::StrContains(error, "wrong version number")) return "the node there does not speak TLS";
  if (absl::StrContains(error, "Tls handshake failed"))
    return absl::StrCat("TLS could not be agreed on: ", error);
  if (absl::StrContains(error, "Socket closed") || absl::StrContains(error, "Connection reset"))
    return "the node there ended the connection; if it did not stop, its log says why";
  if (absl::StrContains(error, "Cancelling all calls")) return "the node there was stopped";
  if (absl::StrContains(error, "DNS resolution failed")) return "there is no such host name";
  return error;
}

}  // namespace cluster
