#include "admin/api/api.h"

#include <utility>

#include "admin/api/acl_service.h"
#include "admin/api/bans_service.h"
#include "admin/api/clients_service.h"
#include "admin/api/cluster_service.h"
#include "admin/api/cluster_wide.h"
#include "admin/api/config_service.h"
#include "admin/api/explain_service.h"
#include "admin/api/listeners_service.h"
#include "admin/api/loss.h"
#include "admin/api/messages_service.h"
#include "admin/api/metrics_service.h"
#include "admin/api/placement.h"
#include "admin/api/reflection.h"
#include "admin/api/retained_service.h"
#include "admin/api/routes_service.h"
#include "admin/api/sessions_service.h"
#include "admin/api/slow_sessions.h"
#include "admin/api/topics_service.h"
#include "admin/api/users_service.h"
#include "admin/obstacle.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace admin {
namespace {

// At SIGTERM: what calls under way may take to end.
constexpr absl::Duration kStopPatience = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<Api>> Api::Create(const config::Config& config,
                                                 BrokerAccess::Sources sources,
                                                 std::shared_ptr<auth::RunTimeAccess> access) {
  ASSIGN_OR_RETURN(auto table, AccessTable::Load(config.admin));
  return std::unique_ptr<Api>(
      new Api(std::move(table), config, std::move(sources), std::move(access)));
}

absl::Status Api::Listen(const config::Config& config) {
  auto server = GrpcServer::Start(config.admin, {.methods = &methods_, .calls = &calls_});
  if (!server.ok()) {
    if (config.origins.contains("admin.listen") || !absl::IsUnavailable(server.status()))
      return server.status();
    base::Log(base::LogLevel::kWarning, "the admin API is not served",
              {{"error", server.status()},
               {"advice", "set admin.listen (--admin) to another port, or to off"}});
    return absl::OkStatus();
  }
  server_ = *std::move(server);
  if (server_ != nullptr) address_ = server_->address();
  return absl::OkStatus();
}

Api::Api(std::shared_ptr<const AccessTable> table, const config::Config& config,
         BrokerAccess::Sources sources, std::shared_ptr<auth::RunTimeAccess> run_time_access)
    : broker_([&] {
        sources.admin_address = [this] { return address(); };
        return std::move(sources);
      }()),
      run_time_access_(std::move(run_time_access)),
      access_store_(config.storage.data_dir, *broker_.sources().clock, *run_time_access_,
                    broker_.sources().cluster == nullptr ? AccessStore::Spreads::kNot
                                                         : AccessStore::Spreads::kOverNodes),
      access_spread_(broker_, fleet_, access_store_),
      certificates_(config.admin, config.cluster, broker_.sources().clock->Now()),
      access_(std::move(table)),
      calls_(access_, *broker_.sources().clock,
             {.calls_max = config.admin.calls_max, .streams_max = config.admin.streams_max},
             [this] { return broker_.Silent(); }),
      off_(config.admin.listen == "off") {
  AddClusterService(broker_, here_);
  AddJoin(fleet_, here_);
  AddForget(fleet_, here_);
  AddPlacement(broker_, here_);
  AddRoutes(broker_, here_);
  AddClientsService(broker_, here_);
  AddSessionsService(broker_, fleet_, here_);
  AddSlowSessions(broker_, here_);
  AddRetainedService(broker_, inside_, here_);
  AddMessagesService(broker_, inside_, here_);
  AddMetricsService(broker_, here_);
  AddConfigService(broker_, here_);
  AddLogService(broker_, here_);
  AddListenersService(broker_, here_);
  AddCertificatesService(broker_, certificates_, here_);
  backups_.AddTo(here_);
  const AccessParts access_parts{broker_, *run_time_access_, access_store_, access_spread_};
  AddBansService(access_parts, here_);
  AddUsersService(access_parts, here_);
  AddAclService(access_parts, here_);
  AddExplainService(broker_, fleet_, here_);
  AddLoss(broker_, here_);
  watches_.AddTo(here_);
  AddTopicsService(broker_, topic_samples_, here_);
  health_.AddTo(here_);
  if (broker_.sources().cluster != nullptr) AddClusterWide(fleet_, methods_);
  methods_.AddRest(here_);
  access_spread_.AddTo(here_);  // Behind that: no caller but nodes.
  AddReflection(methods_);
  (void)methods_.services();  // All of them are whole.
  http_ = std::make_unique<HttpApi>(methods_, calls_);
}

Api::~Api() { Stop(); }

void Api::Tick() {
  const BrokerAccess::Sources& sources = broker_.sources();
  certificates_.Tick(sources.clock->Monotonic(), sources.clock->Now());
  fleet_.Tick();
  access_spread_.Tick();
  topic_samples_.Tick();
  watches_.Tick();
  inside_.Tick();
  health_.Set(sources.readiness->ready() && Obstacle(sources.metrics()).empty());
}

void Api::Stop() {
  health_.Set(false);
  fleet_.Stop();
  http_->Stop();
  if (server_ != nullptr) server_->Stop(kStopPatience);
  backups_.Stop();
  access_spread_.Stop();
  topic_samples_.Stop();
  inside_.Stop();
  certificates_.Stop();
  broker_.Use(nullptr, nullptr);
  broker_.StopAside();
}

}  // namespace admin
