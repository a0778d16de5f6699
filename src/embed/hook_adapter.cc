#include "embed/hook_adapter.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/log.h"
#include "broker/core/stream.h"
#include "embed/message_convert.h"

namespace mqttd {
namespace {

using broker::HookAnswer;
using mqtt::ReasonCode;

HookAnswer Failed() {
  return {.kind = HookAnswer::Kind::kClose, .reason = ReasonCode::kImplementationSpecificError};
}

absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

broker::HookTerms Terms(const Hooks& hooks) {
  const auto seconds = [](absl::Duration duration) {
    return static_cast<uint32_t>(
        std::clamp<int64_t>(absl::ToInt64Seconds(duration), 1, int64_t{1} << 24));
  };
  broker::HookTerms terms;
  terms.idle_s = seconds(hooks.idle_after);
  terms.timeout_s = seconds(hooks.timeout);
  return terms;
}

}  // namespace

class LiveConnection final : public Connection {
 public:
  LiveConnection(std::weak_ptr<HookAdapter> adapter, storage::ConnectionRef ref)
      : adapter_(std::move(adapter)), ref_(ref) {}

  uint64_t id() const override { return ref_.connection * broker::kShardsMax + ref_.shard; }
  std::string client_id() const override { return Get(&Names::client_id); }
  std::string user_name() const override { return Get(&Names::user_name); }
  std::string listener() const override { return Get(&Names::listener); }
  std::string address() const override { return Get(&Names::address); }

  void SetContext(std::shared_ptr<void> context) override {
    const base::MutexLock lock(mutex_);
    context_.swap(context);
  }
  std::shared_ptr<void> context() const override {
    const base::MutexLock lock(mutex_);
    return context_;
  }
  void Disconnect(ReasonCode reason) const override {
    if (const auto adapter = adapter_.lock()) adapter->Disconnect(ref_, reason);
  }

  void SetNames(std::string client_id, std::string user_name, std::string listener,
                std::string address) {
    const base::MutexLock lock(mutex_);
    names_ = {std::move(client_id), std::move(user_name), std::move(listener), std::move(address)};
  }

 private:
  struct Names {
    std::string client_id;
    std::string user_name;
    std::string listener;
    std::string address;
  };
  std::string Get(std::string Names::*name) const {
    const base::MutexLock lock(mutex_);
    return names_.*name;
  }

