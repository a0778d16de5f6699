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
#include "broker/shard/connect_flow.h"
#include "embed/message_convert.h"
#include "mqtt/utf8.h"

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

// One of the `calls_max` calls that may wait. It is free again when the call is answered, or when
// nobody waits for that any more: whoever keeps a Reply for ever keeps no place.
class CallPlace {
 public:
  explicit CallPlace(HookAdapter& adapter) : adapter_(adapter) { adapter_.waiting_.fetch_add(1); }
  ~CallPlace() { Free(); }
  CallPlace(const CallPlace&) = delete;
  CallPlace& operator=(const CallPlace&) = delete;
  void Free() {
    if (!freed_.exchange(true)) adapter_.waiting_.fetch_sub(1);
  }

 private:
  HookAdapter& adapter_;
  std::atomic<bool> freed_{false};
};

class LiveConnection final : public Connection {
 public:
  LiveConnection(std::weak_ptr<HookAdapter> adapter, storage::ConnectionRef ref)
      : adapter_(std::move(adapter)), ref_(ref) {}

  const storage::ConnectionRef& ref() const { return ref_; }
  // The call that it waits for: one at a time. On its shard's thread.
  void WaitsFor(const std::shared_ptr<CallPlace>& place) { place_ = place; }
  void WaitsNoMore() {
    if (const auto place = place_.lock()) place->Free();
  }

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
  std::weak_ptr<CallPlace> place_;
  mutable base::Mutex mutex_;
  Names names_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<void> context_ ABSL_GUARDED_BY(mutex_);
};

HookAdapter::HookAdapter(mqttd::Hooks hooks, Executor executor)
    : hooks_(std::move(hooks)), executor_(std::move(executor)) {
  RegisterMethods();
}

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

bool HookAdapter::Execute(std::string_view hook, std::function<void()> task) {
  std::string what = "the executor threw an exception that is not a std::exception";
  try {
    executor_(std::move(task));
    return true;
  } catch (const std::exception& error) {
    what = absl::StrCat("the executor threw: ", error.what());
  } catch (...) {
  }
  failures_.fetch_add(1, std::memory_order_relaxed);
  base::LogLimited(base::LogLevel::kError, "hook failed", AbslView(hook), {{"error", what}});
  return false;
}

