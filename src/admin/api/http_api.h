// The admin API as JSON over HTTP.
#ifndef ADMIN_API_HTTP_API_H_
#define ADMIN_API_HTTP_API_H_

#include <list>
#include <memory>
#include <string>

#include "admin/api/calls.h"
#include "admin/api/method.h"
#include "admin/http_server.h"
#include "base/mutex.h"

namespace admin {

// POST /api/v1/SERVICE/METHOD with a request in protobuf's JSON mapping; the answer is JSON, that
// of a stream server-sent events: a "message" for each answer, at last "end" or "error". What goes
// wrong is {"code": "NOT_FOUND", "message": "in words"} with the status of HTTP that belongs to it.
// GET /api/v1/openapi.json describes all of it.
class HttpApi final : public HttpCalls {
 public:
  // Both outlive it, and all services have been added.
  HttpApi(const Methods& methods, Calls& calls);

  bool Takes(const HttpRequest& request) const override;
  std::unique_ptr<HttpCall> Begin(const HttpRequest& request, HttpResponse& answer) override;
  HttpResponse Refuse(int status, absl::string_view why) const override;

  // Ends the streams. Any thread.
  void Stop();

 private:
  class OneCall;

  const Methods& methods_;
  Calls& calls_;
  const std::string openapi_;
  base::Mutex mutex_;
  std::list<std::weak_ptr<Outlet>> streams_ ABSL_GUARDED_BY(mutex_);
};

// Where it comes from, and what it shows. Whoever is believed because he comes from this machine
// must have meant this server: not a web page in his browser, and not a proxy on his behalf.
Evidence EvidenceOf(const HttpRequest& request);

}  // namespace admin

#endif  // ADMIN_API_HTTP_API_H_
