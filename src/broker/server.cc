#include "broker/server.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "auth/hash_pool.h"
#include "base/by_name.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "broker/core/publish_right.h"
#include "broker/listener_gate.h"
#include "broker/shard.h"
#include "broker/shard/fence.h"
#include "mqtt/message_memory.h"

namespace broker {
namespace {

// Processors this process may use: its affinity, and the cgroup's quota rounded up.
uint32_t UsableProcessors() {
  cpu_set_t set;
  uint32_t count = 1;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) count = static_cast<uint32_t>(CPU_COUNT(&set));
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  uint64_t period = 0;
  if (file >> quota >> period && quota != "max" && period > 0) {
    const uint64_t quota_us = std::strtoull(quota.c_str(), nullptr, 10);
    count = std::min(count, static_cast<uint32_t>((quota_us + period - 1) / period));
  }
  return std::max(count, 1u);
}

// Of listeners that are closed and have no connection left these are kept: the last ones. Their
// access rules are those of sessions that were made there.
constexpr size_t kClosedAccessMax = 64;

// Files of the store, and some for everything else.
constexpr uint64_t kReservedDescriptors = 1500;

// There must be room for a packet, beside others: a client hears of the size that really fits.
void BoundPacketSize(const BrokerOptions& options, Limits& limits) {
  constexpr uint64_t kLeast = 4096;
  const uint64_t fits = std::max(options.input_bytes_max / 2, kLeast);
  limits.maximum_packet_size = static_cast<uint32_t>(
      std::min<uint64_t>({limits.maximum_packet_size, options.packet_size_max, fits}));
}

// What is to follow from the machine.
void ResolveBounds(BrokerOptions& options) {
  rlimit descriptors{};
  if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    const uint64_t limit = descriptors.rlim_cur;
    const uint64_t usable = limit - std::min(kReservedDescriptors, limit / 4);
    if (options.connections_max > usable) {
      base::Log(base::LogLevel::kWarning, "too few descriptors: raise LimitNOFILE",
                {{"connections_max", options.connections_max},
                 {"descriptors", limit},
                 {"enough_for_connections", usable}});
    }
    if (options.connections_max == 0)
      options.connections_max = static_cast<uint32_t>(std::min<uint64_t>(usable, UINT32_MAX));
  }
  if (options.connections_max == 0) options.connections_max = UINT32_MAX;
  if (options.memory_high_bytes == 0) options.memory_high_bytes = UsableMemoryBytes() / 4 * 3;
  if (options.subscriptions_bytes_max == 0) {
    options.subscriptions_bytes_max = options.memory_high_bytes / 2;
  }
  if (options.input_bytes_max == 0) options.input_bytes_max = options.memory_high_bytes / 4;
  for (ListenerSettings& listener : options.listeners) BoundPacketSize(options, listener.limits);
  base::Log(base::LogLevel::kInfo, "bounds",
            {{"connections_max", options.connections_max},
             {"memory_high_bytes", options.memory_high_bytes},
             {"input_bytes_max", options.input_bytes_max}});
}

absl::Status Annotate(const absl::Status& status, const std::string& name) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("listener ", name, ": ", status.message()));
}

// All of their words, under the code of the first.
absl::Status InOne(const std::vector<absl::Status>& mistakes) {
  if (mistakes.empty()) return absl::OkStatus();
  return absl::Status(mistakes.front().code(),
                      absl::StrJoin(mistakes, "\n", [](std::string* out, const absl::Status& each) {
                        absl::StrAppend(out, each.message());
                      }));
}

}  // namespace

// One listener with what serves it.
struct Server::ListenerRuntime {
  ListenerUrl configured;  // As it was asked for: port 0 is still 0.
  std::shared_ptr<const ListenerTerms> terms;
  std::shared_ptr<Listener> listener;
  std::shared_ptr<auth::Authenticator> authenticator;

  void LogAccessWarnings() const {
    for (const std::string& warning : authenticator->warnings()) {
      base::Log(base::LogLevel::kWarning, "access rules",
                {{"listener", terms->name}, {"warning", warning}});
    }
  }

