#include "http_get.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/core/endpoint.h"

namespace mqttctl {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

auto Into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

asio::awaitable<void> Get(const HttpTarget& target, absl::Duration timeout, error_code& error,
                          HttpAnswer& answer) {
  asio::ip::tcp::resolver resolver(co_await asio::this_coro::executor);
  const auto found = co_await resolver.async_resolve(target.host, target.port, Into(error));
  if (error) co_return;
  boost::beast::tcp_stream stream(co_await asio::this_coro::executor);
  stream.expires_after(absl::ToChronoMilliseconds(timeout));
  co_await stream.async_connect(found, Into(error));
  if (error) co_return;
  http::request<http::empty_body> request(http::verb::get, target.path, 11);
  request.set(http::field::host, target.host);
  request.set(http::field::connection, "close");
  co_await http::async_write(stream, request, Into(error));
  if (error) co_return;
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> response;
  co_await http::async_read(stream, buffer, response, Into(error));
  answer = {response.result_int(), std::move(response.body())};
}

}  // namespace

absl::StatusOr<HttpTarget> ParseHttpTarget(const std::string& url) {
  const std::string scheme = "http://";
  if (url.rfind(scheme, 0) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("\"", url, "\" does not begin with http://"));
  }
  // A WebSocket's address has the same parts.
  auto endpoint = mqttd::client::ParseEndpoint("ws://" + url.substr(scheme.size()));
  if (!endpoint.ok()) return endpoint.status();
  const bool has_path = url.find('/', scheme.size()) != std::string::npos;
  return HttpTarget{endpoint->host, std::to_string(endpoint->port),
                    has_path ? endpoint->path : "/"};
}

absl::StatusOr<HttpAnswer> HttpGet(const HttpTarget& target, absl::Duration timeout) {
  asio::io_context io(1);
  error_code error;
  HttpAnswer answer;
  asio::co_spawn(io, Get(target, timeout, error, answer), asio::detached);
  io.run();
  if (!error) return answer;
  return absl::UnavailableError(
      absl::StrCat("http://", target.host, ":", target.port, target.path, ": ", error.message()));
}

}  // namespace mqttctl
