// mqttd: the broker. Wiring only: the parts are made, introduced to each other, and told to stop.
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "admin/api/api.h"
#include "admin/api/spare_thread.h"
#include "admin/endpoint.h"
#include "admin/families.h"
#include "admin/notify.h"
#include "admin/readiness.h"
#include "auth/run_time_access.h"
#include "base/clock.h"
#include "base/counted.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "broker/server.h"
#include "check_files.h"
#include "config/config.h"
#include "config_settings.h"
#include "control.h"
#include "leaving.h"
#include "log_level.h"
#include "node/clustered/cluster_seat.h"
#include "node/node.h"
#include "storage/backup.h"

namespace mqttd {
namespace {

using ::admin::Readiness;
using base::LogLevel;
using node::Node;

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;  // The world: a port, a disk, another process.
constexpr int kExitUsage = 2;    // The configuration or the command line.

struct Invocation {
  std::vector<std::string> args;
  std::vector<std::string> environment;
};

void PrintLines(absl::string_view prefix, absl::string_view text) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    std::fprintf(stderr, "mqttd: %s%s\n", std::string(prefix).c_str(), std::string(line).c_str());
  }
}

void TellLeftOut(const ConfigSettings::Holding& holding) {
  for (const auto& [path, why] : holding.left_out) {
    base::Log(LogLevel::kError, "what was set at run time does not hold, and is left out",
              {{"key", path}, {"why", why}, {"next", absl::StrCat("mqttctl config reset ", path)}});
  }
}

// The broker's life after its configuration was found to be right.
class Daemon final : private ::admin::MainThread {
 public:
  // `holding`: what holds of `settings`.
  Daemon(Invocation invocation, ConfigSettings::Holding holding, ConfigSettings settings,
         Control control)
      : invocation_(std::move(invocation)),
        config_(std::move(holding.loaded.config)),
        control_(std::move(control)),
        log_level_(config_.storage.data_dir),
        settings_(std::move(settings)),
        left_out_(std::move(holding.left_out)),
        manager_(::admin::ServiceManager::FromEnvironment()) {}

  // After a start that failed, too: whoever calls uses what goes first.
  ~Daemon() override {
    if (api_ != nullptr) api_->Stop();
    endpoint_.reset();
    keeper_.Stop();
    // What was asked for and is not done any more knows who asked, and goes before the API does.
    std::vector<std::function<void(::admin::MainThread&)>> never;
    base::MutexLock lock(work_mutex_);
    never.swap(work_);
  }

  absl::Status Start() {
    config::Config config = config_;
    log_level_.Learn(config);
    log_level_.ApplyTo(config);
    RETURN_IF_ERROR(base::ConfigureLog(config.log));
    base::Log(LogLevel::kInfo, "starting",
              {{"version", base::kVersion},
               {"pid", getpid()},
               {"config", config_.file},
               {"data_dir", config_.storage.data_dir}});
    const auto access = std::make_shared<auth::RunTimeAccess>();
    ASSIGN_OR_RETURN(std::unique_ptr<node::Seat> seat, node::MakeSeat(config));
    ASSIGN_OR_RETURN(node_,
                     Node::Create(std::move(config), {.run_time_access = access}, std::move(seat)));
    readiness_.Set(Readiness::State::kStarting, "reading the store");
    more_time_.emplace(manager_);
    ASSIGN_OR_RETURN(api_, ::admin::Api::Create(config_, ApiSources(), access));
    ::admin::EndpointSources pages = EndpointSources();
    pages.calls = api_->http(config_);
    ASSIGN_OR_RETURN(endpoint_, ::admin::StartEndpoint(config_.http, std::move(pages)));
    RETURN_IF_ERROR(api_->Listen(config_));
    files_are_right_ = true;
    RETURN_IF_ERROR(node_->Open());
    RETURN_IF_ERROR(api_->LoadRunTimeAccess());
    readiness_.Set(Readiness::State::kStarting, "waiting for the routes of stored sessions");
    RETURN_IF_ERROR(node_->Start(
        {.on_ready = [this] { control_.NotifyReady(); },
         .on_given_up = [this] { StopFor(Ending::kAnew); },
         .on_stopped =
             [this](const absl::Status& why) {
               base::Log(LogLevel::kError, "no part of the cluster any more", {{"error", why}});
               StopFor(Ending::kFailed);
             }}));
    metrics_of_.store(node_.get(), std::memory_order_release);
    api_->Open(node_->server(), node_->host());
    if (node_->seat() != nullptr) {
      node_->seat()->ServeCalls(
          [this](uint32_t from, base::NodeCall call, std::function<void(base::NodeReply)> reply) {
            api_->Serve(from, std::move(call), std::move(reply));
          });
    }
    return absl::OkStatus();
  }

