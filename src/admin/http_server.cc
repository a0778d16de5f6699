#include "admin/http_server.h"

#include <list>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "boost/asio/io_context.hpp"
#include "boost/asio/ip/tcp.hpp"
#include "boost/asio/post.hpp"
#include "boost/beast/core/flat_buffer.hpp"
#include "boost/beast/core/tcp_stream.hpp"
#include "boost/beast/http/empty_body.hpp"
#include "boost/beast/http/parser.hpp"
#include "boost/beast/http/read.hpp"
#include "boost/beast/http/string_body.hpp"
#include "boost/beast/http/write.hpp"

namespace admin {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr uint32_t kHeaderBytesMax = 8 * 1024;

std::string ToString(const tcp::endpoint& endpoint) {
  std::ostringstream text;
  text << endpoint;
  return text.str();
}

// `why` may end with a newline.
void LogRefused(const tcp::endpoint& peer, absl::string_view why) {
  base::LogLimited(base::LogLevel::kInfo, "http request refused",
                   absl::StripTrailingAsciiWhitespace(why), {{"address", ToString(peer)}});
}

// One connection. Lives as long as an operation on it is under way.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, const HttpHandler& handler, const HttpServerOptions& options,
          uint32_t& connections)
      : stream_(std::move(socket)),
        handler_(handler),
        timeout_(absl::ToChronoMilliseconds(options.request_timeout)),
        connections_(connections) {
    ++connections_;
  }
  ~Session() { --connections_; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void Read() {
    parser_.emplace();
    parser_->header_limit(kHeaderBytesMax);
    parser_->body_limit(uint64_t{0});
    stream_.expires_after(timeout_);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](ErrorCode error, size_t) { self->OnRead(error); });
  }

  void Close() { stream_.close(); }

  void MakeRoom() {
    ErrorCode ignored;
    LogRefused(stream_.socket().remote_endpoint(ignored),
               "http.connections_max connections are open, and this one is idle for longest");
    Close();
  }

  // Has asked for nothing yet.
  bool silent() const { return silent_; }
  // When something last came of it: it connected, asked, or took the whole of an answer.
  std::chrono::steady_clock::time_point progress() const { return progress_; }

 private:
  void OnRead(ErrorCode error) {
    silent_ = false;
    progress_ = std::chrono::steady_clock::now();
    if (!error) {
      Answer();
    } else if (error == http::error::header_limit) {
      Refuse(431, "the header is too large\n");
    } else if (error == http::error::body_limit) {
      Refuse(413, "a body is not expected\n");
    } else if (error.category() == http::make_error_code(http::error::bad_method).category() &&
               error != http::error::end_of_stream && error != http::error::partial_message) {
      Refuse(400, "this is not HTTP\n");
    } else {
      Close();
    }
  }

  void Answer() {
    const auto& request = parser_->get();
    const bool head = request.method() == http::verb::head;
    if (!head && request.method() != http::verb::get) {
      Send({405, "text/plain; charset=utf-8", "only GET and HEAD are served\n"}, false,
           request.keep_alive(), request.version());
      return;
    }
    const std::string target(request.target());
    const HttpRequest plain{.head = head, .path = target.substr(0, target.find('?'))};
    Send(handler_(plain), head, request.keep_alive(), request.version());
  }

  void Refuse(int status, std::string text) {
    ErrorCode ignored;
    LogRefused(stream_.socket().remote_endpoint(ignored), text);
    Send({status, "text/plain; charset=utf-8", std::move(text)}, false, /*keep_alive=*/false, 11);
  }

  void Send(HttpResponse response, bool head, bool keep_alive, unsigned version) {
    response_ = {};
    response_.version(version);
    response_.result(static_cast<unsigned>(response.status));
    response_.set(http::field::content_type, response.content_type);
    response_.set(http::field::cache_control, "no-store");
    if (response.status == 405) response_.set(http::field::allow, "GET, HEAD");
    response_.keep_alive(keep_alive);
    response_.content_length(response.body.size());
    if (!head) response_.body() = std::move(response.body);
    stream_.expires_after(timeout_);
    serializer_.emplace(response_);
    serializer_->split(
        head);  // HEAD: the header with the length that GET would have, nothing else.
    const auto done = [self = shared_from_this(), keep_alive](ErrorCode error, size_t) {
      self->OnWritten(error, keep_alive);
    };
    if (head) {
      http::async_write_header(stream_, *serializer_, done);
    } else {
      http::async_write(stream_, *serializer_, done);
    }
  }

  void OnWritten(ErrorCode error, bool keep_alive) {
    progress_ = std::chrono::steady_clock::now();
    if (error) {
      Close();
    } else if (keep_alive) {
      Read();
    } else {
      ErrorCode ignored;
      stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
      Close();
    }
  }

  beast::tcp_stream stream_;
  const HttpHandler& handler_;
  const std::chrono::milliseconds timeout_;
  uint32_t& connections_;
  bool silent_ = true;
  std::chrono::steady_clock::time_point progress_ = std::chrono::steady_clock::now();
  beast::flat_buffer buffer_{kHeaderBytesMax * 2};
  std::optional<http::request_parser<http::empty_body>> parser_;
  http::response<http::string_body> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
};

}  // namespace

