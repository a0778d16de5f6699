// One connection of the HTTP server.
#ifndef ADMIN_HTTP_SESSION_H_
#define ADMIN_HTTP_SESSION_H_

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "admin/http_server.h"
#include "base/mutex.h"
#include "boost/asio/io_context.hpp"
#include "boost/asio/ip/tcp.hpp"
#include "boost/asio/steady_timer.hpp"
#include "boost/beast/core/flat_buffer.hpp"
#include "boost/beast/core/tcp_stream.hpp"
#include "boost/beast/http/empty_body.hpp"
#include "boost/beast/http/parser.hpp"
#include "boost/beast/http/string_body.hpp"
#include "boost/beast/http/write.hpp"

namespace admin {

// The way from any thread to the server's, which may have ended.
class HttpMailbox : public std::enable_shared_from_this<HttpMailbox> {
 public:
  explicit HttpMailbox(boost::asio::io_context& context) : context_(&context) {}
  // Tasks run in the order of the calls, whatever thread they come from, the server's own too.
  void Post(std::function<void()> task);
  // What has not run will not.
  void Close();

 private:
  void RunAll();

  base::Mutex mutex_;
  boost::asio::io_context* context_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);  // A RunAll is on its way.
};

// Used on the server's thread. Lives as long as an operation on it is under way.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  using ErrorCode = boost::system::error_code;
  struct Server {
    const HttpHandler& handler;
    const HttpServerOptions& options;
    std::shared_ptr<HttpMailbox> mailbox;
    uint32_t& connections;
  };

  HttpSession(boost::asio::ip::tcp::socket socket, const Server& server);
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  void Read();
  void Close();
  void MakeRoom();

  // Has asked for nothing yet.
  bool silent() const { return silent_; }
  // Waits for an answer, or reads a stream.
  bool calling() const { return calling_; }
  // When something last came of it: it connected, asked, or took the whole of an answer.
  std::chrono::steady_clock::time_point progress() const { return progress_; }

 private:
  class Exchange;
  // What is to be written of a stream.
  struct Piece {
    std::string bytes;
    std::function<void(bool)> written;
  };

  void OnHeader(ErrorCode error);
  void OnReadError(ErrorCode error);
  HttpRequest Describe();
  HttpRequest DescribeUnread();
  bool HasBody();
  void Answer(const HttpRequest& request);
  void BeginCall(const HttpRequest& request);
  void OnBody(ErrorCode error);
  void Watch();
  void OnWatched(ErrorCode error);
  void Refuse(int status, absl::string_view why);
  void Send(HttpResponse response, bool head, bool keep_alive, unsigned version);
  void OnWritten(ErrorCode error, bool keep_alive);
  void ReadNext();

  // ---- Of the exchange.
  void Respond(HttpResponse response);
  void BeginStream(const std::string& content_type);
  void Write(Piece piece);
  void WriteNext();
  void Beat();
  void EndStream();

  boost::beast::tcp_stream stream_;
  const Server server_;
  const std::chrono::milliseconds timeout_;
  bool silent_ = true;
  std::chrono::steady_clock::time_point progress_ = std::chrono::steady_clock::now();
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  boost::beast::http::response<boost::beast::http::string_body> response_;
  std::optional<boost::beast::http::response_serializer<boost::beast::http::string_body>>
      serializer_;

  std::unique_ptr<HttpCall> call_;  // Whose body is being read.
  bool call_method_ = false;
  bool calling_ = false;
  std::shared_ptr<HttpSession> self_;  // Meanwhile.
  boost::asio::steady_timer deadline_;
  bool watching_ = false;   // Whether the caller goes.
  bool read_next_ = false;  // When that is over.
  bool keep_alive_ = false;
  std::weak_ptr<Exchange> exchange_;
  bool stream_ends_ = false;
  std::deque<Piece> pieces_;  // The first is being written.
  boost::asio::steady_timer beat_;
};

}  // namespace admin

#endif  // ADMIN_HTTP_SESSION_H_