  enum class Ending { kTold, kAnew, kFailed };
  // Until it was told to stop and its clients are gone, or may not be waited for any longer; or
  // until it can only go on by a new start.
  absl::StatusOr<Ending> Run() {
    while (!leaving_.over() && ending() == Ending::kTold) Serve();
    RETURN_IF_ERROR(Stop());
    return ending();
  }

  // Of a `Start` that failed: whether it was by a mistake that trying again later does not mend.
  bool ConfigurationIsWrong(const absl::Status& status) const {
    if (absl::IsInvalidArgument(status)) return true;
    // A missing file that the configuration names; but of the data directory the disk is to blame.
    return !files_are_right_ && (absl::IsNotFound(status) || absl::IsPermissionDenied(status));
  }

 private:
  // Who is told to stop, or drains until it is, does not start anew.
  Ending ending() const {
    const Ending ending = ending_;
    return ending == Ending::kAnew && leaving_.begun() ? Ending::kTold : ending;
  }

  ::admin::EndpointSources EndpointSources() {
    ::admin::EndpointSources sources;
    sources.metrics = [this, started = base::RealClock::Get().Now()] {
      const Node* const node = metrics_of_.load(std::memory_order_acquire);
      if (node != nullptr) return node->server().metrics();
      broker::MetricsSnapshot nothing_yet;
      nothing_yet.started = started;
      return nothing_yet;
    };
    sources.readiness = &readiness_;
    sources.clock = &base::RealClock::Get();
    sources.admin = [this] { return api_->calls(); };  // Nobody asks before it is made.
    sources.certificates = [this] { return api_->certificates(); };
    sources.node_id = [this] {
      const Node* const node = metrics_of_.load(std::memory_order_acquire);
      return node == nullptr ? std::string() : node->node_id();
    };
    if (config_.cluster.on()) {
      sources.cluster = [this] {
        const Node* const node = metrics_of_.load(std::memory_order_acquire);
        return node == nullptr ? base::ClusterView() : node->seat()->view();
      };
    }
    return sources;
  }

  ::admin::BrokerAccess::Sources ApiSources() {
    ::admin::BrokerAccess::Sources sources;
    const ::admin::EndpointSources same = EndpointSources();
    sources.readiness = same.readiness;
    sources.clock = same.clock;
    sources.metrics = same.metrics;
    sources.families = [same] { return ::admin::Families(same); };
    sources.node_id = same.node_id;
    sources.cluster = same.cluster;
    sources.call_node = [this](uint32_t to, base::NodeCall call, absl::Duration within,
                               base::NodeAnswer done) {
      const Node* const node = metrics_of_.load(std::memory_order_acquire);
      if (node == nullptr) return done(absl::UnavailableError("this node is being stopped"));
      node->seat()->Call(to, std::move(call), within, std::move(done));
    };
    if (config_.cluster.on()) {
      sources.forget_node = [this](uint32_t gone, std::function<void(absl::Status)> done) {
        const Node* const node = metrics_of_.load(std::memory_order_acquire);
        if (node == nullptr) return done(absl::UnavailableError("this node is being stopped"));
        node->seat()->Forget(gone, std::move(done));
      };
      sources.join_cluster = [this](std::vector<std::string> addresses,
                                    std::function<void(absl::Status)> done) {
        const Node* const node = metrics_of_.load(std::memory_order_acquire);
        if (node == nullptr)
          return done(absl::UnavailableError("this node is starting or being stopped: try again"));
        node->seat()->LookAt(std::move(addresses), std::move(done));
      };
    }
    sources.partitions = [this] {
      const Node* const node = metrics_of_.load(std::memory_order_acquire);
      return node == nullptr ? 0 : node->host().partitions();
    };
    sources.partitions_led = [this]() -> uint64_t {
      const Node* const node = metrics_of_.load(std::memory_order_acquire);
      return node == nullptr ? 0 : node->host().led();
    };
    sources.on_main = [this](std::function<void(::admin::MainThread&)> task) {
      DoSoon(std::move(task));
    };
    sources.data_dir = config_.storage.data_dir;
    sources.http_address = [this] { return endpoint_ == nullptr ? "" : endpoint_->address(); };
    return sources;
  }

