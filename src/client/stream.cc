#include "client/stream.h"

#include <openssl/ssl.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_static_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/status_macros.h"

namespace mqttd::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;
using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;

auto Into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

absl::Status Unreachable(const Endpoint& endpoint, std::string_view what, const error_code& error) {
  return absl::UnavailableError(
      absl::StrCat(endpoint.ToString(), ": ", base::AbslView(what), ": ", error.message()));
}

template <typename Layer>
void CloseSocket(Layer& layer) {
  error_code ignored;
  beast::get_lowest_layer(layer).close(ignored);
}
void CloseSocket(tcp::socket& socket) {
  error_code ignored;
  socket.close(ignored);
}
void CloseSocket(asio::local::stream_protocol::socket& socket) {
  error_code ignored;
  socket.close(ignored);
}
void CloseSocket(asio::ssl::stream<tcp::socket>& stream) { CloseSocket(stream.next_layer()); }

// TCP, TLS and unix sockets: a stream of bytes as it is.
template <typename Layer>
class PlainStream final : public Stream {
 public:
  template <typename... Args>
  explicit PlainStream(Args&&... args) : layer(std::forward<Args>(args)...) {}

  asio::awaitable<size_t> Read(asio::mutable_buffer buffer, error_code& error) override {
    return layer.async_read_some(buffer, Into(error));
  }
  asio::awaitable<void> Write(asio::const_buffer buffer, error_code& error) override {
    co_await asio::async_write(layer, buffer, Into(error));
  }
  void Close() override { CloseSocket(layer); }

  Layer layer;
};

// MQTT in binary frames; where a frame ends means nothing [MQTT-6.0.0-1] [MQTT-6.0.0-2].
template <typename Layer>
class WebSocketStream final : public Stream {
 public:
  template <typename... Args>
  explicit WebSocketStream(Args&&... args) : socket(std::forward<Args>(args)...) {
    socket.binary(true);
    socket.read_message_max(0);
    socket.set_option(
        beast::websocket::stream_base::decorator([](beast::websocket::request_type& request) {
          request.set(beast::http::field::sec_websocket_protocol, "mqtt");  // [MQTT-6.0.0-3]
        }));
  }

  asio::awaitable<size_t> Read(asio::mutable_buffer buffer, error_code& error) override {
    return socket.async_read_some(buffer, Into(error));
  }
  asio::awaitable<void> Write(asio::const_buffer buffer, error_code& error) override {
    co_await socket.async_write(buffer, Into(error));
  }
  void Close() override { CloseSocket(socket.next_layer()); }

  beast::websocket::stream<Layer> socket;
};

absl::Status TlsFailed(std::string_view what, std::string_view file, const error_code& error) {
  return absl::InvalidArgumentError(
      absl::StrCat(base::AbslView(what), " ", base::AbslView(file), ": ", error.message()));
}

std::optional<int> TlsVersion(std::string_view name) {
  if (name == "1.2") return TLS1_2_VERSION;
  if (name == "1.3") return TLS1_3_VERSION;
  return std::nullopt;
}

absl::StatusOr<std::shared_ptr<asio::ssl::context>> MakeContext(const TlsOptions& tls) {
  if (tls.context != nullptr) return tls.context;
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  error_code error;
  const auto oldest = TlsVersion(tls.version_min);
  const auto newest = TlsVersion(tls.version_max);
  if (!oldest.has_value() || !newest.has_value() || *oldest > *newest) {
    return absl::InvalidArgumentError(absl::StrCat("TLS version ", tls.version_min, " to ",
                                                   tls.version_max, ": \"1.2\" or \"1.3\""));
  }
  SSL_CTX_set_min_proto_version(context->native_handle(), *oldest);
  SSL_CTX_set_max_proto_version(context->native_handle(), *newest);
  if (!tls.ciphers.empty() &&
      SSL_CTX_set_cipher_list(context->native_handle(), tls.ciphers.c_str()) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("TLS ciphers \"", tls.ciphers, "\": OpenSSL knows none of them"));
  }
  if (!tls.ca_file.empty() && context->load_verify_file(tls.ca_file, error)) {
    return TlsFailed("CA file", tls.ca_file, error);
  }
  if (!tls.ca_path.empty() && context->add_verify_path(tls.ca_path, error)) {
    return TlsFailed("CA directory", tls.ca_path, error);
  }
  if (tls.ca_file.empty() && tls.ca_path.empty() && context->set_default_verify_paths(error)) {
    return TlsFailed("certificates of the system", "", error);
  }
  if (!tls.cert_file.empty()) {
    if (context->use_certificate_chain_file(tls.cert_file, error)) {
      return TlsFailed("certificate", tls.cert_file, error);
    }
    const std::string& key = tls.key_file.empty() ? tls.cert_file : tls.key_file;
    if (context->use_private_key_file(key, asio::ssl::context::pem, error)) {
      return TlsFailed("private key", key, error);
    }
  }
  return context;
}