// Everything but the constructor's and the destructor's steps happens on `thread_`.
class HttpServer::Impl {
 public:
  Impl(HttpServerOptions options, HttpHandler handler)
      : options_(std::move(options)), handler_(std::move(handler)) {}

  ~Impl() {
    asio::post(context_, [this] {
      ErrorCode ignored;
      acceptor_.close(ignored);
      for (const std::weak_ptr<Session>& weak : sessions_) {
        if (const std::shared_ptr<Session> session = weak.lock()) session->Close();
      }
    });
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen() {
    ErrorCode error;
    const asio::ip::address address = asio::ip::make_address(options_.address, error);
    if (error) {
      return absl::InvalidArgumentError(absl::StrCat("http: no address: ", options_.address));
    }
    const tcp::endpoint endpoint(address, options_.port);
    if (!acceptor_.open(endpoint.protocol(), error) &&
        !acceptor_.set_option(asio::socket_base::reuse_address(true), error) &&
        !acceptor_.bind(endpoint, error)) {
      acceptor_.listen(asio::socket_base::max_listen_connections, error);
    }
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("http: cannot listen on ", ToString(endpoint), ": ", error.message()));
    }
    address_ = ToString(acceptor_.local_endpoint(error));
    Accept();
    thread_ = std::thread([this] { context_.run(); });
    return absl::OkStatus();
  }

  const std::string& address() const { return address_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](ErrorCode error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
      if (error) {
        // Most likely no descriptor is left: whoever waits is served when one is.
        base::Log(base::LogLevel::kWarning, "http accept failed", {{"error", error.message()}});
        retry_.expires_after(std::chrono::milliseconds(100));
        retry_.async_wait([this](ErrorCode) {
          if (acceptor_.is_open()) Accept();
        });
        return;
      }
      if (connections_ >= options_.connections_max) MakeRoom();
      Open(std::move(socket));
      Accept();
    });
  }

  // Closes one: whoever has asked for nothing goes first, then who keeps a connection without
  // asking more, or asks and does not read the answers; of each kind the one from which nothing has
  // come for longest. So probes are served however many connections are held.
  void MakeRoom() {
    const auto place = [](const Session& session) {
      return std::pair(!session.silent(), session.progress());
    };
    std::shared_ptr<Session> first;
    for (const std::weak_ptr<Session>& weak : sessions_) {
      const std::shared_ptr<Session> session = weak.lock();
      if (session == nullptr || (first != nullptr && place(*session) >= place(*first))) continue;
      first = session;
    }
    if (first != nullptr) first->MakeRoom();
  }

  void Open(tcp::socket socket) {
    sessions_.remove_if([](const std::weak_ptr<Session>& weak) { return weak.expired(); });
    const auto session =
        std::make_shared<Session>(std::move(socket), handler_, options_, connections_);
    sessions_.push_back(session);
    session->Read();
  }

  const HttpServerOptions options_;
  const HttpHandler handler_;
  uint32_t connections_ = 0;  // Outlives the context and the sessions in its handlers.
  asio::io_context context_{1};
  tcp::acceptor acceptor_{context_};
  asio::steady_timer retry_{context_};
  std::list<std::weak_ptr<Session>> sessions_;
  std::string address_;
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                              HttpHandler handler) {
  auto impl = std::make_unique<Impl>(options, std::move(handler));
  if (absl::Status status = impl->Listen(); !status.ok()) return status;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

const std::string& HttpServer::address() const { return impl_->address(); }

}  // namespace admin