  void StopFor(Ending ending) {
    ending_ = ending;
    control_.NotifyWork();
  }

  // Before it is ready, with nothing to wait for but what is stored.
  std::string WhatItReads() const {
    const int64_t behind = node_->host().metrics().partitions_behind.value();
    if (behind == 0) return "waiting for the routes of stored sessions";
    return absl::StrCat("catching up with the other nodes, or waiting for a leader: ", behind,
                        " of ", base::Counted(node_->host().partitions(), "partition"));
  }

  // What of the cluster an operator is to know, where load balancers and people look.
  void TellCluster() {
    const std::string why = node_->why_not_whole();
    if (leaving_.begun()) return;
    if (!was_ready_ || (node_->refuses_all() && !why.empty())) {
      readiness_.Set(Readiness::State::kStarting, why.empty() ? WhatItReads() : why);
    } else {
      const std::string note = node_->note();
      readiness_.Set(Readiness::State::kReady, !why.empty()   ? absl::StrCat("degraded: ", why)
                                               : note.empty() ? "ready"
                                                              : absl::StrCat("ready: ", note));
    }
  }

  // One event, or a moment in which nothing happens.
  void Serve() {
    constexpr absl::Duration kWatchInterval = absl::Seconds(1);
    absl::Duration interval = std::min(kWatchInterval, leaving_.WaitAtMost(Now()));
    if (watchdog_.has_value()) interval = std::min(*watchdog_ / 2, interval);
    const Control::Event event = control_.Wait(interval);
    if (Now() - watched_ >= kWatchInterval) {
      watched_ = Now();
      base::LogLeftOut();
      node_->server().WatchShards();
      api_->Tick();
      TellCluster();
      if (leaving_.begun()) TellProgress();
    }
    if (watchdog_.has_value() && !node_->server().stall().stuck) Tell(manager_.Watchdog());
    if (event == Control::Event::kReady) AnnounceReady();
    if (event == Control::Event::kReload) (void)Reload();
    if (event == Control::Event::kWork) Work();
    Leave(leaving_.On(event, Now()));
  }

  void Leave(Leaving::Step step) {
    const broker::DrainOptions& drain = node_->config().broker.drain;
    switch (step) {
      case Leaving::Step::kNone:
        return;
      case Leaving::Step::kRefuseReadiness:
        TellProgress();  // Whoever reads the line in the log finds it so.
        base::Log(LogLevel::kInfo, "draining",
                  {{"connections", OpenConnections()}, {"delay_s", drain.delay_s}});
        more_time_.reset();
        // It is no stop, which would have to come to its end, before SIGTERM.
        Tell(leaving_.told_to_stop() ? manager_.Stopping("telling clients to go")
                                     : manager_.Status("telling clients to go"));
        return;
      case Leaving::Step::kDrain: {
        const absl::Duration takes = node_->Drain([this] { control_.NotifyDrained(); });
        leaving_.ClientsAreTold(Now() + takes +
                                absl::Seconds(node_->config().broker.shutdown_timeout_s));
        base::Log(LogLevel::kInfo, "telling clients to go",
                  {{"connections", OpenConnections()}, {"within", absl::FormatDuration(takes)}});
        return TellProgress();
      }
      case Leaving::Step::kDrained:
        base::Log(LogLevel::kInfo, "drained",
                  {{"took", absl::FormatDuration(
                                absl::Trunc(Now() - leaving_.since(), absl::Milliseconds(1)))}});
        return TellProgress();
    }
  }

  int64_t OpenConnections() const {
    return broker::Sum(
        node_->server().metrics().shards,
        [](const broker::ShardMetrics& shard) -> auto& { return shard.connections; });
  }