// Lengths before names, as ALPN has it on the wire.
std::string AlpnList(const std::vector<std::string>& protocols) {
  std::string list;
  for (const std::string& protocol : protocols) {
    list.push_back(static_cast<char>(protocol.size()));
    list.append(protocol);
  }
  return list;
}

absl::Status PrepareTls(const Endpoint& endpoint, const TlsOptions& tls,
                        asio::ssl::stream<tcp::socket>& stream) {
  const std::string& name = tls.server_name.empty() ? endpoint.host : tls.server_name;
  error_code not_an_address;
  asio::ip::make_address(name, not_an_address);
  if (not_an_address) SSL_set_tlsext_host_name(stream.native_handle(), name.c_str());
  const std::string alpn = AlpnList(tls.alpn);
  if (!alpn.empty()) {
    SSL_set_alpn_protos(stream.native_handle(), reinterpret_cast<const unsigned char*>(alpn.data()),
                        static_cast<unsigned>(alpn.size()));
  }
  error_code error;
  stream.set_verify_mode(tls.insecure ? asio::ssl::verify_none : asio::ssl::verify_peer, error);
  if (!error && !tls.insecure && tls.check_name) {
    stream.set_verify_callback(asio::ssl::host_name_verification(name), error);
  }
  return error ? TlsFailed("TLS for", name, error) : absl::OkStatus();
}

// Tries each address of the host in turn.
asio::awaitable<error_code> ConnectFrom(tcp::socket& socket, const std::string& local_address,
                                        const tcp::resolver::results_type& found) {
  error_code error;
  if (local_address.empty()) {
    co_await asio::async_connect(socket, found, Into(error));
    co_return error;
  }
  const auto local = asio::ip::make_address(local_address, error);
  if (error) co_return error;
  error = asio::error::host_not_found;
  for (const auto& entry : found) {
    if (entry.endpoint().address().is_v4() != local.is_v4()) continue;
    error_code ignored;
    socket.close(ignored);
    socket.open(entry.endpoint().protocol(), error);
    if (!error) socket.bind(tcp::endpoint(local, 0), error);
    if (!error) co_await socket.async_connect(entry.endpoint(), Into(error));
    if (!error) break;
  }
  co_return error;
}

asio::awaitable<absl::StatusOr<tcp::socket>> ConnectTcp(const Endpoint& endpoint,
                                                        const std::string& local_address) {
  const auto executor = co_await asio::this_coro::executor;
  tcp::resolver::results_type found;
  error_code error;
  const auto address = asio::ip::make_address(endpoint.host, error);
  if (!error) {  // No name: nothing to look up, and no thread of Asio's to do it.
    found = tcp::resolver::results_type::create(tcp::endpoint(address, endpoint.port),
                                                endpoint.host, std::to_string(endpoint.port));
  } else {
    tcp::resolver resolver(executor);
    found =
        co_await resolver.async_resolve(endpoint.host, std::to_string(endpoint.port), Into(error));
  }
  if (error) co_return Unreachable(endpoint, "the host's name cannot be resolved", error);
  tcp::socket socket(executor);
  error = co_await ConnectFrom(socket, local_address, found);
  if (error) co_return Unreachable(endpoint, "cannot connect", error);
  socket.set_option(tcp::no_delay(true), error);
  co_return socket;
}