  void LogCertificateWarning(absl::Time now) const {
    if (!listener->url().tls()) return;
    const std::string warning =
        CertificateWarning(listener->certificate_expires_unix_s(), absl::ToUnixSeconds(now));
    if (warning.empty()) return;
    base::Log(base::LogLevel::kWarning, "certificate",
              {{"listener", terms->name}, {"warning", warning}});
  }
};

// Of connections of the process itself: everybody is let in, and may do everything.
class Server::InsideGate final : public Gatekeeper {
 public:
  Admission AdmitProxied(const std::string&, int64_t) override { return {}; }
  std::shared_ptr<const auth::BanTable> bans() const override { return nullptr; }
  std::optional<auth::Outcome> TryNow(const auth::Credentials& credentials) const override {
    return AdmitAs(credentials, {});
  }
  std::unique_ptr<PasswordCheck> Verify(const storage::ConnectionRef&, auth::Credentials,
                                        const std::string&) override {
    return nullptr;
  }
  auth::Outcome AdmitAs(const auth::Credentials& credentials, std::string_view) const override {
    auth::Outcome outcome;
    outcome.code = auth::AuthCode::kOk;
    outcome.identity.client_id = credentials.client_id;
    outcome.identity.listener = credentials.listener;
    outcome.permissions = auth::Permissions::Everything();
    return outcome;
  }
  std::shared_ptr<const auth::Permissions> PermissionsFor(const auth::Identity&) const override {
    return auth::Permissions::Everything();
  }
  uint64_t generation() const override { return 0; }
  bool StillAdmits(const auth::Identity&) const override { return true; }
};

// On a node alone the partition host is in this process.
class Server::LocalPartitions final : public PartitionClient {
 public:
  explicit LocalPartitions(storage::PartitionHost& host) : host_(host) {}
  void Submit(storage::ShardId shard, std::vector<storage::Addressed> requests) override {
    host_.Submit(host_.OwnShard(shard), std::move(requests));
  }

 private:
  storage::PartitionHost& host_;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Create(BrokerOptions options,
                                                       Dependencies dependencies) {
  if (options.shards == 0) options.shards = std::min(UsableProcessors(), kShardsMax);
  if (options.shards > kShardsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("at most ", kShardsMax, " shards, not ", options.shards));
  }
  ResolveBounds(options);
  std::unique_ptr<Server> server(new Server(std::move(options), std::move(dependencies)));
  RETURN_IF_ERROR(server->Bind());
  return server;
}

Server::Server(BrokerOptions options, Dependencies dependencies)
    : options_(std::move(options)),
      dependencies_(std::move(dependencies)),
      run_time_access_(dependencies_.run_time_access != nullptr
                           ? dependencies_.run_time_access
                           : std::make_shared<const auth::RunTimeAccess>()),
      started_(dependencies_.clock->Now()),
      started_monotonic_(dependencies_.clock->Monotonic()),
      memory_(
          options_.memory_high_bytes, [this] { return MemoryUsedBytes(); },
          [this](bool high) { TellMemoryState(high); }) {}

Server::~Server() {
  if (running_) ShutDown();
}