  // In /readyz, and what takes seconds also in the log.
  void TellProgress() {
    const int64_t open = OpenConnections();
    const bool drained = leaving_.drained();
    readiness_.Set(Readiness::State::kDraining,
                   drained
                       ? "drained"
                       : absl::StrCat("draining: ", base::Counted(open, "connection"), " left"));
    if (!drained && Now() - leaving_.since() >= absl::Seconds(1))
      base::Log(LogLevel::kInfo, "still draining", {{"connections", open}});
  }

  static absl::Duration Now() { return base::RealClock::Get().Monotonic(); }

  void AnnounceReady() {
    if (leaving_.begun()) return;
    const std::string urls = absl::StrJoin(node_->server().urls(), ",");
    const std::string http = endpoint_ == nullptr ? std::string("off") : endpoint_->address();
    const std::string admin = api_->address();
    was_ready_ = true;
    TellCluster();
    api_->Tick();
    std::printf("mqttd ready pid=%d node=%s listen=%s http=%s admin=%s\n", getpid(),
                node_->node_id().c_str(), urls.c_str(), http.c_str(), admin.c_str());
    std::fflush(stdout);
    base::Log(LogLevel::kInfo, "ready",
              {{"node", node_->node_id()}, {"listen", urls}, {"http", http}, {"admin", admin}});
    more_time_.reset();
    Tell(manager_.Ready(absl::StrCat("listening on ", urls)));
  }

  // On this thread, from any.
  void DoSoon(std::function<void(::admin::MainThread&)> task) {
    {
      base::MutexLock lock(work_mutex_);
      work_.push_back(std::move(task));
    }
    control_.NotifyWork();
  }

  // What others asked for.
  void Work() {
    std::vector<std::function<void(::admin::MainThread&)>> work;
    {
      base::MutexLock lock(work_mutex_);
      work.swap(work_);
    }
    for (const auto& task : work) task(*this);
  }

