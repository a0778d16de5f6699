#include "node/node.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cluster/partition_log.h"

namespace node {

using base::LogLevel;

absl::StatusOr<std::unique_ptr<Node>> Node::Create(config::Config config,
                                                   broker::Server::Dependencies dependencies,
                                                   std::unique_ptr<Seat> seat) {
  dependencies.clock = &base::RealClock::Get();
  if (seat != nullptr) {
    dependencies.forwarder = &seat->forwarder();
    dependencies.lease = &seat->lease();
    config.broker.packet_size_max = broker::kPacketSizeMaxInCluster;
    config.storage.entry_bytes_max = seat->entry_bytes_max();
  }
  ASSIGN_OR_RETURN(std::unique_ptr<broker::Server> server,
                   broker::Server::Create(config.broker, std::move(dependencies)));
  return std::unique_ptr<Node>(new Node(std::move(config), std::move(seat), std::move(server)));
}

absl::Status Node::Open() {
  const storage::CommandLogOpener log =
      seat_ == nullptr ? &cluster::PartitionLog::Open : seat_->log_opener();
  storage::EventSink& sink = seat_ == nullptr ? *server_ : seat_->sink(*server_);
  ASSIGN_OR_RETURN(host_, storage::PartitionHost::Open(config_.storage, log, base::RealClock::Get(),
                                                       sink, server_->shards()));
  return absl::OkStatus();
}

absl::Status Node::Start(Listeners listeners) {
  if (seat_ != nullptr) {
    return seat_->Start({.server = server_.get(),
                         .host = host_.get(),
                         .on_ready = std::move(listeners.on_ready),
                         .on_given_up = std::move(listeners.on_given_up),
                         .on_stopped = std::move(listeners.on_stopped)});
  }
  server_->Start(*host_, std::move(listeners.on_ready));
  return absl::OkStatus();
}

absl::Status Node::Reload(const config::Config& wanted) {
  config::Config next = config::Reloaded(config_, wanted);
  broker::BrokerOptions options = next.broker;
  // What a program that embeds the node has opened since the start is not in its configuration.
  for (broker::ListenerSettings& listener : config::FurtherListeners(config_, wanted))
    options.listeners.push_back(std::move(listener));
  RETURN_IF_ERROR(server_->Reload(options, [&next] { return base::ConfigureLog(next.log); }));
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

absl::Status Node::StopListener(const std::string& name) {
  if (const std::string url = UrlOf(name); !url.empty()) return server_->CloseListener(url);
  const auto& configured = config_.broker.listeners;
  if (std::none_of(configured.begin(), configured.end(),
                   [&](const auto& each) { return each.name == name; }))
    return absl::NotFoundError(absl::StrCat("there is no listener ", name));
  return absl::FailedPreconditionError(absl::StrCat("listener ", name, " is stopped already"));
}

absl::StatusOr<std::string> Node::StartListener(const std::string& name) {
  const auto& configured = config_.broker.listeners;
  const auto found = std::find_if(configured.begin(), configured.end(),
                                  [&](const auto& each) { return each.name == name; });
  if (found == configured.end())
    return absl::NotFoundError(absl::StrCat("the configuration has no listener ", name));
  if (!UrlOf(name).empty())
    return absl::FailedPreconditionError(absl::StrCat("listener ", name, " is not stopped"));
  return server_->AddListener(*found);
}

std::string Node::UrlOf(const std::string& name) const {
  const broker::MetricsSnapshot snapshot = server_->metrics();
  const auto open =
      std::find_if(snapshot.listeners.begin(), snapshot.listeners.end(),
                   [&](const auto& each) { return each.name == name && !each.stopped; });
  return open == snapshot.listeners.end() ? std::string() : open->url;
}

absl::Status Node::UseLog(const base::LogOptions& log, const config::Origin& level_origin) {
  RETURN_IF_ERROR(base::ConfigureLog(log));
  config_.log = log;
  config_.origins["log.level"] = level_origin;
  return absl::OkStatus();
}

absl::Duration Node::Drain(std::function<void()> on_drained) {
  if (seat_ == nullptr || seat_->StopStarting()) return server_->Drain(std::move(on_drained));
  on_drained();
  return absl::ZeroDuration();
}

absl::Status Node::Stop(std::optional<absl::Duration> timeout) {
  absl::Status status;
  // A node that was never let into its cluster has no threads to end.
  if (seat_ == nullptr || seat_->StopStarting()) {
    server_->ShutDown(timeout);
    if (seat_ != nullptr) seat_->Leave();
    status = host_->Stop();
  }
  if (seat_ != nullptr) seat_->Stop();
  return status;
}

}  // namespace node
