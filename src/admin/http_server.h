// A small HTTP/1.1 server for operators: its own thread, bounded in every way.
#ifndef ADMIN_HTTP_SERVER_H_
#define ADMIN_HTTP_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace admin {

struct HttpRequest {
  bool head = false;  // HEAD instead of GET: the body is not sent.
  std::string path;   // "/metrics", without the query.
  // ---- For calls.
  bool post = false;
  std::string peer;           // "127.0.0.1:40312".
  bool loopback = false;      // It comes from the machine itself.
  std::string host;           // As the caller knows this server: "localhost:9883".
  bool forwarded = false;     // A proxy says that it passes on somebody else's request.
  std::string authorization;  // The header.
  std::string content_type;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Runs on the server's thread, one request at a time.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

// A request that is answered later, by one response or by a stream. Any thread. If it goes before
// it was used, the connection is closed.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  // `make` runs on the server's thread, so that whoever answers need not spend its own on text;
  // never, if the caller has gone.
  virtual void Respond(std::function<HttpResponse()> make) = 0;

  virtual void BeginStream(std::string content_type) = 0;
  // One at a time: `written` is called when it is taken, or the caller has gone.
  virtual void Write(std::function<std::string()> make, std::function<void(bool ok)> written) = 0;
  virtual void EndStream() = 0;

  // On the server's thread.
  virtual void RunAfter(absl::Duration delay, std::function<void()> task) = 0;
  // Called once if the caller goes before the response is complete; perhaps at once.
  virtual void OnGone(std::function<void()> gone) = 0;
};

class HttpCall {
 public:
  virtual ~HttpCall() = default;
  // The body has come. On the server's thread: it must not wait.
  virtual void Run(std::string body, std::shared_ptr<HttpExchange> exchange) = 0;
};

// Takes requests that have a body and are answered later. On the server's thread; outlives it.
class HttpCalls {
 public:
  virtual ~HttpCalls() = default;
  virtual bool Takes(const HttpRequest& request) const = 0;
  // The header has come, the body not: whoever may not call must not send it. Null: `answer` is all
  // there is to say.
  virtual std::unique_ptr<HttpCall> Begin(const HttpRequest& request, HttpResponse& answer) = 0;
  // The answer, with that status, to a request that cannot be read and so does not come to `Begin`.
  virtual HttpResponse Refuse(int status, absl::string_view why) const = 0;
};

struct HttpServerOptions {
  std::string address;  // IPv4 or IPv6.
  uint16_t port = 0;    // 0: the system chooses.
  // At the same time; further ones are closed at once.
  uint32_t connections_max = 64;
  // For a request to come in whole, and for its answer to be taken; then the connection is closed.
  absl::Duration request_timeout = absl::Seconds(10);
  HttpCalls* calls = nullptr;  // Null: none.
  uint64_t body_bytes_max = 8 << 20;
};

// Only GET and HEAD, but for calls; other methods get 405, a header above 8 KiB 431, a body 413.
class HttpServer {
 public:
  // Binds, listens and starts the thread. Errors: kInvalidArgument (no address), kUnavailable.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                           HttpHandler handler);
  ~HttpServer();  // Closes all connections and ends the thread.
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // "127.0.0.1:9883", "[::1]:9883": with the port that the system chose.
  const std::string& address() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace admin

#endif  // ADMIN_HTTP_SERVER_H_