  // ---- admin::MainThread
  const config::Config& config() const override { return node_->config(); }
  absl::StatusOr<config::Loaded> Load() const override {
    ASSIGN_OR_RETURN(ConfigSettings::Holding holding, LoadWhatHolds(settings_.values()));
    return std::move(holding.loaded);
  }
  absl::StatusOr<ConfigSettings::Holding> LoadWhatHolds(
      const ConfigSettings::Values& values) const {
    return ConfigSettings::LoadWhatHolds(invocation_.args, invocation_.environment, values);
  }
  using Changes = absl::StatusOr<std::vector<config::Change>>;
  void SetConfig(const std::string& path, std::optional<std::string> value,
                 std::function<void(Changes)> done) override {
    const ConfigSettings::Values before = settings_.values();
    ConfigSettings::Values values = before;
    const absl::StatusOr<ConfigSettings::Holding> holding = CheckSetting(path, value, values);
    if (!holding.ok()) return done(holding.status());
    // Kept first: what is in force and not on the disk would be gone after a restart.
    Keep([this, values] { return settings_.Write(values); },
         [this, before, values, with = *holding, done](const absl::Status& written) {
           if (!written.ok()) return done(written);
           settings_.Use(values);
           Changes changes = UseSettings(with);
           if (changes.ok()) return done(std::move(changes));
           settings_.Use(before);
           Keep([this, before] { return settings_.Write(before); },
                [changes, done](const absl::Status& back) { done(back.ok() ? changes : back); });
         });
  }
  // What would hold with it; `values` are all that would be kept.
  absl::StatusOr<ConfigSettings::Holding> CheckSetting(const std::string& path,
                                                       const std::optional<std::string>& value,
                                                       ConfigSettings::Values& values) const {
    if (keeping_) return StillKeeping();
    const ConfigSettings::Values before = values;
    if (!value.has_value() && !before.contains(path))
      return absl::NotFoundError(absl::StrCat("\"", path, "\" was not set at run time"));
    values.erase(path);
    // One that does not hold any more is no reason to refuse another, and still less to refuse that
    // it is reset or set anew.
    absl::StatusOr<ConfigSettings::Holding> holding = LoadWhatHolds(before);
    if (!holding.ok()) holding = LoadWhatHolds(values);
    if (!holding.ok()) return holding.status();
    holding->values.erase(path);
    if (value.has_value()) holding->values[path] = values[path] = *value;
    ASSIGN_OR_RETURN(
        config::Loaded loaded,
        ConfigSettings::Load(invocation_.args, invocation_.environment, holding->values));
    std::vector<std::string> warnings;
    const std::vector<std::string> errors = mqttd::CheckFiles(loaded.config, warnings);
    if (!errors.empty()) return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
    holding->left_out.erase(path);
    return holding;
  }
  // The rest may have been changed while that was written.
  Changes UseSettings(const ConfigSettings::Holding& with) {
    ASSIGN_OR_RETURN(const config::Loaded loaded,
                     ConfigSettings::Load(invocation_.args, invocation_.environment, with.values));
    Changes changes = UseConfig(loaded.config);
    if (!changes.ok()) return changes;
    log_level_.Learn(loaded.config);
    left_out_ = with.left_out;
    return changes;
  }
  // Has something written by a thread that may wait for the disk, and goes on here.
  void Keep(std::function<absl::Status()> write, std::function<void(absl::Status)> then) {
    keeping_ = true;
    keeper_.Run([this, write = std::move(write), then = std::move(then)] {
      DoSoon([this, then, written = write()](::admin::MainThread&) {
        keeping_ = false;
        then(written);
      });
    });
  }
  static absl::Status StillKeeping() {
    return absl::UnavailableError(
        "what was set before is still being written to the disk: try again");
  }
  std::map<std::string, LeftOut> left_out() const override {
    std::map<std::string, LeftOut> all;
    for (const auto& [path, why] : left_out_) {
      const auto value = settings_.values().find(path);
      if (value != settings_.values().end()) all[path] = {.value = value->second, .why = why};
    }
    return all;
  }
  std::vector<std::string> CheckFiles(const config::Config& config,
                                      std::vector<std::string>& warnings) const override {
    return mqttd::CheckFiles(config, warnings);
  }
  absl::StatusOr<std::vector<config::Change>> Reload() override {
    const bool serves = was_ready_ && !leaving_.begun();
    if (serves) Tell(manager_.Reloading(Now()));
    absl::StatusOr<ConfigSettings::Holding> holding = LoadWhatHolds(settings_.values());
    absl::StatusOr<std::vector<config::Change>> changes =
        holding.ok() ? UseConfig(holding->loaded.config) : holding.status();
    if (changes.ok()) {
      log_level_.Learn(holding->loaded.config);
      TellLeftOut(*holding);
      left_out_ = std::move(holding->left_out);
    } else {
      base::Log(LogLevel::kError, "reload refused, nothing changed",
                {{"error", absl::StrReplaceAll(changes.status().message(), {{"\n", "; "}})}});
    }
    if (serves) {
      Tell(manager_.Ready(
          absl::StrCat("listening on ", absl::StrJoin(node_->server().urls(), ","))));
    }
    return changes;
  }
  absl::Status ReloadFiles() override { return UseConfig(node_->config()).status(); }
  absl::Status StopListener(const std::string& name) override { return node_->StopListener(name); }
  absl::StatusOr<std::string> StartListener(const std::string& name) override {
    return node_->StartListener(name);
  }
  void SetLogLevel(std::optional<base::LogLevel> level,
                   std::function<void(absl::Status)> done) override {
    // At once: why a disk does not answer is a reason to ask for more in the log.
    log_level_.Use(level);
    if (absl::Status used = UseLogLevel(); !used.ok()) return done(std::move(used));
    if (keeping_) {
      const absl::Status wait = StillKeeping();
      return done(absl::Status(wait.code(),
                               absl::StrCat("it holds until the next start: ", wait.message())));
    }
    Keep([this, level] { return log_level_.Write(level); },
         [done](const absl::Status& written) {
           if (written.ok()) return done(written);
           done(absl::Status(written.code(),
                             absl::StrCat("it holds until the next start: ", written.message())));
         });
  }
  absl::Status UseLogLevel() {
    config::Config wanted = node_->config();
    log_level_.TakeFrom(wanted);
    log_level_.ApplyTo(wanted);
    return node_->UseLog(wanted.log, wanted.origins["log.level"]);
  }
  base::LogLevel configured_log_level() const override { return log_level_.configured(); }

