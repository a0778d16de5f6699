// Who may connect at all: TLS between nodes, with certificates on both sides.
#ifndef CLUSTER_LINK_CREDENTIALS_H_
#define CLUSTER_LINK_CREDENTIALS_H_

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cluster/link/options.h"

namespace cluster {

struct LinkCredentials {
  std::shared_ptr<grpc::ServerCredentials> server;
  std::shared_ptr<grpc::ChannelCredentials> channel;
  // Looks at the files again and again, on a thread of its own, which its end waits for. Null:
  // without TLS.
  std::shared_ptr<grpc::experimental::CertificateProviderInterface> files;
};

// kInvalidArgument, in words, when a file is missing or is not what it should be, or when TLS is
// needed and not there.
absl::Status CheckLinkCredentials(const LinkOptions& options);

// Files are looked at again every minute, so certificates can be renewed. Errors as above.
absl::StatusOr<LinkCredentials> MakeLinkCredentials(const LinkOptions& options);

// "127.0.0.1:1885", "[::1]:0", "localhost:1".
bool IsLoopback(const std::string& address);

// What gRPC says of a link that broke or never was, for an operator.
std::string InOperatorsWords(const std::string& error);

}  // namespace cluster

#endif  // CLUSTER_LINK_CREDENTIALS_H_
