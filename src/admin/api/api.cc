#include "admin/api/api.h"

#include <utility>

#include "admin/api/clients_service.h"
#include "admin/api/cluster_service.h"
#include "admin/api/reflection.h"
#include "admin/obstacle.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace admin {
namespace {

// At SIGTERM: what calls under way may take to end.
constexpr absl::Duration kStopPatience = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<Api>> Api::Start(const config::Config& config,
                                                BrokerAccess::Sources sources) {
  ASSIGN_OR_RETURN(auto table, AccessTable::Load(config.admin));
  std::unique_ptr<Api> api(new Api(std::move(table), std::move(sources)));
  auto server = GrpcServer::Start(
      config.admin,
      {.methods = &api->methods_, .access = &api->access_, .clock = api->broker_.sources().clock});
  if (!server.ok()) {
    if (config.origins.contains("admin.listen") || !absl::IsUnavailable(server.status()))
      return server.status();
    base::Log(base::LogLevel::kWarning, "the admin API is not served",
              {{"error", server.status()},
               {"advice", "set admin.listen (--admin) to another port, or to off"}});
    return api;
  }
  api->server_ = *std::move(server);
  if (api->server_ != nullptr) api->address_ = api->server_->address();
  return api;
}

Api::Api(std::shared_ptr<const AccessTable> table, BrokerAccess::Sources sources)
    : broker_([&] {
        sources.admin_address = [this] { return address(); };
        return std::move(sources);
      }()),
      access_(std::move(table)) {
  AddClusterService(broker_, methods_);
  AddClientsService(broker_, methods_);
  health_.AddTo(methods_);
  AddReflection(methods_);
  (void)methods_.services();  // All of them are whole.
}

Api::~Api() { Stop(); }

void Api::Tick() {
  const BrokerAccess::Sources& sources = broker_.sources();
  health_.Set(sources.readiness->ready() && Obstacle(sources.metrics()).empty());
}

void Api::Stop() {
  health_.Set(false);
  if (server_ != nullptr) server_->Stop(kStopPatience);
  broker_.Use(nullptr, nullptr);
}

}  // namespace admin
