// What a program that embeds the broker may decide, and hear of.
#ifndef EMBED_HOOKS_H_
#define EMBED_HOOKS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/core/message.h"
#include "mqtt/reason_code.h"
#include "mqtt/types.h"

namespace mqttd {

using Message = client::Message;

enum class ConnectionState : uint8_t {
  kNew,     // Accepted; nothing was said yet.
  kActive,  // Connected (CONNACK was sent), and heard from lately.
  kIdle,    // Connected; no packet came for `Hooks::idle_after`, not even PINGREQ.
  kClosed,  // The last that is heard of it.
};

// A client's connection. Any thread; it may be kept after the connection's end.
class Connection {
 public:
  virtual ~Connection() = default;

  // Of all connections of the server, ever.
  virtual uint64_t id() const = 0;
  // From `Hooks::authenticate` on; empty before.
  virtual std::string client_id() const = 0;
  // Whom something vouched for, from `Hooks::on_connect` on. Empty: anonymous.
  virtual std::string user_name() const = 0;
  // Its name in the configuration: the URL, unless another was given.
  virtual std::string listener() const = 0;
  // Of the peer; "unix" for a unix socket. Empty before `Hooks::authenticate`.
  virtual std::string address() const = 0;

  // A value of the embedding program's; null until it is set. It goes with the last reference to
  // this object.
  virtual void SetContext(std::shared_ptr<void> context) = 0;
  virtual std::shared_ptr<void> context() const = 0;
  template <typename Value>
  std::shared_ptr<Value> Context() const {
    return std::static_pointer_cast<Value>(context());
  }

  // Ends it: DISCONNECT with the reason in 5.0 (0x98, if it is none of DISCONNECT), then the end.
  // Nothing happens if it is gone.
  virtual void Disconnect(
      mqtt::ReasonCode reason = mqtt::ReasonCode::kAdministrativeAction) const = 0;
};
using ConnectionPtr = std::shared_ptr<Connection>;

// Carries a hook's decision. Call it once, in the hook or later, on any thread. If it is let go of
// without a call, the hook counts as failed.
template <typename Decision>
class Reply {
 public:
  // `done` gets nothing if there was no decision.
  explicit Reply(std::function<void(std::optional<Decision>)> done)
      : state_(std::make_shared<State>(std::move(done))) {}

  // Further calls do nothing.
  void operator()(Decision decision) const { state_->Finish(std::move(decision)); }

 private:
  struct State {
    explicit State(std::function<void(std::optional<Decision>)> d) : done(std::move(d)) {}
    ~State() { Finish(std::nullopt); }
    void Finish(std::optional<Decision> decision) {
      if (!finished.exchange(true)) done(std::move(decision));
    }
    std::function<void(std::optional<Decision>)> done;
    std::atomic<bool> finished{false};
  };
  std::shared_ptr<State> state_;
};

// What a CONNECT brings along (§3.1).
struct Login {
  std::string client_id;  // The server's own choice if the client sent none.
  std::optional<std::string> user_name;
  std::optional<std::string> password;  // Any bytes.
  std::string listener;
  std::string address;
  std::string certificate_common_name;  // Of a verified TLS certificate; empty: there is none.
};

struct LoginDecision {
  enum class Kind : uint8_t {
    kAllow,
    kRefuse,
    kByConfiguration,  // As password file, certificate and `allow_anonymous` say.
  };
  Kind kind = Kind::kRefuse;
  // kAllow: who it is, for access rules and limits. Empty: anonymous. What is not UTF-8 counts as a
  // failed hook.
  std::string user_name;
  // kRefuse: 0x85 (identifier not valid), 0x86 (bad user name or password), 0x87 (not authorized),
  // 0x89 (server busy) or 0x8A (banned); 3.1.1 clients get the nearest that they know.
  mqtt::ReasonCode reason = mqtt::ReasonCode::kNotAuthorized;
  std::string words;  // kRefuse: the client's Reason String, and for the log, if it is UTF-8.

  static LoginDecision Allow(std::string user_name = {}) {
    return {Kind::kAllow, std::move(user_name), {}, {}};
  }
  static LoginDecision Refuse(mqtt::ReasonCode reason = mqtt::ReasonCode::kNotAuthorized,
                              std::string words = {}) {
    return {Kind::kRefuse, {}, reason, std::move(words)};
  }
  static LoginDecision ByConfiguration() { return {Kind::kByConfiguration, {}, {}, {}}; }
};

// One exchange of extended authentication (5.0, §4.12): of a connection that is made, or of one
// that stands and authenticates again.
class AuthExchange {
 public:
  struct Step {
    enum class Kind : uint8_t {
      kContinue,  // AUTH 0x18 with `data`; what the client answers comes next.
      kAllow,     // CONNACK, or AUTH 0x00, with `data`.
      kRefuse,
    };
    Kind kind = Kind::kRefuse;
    std::string data = {};
    std::string user_name = {};  // kAllow: who it is. Empty: anonymous.
    // kRefuse: as in LoginDecision.
    mqtt::ReasonCode reason = mqtt::ReasonCode::kNotAuthorized;
  };

