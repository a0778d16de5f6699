#include "embed/server.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "broker/metrics.h"
#include "config/config.h"
#include "embed/hook_adapter.h"
#include "inside/client.h"
#include "node/node.h"
#include "storage/core/metrics.h"

namespace mqttd {
namespace {

using base::LogLevel;

// Threads that run hooks, if the embedding program has none for them. What waits is bounded by
// those who add to it: see Hooks::calls_max.
class OwnThreads {
 public:
  explicit OwnThreads(uint32_t count) {
    for (uint32_t i = 0; i < std::max(count, 1u); ++i) {
      threads_.emplace_back([this] {
        pthread_setname_np(pthread_self(), "hooks");
        Work();
      });
    }
  }
  ~OwnThreads() {
    {
      const base::MutexLock lock(mutex_);
      stop_ = true;
      came_.SignalAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  void Run(std::function<void()> task) {
    const base::MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
    came_.SignalOne();
  }

 private:
  void Work() {
    for (;;) {
      std::function<void()> task;
      {
        const base::MutexLock lock(mutex_);
        while (tasks_.empty() && !stop_) came_.Wait(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  base::Mutex mutex_;
  base::CondVar came_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

bool Any(const Hooks& hooks) {
  return hooks.authenticate || hooks.on_connect || hooks.on_publish || hooks.on_subscribe ||
         hooks.on_unsubscribe || hooks.on_disconnect || hooks.on_deliver || hooks.on_state ||
         !hooks.authentication_methods.empty();
}

void AddListeners(const std::vector<Listener>& listeners, std::vector<std::string>& args) {
  for (size_t i = 0; i < listeners.size(); ++i) {
    args.push_back("--listen");
    args.push_back(listeners[i].url);
    const auto set = [&](absl::string_view key, absl::string_view value) {
      args.push_back("--set");
      args.push_back(absl::StrCat("listeners.", i, ".", key, "=", value));
    };
    const Listener& listener = listeners[i];
    if (!listener.cert_file.empty()) set("cert_file", listener.cert_file);
    if (!listener.key_file.empty()) set("key_file", listener.key_file);
    for (const auto& [key, value] : listener.settings) set(key, value);
  }
}

absl::StatusOr<config::Loaded> LoadConfig(const Options& options,
                                          const std::vector<Listener>& listeners) {
  std::vector<std::string> args;
  if (!options.config_file.empty()) {
    args.push_back("--config");
    args.push_back(options.config_file);
  }
  for (const auto& [path, value] : options.settings) {
    args.push_back("--set");
    args.push_back(absl::StrCat(path, "=", value));
  }
  if (!options.data_dir.empty()) {
    args.push_back("--set");
    args.push_back(absl::StrCat("data_dir=", options.data_dir));
  }
  AddListeners(listeners, args);
  ASSIGN_OR_RETURN(config::Loaded loaded, config::Load(args, {}));
  for (size_t i = 0; i < listeners.size(); ++i)
    loaded.config.broker.listeners[i].listener.socket = listeners[i].socket;
  return loaded;
}

}  // namespace

absl::Status ErrServerClosed() { return absl::CancelledError("server closed"); }

bool IsServerClosed(const absl::Status& status) { return status == ErrServerClosed(); }

Executor InlineExecutor() {
  return [](const std::function<void()>& task) { task(); };
}

class Server::Impl {
 public:
  explicit Impl(Options options) : options_(std::move(options)) {}
  ~Impl() {
    static_cast<void>(Shutdown(absl::Seconds(10)));
    const base::MutexLock lock(mutex_);
    while (calls_ != 0) changed_.Wait(mutex_);
  }

  Options& options() { return options_; }

  // `only`: this listener alone, instead of those of the options.
  absl::Status Start(std::optional<Listener> only = std::nullopt);
  absl::Status Wait();
  absl::Status StartAndWait();
  absl::Status Shutdown(absl::Duration deadline);
  absl::Status Reload();
  absl::StatusOr<std::string> Listen(Listener listener);
  absl::Status CloseListener(const std::string& url);
  // Of a server that was not started: it will have this listener alone.
  absl::Status ListenAndServe(Listener listener);
  std::vector<std::string> urls() const;
  Statistics GetStatistics() const;

  // Null: it does not run.
  std::shared_ptr<inside::Client> inside();

 private:
  enum class Life { kNew, kStarting, kRunning, kStopping, kStopped };

  // A call that lasts until the server has ended. Nothing goes before all of them have returned.
  class Call {
   public:
    explicit Call(Impl& impl) : impl_(impl) {
      const base::MutexLock lock(impl_.mutex_);
      ++impl_.calls_;
    }
    ~Call() {
      const base::MutexLock lock(impl_.mutex_);
      --impl_.calls_;
      impl_.changed_.SignalAll();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Impl& impl_;
  };

  absl::Status StartNode();
  void Watch();
  bool running() const {
    const base::MutexLock lock(mutex_);
    return life_ == Life::kRunning;
  }

  Options options_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  Life life_ ABSL_GUARDED_BY(mutex_) = Life::kNew;
  absl::Status ended_ ABSL_GUARDED_BY(mutex_);
  size_t calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;  // Whatever came of it.
  std::shared_ptr<inside::Client> inside_ ABSL_GUARDED_BY(mutex_);
  // Set while it starts, and from then on only read, until it has stopped.
  std::shared_ptr<HookAdapter> hooks_;
  std::unique_ptr<node::Node> node_;
  base::Mutex control_;  // Node's one controlling thread, whichever it is. Never before `mutex_`.
  bool stopped_ ABSL_GUARDED_BY(control_) = false;
  std::vector<std::pair<std::string, Listener>> added_ ABSL_GUARDED_BY(control_);  // By URL.
  uint64_t last_any_port_ ABSL_GUARDED_BY(control_) = 0;
  std::thread watcher_;
  // After the node, whose shards add to it; and before it goes they have stopped.
  std::shared_ptr<OwnThreads> threads_;
};

absl::Status Server::Impl::Start(std::optional<Listener> only) {
  const Call call(*this);
  {
    const base::MutexLock lock(mutex_);
    if (life_ == Life::kStopped && !started_) return ErrServerClosed();
    if (life_ != Life::kNew) return absl::FailedPreconditionError("a Server serves once");
    life_ = Life::kStarting;
    started_ = true;
  }
  if (only.has_value()) options_.listeners = {*std::move(only)};
  const absl::Status started = StartNode();
  const base::MutexLock lock(mutex_);
  life_ = started.ok() ? Life::kRunning : Life::kStopped;
  ended_ = started;
  changed_.SignalAll();
  return started;
}

absl::Status Server::Impl::StartNode() {
  ASSIGN_OR_RETURN(const config::Loaded loaded, LoadConfig(options_, options_.listeners));
  if (options_.configure_log) RETURN_IF_ERROR(base::ConfigureLog(loaded.config.log));
  for (const std::string& warning : loaded.warnings)
    base::Log(LogLevel::kWarning, "configuration", {{"warning", warning}});
  broker::Server::Dependencies dependencies;
  if (Any(options_.hooks)) {
    Executor executor = options_.executor;
    if (!executor) {
      threads_ = std::make_shared<OwnThreads>(options_.hook_threads);
      executor = [threads = threads_.get()](std::function<void()> task) {
        threads->Run(std::move(task));
      };
    }
    hooks_ = std::make_shared<HookAdapter>(options_.hooks, std::move(executor));
    dependencies.hooks = hooks_->terms();
    dependencies.methods = &hooks_->methods();
    dependencies.gatekeeper = [hooks = hooks_](std::shared_ptr<broker::Gatekeeper> gatekeeper) {
      return hooks->Wrap(std::move(gatekeeper));
    };
  }
  if (loaded.config.cluster.on()) {
    return absl::InvalidArgumentError(
        "cluster.listen: a broker that is embedded is alone; mqttd is what clusters are made of");
  }
  ASSIGN_OR_RETURN(node_, node::Node::Create(loaded.config, std::move(dependencies)));
  RETURN_IF_ERROR(node_->Open());
  if (hooks_ != nullptr) hooks_->UseServer(&node_->server());
  std::atomic<bool> ready{false};
  RETURN_IF_ERROR(node_->Start({.on_ready =
                                    [&ready] {
                                      ready.store(true);
                                      ready.notify_one();
                                    },
                                .on_given_up = {},
                                .on_stopped = {}}));
  ready.wait(false);
  watcher_ = std::thread([this] { Watch(); });
  return absl::OkStatus();
}

void Server::Impl::Watch() {
  pthread_setname_np(pthread_self(), "watcher");
  const base::MutexLock lock(mutex_);
  while (life_ == Life::kStarting || life_ == Life::kRunning) {
    if (changed_.WaitFor(mutex_, absl::Seconds(1))) continue;
    const base::MutexLock control(control_);
    base::LogLeftOut();
    node_->server().WatchShards();
  }
}

absl::Status Server::Impl::Wait() {
  const Call call(*this);
  const base::MutexLock lock(mutex_);
  while (life_ != Life::kNew && life_ != Life::kStopped) changed_.Wait(mutex_);
  if (life_ == Life::kNew) return absl::FailedPreconditionError("the server was not started");
  return ended_;
}

absl::Status Server::Impl::StartAndWait() {
  const Call call(*this);
  RETURN_IF_ERROR(Start());
  return Wait();
}

absl::Status Server::Impl::Shutdown(absl::Duration deadline) {
  const Call call(*this);
  std::shared_ptr<inside::Client> inside;
  {
    const base::MutexLock lock(mutex_);
    while (life_ == Life::kStarting || life_ == Life::kStopping) changed_.Wait(mutex_);
    if (life_ == Life::kNew) {
      life_ = Life::kStopped;
      ended_ = ErrServerClosed();
    }
    if (life_ == Life::kStopped) return IsServerClosed(ended_) ? absl::OkStatus() : ended_;
    life_ = Life::kStopping;
    inside.swap(inside_);
    changed_.SignalAll();
  }
  watcher_.join();
  if (inside != nullptr) inside->Close();
  absl::Status written;
  {
    const base::MutexLock control(control_);
    stopped_ = true;
    written = node_->Stop(std::max(deadline, absl::ZeroDuration()));
  }
  if (hooks_ != nullptr) hooks_->UseServer(nullptr);
  const base::MutexLock lock(mutex_);
  life_ = Life::kStopped;
  ended_ = written.ok() ? ErrServerClosed() : written;
  changed_.SignalAll();
  return written;
}

absl::Status Server::Impl::Reload() {
  if (!running()) return absl::FailedPreconditionError("the server does not run");
  const base::MutexLock control(control_);
  if (stopped_) return absl::FailedPreconditionError("the server does not run");
  std::vector<Listener> listeners = options_.listeners;
  for (const auto& [url, listener] : added_) listeners.push_back(listener);
  ASSIGN_OR_RETURN(const config::Loaded loaded, LoadConfig(options_, listeners));
  return node_->Reload(loaded.config);
}

absl::StatusOr<std::string> Server::Impl::Listen(Listener listener) {
  if (!running()) return absl::FailedPreconditionError("the server does not run");
  const base::MutexLock control(control_);
  if (stopped_) return absl::FailedPreconditionError("the server does not run");
  // There may be any number at port 0, and a listener's name is its own.
  if (absl::EndsWith(listener.url, ":0") || absl::StrContains(listener.url, ":0/"))
    listener.settings.try_emplace("name", absl::StrCat(listener.url, "#", ++last_any_port_));
  ASSIGN_OR_RETURN(config::Loaded loaded, LoadConfig(options_, {listener}));
  ASSIGN_OR_RETURN(std::string url,
                   node_->server().AddListener(std::move(loaded.config.broker.listeners.front())));
  listener.socket = -1;  // The broker's by now.
  added_.emplace_back(url, std::move(listener));
  return url;
}

absl::Status Server::Impl::CloseListener(const std::string& url) {
  if (!running()) return absl::FailedPreconditionError("the server does not run");
  const base::MutexLock control(control_);
  if (stopped_) return absl::FailedPreconditionError("the server does not run");
  RETURN_IF_ERROR(node_->server().CloseListener(url));
  std::erase_if(added_, [&](const auto& one) { return one.first == url; });
  return absl::OkStatus();
}

absl::Status Server::Impl::ListenAndServe(Listener listener) {
  const Call call(*this);
  if (running()) {
    RETURN_IF_ERROR(Listen(std::move(listener)).status());
  } else {
    RETURN_IF_ERROR(Start(std::move(listener)));
  }
  return Wait();
}

std::vector<std::string> Server::Impl::urls() const {
  const base::MutexLock lock(mutex_);
  return life_ == Life::kRunning ? node_->server().urls() : std::vector<std::string>();
}

std::shared_ptr<inside::Client> Server::Impl::inside() {
  const base::MutexLock lock(mutex_);
  if (life_ != Life::kRunning) return nullptr;
  if (inside_ == nullptr) {
    inside_ = std::make_shared<inside::Client>([this](std::unique_ptr<broker::Stream> stream) {
      node_->server().AdoptInside(std::move(stream));
    });
  }
  return inside_;
}

Statistics Server::Impl::GetStatistics() const {
  Statistics out;
  {
    const base::MutexLock lock(mutex_);
    if (life_ != Life::kRunning) return out;
  }
  const broker::MetricsSnapshot snapshot = node_->server().metrics();
  out.uptime = base::RealClock::Get().Now() - snapshot.started;
  const auto sum = [&](auto&& get) {
    return static_cast<uint64_t>(broker::Sum(snapshot.shards, get));
  };
  using Shard = broker::ShardMetrics;
  out.connections = sum([](const Shard& m) -> auto& { return m.connections; });
  out.connections_opened = sum([](const Shard& m) -> auto& { return m.connections_opened; });
  out.clients = sum([](const Shard& m) -> auto& { return m.clients_connected; });
  out.sessions = sum([](const Shard& m) -> auto& { return m.sessions_transient; });
  out.subscriptions = sum([](const Shard& m) -> auto& { return m.subscriptions; });
  out.queued_messages = sum([](const Shard& m) -> auto& { return m.queued_messages; });
  for (const Shard* const shard : snapshot.shards) {
    for (const auto& counter : shard->publish_received) out.messages_received += counter.value();
    for (const auto& counter : shard->publish_sent) out.messages_sent += counter.value();
    for (const auto& counter : shard->bytes_received) out.bytes_received += counter.value();
    for (const auto& counter : shard->bytes_sent) out.bytes_sent += counter.value();
    for (size_t cause = 0; cause < static_cast<size_t>(broker::DropCause::kCount_); ++cause)
      out.messages_dropped += shard->dropped[static_cast<broker::DropCause>(cause)].value();
  }
  if (snapshot.storage != nullptr) {
    const storage::HostMetrics& storage = *snapshot.storage;
    out.sessions += static_cast<uint64_t>(storage.sessions.value());
    out.subscriptions += static_cast<uint64_t>(storage.subscriptions.value());
    out.retained_messages = static_cast<uint64_t>(storage.retained_messages.value());
    out.queued_messages += static_cast<uint64_t>(storage.queued_messages.value());
  }
  out.memory_bytes = snapshot.memory.used_bytes;
  if (hooks_ != nullptr) hooks_->AddTo(out);
  return out;
}

Server::Server(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Server::~Server() = default;

absl::Status Server::Start() { return impl_->Start(); }
absl::Status Server::Wait() { return impl_->Wait(); }

absl::Status Server::ListenAndServe() { return impl_->StartAndWait(); }

absl::Status Server::ListenAndServe(const std::string& url) {
  return impl_->ListenAndServe({.url = url});
}

absl::Status Server::Serve(int listening_socket, const std::string& url) {
  Listener listener;
  if (!impl_->options().listeners.empty()) listener = impl_->options().listeners.front();
  listener.url = url;
  listener.socket = listening_socket;
  return impl_->ListenAndServe(std::move(listener));
}

absl::Status Server::Shutdown(absl::Duration deadline) { return impl_->Shutdown(deadline); }
absl::Status Server::Reload() { return impl_->Reload(); }
absl::StatusOr<std::string> Server::Listen(Listener listener) {
  return impl_->Listen(std::move(listener));
}
absl::Status Server::CloseListener(const std::string& url) { return impl_->CloseListener(url); }
std::vector<std::string> Server::urls() const { return impl_->urls(); }
Statistics Server::GetStatistics() const { return impl_->GetStatistics(); }

void Server::Publish(Message message, Done done) {
  if (const auto inside = impl_->inside())
    return inside->Publish(std::move(message),
                           [done = std::move(done)](const absl::StatusOr<inside::Matched>& ended) {
                             if (done) done(ended.status());
                           });
  if (done) done(absl::UnavailableError("the server does not run"));
}

void Server::Subscribe(client::Subscription subscription, MessageHandler handler, Done done) {
  if (const auto inside = impl_->inside())
    return inside->Subscribe(std::move(subscription), std::move(handler), std::move(done));
  if (done) done(absl::UnavailableError("the server does not run"));
}

void Server::Unsubscribe(std::string filter, Done done) {
  if (const auto inside = impl_->inside())
    return inside->Unsubscribe(std::move(filter), std::move(done));
  if (done) done(absl::UnavailableError("the server does not run"));
}

}  // namespace mqttd
