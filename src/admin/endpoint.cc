#include "admin/endpoint.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "admin/families.h"
#include "admin/metrics_text.h"
#include "admin/obstacle.h"
#include "admin/process_stats.h"
#include "base/version.h"
#include "config/http_address.h"

namespace admin {
namespace {

std::string Html(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

bool Ready(const EndpointSources& sources, const broker::MetricsSnapshot& snapshot) {
  return sources.readiness->ready() && Obstacle(snapshot).empty();
}

// Why no other node should be stopped now. Nothing while the others cannot be reached: the clients
// that find this node alone are served here.
std::string Lost(const EndpointSources& sources) {
  const base::ClusterView cluster =
      sources.cluster == nullptr ? base::ClusterView() : sources.cluster();
  return cluster.holds_lease ? cluster.lost : "";
}

std::string Page(const EndpointSources& sources) {
  const broker::MetricsSnapshot snapshot = sources.metrics();
  std::string listeners;
  for (const broker::ListenerView& listener : snapshot.listeners) {
    absl::StrAppend(&listeners, "<tr><td>", Html(listener.url), "</td><td>", listener.connections,
                    " connections", listener.stopped ? ", stopped" : "", "</td></tr>\n");
  }
  const absl::Duration uptime =
      absl::Floor(sources.clock->Now() - snapshot.started, absl::Seconds(1));
  return absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>mqttd</title>\n"
      "<style>body{font-family:sans-serif;margin:2em}td{padding:0 2em 0 0}</style>\n"
      "<h1>mqttd ",
      Html(base::kVersion), "</h1>\n<p>Node ", Html(sources.node_id()), ", up ",
      absl::FormatDuration(uptime), ": ", Html(sources.readiness->why()), "</p>\n<table>\n",
      listeners,
      "</table>\n<ul>\n<li><a href=\"/metrics\">/metrics</a> for Prometheus</li>\n"
      "<li><a href=\"/healthz\">/healthz</a> whether the process lives</li>\n"
      "<li><a href=\"/readyz\">/readyz</a> whether clients may come</li>\n"
      "<li><a href=\"/readyz/replicas\">/readyz/replicas</a> whether another node may be stopped"
      "</li>\n",
      sources.calls == nullptr
          ? ""
          : "<li><a href=\"/api/v1/openapi.json\">/api/v1</a> the admin API</li>\n",
      "</ul>\n</html>\n");
}

}  // namespace

FamilyBuilder Families(const EndpointSources& sources) {
  const broker::MetricsSnapshot snapshot = sources.metrics();
  const std::string id = sources.node_id();
  const base::ClusterView cluster =
      sources.cluster == nullptr ? base::ClusterView() : sources.cluster();
  return AllFamilies(
      snapshot, ReadProcessStats(), sources.clock->Now(),
      {.id = id,
       .ready = Ready(sources, snapshot),
       .draining = sources.readiness->draining(),
       .admin = sources.admin == nullptr ? AdminCalls() : sources.admin(),
       .cluster = sources.cluster == nullptr ? nullptr : &cluster,
       .certificates = sources.certificates == nullptr ? std::vector<OwnCertificate>()
                                                       : sources.certificates()});
}

HttpResponse Route(const HttpRequest& request, const EndpointSources& sources) {
  HttpResponse response;
  if (request.path == "/metrics") {
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = MetricsText(Families(sources));
  } else if (request.path == "/healthz") {
    const broker::StallView stall = sources.metrics().stall;
    if (stall.stuck) response.status = 503;
    response.body = stall.stuck ? absl::StrCat("shard ", stall.shard, " has been stuck for ",
                                               stall.seconds, " s\n")
                                : "ok\n";
  } else if (request.path == "/readyz" || request.path == "/readyz/replicas") {
    const bool ready = sources.readiness->ready();
    std::string obstacle = ready ? Obstacle(sources.metrics()) : "";
    if (ready && obstacle.empty() && request.path != "/readyz") obstacle = Lost(sources);
    response.status = ready && obstacle.empty() ? 200 : 503;
    response.body = absl::StrCat(obstacle.empty() ? sources.readiness->why() : obstacle, "\n");
  } else if (request.path == "/") {
    response.content_type = "text/html; charset=utf-8";
    response.body = Page(sources);
  } else {
    response.status = 404;
    response.body = "nothing here; there are /, /metrics, /healthz, /readyz and /readyz/replicas\n";
  }
  return response;
}

absl::StatusOr<std::unique_ptr<HttpServer>> StartEndpoint(const config::HttpOptions& options,
                                                          EndpointSources sources) {
  const absl::StatusOr<config::HttpAddress> address = config::ParseHttpAddress(options.listen);
  if (!address.ok()) return address.status();
  if (address->off) return nullptr;
  HttpServerOptions server;
  server.address = address->address;
  server.port = address->port;
  server.connections_max = options.connections_max;
  server.request_timeout = absl::Seconds(options.request_timeout_s);
  server.calls = sources.calls;
  return HttpServer::Start(server, [sources = std::move(sources)](const HttpRequest& request) {
    return Route(request, sources);
  });
}

}  // namespace admin