  // All of it, or nothing on an error.
  absl::StatusOr<std::vector<config::Change>> UseConfig(config::Config wanted) {
    ASSIGN_OR_RETURN(auto access, ::admin::Api::LoadAccess(wanted.admin));
    log_level_.ApplyTo(wanted);
    std::vector<config::Change> changes = config::Diff(node_->config(), wanted);
    RETURN_IF_ERROR(node_->Reload(wanted));
    api_->UseAccess(std::move(access));
    return changes;
  }

  absl::Status Stop() {
    base::Log(LogLevel::kInfo, "stopping", {{"connections", OpenConnections()}});
    readiness_.Set(Readiness::State::kDraining, "stopping");
    if (ending() == Ending::kAnew) {
      // The same process goes on, and says when it is ready.
      Tell(manager_.Reloading(Now()));
      Tell(manager_.Status("starting anew"));
      more_time_.emplace(manager_);
    } else {
      more_time_.reset();
      Tell(manager_.Stopping("writing the store"));
    }
    api_->Stop();
    const absl::Status status = node_->Stop(absl::ZeroDuration());
    endpoint_.reset();
    metrics_of_.store(nullptr, std::memory_order_release);
    if (status.ok()) base::Log(LogLevel::kInfo, "stopped");
    return status;
  }

  static void Tell(const absl::Status& sent) {
    if (!sent.ok()) {
      base::Log(LogLevel::kWarning, "service manager not told", {{"error", sent}});
    }
  }

  const Invocation invocation_;
  const config::Config config_;  // Of the start; the node has what is in force.
  Control control_;
  LogLevelSetting log_level_;
  ConfigSettings settings_;
  std::map<std::string, std::string> left_out_;  // Of them: what does not hold, and why.
  const ::admin::ServiceManager manager_;
  std::optional<::admin::MoreTime> more_time_;  // Until it is ready.
  const std::optional<absl::Duration> watchdog_ = ::admin::ServiceManager::WatchdogTimeout();
  absl::Duration watched_ = Now();
  bool was_ready_ = false;
  Leaving leaving_{absl::Seconds(config_.broker.drain.delay_s)};
  Readiness readiness_;
  bool files_are_right_ = false;
  std::atomic<Ending> ending_{Ending::kTold};
  base::Mutex work_mutex_;
  std::vector<std::function<void(::admin::MainThread&)>> work_ ABSL_GUARDED_BY(work_mutex_);
  // The node once its numbers may be read from the endpoint's thread.
  std::atomic<const Node*> metrics_of_{nullptr};
  // Each is used by those below it, which go first.
  std::unique_ptr<Node> node_;
  std::unique_ptr<::admin::HttpServer> endpoint_;
  std::unique_ptr<::admin::Api> api_;
  bool keeping_ = false;         // Something that was set at run time is being written.
  ::admin::SpareThread keeper_;  // Who writes it.
};

int CheckConfig(const config::Config& config, std::vector<std::string> warnings) {
  const std::vector<std::string> errors = CheckFiles(config, warnings);
  for (const std::string& warning : warnings) PrintLines("warning: ", warning);
  for (const std::string& error : errors) PrintLines("", error);
  if (!errors.empty()) return kExitUsage;
  std::printf("the configuration is right\n");
  return kExitOk;
}

int Restore(const config::Loaded& loaded) {
  const std::string& data_dir = loaded.config.storage.data_dir;
  int shown = -1;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const absl::Status status =
      storage::RestoreBackup(loaded.backup, data_dir, [&](uint64_t bytes, uint64_t bytes_total) {
        const int percent =
            bytes_total == 0 ? 100 : static_cast<int>(bytes / ((bytes_total + 99) / 100));
        if (terminal && percent != std::exchange(shown, percent))
          std::fprintf(stderr, "\rmqttd: restoring: %d %%", percent);
        return true;
      });
  if (terminal) std::fputs("\n", stderr);
  if (!status.ok()) {
    PrintLines("", status.message());
    return kExitFailure;
  }
  std::printf("restored %s into %s\n", loaded.backup.c_str(), data_dir.c_str());
  return kExitOk;
}

// The same process, as if it had been started just now: with what it has taken out of its
// environment, too. Returns if that cannot be.
absl::Status StartAnew(Invocation invocation) {
  invocation.args.insert(invocation.args.begin(), "mqttd");
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> all;
    for (std::string& text : texts) all.push_back(text.data());
    all.push_back(nullptr);
    return all;
  };
  const std::vector<char*> argv = pointers(invocation.args);
  const std::vector<char*> environment = pointers(invocation.environment);
  execve("/proc/self/exe", argv.data(), environment.data());
  return absl::ErrnoToStatus(errno, "starting anew");
}