absl::Status Server::Bind() {
  fleet_ = std::make_unique<ShardFleet>();
  ShardWorld& world = fleet_->world;
  world.options = &options_;
  world.clock = dependencies_.clock;
  world.user_places = &user_limits_;
  world.forwarder = dependencies_.forwarder;
  world.lease = dependencies_.lease;
  world.room_for_subscriptions = [this] { return RoomForSubscriptions(); };
  world.permissions_of = [this](const storage::SessionUser& user) { return PermissionsOf(user); };
  world.methods = dependencies_.methods != nullptr ? dependencies_.methods : &no_methods_;
  std::vector<absl::Status> mistakes;  // Of all listeners: they are told at once.
  for (size_t i = 0; i < options_.listeners.size(); ++i) {
    auto made = MakeListener(options_.listeners[i], i);
    if (!made.ok()) {
      mistakes.push_back(made.status());
      continue;
    }
    const std::shared_ptr<const ListenerRuntime> runtime = *std::move(made);
    listeners_.push_back(runtime);
    world.listeners.push_back(runtime->terms);
    fleet_->listeners.push_back(runtime->listener);
  }
  RETURN_IF_ERROR(InOne(mistakes));
  PublishListeners();
  world.listeners.push_back(MakeInside());
  next_listener_ = world.listeners.size();
  world.hooks = dependencies_.hooks;
  for (uint32_t i = 0; i < options_.shards; ++i) {
    metrics_.push_back(std::make_unique<ShardMetrics>());
    world.metrics.push_back(metrics_.back().get());
    ASSIGN_OR_RETURN(auto shard, Shard::Create(static_cast<storage::ShardId>(i), options_.shards,
                                               *fleet_, *metrics_.back()));
    fleet_->shards.push_back(shard.get());
    shards_.push_back(std::move(shard));
    pulses_.push_back(std::make_unique<Pulse>());
  }
  world.listeners.clear();  // Each shard has them, until they are closed.
  if (options_.sys_interval_s > 0) {
    sys_topics_ = std::make_unique<SysTopicSource>();
    world.sys_topics = [this] {
      return std::make_shared<const SysTopicSource::Values>(sys_topics_->Update(
          metrics(), started_ + (dependencies_.clock->Monotonic() - started_monotonic_)));
    };
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Server::ListenerRuntime>> Server::MakeListener(
    const ListenerSettings& settings, size_t index) {
  auto runtime = std::make_shared<ListenerRuntime>();
  runtime->configured = settings.listener.url;
  if (hash_pool_ == nullptr) hash_pool_ = std::make_shared<auth::HashPool>(options_.hash_pool);
  if (verified_logins_ == nullptr) {
    verified_logins_ =
        std::make_shared<auth::VerifiedLogins>(options_.verified_logins, *dependencies_.clock);
  }
  const auto named = named_.Get();
  const NamedListener* const former = Find(*named, settings.name);
  auto access = auth::Authenticator::Load(settings.auth);
  if (!access.ok()) return Annotate(access.status(), settings.name);
  auto listener = Listener::Create(settings.listener, static_cast<int>(options_.shards),
                                   former == nullptr ? nullptr : former->count);
  if (!listener.ok()) return Annotate(listener.status(), settings.name);
  runtime->listener = *std::move(listener);
  if (former == nullptr) {
    runtime->authenticator = auth::Authenticator::With(*std::move(access), hash_pool_,
                                                       verified_logins_, run_time_access_);
  } else {
    runtime->authenticator = former->authenticator;
    runtime->authenticator->Use(*std::move(access));
  }
  std::shared_ptr<Gatekeeper> gatekeeper = std::make_shared<ListenerGate>(
      runtime->listener, runtime->authenticator, run_time_access_,
      [this](const storage::ConnectionRef& connection, auth::Outcome outcome) {
        Tell(connection, std::move(outcome));
      });
  if (dependencies_.gatekeeper) gatekeeper = dependencies_.gatekeeper(std::move(gatekeeper));
  runtime->terms = std::make_shared<const ListenerTerms>(
      ListenerTerms{.index = index,
                    .name = settings.name,
                    .limits = settings.limits,
                    .tls = settings.listener.url.tls(),
                    .websocket = settings.listener.url.websocket(),
                    .gatekeeper = std::move(gatekeeper)});
  runtime->LogAccessWarnings();
  runtime->LogCertificateWarning(dependencies_.clock->Now());
  return runtime;
}

// Behind the listeners that have sockets.
std::shared_ptr<const ListenerTerms> Server::MakeInside() const {
  ListenerTerms terms{.index = options_.listeners.size(),
                      .name = "inside",
                      .inside = true,
                      .gatekeeper = std::make_shared<InsideGate>()};
  BoundPacketSize(options_, terms.limits);
  return std::make_shared<const ListenerTerms>(std::move(terms));
}

storage::ShardId Server::shards() const { return static_cast<storage::ShardId>(options_.shards); }

std::vector<std::string> Server::urls() const {
  std::vector<std::string> urls;
  const auto all = named_.Get();
  for (const NamedListener& listener : *all) {
    if (listener.open != nullptr) urls.push_back(listener.url);
  }
  return urls;
}

void Server::Start(storage::PartitionHost& host, std::function<void()> on_ready) {
  partitions_ = std::make_unique<LocalPartitions>(host);
  Start(host, *partitions_, std::move(on_ready));
}

void Server::Start(storage::PartitionHost& host, PartitionClient& partitions,
                   std::function<void()> on_ready) {
  host_ = &host;
  fleet_->world.partitions = &partitions;
  fleet_->world.partition_count = host.partitions();
  fleet_->world.timeline = &host.timeline();
  const storage::ShardAddress own = host.OwnShard(0);
  fleet_->world.node = own.node;
  fleet_->world.incarnation = own.incarnation;
  for (const auto& shard : shards_) shard->Start();
  running_ = true;
  memory_.Start();
  host.Start([this, on_ready = std::move(on_ready)] {
    const auto listeners = std::make_shared<const std::vector<std::shared_ptr<Listener>>>(
        std::exchange(fleet_->listeners, {}));
    for (const auto& shard : shards_) {
      shard->mailbox().PostOne(Control{[&shard, listeners] { shard->StartAccepting(*listeners); }});
    }
    on_ready();
  });
}

struct Server::ReadFiles {
  struct Open {
    size_t index = 0;  // In `listeners_`.
    const ListenerSettings* settings = nullptr;
    std::shared_ptr<TlsContext> tls;
    std::shared_ptr<auth::Authenticator::Tables> access;
  };
  struct Closed {
    std::shared_ptr<auth::Authenticator> authenticator;
    std::shared_ptr<auth::Authenticator::Tables> access;
  };

  void Fail(const absl::Status& status) {
    std::string words(status.message());
    if (std::find(errors.begin(), errors.end(), words) == errors.end())
      errors.push_back(std::move(words));
  }

  std::vector<Open> open;
  std::vector<Closed> closed;
  std::vector<std::string> errors;  // Listeners often share a file: each mistake is named once.
};

Server::ReadFiles Server::Read(const BrokerOptions& options) const {
  ReadFiles read;
  const auto settings_of = [&](const std::string& name) -> const ListenerSettings* {
    const auto found = std::find_if(options.listeners.begin(), options.listeners.end(),
                                    [&](const ListenerSettings& it) { return it.name == name; });
    return found == options.listeners.end() ? nullptr : &*found;
  };
  for (size_t i = 0; i < listeners_.size(); ++i) {
    const ListenerSettings* const settings = settings_of(listeners_[i]->terms->name);
    if (settings == nullptr || !(settings->listener.url == listeners_[i]->configured)) continue;
    auto tls = listeners_[i]->listener->LoadTls(settings->listener.tls);
    auto access = auth::Authenticator::Load(settings->auth);
    if (!tls.ok()) read.Fail(tls.status());
    if (!access.ok()) read.Fail(access.status());
    if (tls.ok() && access.ok())
      read.open.push_back({i, settings, *std::move(tls), *std::move(access)});
  }
  const auto named = named_.Get();
  for (const NamedListener& listener : *named) {
    if (listener.open != nullptr) continue;
    const ListenerSettings* const settings = settings_of(listener.name);
    auto access = auth::Authenticator::Load(settings == nullptr ? listener.authenticator->options()
                                                                : settings->auth);
    if (access.ok()) {
      read.closed.push_back({listener.authenticator, *std::move(access)});
    } else if (settings != nullptr) {
      read.Fail(access.status());
    } else {
      // Of one that is closed for good the files may be gone, too.
      base::Log(base::LogLevel::kWarning, "access rules",
                {{"listener", listener.name},
                 {"warning", absl::StrCat(access.status().message(),
                                          "; who came in there keeps the rights that he has")}});
    }
  }
  return read;
}

absl::Status Server::Reload(const BrokerOptions& options,
                            const std::function<absl::Status()>& before_use) {
  ReadFiles read = Read(options);
  if (!read.errors.empty()) return absl::InvalidArgumentError(absl::StrJoin(read.errors, "\n"));
  RETURN_IF_ERROR(before_use());
  for (ReadFiles::Open& loaded : read.open) {
    std::shared_ptr<const ListenerRuntime>& current = listeners_[loaded.index];
    current->listener->UseBounds(loaded.settings->listener);
    current->listener->UseTls(std::move(loaded.tls));
    current->authenticator->Use(std::move(loaded.access));
    Limits limits = loaded.settings->limits;
    BoundPacketSize(options_, limits);
    if (!(limits == current->terms->limits)) UseLimits(current, limits);
    current->LogAccessWarnings();
    current->LogCertificateWarning(dependencies_.clock->Now());
  }
  for (ReadFiles::Closed& loaded : read.closed) loaded.authenticator->Use(std::move(loaded.access));
  RefreshPermissions();
  return absl::OkStatus();
}

void Server::RefreshPermissions() {
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(Control{[&shard] { shard->core().RefreshPermissions(); }});
  }
}

// Connections keep the terms that they were made with.
void Server::UseLimits(std::shared_ptr<const ListenerRuntime>& current, const Limits& limits) {
  auto terms = std::make_shared<ListenerTerms>(*current->terms);
  terms->limits = limits;
  auto runtime = std::make_shared<ListenerRuntime>(*current);
  runtime->terms = std::move(terms);
  NoteFormer(std::exchange(current, std::move(runtime))->terms);
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(
        Control{[&shard, terms = current->terms] { shard->core().UseListener(terms); }});
  }
}

