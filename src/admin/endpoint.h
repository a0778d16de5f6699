// What the HTTP endpoint serves: /metrics, /healthz, /readyz, /readyz/replicas and a page for
// people.
#ifndef ADMIN_ENDPOINT_H_
#define ADMIN_ENDPOINT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "admin/admin_calls.h"
#include "admin/http_server.h"
#include "admin/own_certificate.h"
#include "admin/readiness.h"
#include "base/clock.h"
#include "base/cluster_view.h"
#include "broker/metrics.h"
#include "config/config.h"

namespace admin {

class FamilyBuilder;

// Where the broker's numbers come from. Called on the endpoint's thread, and must not wait for a
// shard: a broker in trouble is when they are wanted.
using MetricsSource = std::function<broker::MetricsSnapshot()>;

// All of it outlives the endpoint.
struct EndpointSources {
  MetricsSource metrics;
  const Readiness* readiness = nullptr;
  const base::Clock* clock = nullptr;
  std::function<std::string()> node_id;  // Empty as long as the store is not open.
  std::function<AdminCalls()> admin;     // Null: there is no admin API.
  std::function<std::vector<OwnCertificate>()> certificates;  // Beside listeners'. Null: none.
  std::function<base::ClusterView()> cluster;                 // Null: the node is in no cluster.
  HttpCalls* calls = nullptr;  // Which it serves beside the pages. Null: none.
};

// All metrics, as they are now.
FamilyBuilder Families(const EndpointSources& sources);

// Answers one request: a function of its arguments and what the sources say.
//   /metrics  200, Prometheus' text format
//   /healthz  200 while the process can answer at all and no shard is stuck
//   /readyz   200 if clients may come, else 503; the body says why
//   /readyz/replicas  503 also while replicas that were here are lost, so that whoever replaces
//             one node after the other stops
//   /         200, a page with links
// What is below /api/ goes to `calls`.
HttpResponse Route(const HttpRequest& request, const EndpointSources& sources);

// The server with these answers. null if the options say off. Errors: those of HttpServer::Start.
absl::StatusOr<std::unique_ptr<HttpServer>> StartEndpoint(const config::HttpOptions& options,
                                                          EndpointSources sources);

}  // namespace admin

#endif  // ADMIN_ENDPOINT_H_