int RunDaemon(Invocation invocation, const config::Loaded& loaded) {
  EndClearlyWithoutMemory();
  absl::StatusOr<Control> control = Control::Create();
  if (!control.ok()) {
    PrintLines("", control.status().message());
    return kExitFailure;
  }
  if (const absl::Status status = base::ConfigureLog(loaded.config.log); !status.ok()) {
    PrintLines("", status.message());
    return kExitUsage;
  }
  for (const std::string& warning : loaded.warnings) {
    base::Log(LogLevel::kWarning, "configuration", {{"warning", warning}});
  }
  RaiseDescriptorLimit();
  GrowDescriptorTable();
  ConfigSettings settings(loaded.config.storage.data_dir);
  const absl::Status read = settings.Read();
  if (!read.ok()) {
    base::Log(LogLevel::kError, "failed", {{"error", read}});
    if (!loaded.config.log.file.empty()) PrintLines("", read.message());
    return absl::IsInvalidArgument(read) ? kExitUsage : kExitFailure;
  }
  absl::StatusOr<ConfigSettings::Holding> holding =
      ConfigSettings::LoadWhatHolds(invocation.args, invocation.environment, settings.values());
  if (!holding.ok()) {
    base::Log(LogLevel::kError, "failed", {{"error", holding.status()}});
    if (!loaded.config.log.file.empty()) PrintLines("", holding.status().message());
    return kExitUsage;
  }
  TellLeftOut(*holding);
  auto daemon = std::make_unique<Daemon>(invocation, *std::move(holding), std::move(settings),
                                         *std::move(control));
  const absl::Status started = daemon->Start();
  if (!started.ok()) {
    for (const absl::string_view line : absl::StrSplit(started.message(), '\n'))
      base::Log(LogLevel::kError, "failed", {{"error", line}});
    if (!loaded.config.log.file.empty()) PrintLines("", started.message());
    return daemon->ConfigurationIsWrong(started) ? kExitUsage : kExitFailure;
  }
  const absl::StatusOr<Daemon::Ending> ending = daemon->Run();
  daemon.reset();
  absl::Status status = ending.status();
  if (ending.ok() && *ending == Daemon::Ending::kAnew) status = StartAnew(std::move(invocation));
  if (!status.ok()) base::Log(LogLevel::kError, "failed", {{"error", status}});
  return status.ok() && *ending == Daemon::Ending::kTold ? kExitOk : kExitFailure;
}

int Main(Invocation invocation) {
  const absl::StatusOr<config::Loaded> loaded =
      config::Load(invocation.args, invocation.environment);
  if (!loaded.ok()) {
    PrintLines("", loaded.status().message());
    return kExitUsage;
  }
  switch (loaded->action) {
    case config::Action::kVersion:
      std::printf("mqttd %s\n", base::kVersion);
      return kExitOk;
    case config::Action::kHelp:
    case config::Action::kHelpAll:
      std::fputs(config::Usage(loaded->action).c_str(), stdout);
      return kExitOk;
    case config::Action::kPrint:
      std::fputs(config::Print(loaded->config).c_str(), stdout);
      return kExitOk;
    case config::Action::kCheck:
      return CheckConfig(loaded->config, loaded->warnings);
    case config::Action::kRestore:
      return Restore(*loaded);
    case config::Action::kRun:
      break;
  }
  return RunDaemon(std::move(invocation), *loaded);
}

}  // namespace
}  // namespace mqttd

int main(int argc, char** argv) {
  // What the process writes (the store, its log) is for its user alone: directories 0700, files
  // 0600. A unix socket gets its permissions from the configuration.
  umask(0077);
  // Who has started anew was started as /proc/self/exe, and would be called "exe".
  prctl(PR_SET_NAME, "mqttd");
  mqttd::Invocation invocation;
  for (int i = 1; i < argc; ++i) invocation.args.emplace_back(argv[i]);
  for (char** entry = environ; *entry != nullptr; ++entry)
    invocation.environment.emplace_back(*entry);
  return mqttd::Main(std::move(invocation));
}