void Server::NoteFormer(const std::shared_ptr<const ListenerTerms>& terms) {
  std::erase_if(former_, [](const auto& former) { return former.expired(); });
  former_.push_back(terms);
}

size_t Server::former_terms() const {
  return static_cast<size_t>(std::count_if(former_.begin(), former_.end(),
                                           [](const auto& former) { return !former.expired(); }));
}

void Server::PublishListeners() {
  std::vector<NamedListener> all;
  for (const auto& runtime : listeners_) {
    all.push_back({runtime->terms->name, runtime->listener->url().ToString(),
                   runtime->authenticator, runtime->listener->count(), runtime->listener});
  }
  // Whatever was closed last stands before what was closed earlier.
  size_t closed = 0;
  const auto former = named_.Get();
  for (NamedListener listener : *former) {
    const bool open = std::any_of(listeners_.begin(), listeners_.end(), [&](const auto& runtime) {
      return runtime->terms->name == listener.name;
    });
    if (open) continue;
    listener.open = nullptr;
    const bool used = listener.count->counters->connections > 0;
    if (++closed <= kClosedAccessMax || used) all.push_back(std::move(listener));
  }
  named_.Set(std::move(all));
}

const Server::NamedListener* Server::Find(const std::vector<NamedListener>& all,
                                          std::string_view name) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const auto& it) { return it.name == name; });
  return found == all.end() ? nullptr : &*found;
}

