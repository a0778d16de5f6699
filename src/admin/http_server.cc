#include "admin/http_server.h"

#include <pthread.h>

#include <list>
#include <sstream>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "admin/http_session.h"
#include "base/log.h"
#include "boost/asio/io_context.hpp"
#include "boost/asio/ip/tcp.hpp"
#include "boost/asio/post.hpp"
#include "boost/asio/steady_timer.hpp"

namespace admin {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

std::string ToString(const tcp::endpoint& endpoint) {
  std::ostringstream text;
  text << endpoint;
  return text.str();
}

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
      for (const std::weak_ptr<HttpSession>& weak : sessions_) {
        if (const std::shared_ptr<HttpSession> session = weak.lock()) session->Close();
      }
    });
    if (thread_.joinable()) thread_.join();
    mailbox_->Close();
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
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "http");
      context_.run();
    });
    return absl::OkStatus();
  }

  const std::string& address() const { return address_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](ErrorCode error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
      if (error) {
        // Most likely no descriptor is left: whoever waits is served when one is.
        base::LogLimited(base::LogLevel::kWarning, "http accept failed", error.message(), {});
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
  // asking more, or asks and does not read the answers, last whose call is under way; of each kind
  // the one from which nothing has come for longest. So probes are served however many connections
  // are held.
  void MakeRoom() {
    const auto place = [](const HttpSession& session) {
      return std::tuple(session.calling(), !session.silent(), session.progress());
    };
    std::shared_ptr<HttpSession> first;
    for (const std::weak_ptr<HttpSession>& weak : sessions_) {
      const std::shared_ptr<HttpSession> session = weak.lock();
      if (session == nullptr || (first != nullptr && place(*session) >= place(*first))) continue;
      first = session;
    }
    if (first != nullptr) first->MakeRoom();
  }

  void Open(tcp::socket socket) {
    sessions_.remove_if([](const std::weak_ptr<HttpSession>& weak) { return weak.expired(); });
    const auto session = std::make_shared<HttpSession>(
        std::move(socket), HttpSession::Server{handler_, options_, mailbox_, connections_});
    sessions_.push_back(session);
    session->Read();
  }

  const HttpServerOptions options_;
  const HttpHandler handler_;
  uint32_t connections_ = 0;  // Outlives the context and the sessions in its handlers.
  asio::io_context context_{1};
  const std::shared_ptr<HttpMailbox> mailbox_ = std::make_shared<HttpMailbox>(context_);
  tcp::acceptor acceptor_{context_};
  asio::steady_timer retry_{context_};
  std::list<std::weak_ptr<HttpSession>> sessions_;
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