template <typename Call>
std::optional<HookAnswer> HookAdapter::Ask(std::string_view hook,
                                           const std::shared_ptr<LiveConnection>& live, Call call) {
  // Answers once, at the latest when nobody can any more: an executor may throw tasks away.
  struct Pending {
    Pending(std::shared_ptr<HookAdapter> a, storage::ConnectionRef r)
        : adapter(std::move(a)), to(r), place(std::make_shared<CallPlace>(*adapter)) {}
    ~Pending() { Finish(Failed()); }
    void Finish(HookAnswer answer) {
      if (finished.exchange(true)) return;
      place->Free();
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
    const std::shared_ptr<CallPlace> place;
    std::atomic<bool> finished{false};
    base::Mutex mutex;
    bool left = false;  // The shard goes on without an answer.
    std::optional<HookAnswer> early;
  };
  const auto pending = std::make_shared<Pending>(shared_from_this(), live->ref());
  live->WaitsFor(pending->place);
  const bool taken = Execute(hook, [this, hook, pending, call = std::move(call)] {
    const bool ok = Guard(
        hook, [&] { call([pending](HookAnswer answer) { pending->Finish(std::move(answer)); }); });
    if (!ok) pending->Finish(Failed());
  });
  if (!taken) pending->Finish(Failed());
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
  return Ask("on_connect", live, [this, live, session_present](const auto& answer) {
    hooks_.on_connect(live, session_present);
    answer(HookAnswer{});
  });
}

std::optional<HookAnswer> HookAdapter::OnPublish(const broker::Connection& connection,
                                                 const mqtt::MessagePtr& message) {
  return AskAbout(Find(connection.ref), message);
}

std::optional<HookAnswer> HookAdapter::OnWill(const broker::Connection& connection,
                                              const mqtt::MessagePtr& message) {
  const auto live = Find(connection.ref);
  const broker::PendingConnect& login = *connection.connecting;
  live->SetNames(login.credentials.client_id, login.identity.user_name, connection.listener.name,
                 connection.stream->peer().address);
  return AskAbout(live, message);
}

std::optional<HookAnswer> HookAdapter::AskAbout(const std::shared_ptr<LiveConnection>& live,
                                                const mqtt::MessagePtr& message) {
  return Ask("on_publish", live, [this, live, message](const auto& answer) {
    const Reply<PublishDecision> reply(
        [this, answer, message](std::optional<PublishDecision> decision) {
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
  const auto live = Find(connection.ref);
  return Ask("on_subscribe", live, [this, live, wanted = std::move(wanted)](const auto& answer) {
    const Reply<SubscribeDecision> reply([this, answer](std::optional<SubscribeDecision> decision) {
      if (!decision.has_value()) failures_.fetch_add(1, std::memory_order_relaxed);
      answer(decision.has_value() ? HookAnswer{.reasons = std::move(decision->reasons)} : Failed());
    });
    hooks_.on_subscribe(live, wanted, reply);
  });
}

std::optional<HookAnswer> HookAdapter::OnUnsubscribe(const broker::Connection& connection,
                                                     const mqtt::Unsubscribe& packet) {
  std::vector<std::string> filters(packet.filters.begin(), packet.filters.end());
  const auto live = Find(connection.ref);
  return Ask("on_unsubscribe", live,
             [this, live, filters = std::move(filters)](const auto& answer) {
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
  Execute("on_disconnect", [self = shared_from_this(), live = Find(connection.ref),
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
  const auto live = Find(connection.ref);
  live->WaitsNoMore();
  timeouts_.fetch_add(1, std::memory_order_relaxed);
  base::LogLimited(base::LogLevel::kError, "hook failed", "it did not reply in time",
                   {{"client", base::Shortened(live->client_id())}, {"timeout", hooks_.timeout}});
}

void HookAdapter::OnGone(const broker::Connection& connection) {
  Live& live = live_[connection.ref.shard];
  const auto found = live.find(connection.ref.connection);
  if (found == live.end()) return;
  found->second->WaitsNoMore();
  live.erase(found);
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
  std::shared_ptr<const auth::BanTable> bans() const override { return inner_->bans(); }
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
  uint64_t generation() const override { return inner_->generation(); }
  // Whom the hook let in need not be in any file.
  bool StillAdmits(const auth::Identity& identity) const override {
    return adapter_->hooks_.authenticate || !adapter_->hooks_.authentication_methods.empty() ||
           inner_->StillAdmits(identity);
  }

 private:
  // One login that is under way. Whoever lets go of it hears nothing more.
  struct Attempt {
    Attempt(std::shared_ptr<Gate> g, storage::ConnectionRef c, auth::Credentials l, std::string a)
        : gate(std::move(g)),
          connection(c),
          credentials(std::move(l)),
          address(std::move(a)),
          place(*gate->adapter_) {}
    ~Attempt() { Finish(std::nullopt); }
    void Finish(std::optional<LoginDecision> decision);

    const std::shared_ptr<Gate> gate;
    const storage::ConnectionRef connection;
    const auth::Credentials credentials;
    const std::string address;
    CallPlace place;
    std::atomic<bool> finished{false};
    base::Mutex mutex;
    bool dropped ABSL_GUARDED_BY(mutex) = false;
    std::unique_ptr<broker::PasswordCheck> inner ABSL_GUARDED_BY(mutex);
  };
  struct Check final : broker::PasswordCheck {
    explicit Check(std::shared_ptr<Attempt> a) : attempt(std::move(a)) {}
    ~Check() override {
      attempt->place.Free();
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
  const bool taken = adapter_->Execute(
      "authenticate",
      [adapter = adapter_, attempt, live = std::move(live), login = std::move(login)] {
        const Reply<LoginDecision> reply([attempt](std::optional<LoginDecision> decision) {
          attempt->Finish(std::move(decision));
        });
        const bool ok = adapter->Guard("authenticate",
                                       [&] { adapter->hooks_.authenticate(live, login, reply); });
        if (!ok) attempt->Finish(std::nullopt);
      });
  if (!taken) attempt->Finish(std::nullopt);
  return std::make_unique<Check>(std::move(attempt));
}

void HookAdapter::Gate::Attempt::Finish(std::optional<LoginDecision> decision) {
  if (finished.exchange(true)) return;
  HookAdapter& adapter = *gate->adapter_;
  place.Free();
  const base::MutexLock lock(mutex);
  if (dropped) return;
  const bool is_text = !decision.has_value() || decision->kind != LoginDecision::Kind::kAllow ||
                       mqtt::IsValidUtf8(decision->user_name);
  if (!decision.has_value() || !is_text) {
    adapter.failures_.fetch_add(1, std::memory_order_relaxed);
    return adapter.AnswerTo(
        connection, Refused(auth::AuthCode::kServerBusy, "the authentication back end failed"));
  }
  switch (decision->kind) {
    case LoginDecision::Kind::kAllow:
      return adapter.AnswerTo(connection, gate->inner_->AdmitAs(credentials, decision->user_name));
    case LoginDecision::Kind::kRefuse:
      if (!mqtt::IsValidUtf8(decision->words)) decision->words.clear();  // [MQTT5-1.5.4-1]
      return adapter.AnswerTo(connection,
                              Refused(ToAuthCode(decision->reason), std::move(decision->words)));
    case LoginDecision::Kind::kByConfiguration:
      break;
  }
  if (auto outcome = gate->inner_->TryNow(credentials))
    return adapter.AnswerTo(connection, *std::move(outcome));
  inner = gate->inner_->Verify(connection, credentials, address);
}

// An exchange of the embedding program's as the broker runs it.
class HookAdapter::Method final : public auth::AuthMethod {
 public:
  Method(HookAdapter& adapter, std::string name, const mqttd::AuthMethod& make)
      : adapter_(adapter), name_(std::move(name)), make_(make) {}

  std::string_view name() const override { return name_; }
  auth::AuthStep Start(const auth::Credentials& credentials, std::string_view data) override {
    Login login;
    login.client_id = credentials.client_id;
    login.user_name = credentials.user_name;
    login.password = credentials.password;
    login.listener = credentials.listener;
    if (credentials.certificate.has_value())
      login.certificate_common_name = credentials.certificate->common_name;
    if (!adapter_.Measure(name_, [&] { exchange_ = make_(login); }) || exchange_ == nullptr)
      return {.code = auth::AuthCode::kServerBusy};
    return Step(data);
  }
  auth::AuthStep Step(std::string_view data) override {
    AuthExchange::Step step;
    if (!adapter_.Measure(name_, [&] { step = exchange_->Next(data); }))
      return {.code = auth::AuthCode::kServerBusy};
    switch (step.kind) {
      case AuthExchange::Step::Kind::kContinue:
        return {.kind = auth::AuthStep::Kind::kContinue, .data = std::move(step.data)};
      case AuthExchange::Step::Kind::kAllow:
        if (!mqtt::IsValidUtf8(step.user_name)) {
          adapter_.failures_.fetch_add(1, std::memory_order_relaxed);
          return {.code = auth::AuthCode::kServerBusy};
        }
        return {.kind = auth::AuthStep::Kind::kOk,
                .data = std::move(step.data),
                .user_name = std::move(step.user_name)};
      case AuthExchange::Step::Kind::kRefuse:
        break;
    }
    return {.code = ToAuthCode(step.reason)};
  }

 private:
  HookAdapter& adapter_;
  const std::string name_;
  const mqttd::AuthMethod& make_;
  std::unique_ptr<AuthExchange> exchange_;
};

void HookAdapter::RegisterMethods() {
  for (const auto& [name, make] : hooks_.authentication_methods) {
    methods_.Register(name, [this, name = name, &make = make] {
      return std::make_unique<Method>(*this, name, make);
    });
  }
}

std::shared_ptr<broker::Gatekeeper> HookAdapter::Wrap(
    std::shared_ptr<broker::Gatekeeper> gatekeeper) {
  return std::make_shared<Gate>(shared_from_this(), std::move(gatekeeper));
}

}  // namespace mqttd