absl::StatusOr<std::string> Server::AddListener(ListenerSettings settings) {
  for (const auto& runtime : listeners_) {
    if (runtime->terms->name == settings.name) {
      return absl::AlreadyExistsError(
          absl::StrCat("there is a listener ", settings.name, " already"));
    }
  }
  BoundPacketSize(options_, settings.limits);
  const bool goes_on = Find(*named_.Get(), settings.name) != nullptr;
  const size_t index = next_listener_;
  ASSIGN_OR_RETURN(const std::shared_ptr<const ListenerRuntime> runtime,
                   MakeListener(settings, index));
  ++next_listener_;
  listeners_.push_back(runtime);
  PublishListeners();
  // Each shard knows it before any can hand over a connection that came in there.
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(
        Control{[&shard, terms = runtime->terms] { shard->core().UseListener(terms); }});
  }
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(Control{
        [&shard, listener = runtime->listener, index] { shard->StartAccepting(listener, index); }});
  }
  if (goes_on) RefreshPermissions();
  return runtime->listener->url().ToString();
}

absl::Status Server::CloseListener(const std::string& url) {
  const auto found = std::find_if(listeners_.begin(), listeners_.end(), [&](const auto& runtime) {
    return runtime->listener->url().ToString() == url;
  });
  if (found == listeners_.end()) {
    return absl::NotFoundError(absl::StrCat("there is no listener ", url));
  }
  const size_t index = (*found)->terms->index;
  NoteFormer((*found)->terms);
  listeners_.erase(found);
  PublishListeners();
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(Control{[&shard, index] { shard->CloseListener(index); }});
  }
  return absl::OkStatus();
}