asio::awaitable<absl::Status> HandshakeTls(const Endpoint& endpoint, const TlsOptions& tls,
                                           asio::ssl::stream<tcp::socket>& stream) {
  if (absl::Status status = PrepareTls(endpoint, tls, stream); !status.ok()) co_return status;
  error_code error;
  co_await stream.async_handshake(asio::ssl::stream_base::client, Into(error));
  if (!error) co_return absl::OkStatus();
  const long verified = SSL_get_verify_result(stream.native_handle());
  if (verified != X509_V_OK) {
    co_return absl::UnavailableError(absl::StrCat(
        endpoint.ToString(),
        ": the server's certificate is not accepted: ", X509_verify_cert_error_string(verified)));
  }
  co_return Unreachable(endpoint, "TLS handshake", error);
}

template <typename Socket>
asio::awaitable<absl::Status> HandshakeWebSocket(const Endpoint& endpoint, Socket& socket) {
  error_code error;
  beast::websocket::response_type response;
  co_await socket.async_handshake(response, absl::StrCat(endpoint.host, ":", endpoint.port),
                                  endpoint.path, Into(error));
  if (error == beast::websocket::error::upgrade_declined) {
    co_return absl::UnavailableError(absl::StrCat(
        endpoint.ToString(), ": the server does not speak WebSocket at this path: ", "HTTP status ",
        response.result_int()));
  }
  if (error) co_return Unreachable(endpoint, "WebSocket handshake", error);
  co_return absl::OkStatus();
}

asio::awaitable<StreamOr> DialUnix(const Endpoint& endpoint) {
  using Protocol = asio::local::stream_protocol;
  auto stream = std::make_unique<PlainStream<Protocol::socket>>(co_await asio::this_coro::executor);
  error_code error;
  co_await stream->layer.async_connect(Protocol::endpoint(endpoint.host), Into(error));
  if (error) co_return Unreachable(endpoint, "cannot connect", error);
  co_return stream;
}

asio::awaitable<StreamOr> DialTls(const Endpoint& endpoint, const TlsOptions& tls,
                                  tcp::socket socket) {
  const auto context = MakeContext(tls);
  if (!context.ok()) co_return context.status();
  using TlsSocket = asio::ssl::stream<tcp::socket>;
  if (!endpoint.is_websocket()) {
    auto stream = std::make_unique<PlainStream<TlsSocket>>(std::move(socket), **context);
    absl::Status status = co_await HandshakeTls(endpoint, tls, stream->layer);
    if (!status.ok()) co_return status;
    co_return stream;
  }
  auto stream = std::make_unique<WebSocketStream<TlsSocket>>(std::move(socket), **context);
  absl::Status status = co_await HandshakeTls(endpoint, tls, stream->socket.next_layer());
  if (status.ok()) status = co_await HandshakeWebSocket(endpoint, stream->socket);
  if (!status.ok()) co_return status;
  co_return stream;
}

}  // namespace

asio::awaitable<StreamOr> Dial(const Endpoint& endpoint, const TlsOptions& tls,
                               std::string local_address) {
  if (endpoint.transport == Transport::kUnix) co_return co_await DialUnix(endpoint);
  absl::StatusOr<tcp::socket> socket = co_await ConnectTcp(endpoint, local_address);
  if (!socket.ok()) co_return socket.status();
  if (endpoint.is_secure()) co_return co_await DialTls(endpoint, tls, *std::move(socket));
  if (!endpoint.is_websocket()) {
    co_return std::make_unique<PlainStream<tcp::socket>>(*std::move(socket));
  }
  auto stream = std::make_unique<WebSocketStream<tcp::socket>>(*std::move(socket));
  absl::Status status = co_await HandshakeWebSocket(endpoint, stream->socket);
  if (!status.ok()) co_return status;
  co_return stream;
}

}  // namespace mqttd::client