  virtual ~AuthExchange() = default;
  // What the client said: first the Authentication Data of its CONNECT, or of the AUTH 0x19 that
  // begins anew. Empty: none.
  virtual Step Next(std::string_view client_data) = 0;
};
// `login` is what CONNECT said; of a connection that authenticates again its identifier and
// listener.
using AuthMethod = std::function<std::unique_ptr<AuthExchange>(const Login& login)>;

struct PublishDecision {
  enum class Kind : uint8_t { kPass, kChange, kRefuse, kDisconnect };
  Kind kind = Kind::kPass;
  // kChange: goes on instead. Its QoS stays that of the client's packet. Access rules and limits
  // hold for it as for the client's own message: what they do not allow is refused, as by kRefuse.
  // A Topic Name, Response Topic or other text that is not valid counts as a failed hook.
  Message message;
  // kRefuse: in PUBACK or PUBREC, 0x80 or above, 0x87 if they do not have it; a 3.1.1 client and
  // one that published at QoS 0 hear nothing. kDisconnect: in DISCONNECT.
  mqtt::ReasonCode reason = mqtt::ReasonCode::kNotAuthorized;

  static PublishDecision Pass() { return {}; }
  static PublishDecision Change(Message message) {
    return {Kind::kChange, std::move(message), mqtt::ReasonCode::kSuccess};
  }
  static PublishDecision Refuse(mqtt::ReasonCode reason = mqtt::ReasonCode::kNotAuthorized) {
    return {Kind::kRefuse, {}, reason};
  }
  static PublishDecision Disconnect(mqtt::ReasonCode reason = mqtt::ReasonCode::kNotAuthorized) {
    return {Kind::kDisconnect, {}, reason};
  }
};

// One Reason Code for each filter, in order: 0x80 or above refuses it (0x87, if SUBACK does not
// have that one); 0, 1 or 2 is the QoS granted at most. Fewer of them than filters: the rest is
// granted as asked for. The access rules and limits of the configuration hold beside it.
struct SubscribeDecision {
  std::vector<mqtt::ReasonCode> reasons;
};

// A message on its way to a subscriber. Views: they end with the call.
struct Delivery {
  std::string_view topic;
  std::string_view payload;
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;  // As it was published.
  bool retain = false;
  std::string_view publisher;  // Its Client Identifier.
};

// All may be left out; what is left out costs nothing.
//
// `authenticate`, `on_connect`, `on_publish`, `on_subscribe`, `on_unsubscribe` and `on_disconnect`
// run on `Options::executor`. But for the last, the client waits for them: nothing more is read
// from it until the reply. A hook that returns and replies later slows its own client only. One
// that blocks also holds the executor's thread: when all of its threads are held, the hooks of
// other clients wait for one. A client whose hook has not replied `timeout` after its packet came,
// the wait for a thread included, is disconnected with 0x89, and one that waits for `authenticate`
// is refused with it after `broker.connect_timeout`. One that throws or does not reply ends its
// client, too (0x83; before CONNACK 0x89). Of one connection one at a time is asked, in the order
// of its packets; `on_disconnect` may come while another still runs, if the executor has several
// threads.
//
// `on_deliver`, `on_state` and exchanges of `authentication_methods` run on the thread that serves
// the connection, with thousands of others: they must not block. Those that take longer than `slow`
// are counted and logged.
//
// None concerns what the process itself publishes or subscribes to.
struct Hooks {
  std::function<void(const ConnectionPtr&, const Login&, Reply<LoginDecision>)> authenticate;
  // By their names, as clients give them ("SCRAM-SHA-256": see scram.h). Clients that name one are
  // not shown to `authenticate`; those that name another are refused with 0x8C.
  std::map<std::string, AuthMethod> authentication_methods;
  // After CONNACK, before anything else of the client's is read. `session_present` as CONNACK said.
  std::function<void(const ConnectionPtr&, bool session_present)> on_connect;
  // A PUBLISH that access rules and limits allow, before it is routed. Repeats of QoS 2 are not
  // shown. A will is shown once, when its client connects: before `on_connect`, and long before it
  // is published, if it ever is; to refuse it is to refuse the connection (0x87, unless `reason` is
  // one that CONNACK has).
  std::function<void(const ConnectionPtr&, const Message&, Reply<PublishDecision>)> on_publish;
  std::function<void(const ConnectionPtr&, const std::vector<client::Subscription>&,
                     Reply<SubscribeDecision>)>
      on_subscribe;
  std::function<void(const ConnectionPtr&, const std::vector<std::string>& filters)> on_unsubscribe;
  // Of those that were connected; `why` in a word: "disconnect", "peer_closed",
  // "keep_alive_timeout", "taken_over" and so on, as in the metric mqttd_connections_closed_total.
  std::function<void(const ConnectionPtr&, const std::string& why)> on_disconnect;
  // False: this subscriber does not get it. A throw disconnects the subscriber (0x83).
  std::function<bool(const ConnectionPtr&, const Delivery&)> on_deliver;
  std::function<void(const ConnectionPtr&, ConnectionState)> on_state;

  // In whole seconds, at least one.
  absl::Duration idle_after = absl::Minutes(1);
  absl::Duration timeout = absl::Seconds(10);
  absl::Duration slow = absl::Milliseconds(5);
  // Calls whose client waits, of all clients; above, those who connect are refused with 0x89. A
  // reply that is kept beyond the timeout, or beyond its client, does not count.
  uint32_t calls_max = 10'000;
};

}  // namespace mqttd

#endif  // EMBED_HOOKS_H_