base::MemorySums Server::AccountMemory() const {
  base::MemorySums sums{};
  for (const auto& shard : metrics_) shard->memory.AddTo(sums);
  if (host_ != nullptr) host_->metrics().memory.AddTo(sums);
  sums[static_cast<size_t>(base::MemoryUse::kMessages)] += mqtt::MessageMemoryBytes();
  return sums;
}

uint64_t Server::RoomForSubscriptions() const {
  const int64_t held = AccountMemory()[static_cast<size_t>(base::MemoryUse::kSubscriptions)];
  const uint64_t taken = static_cast<uint64_t>(std::max<int64_t>(held, 0));
  return options_.subscriptions_bytes_max - std::min(options_.subscriptions_bytes_max, taken);
}

uint64_t Server::MemoryUsedBytes() const {
  const base::MemorySums sums = AccountMemory();
  const int64_t accounted = std::accumulate(sums.begin(), sums.end(), int64_t{0});
  const uint64_t used =
      dependencies_.memory_used_bytes ? dependencies_.memory_used_bytes() : ResidentBytes();
  return std::max(used, static_cast<uint64_t>(std::max<int64_t>(accounted, 0)));
}

void Server::Fence(Fenced fenced) {
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(Control{[&shard, fenced] { broker::Fence(shard->core(), fenced); }});
  }
}

void Server::StepAside(bool aside, std::function<void()> done) {
  const auto left = std::make_shared<std::atomic<size_t>>(shards_.size());
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(Control{[&shard, aside, left, done] {
      broker::StepAside(shard->core(), aside);
      if (--*left == 0) done();
    }});
  }
}

void Server::PostTasks(storage::ShardId shard, std::unique_ptr<base::Batch<ShardTask>> tasks) {
  shards_[shard]->mailbox().Post(std::move(tasks));
}

void Server::TellMemoryState(bool high) {
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(Control{[&shard, high] { shard->core().UseMemoryState(high); }});
  }
}

absl::Duration Server::Drain(std::function<void()> on_drained) {
  constexpr uint64_t kTicksPerSecond = ShardContext::kTicksPerSecond;
  const DrainOptions& drain = options_.drain;
  const auto open = static_cast<uint64_t>(Sum(
      metrics().shards, [](const ShardMetrics& shard) -> auto& { return shard.connections; }));
  const auto ticks = static_cast<uint32_t>(
      std::min(open * kTicksPerSecond / drain.rate, drain.timeout_s * kTicksPerSecond));
  shards_draining_ = static_cast<uint32_t>(shards_.size());
  const auto told = [this, on_drained = std::move(on_drained)] {
    if (--shards_draining_ == 0) on_drained();
  };
  for (const auto& shard : shards_) {
    shard->mailbox().PostOne(Control{[&shard, ticks, told] { shard->BeginDrain(ticks, told); }});
  }
  return absl::Seconds(1) * ticks / kTicksPerSecond;
}

void Server::ShutDown(std::optional<absl::Duration> timeout) {
  if (!running_.exchange(false)) return;
  memory_.Stop();
  for (const auto& shard : shards_)
    shard->mailbox().PostOne(Control{[&shard, timeout] { shard->ShutDown(timeout); }});
  for (const auto& shard : shards_) shard->Join();
  // Listeners keep the pool for longer than the shards live, and its tasks post to these.
  if (hash_pool_ != nullptr) hash_pool_->Stop();
}

