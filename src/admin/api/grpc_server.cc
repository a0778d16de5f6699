#include "admin/api/grpc_server.h"

#include <arpa/inet.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "admin/api/grpc_call.h"
#include "auth/file.h"
#include "base/check.h"
#include "base/done_within.h"
#include "base/status_macros.h"
#include "config/http_address.h"

namespace admin {
namespace {

// A request: a message of MQTT's size, which import of retained messages sends alone, and what is
// around it. Answers have no bound of their own: what a message may have, or a page.
constexpr int kRequestBytesMax = 257 << 20;
constexpr int kNoBound = -1;
constexpr unsigned kCertificateSeconds = 60;  // How often the TLS files are looked at.
constexpr absl::Duration kFilesPatience = absl::Seconds(1);
// A caller whose machine went without a word keeps no place for longer.
constexpr int kKeepaliveMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
// Callers ask for a sign of life too, mqttctl as often: they are not turned away for it.
constexpr int kPingIntervalMinMs = 5'000;

// gRPC says no more than that it could not: what is wrong is found out first. Another process may
// take the port between the two; then it is told in fewer words.
absl::Status TryToListen(const config::HttpAddress& address) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (absl::StrContains(address.address, ':')) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    inet_pton(AF_INET6, address.address.c_str(), &v6.sin6_addr);
    size = sizeof(v6);
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    inet_pton(AF_INET, address.address.c_str(), &v4.sin_addr);
    size = sizeof(v4);
  }
  const int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "admin: socket");
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  const bool bound =
      bind(fd, reinterpret_cast<const sockaddr*>(&storage), size) == 0 && listen(fd, 1) == 0;
  const int error = errno;
  close(fd);
  if (bound) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("admin: cannot listen on ", address.ToString(), ": ", strerror(error)));
}

// Looks at the files again and again, on a thread of its own, which its end waits for.
using WatchedFiles = std::shared_ptr<grpc::experimental::CertificateProviderInterface>;

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials(
    const config::AdminOptions& options, WatchedFiles& files) {
  if (options.cert_file.empty()) return grpc::InsecureServerCredentials();
  ASSIGN_OR_RETURN(const auth::FileContents certificate, auth::ReadFile(options.cert_file));
  ASSIGN_OR_RETURN(const auth::FileContents key, auth::ReadFile(options.key_file));
  if (!absl::StrContains(certificate.text, "BEGIN CERTIFICATE"))
    return absl::InvalidArgumentError(
        absl::StrCat("admin.cert_file: no certificate in ", options.cert_file));
  if (!absl::StrContains(key.text, "PRIVATE KEY"))
    return absl::InvalidArgumentError(
        absl::StrCat("admin.key_file: no private key in ", options.key_file));
  files = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      options.key_file, options.cert_file, kCertificateSeconds);
  grpc::experimental::TlsServerCredentialsOptions tls(files);
  tls.watch_identity_key_cert_pairs();
  // TLS proves that the caller has the key; whose certificate it is Access decides, with words for
  // who is refused. Callers are asked without a ca_file, too: one that is set later is to be of use
  // without a restart.
  tls.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  return grpc::experimental::TlsServerCredentials(tls);
}

class Service final : public grpc::CallbackGenericService {
 public:
  explicit Service(GrpcServer::Parts parts) : parts_(parts) {}
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return StartGrpcCall(*context, *parts_.methods, *parts_.calls);
  }

 private:
  const GrpcServer::Parts parts_;
};

class RealGrpcServer final : public GrpcServer {
 public:
  explicit RealGrpcServer(Parts parts) : service_(parts) {}
  ~RealGrpcServer() override { Stop(absl::ZeroDuration()); }

  absl::Status Listen(const config::AdminOptions& options) {
    ASSIGN_OR_RETURN(const config::HttpAddress address,
                     config::ParseHttpAddress(options.listen, 9884));
    RETURN_IF_ERROR(TryToListen(address));
    ASSIGN_OR_RETURN(const auto credentials, Credentials(options, files_));
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(address.ToString(), credentials, &port);
    // Or two brokers would share a port without a word.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_MINIMAL_STACK, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // Of a quiet stream.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kPingIntervalMinMs);
    builder.SetMaxReceiveMessageSize(kRequestBytesMax);
    builder.SetMaxSendMessageSize(kNoBound);
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      server_.reset();
      return absl::UnavailableError(absl::StrCat(
          "admin: cannot listen on ", address.ToString(),
          options.cert_file.empty() ? "" : " with TLS: is the key the certificate's?"));
    }
    config::HttpAddress real = address;
    real.port = static_cast<uint16_t>(port);
    address_ = real.ToString();
    return absl::OkStatus();
  }

  void Stop(absl::Duration patience) override {
    if (server_ == nullptr) return;
    server_->Shutdown(absl::ToChronoTime(absl::Now() + patience));
    server_->Wait();
    server_.reset();
    if (files_ == nullptr) return;
    // They may be on a mount that hangs.
    (void)base::DoneWithin(kFilesPatience,
                           [files = std::exchange(files_, nullptr)]() mutable { files.reset(); });
  }

  const std::string& address() const override { return address_; }

 private:
  Service service_;
  WatchedFiles files_;  // Null: without TLS.
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const config::AdminOptions& options,
                                                              Parts parts) {
  ASSIGN_OR_RETURN(const config::HttpAddress address,
                   config::ParseHttpAddress(options.listen, 9884));
  if (address.off) return nullptr;
  auto server = std::make_unique<RealGrpcServer>(parts);
  RETURN_IF_ERROR(server->Listen(options));
  return server;
}

}  // namespace admin
