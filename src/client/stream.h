// The bytes between client and server, whatever carries them.
#ifndef CLIENT_STREAM_H_
#define CLIENT_STREAM_H_

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/core/endpoint.h"

namespace mqttd::client {

// A connected transport: one reader and one writer at a time, on one executor. `Close` ends what is
// under way with an error.
class Stream {
 public:
  virtual ~Stream() = default;

  // Some bytes, at least one unless there is an error; the end of the stream is an error too.
  virtual boost::asio::awaitable<size_t> Read(boost::asio::mutable_buffer buffer,
                                              boost::system::error_code& error) = 0;
  // All of them.
  virtual boost::asio::awaitable<void> Write(boost::asio::const_buffer buffer,
                                             boost::system::error_code& error) = 0;
  virtual void Close() = 0;
};

struct TlsOptions {
  std::string ca_file;    // PEM. With both empty: the system's certificates.
  std::string ca_path;    // Directory of hashed certificates.
  std::string cert_file;  // Ours, with its chain; PEM. Empty: none.
  std::string key_file;
  std::string server_name;  // For SNI and for the check of the certificate. Empty: the host's name.
  std::vector<std::string> alpn;  // Such as "mqtt".
  std::string ciphers;            // OpenSSL's list for TLS 1.2. Empty: OpenSSL's choice.
  // The oldest version that is spoken, and the newest: "1.2", "1.3".
  std::string version_min = "1.2";
  std::string version_max = "1.3";
  // False: any certificate of a trusted authority will do, whatever its name. For experiments.
  bool check_name = true;
  // The server's certificate is not checked at all. For experiments only.
  bool insecure = false;
  // Used instead of all the above but `server_name`.
  std::shared_ptr<boost::asio::ssl::context> context;
};

// Connects to the endpoint, TLS and WebSocket handshakes included, on the calling coroutine's
// executor. Cancellation ends it. Errors: kUnavailable, with what failed and where.
// `local_address`: from which address of this machine; empty: the system's choice.
boost::asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> Dial(
    const Endpoint& endpoint, const TlsOptions& tls, std::string local_address = {});

// For transports of one's own: given instead of `Dial`.
using Dialer = std::function<boost::asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>>(
    const Endpoint& endpoint)>;

}  // namespace mqttd::client

#endif  // CLIENT_STREAM_H_