void Server::AdoptInside(std::unique_ptr<Stream> stream) {
  const uint32_t shard = adopted_.fetch_add(1, std::memory_order_relaxed) % options_.shards;
  shards_[shard]->mailbox().PostOne(AdoptConnection{std::move(stream), options_.listeners.size()});
}

void Server::Tell(const storage::ConnectionRef& connection, auth::Outcome outcome) {
  shards_[connection.shard]->mailbox().PostOne(
      PasswordVerified{connection.connection, std::make_unique<auth::Outcome>(std::move(outcome))});
}

void Server::Tell(const storage::ConnectionRef& connection, HookAnswer answer) {
  shards_[connection.shard]->mailbox().PostOne(
      HookAnswered{connection.connection, std::make_unique<HookAnswer>(std::move(answer))});
}

void Server::Disconnect(const storage::ConnectionRef& connection, mqtt::ReasonCode reason) {
  Shard& shard = *shards_[connection.shard];
  shard.mailbox().PostOne(Control{[&shard, connection, reason] {
    if (Connection* const open = shard.core().Find(connection.connection))
      shard.core().Close(*open, {.cause = CloseCause::kHook, .say = reason});
  }});
}

void Server::WatchShards() {
  constexpr uint32_t kDayS = 86400;
  if (++watched_s_ % kDayS == 0) {
    for (const auto& runtime : listeners_)
      runtime->LogCertificateWarning(dependencies_.clock->Now());
  }
  if (!running_) return;  // A node that looks for its cluster: no shard has a thread yet.
  for (size_t i = 0; i < shards_.size(); ++i) {
    Pulse& pulse = *pulses_[i];
    if (pulse.Ask()) {
      shards_[i]->mailbox().PostOne(Control{[&pulse] { pulse.Answer(); }});
    } else if (pulse.stalled_s() == options_.stall_timeout_s && options_.stall_timeout_s != 0) {
      base::Log(base::LogLevel::kError, "a shard is stuck",
                {{"shard", i}, {"seconds", pulse.stalled_s()}});
    }
  }
}

void Server::RunOnShard(storage::ShardId shard, std::function<void(ShardCore&)> task) {
  Shard& owner = *shards_[shard];
  owner.mailbox().PostOne(Control{[&owner, task = std::move(task)] { task(owner.core()); }});
}

StallView Server::stall() const {
  StallView longest;
  for (size_t i = 0; i < pulses_.size(); ++i) {
    const uint32_t seconds = pulses_[i]->stalled_s();
    if (seconds > longest.seconds) longest = {i, seconds, false};
  }
  longest.stuck = options_.stall_timeout_s != 0 && longest.seconds >= options_.stall_timeout_s;
  return longest;
}

std::vector<Server::AccessFiles> Server::access_files(std::string_view user_name) const {
  std::vector<AccessFiles> all;
  const auto named = named_.Get();
  for (const NamedListener& listener : *named) {
    const auth::Authenticator::Summary summary = listener.authenticator->Summarize(user_name);
    all.push_back({listener.name, summary.password_file, summary.users, summary.acl_file,
                   summary.allow_anonymous, summary.knows_user});
  }
  return all;
}

absl::StatusOr<std::shared_ptr<const auth::Permissions>> Server::RightsAt(
    std::string_view listener, const storage::SessionUser& user) const {
  const auto all = named_.Get();
  const NamedListener* const found = Find(*all, listener);
  if (found == nullptr)
    return absl::NotFoundError(absl::StrCat("there is no listener ", base::AbslView(listener)));
  return PermissionsOfAbsent(*found, user);
}