  const std::weak_ptr<HookAdapter> adapter_;
  const storage::ConnectionRef ref_;
  mutable base::Mutex mutex_;
  Names names_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<void> context_ ABSL_GUARDED_BY(mutex_);
};

HookAdapter::HookAdapter(mqttd::Hooks hooks, Executor executor)
    : hooks_(std::move(hooks)), executor_(std::move(executor)) {}

HookAdapter::~HookAdapter() = default;

broker::HookTerms HookAdapter::terms() {
  broker::HookTerms terms = Terms(hooks_);
  const auto set = [&](broker::Hooks*& place, bool wanted) {
    if (!wanted) return;
    place = this;
    terms.any = this;
  };
  set(terms.connected, true);  // Names the connection for the others, too.
  set(terms.publish, static_cast<bool>(hooks_.on_publish));
  set(terms.deliver, static_cast<bool>(hooks_.on_deliver));
  set(terms.subscribe, static_cast<bool>(hooks_.on_subscribe));
  set(terms.unsubscribe, static_cast<bool>(hooks_.on_unsubscribe));
  set(terms.disconnected, static_cast<bool>(hooks_.on_disconnect));
  set(terms.state, static_cast<bool>(hooks_.on_state));
  return terms;
}

void HookAdapter::UseServer(broker::Server* server) {
  const base::MutexLock lock(mutex_);
  server_ = server;
}

void HookAdapter::AddTo(Statistics& statistics) const {
  statistics.hook_calls = calls_.load();
  statistics.hook_failures = failures_.load();
  statistics.hook_timeouts = timeouts_.load();
  statistics.hook_slow = slow_.load();
  statistics.hook_longest = absl::Nanoseconds(longest_ns_.load());
  statistics.hook_calls_waiting = waiting_.load();
}

bool HookAdapter::crowded() const { return waiting_.load() >= hooks_.calls_max; }

std::shared_ptr<LiveConnection> HookAdapter::Find(const storage::ConnectionRef& ref) {
  std::shared_ptr<LiveConnection>& live = live_[ref.shard][ref.connection];
  if (live == nullptr) live = std::make_shared<LiveConnection>(weak_from_this(), ref);
  return live;
}

template <typename Decision>
void HookAdapter::AnswerTo(const storage::ConnectionRef& ref, Decision decision) {
  const base::MutexLock lock(mutex_);
  if (server_ != nullptr) server_->Tell(ref, std::move(decision));
}

void HookAdapter::Disconnect(const storage::ConnectionRef& ref, ReasonCode reason) {
  const base::MutexLock lock(mutex_);
  if (server_ != nullptr) server_->Disconnect(ref, reason);
}

template <typename Function>
bool HookAdapter::Guard(std::string_view hook, Function&& function) {
  calls_.fetch_add(1, std::memory_order_relaxed);
  std::string what = "an exception that is not a std::exception";
  try {
    function();
    return true;
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
  }
  failures_.fetch_add(1, std::memory_order_relaxed);
  base::LogLimited(base::LogLevel::kError, "hook failed", AbslView(hook), {{"error", what}});
  return false;
}

// On a shard's thread, where everybody waits for it.
template <typename Function>
bool HookAdapter::Measure(std::string_view hook, Function&& function) {
  const auto begun = std::chrono::steady_clock::now();
  const bool ok = Guard(hook, std::forward<Function>(function));
  const int64_t took_ns =
      std::chrono::nanoseconds(std::chrono::steady_clock::now() - begun).count();
  if (took_ns > longest_ns_.load(std::memory_order_relaxed))
    longest_ns_.store(took_ns, std::memory_order_relaxed);  // Two at once: either will do.
  if (absl::Nanoseconds(took_ns) > hooks_.slow) {
    slow_.fetch_add(1, std::memory_order_relaxed);
    base::LogLimited(base::LogLevel::kWarning, "hook slow", AbslView(hook),
                     {{"took", absl::Nanoseconds(took_ns)}, {"slow", hooks_.slow}});
  }
  return ok;
}

template <typename Call>
std::optional<HookAnswer> HookAdapter::Ask(std::string_view hook, const storage::ConnectionRef& ref,
                                           Call call) {
  // Answers once, at the latest when nobody can any more: an executor may throw tasks away.
  struct Pending {
    Pending(std::shared_ptr<HookAdapter> a, storage::ConnectionRef r)
        : adapter(std::move(a)), to(r) {
      adapter->waiting_.fetch_add(1);
    }
    ~Pending() { Finish(Failed()); }
    void Finish(HookAnswer answer) {
      if (finished.exchange(true)) return;
      adapter->waiting_.fetch_sub(1);
      {
        const base::MutexLock lock(mutex);
        if (!left) {
          early = std::move(answer);
          return;
        }
      }
      adapter->AnswerTo(to, std::move(answer));
    }
    const std::shared_ptr<HookAdapter> adapter;
    const storage::ConnectionRef to;
    std::atomic<bool> finished{false};
    base::Mutex mutex;
    bool left = false;  // The shard goes on without an answer.
    std::optional<HookAnswer> early;
  };
  const auto pending = std::make_shared<Pending>(shared_from_this(), ref);
  executor_([this, hook, pending, call = std::move(call)] {
    const bool ok = Guard(
        hook, [&] { call([pending](HookAnswer answer) { pending->Finish(std::move(answer)); }); });
    if (!ok) pending->Finish(Failed());
  });
  const base::MutexLock lock(pending->mutex);
  pending->left = true;
  return std::move(pending->early);
}

std::optional<HookAnswer> HookAdapter::OnConnected(const broker::Connection& connection,
                                                   bool session_present) {
  const auto live = Find(connection.ref);
  live->SetNames(std::string(connection.session->client_id),
                 std::string(connection.session->user_name()), connection.listener.name,
                 connection.stream->peer().address);
  if (!hooks_.on_connect) return HookAnswer{};
  return Ask("on_connect", connection.ref, [this, live, session_present](const auto& answer) {
    hooks_.on_connect(live, session_present);
    answer(HookAnswer{});
  });
}

std::optional<HookAnswer> HookAdapter::OnPublish(const broker::Connection& connection,
                                                 const mqtt::MessagePtr& message) {
  return Ask("on_publish", connection.ref,
             [this, live = Find(connection.ref), message](const auto& answer) {
               const Reply<PublishDecision> reply([this, answer, message](
                                                      std::optional<PublishDecision> decision) {
                 if (!decision.has_value()) failures_.fetch_add(1, std::memory_order_relaxed);
                 answer(decision.has_value() ? ToAnswer(*std::move(decision), *message) : Failed());
               });
               hooks_.on_publish(live, ToMessage(*message), reply);
             });
}

std::optional<HookAnswer> HookAdapter::OnSubscribe(const broker::Connection& connection,
                                                   const mqtt::Subscribe& packet) {
  std::vector<client::Subscription> wanted;
  for (const mqtt::Subscription& each : packet.subscriptions)
    wanted.push_back({std::string(each.filter), each.options});
  return Ask("on_subscribe", connection.ref,
             [this, live = Find(connection.ref), wanted = std::move(wanted)](const auto& answer) {
               const Reply<SubscribeDecision> reply([this, answer](
                                                        std::optional<SubscribeDecision> decision) {
                 if (!decision.has_value()) failures_.fetch_add(1, std::memory_order_relaxed);
                 answer(decision.has_value() ? HookAnswer{.reasons = std::move(decision->reasons)}
                                             : Failed());
               });
               hooks_.on_subscribe(live, wanted, reply);
             });
}

std::optional<HookAnswer> HookAdapter::OnUnsubscribe(const broker::Connection& connection,
                                                     const mqtt::Unsubscribe& packet) {
  std::vector<std::string> filters(packet.filters.begin(), packet.filters.end());
  return Ask("on_unsubscribe", connection.ref,
             [this, live = Find(connection.ref), filters = std::move(filters)](const auto& answer) {
               hooks_.on_unsubscribe(live, filters);
               answer(HookAnswer{});
             });
}

HookAdapter::Delivery HookAdapter::OnDeliver(const broker::Session& session,
                                             const mqtt::MessageParts& message) {
  const auto live = Find(session.connection.ref);
  bool wanted = false;
  const bool ok = Measure("on_deliver", [&] {
    wanted = hooks_.on_deliver(live, {.topic = message.topic,
                                      .payload = message.payload,
                                      .qos = message.qos,
                                      .retain = message.retain,
                                      .publisher = message.publisher});
  });
  if (!ok) return Delivery::kClose;
  return wanted ? Delivery::kDeliver : Delivery::kDrop;
}

void HookAdapter::OnDisconnected(const broker::Connection& connection, broker::CloseCause cause) {
  executor_([self = shared_from_this(), live = Find(connection.ref),
             why = std::string(broker::Name(cause))] {
    self->Guard("on_disconnect", [&] { self->hooks_.on_disconnect(live, why); });
  });
}

void HookAdapter::OnState(const broker::Connection& connection, broker::ConnectionState state) {
  const auto live = Find(connection.ref);
  if (state == broker::ConnectionState::kNew) live->SetNames({}, {}, connection.listener.name, {});
  const bool ok =
      Measure("on_state", [&] { hooks_.on_state(live, static_cast<ConnectionState>(state)); });
  if (!ok) live->Disconnect(ReasonCode::kImplementationSpecificError);
}

void HookAdapter::OnTimeout(const broker::Connection& connection) {
  timeouts_.fetch_add(1, std::memory_order_relaxed);
  base::LogLimited(
      base::LogLevel::kError, "hook failed", "it did not reply in time",
      {{"client", base::Shortened(base::AbslView(connection.session->client_id.view()))},
       {"timeout", hooks_.timeout}});
}

void HookAdapter::OnGone(const broker::Connection& connection) {
  live_[connection.ref.shard].erase(connection.ref.connection);
}

// ---- Who is let in

// In front of a listener's own, which it asks for all that the hook leaves to the configuration.
class HookAdapter::Gate final : public broker::Gatekeeper,
                                public std::enable_shared_from_this<Gate> {
 public:
  Gate(std::shared_ptr<HookAdapter> adapter, std::shared_ptr<broker::Gatekeeper> inner)
      : adapter_(std::move(adapter)), inner_(std::move(inner)) {}

  Admission AdmitProxied(const std::string& address, int64_t now_ns) override {
    return inner_->AdmitProxied(address, now_ns);
  }
  std::optional<auth::Outcome> TryNow(const auth::Credentials& credentials) const override {
    if (adapter_->crowded()) return Refused(auth::AuthCode::kServerBusy, "too many wait for hooks");
    if (!adapter_->hooks_.authenticate) return inner_->TryNow(credentials);
    return std::nullopt;
  }
  std::unique_ptr<broker::PasswordCheck> Verify(const storage::ConnectionRef& connection,
                                                auth::Credentials credentials,
                                                const std::string& address) override;
  auth::Outcome AdmitAs(const auth::Credentials& credentials,
                        std::string_view user_name) const override {
    return inner_->AdmitAs(credentials, user_name);
  }
  std::shared_ptr<const auth::Permissions> PermissionsFor(
      const auth::Identity& identity) const override {
    return inner_->PermissionsFor(identity);
  }
  // Whom the hook let in need not be in any file.
  bool StillAdmits(const auth::Identity& identity) const override {
    return adapter_->hooks_.authenticate || inner_->StillAdmits(identity);
  }

 private:
  // One login that is under way. Whoever lets go of it hears nothing more.
  struct Attempt {
    Attempt(std::shared_ptr<Gate> g, storage::ConnectionRef c, auth::Credentials l, std::string a)
        : gate(std::move(g)), connection(c), credentials(std::move(l)), address(std::move(a)) {
      gate->adapter_->waiting_.fetch_add(1);
    }
    ~Attempt() { Finish(std::nullopt); }
    void Finish(std::optional<LoginDecision> decision);

    const std::shared_ptr<Gate> gate;
    const storage::ConnectionRef connection;
    const auth::Credentials credentials;
    const std::string address;
    std::atomic<bool> finished{false};
    base::Mutex mutex;
    bool dropped ABSL_GUARDED_BY(mutex) = false;
    std::unique_ptr<broker::PasswordCheck> inner ABSL_GUARDED_BY(mutex);
  };
  struct Check final : broker::PasswordCheck {
    explicit Check(std::shared_ptr<Attempt> a) : attempt(std::move(a)) {}
    ~Check() override {
      std::unique_ptr<broker::PasswordCheck> inner;
      const base::MutexLock lock(attempt->mutex);
      attempt->dropped = true;
      inner.swap(attempt->inner);
    }
    const std::shared_ptr<Attempt> attempt;
  };

  static auth::Outcome Refused(auth::AuthCode code, std::string why) {
    auth::Outcome outcome;
    outcome.code = code;
    outcome.why = std::move(why);
    return outcome;
  }

  const std::shared_ptr<HookAdapter> adapter_;
  const std::shared_ptr<broker::Gatekeeper> inner_;
};

std::unique_ptr<broker::PasswordCheck> HookAdapter::Gate::Verify(
    const storage::ConnectionRef& connection, auth::Credentials credentials,
    const std::string& address) {
  if (!adapter_->hooks_.authenticate)
    return inner_->Verify(connection, std::move(credentials), address);
  Login login;
  login.client_id = credentials.client_id;
  login.user_name = credentials.user_name;
  login.password = credentials.password;
  login.listener = credentials.listener;
  login.address = address;
  if (credentials.certificate.has_value())
    login.certificate_common_name = credentials.certificate->common_name;
  auto live = adapter_->Find(connection);
  live->SetNames(login.client_id, {}, login.listener, address);
  auto attempt =
      std::make_shared<Attempt>(shared_from_this(), connection, std::move(credentials), address);
  adapter_->executor_([adapter = adapter_, attempt, live = std::move(live),
                       login = std::move(login)] {
    const Reply<LoginDecision> reply(
        [attempt](std::optional<LoginDecision> decision) { attempt->Finish(std::move(decision)); });
    const bool ok =
        adapter->Guard("authenticate", [&] { adapter->hooks_.authenticate(live, login, reply); });
    if (!ok) attempt->Finish(std::nullopt);
  });
  return std::make_unique<Check>(std::move(attempt));
}

void HookAdapter::Gate::Attempt::Finish(std::optional<LoginDecision> decision) {
  if (finished.exchange(true)) return;
  HookAdapter& adapter = *gate->adapter_;
  adapter.waiting_.fetch_sub(1);
  const base::MutexLock lock(mutex);
  if (dropped) return;
  if (!decision.has_value()) {
    adapter.failures_.fetch_add(1, std::memory_order_relaxed);
    return adapter.AnswerTo(
        connection, Refused(auth::AuthCode::kServerBusy, "the authentication back end failed"));
  }
  switch (decision->kind) {
    case LoginDecision::Kind::kAllow:
      return adapter.AnswerTo(connection, gate->inner_->AdmitAs(credentials, decision->user_name));
    case LoginDecision::Kind::kRefuse:
      return adapter.AnswerTo(connection,
                              Refused(ToAuthCode(decision->reason), std::move(decision->words)));
    case LoginDecision::Kind::kByConfiguration:
      break;
  }
  if (auto outcome = gate->inner_->TryNow(credentials))
    return adapter.AnswerTo(connection, *std::move(outcome));
  inner = gate->inner_->Verify(connection, credentials, address);
}

std::shared_ptr<broker::Gatekeeper> HookAdapter::Wrap(
    std::shared_ptr<broker::Gatekeeper> gatekeeper) {
  return std::make_shared<Gate>(shared_from_this(), std::move(gatekeeper));
}

}  // namespace mqttd
