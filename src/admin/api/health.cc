#include "admin/api/health.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.pb.h"

namespace admin {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

HealthCheckResponse ResponseOf(bool serving) {
  HealthCheckResponse response;
  response.set_status(serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING);
  return response;
}

}  // namespace

bool Health::Knows(const std::string& service) const {
  const std::vector<std::string> services = methods_->services();
  return service.empty() || std::find(services.begin(), services.end(), service) != services.end();
}

void Health::AddTo(Methods& methods) {
  methods_ = &methods;
  methods.Add<HealthCheckRequest, HealthCheckResponse>(
      "grpc.health.v1.Health", "Check",
      [this](const Caller&, const HealthCheckRequest& request, Reply<HealthCheckResponse> reply) {
        if (!Knows(request.service()))
          return reply(absl::NotFoundError(absl::StrCat("no service ", request.service())));
        base::MutexLock lock(mutex_);
        reply(ResponseOf(serving_));
      });
  methods.AddStream<HealthCheckRequest, HealthCheckResponse>(
      "grpc.health.v1.Health", "Watch",
      [this](const Caller&, const HealthCheckRequest& request, std::shared_ptr<Outlet> outlet) {
        if (!Knows(request.service())) {
          HealthCheckResponse unknown;
          unknown.set_status(HealthCheckResponse::SERVICE_UNKNOWN);
          outlet->Send(unknown);
          return;
        }
        {
          base::MutexLock lock(mutex_);
          outlet->Send(ResponseOf(serving_));
          watchers_.push_back(outlet);
        }
        // Not the outlet itself: it would hold its own end.
        outlet->OnGone([this, gone = std::weak_ptr<Outlet>(outlet)] {
          base::MutexLock lock(mutex_);
          watchers_.remove(gone.lock());
        });
      });
}

void Health::Set(bool serving) {
  base::MutexLock lock(mutex_);
  if (std::exchange(serving_, serving) == serving) return;
  for (const auto& watcher : watchers_) watcher->Send(ResponseOf(serving));
}

}  // namespace admin