MetricsSnapshot Server::metrics() const {
  MetricsSnapshot snapshot;
  snapshot.started = started_;
  for (const auto& shard : metrics_) snapshot.shards.push_back(shard.get());
  const auto all = named_.Get();
  // Each URL once: who came in at a closed one may be found where another has its address by now.
  const auto listed = [&](const std::string& url) {
    return std::any_of(all->begin(), all->end(),
                       [&](const auto& it) { return it.open != nullptr && it.url == url; }) ||
           std::any_of(snapshot.listeners.begin(), snapshot.listeners.end(),
                       [&](const ListenerView& it) { return it.url == url; });
  };
  for (const NamedListener& listener : *all) {
    const ListenerCounters& counters = *listener.count->counters;
    ListenerView view;
    view.name = listener.name;
    view.url = listener.url;
    view.stopped = listener.open == nullptr;
    if (view.stopped && (counters.connections == 0 || listed(listener.url))) continue;
    view.connections = counters.connections.load(std::memory_order_relaxed);
    view.accepted = counters.accepted.load(std::memory_order_relaxed);
    view.refused_connections_max = counters.refused_connections_max.load(std::memory_order_relaxed);
    view.refused_address_max = counters.refused_address_max.load(std::memory_order_relaxed);
    view.refused_address_rate = counters.refused_address_rate.load(std::memory_order_relaxed);
    view.refused_origins = counters.refused_origins.load(std::memory_order_relaxed);
    view.refused_descriptors = counters.refused_descriptors.load(std::memory_order_relaxed);
    view.rate_waits = counters.rate_waits.load(std::memory_order_relaxed);
    view.pauses = counters.pauses.load(std::memory_order_relaxed);
    if (!view.stopped)
      view.certificate_expires_unix_s = listener.open->certificate_expires_unix_s();
    snapshot.listeners.push_back(std::move(view));
  }
  if (host_ != nullptr) snapshot.storage = &host_->metrics();
  snapshot.hash_pool = hash_pool_.get();
  snapshot.verified_logins = verified_logins_.get();
  snapshot.stall = stall();
  snapshot.memory = {memory_.used_bytes(), memory_.high_bytes(), memory_.high(), memory_.rises(),
                     AccountMemory()};
  return snapshot;
}

bool Server::MayPublish(const storage::SessionUser& author, std::string_view topic) const {
  const auto may = [&](const NamedListener& listener) {
    const auto permissions = PermissionsOfAbsent(listener, author);
    return permissions != nullptr &&
           RightToPublish(*permissions, author.client_id, topic) == PublishRight::kPublish;
  };
  const auto all = named_.Get();
  if (const NamedListener* const own = Find(*all, author.listener)) return may(*own);
  // A record of an older release, or a listener that has another name since: any that lets it.
  return std::any_of(all->begin(), all->end(), may);
}

std::shared_ptr<const auth::Permissions> Server::PermissionsOfAbsent(
    const NamedListener& listener, const storage::SessionUser& user) const {
  if (!dependencies_.gatekeeper)
    return listener.authenticator->PermissionsOfAbsent(user.user_name, user.client_id);
  // Users whom another gatekeeper lets in need not be in the listener's files.
  return listener.authenticator->PermissionsFor({.user_name = user.user_name,
                                                 .client_id = user.client_id,
                                                 .listener = listener.name,
                                                 .anonymous = user.user_name.empty()});
}

bool Server::MayRead(const storage::SessionUser& reader, std::string_view topic) const {
  const auto permissions = PermissionsOf(reader);
  return permissions != nullptr && permissions->MayRead(topic);
}

std::shared_ptr<const auth::Permissions> Server::PermissionsOf(
    const storage::SessionUser& user) const {
  const auto all = named_.Get();
  if (const NamedListener* const own = Find(*all, user.listener))
    return PermissionsOfAbsent(*own, user);
  // A record of an older release, or the listener has another name since.
  for (const NamedListener& listener : *all) {
    if (auto permissions = PermissionsOfAbsent(listener, user)) return permissions;
  }
  return nullptr;
}

void Server::Post(const storage::ShardAddress& to, std::vector<storage::Event> events) {
  auto batch = std::make_unique<base::Batch<ShardTask>>();
  batch->items.reserve(events.size());
  for (storage::Event& event : events) batch->items.emplace_back(std::move(event));
  shards_[to.shard]->mailbox().Post(std::move(batch));
}

}  // namespace broker
