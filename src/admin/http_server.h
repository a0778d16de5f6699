// A small HTTP/1.1 server for operators: its own thread, bounded in every way.
#ifndef ADMIN_HTTP_SERVER_H_
#define ADMIN_HTTP_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace admin {

struct HttpRequest {
  bool head = false;  // HEAD instead of GET: the body is not sent.
  std::string path;   // "/metrics", without the query.
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Runs on the server's thread, one request at a time.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

struct HttpServerOptions {
  std::string address;  // IPv4 or IPv6.
  uint16_t port = 0;    // 0: the system chooses.
  // At the same time; further ones are closed at once.
  uint32_t connections_max = 64;
  // For a request to come in whole, and for its answer to be taken; then the connection is closed.
  absl::Duration request_timeout = absl::Seconds(10);
};

// Only GET and HEAD; other methods get 405, a header above 8 KiB 431, a body 413.
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
