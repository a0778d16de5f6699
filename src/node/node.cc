#include "node/node.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace node {

using base::LogLevel;

absl::StatusOr<std::unique_ptr<Node>> Node::Create(config::Config config,
                                                   broker::Server::Dependencies dependencies) {
  dependencies.clock = &base::RealClock::Get();
  ASSIGN_OR_RETURN(std::unique_ptr<broker::Server> server,
                   broker::Server::Create(config.broker, std::move(dependencies)));
  return std::unique_ptr<Node>(new Node(std::move(config), std::move(server)));
}

absl::Status Node::Open() {
  ASSIGN_OR_RETURN(host_, storage::PartitionHost::Open(config_.storage, base::RealClock::Get(),
                                                       *server_, server_->shards()));
  return absl::OkStatus();
}

void Node::Start(std::function<void()> on_ready) { server_->Start(*host_, std::move(on_ready)); }

absl::Status Node::Reload(const config::Config& wanted) {
  config::Config next = config::Reloaded(config_, wanted);
  RETURN_IF_ERROR(server_->Reload(next.broker, [&next] { return base::ConfigureLog(next.log); }));
  for (const config::Change& change : config::Diff(config_, wanted)) {
    const bool now = change.effect == config::Effect::kReload;
    base::Log(now ? LogLevel::kInfo : LogLevel::kWarning,
              now ? "configuration changed" : "configuration changed, needs a restart",
              {{"key", change.path}, {"before", change.before}, {"after", change.after}});
  }
  config_ = std::move(next);
  base::Log(LogLevel::kInfo, "reloaded");
  return absl::OkStatus();
}

absl::Status Node::UseLog(const base::LogOptions& log, const config::Origin& level_origin) {
  RETURN_IF_ERROR(base::ConfigureLog(log));
  config_.log = log;
  config_.origins["log.level"] = level_origin;
  return absl::OkStatus();
}

absl::Status Node::Stop(std::optional<absl::Duration> timeout) {
  server_->ShutDown(timeout);
  return host_->Stop();
}

}  // namespace node
