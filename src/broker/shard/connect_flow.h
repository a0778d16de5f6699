// From CONNECT to CONNACK: rules, authentication, the claim on the Client Identifier. And AUTH,
// then and later.
#ifndef BROKER_CONNECT_FLOW_H_
#define BROKER_CONNECT_FLOW_H_

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "auth/core/login.h"
#include "auth/core/method.h"
#include "base/memory_held.h"
#include "broker/core/connect_rules.h"
#include "broker/shard/hook_answer.h"
#include "broker/shard/listener_terms.h"
#include "broker/shard/shard_context.h"
#include "broker/shard/shard_ports.h"
#include "mqtt/frame.h"
#include "mqtt/message.h"
#include "mqtt/packets.h"

namespace broker {

// What must be remembered of a CONNECT until it is answered. Owned by the connection.
struct PendingConnect {
  explicit PendingConnect(base::MemoryAccount& account)
      : held(account, base::MemoryUse::kConnecting) {}

  base::MemoryHeld held;
  auth::Credentials credentials;
  std::unique_ptr<PasswordCheck> password_check;  // While it is under way.
  ConnectTerms terms;
  bool clean_start = true;
  bool assigned_client_id = false;
  bool response_information = false;
  bool problem_information = true;
  bool bridge = false;
  bool has_will = false;
  uint32_t will_delay_s = 0;
  std::string will_bytes;  // Backs `will`'s views.
  mqtt::Will will;
  mqtt::MessagePtr will_message;  // What a hook has made of it. Null: it stays as it is.
  bool will_is_decided = true;    // False: while a hook is asked.
  std::string authentication_method;
  std::string authentication_data;  // The last of the server's, for CONNACK.
  std::unique_ptr<auth::AuthMethod> exchange;
  storage::Token claim = 0;        // Of the OpenSession that is on its way.
  uint64_t access_generation = 0;  // Of the gatekeeper, before it was asked.
  auth::Identity identity;
  auth::SessionOwner session_owner = auth::SessionOwner::kUser;
  std::shared_ptr<const auth::Permissions> permissions;
};

// Part of one shard, used on its thread.
class ConnectFlow {
 public:
  ConnectFlow(ShardContext& context, const auth::AuthMethodRegistry& methods,
              UserPlaces& user_places)
      : context_(context), methods_(methods), users_(user_places) {}

  void OnConnect(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes body);
  void OnAuth(Connection& connection, const mqtt::Auth& packet);
  void OnPasswordVerified(Connection& connection, auth::Outcome outcome);
  void OnSessionOpened(storage::SessionOpened event);
  void OnWillDecided(Connection& connection, HookAnswer answer);

  // Claims on their way that cost somebody work: not those that have been unanswered for a second.
  // Their partition may have no leader, and the clients of all others must not wait for that.
  size_t opening() const { return fresh_claims_; }
  // Of those that are by now, the number is right again.
  void AgeClaims();
  // When there may be fewer of them, on the monotonic clock.
  int64_t next_aging_ns() const;

  // The connection is closed: forgets its claim, if one is on its way. `how`: should it be granted.
  void OnClosed(Connection& connection, storage::CloseCause how);

  // CONNECT is here, and was not decided about in time.
  void OnTimeout(Connection& connection);

  // CONNECT is larger than it may be: `bytes` is its beginning.
  void RefuseTooLarge(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes bytes);

  // A CONNACK that says no, then the end [MQTT5-3.1.4-2] [MQTT311-3.1.4-1]. `why`, a fixed phrase,
  // is for the log, and so is `rule`; `words` are the client's Reason String.
  void Refuse(Connection& connection, mqtt::ReasonCode reason, std::string_view why,
              std::string_view words = {}, std::string_view rule = {});

 private:
  // False: it is banned, and was refused. Asked before its password is looked at, with the user
  // name that it claims, and once more with the one that was established.
  bool CheckBans(Connection& connection, std::string_view user_name);
  // It is connected: whether that still holds, if access has changed since `generation`.
  void AskAgain(Connection& connection, uint64_t generation);
  // Null: it is not banned.
  const auth::Ban* BanOf(const Connection& connection, const auth::BanTable& bans,
                         std::string_view client_id, std::string_view user_name) const;
  // False: what access makes of its Client Identifier is too long, and it was refused.
  bool CheckNewIdentifier(Connection& connection);
  // False: its address has too many connections, and it was refused.
  bool AdmitProxied(Connection& connection, const std::string& address);
  // False: its user has too many clients, and it was refused.
  bool AdmitUser(Connection& connection);
  void OnStep(Connection& connection, auth::AuthStep step);
  void OnReauthentication(Connection& connection, const mqtt::Auth& packet);
  void OnReauthenticationStep(Connection& connection, auth::AuthStep step);
  void OnOutcome(Connection& connection, auth::Outcome outcome);
  void Open(Connection& connection);
  void OpenFenced(Connection& connection);
  void OnSessionRefused(Connection& connection, const storage::SessionOpened& event);
  void Accept(Connection& connection, storage::SessionOpened& event);
  void SendRefusal(Connection& connection, mqtt::ReasonCode reason, std::string_view words,
                   uint32_t packet_size_max);
  // False: it is larger than the client takes, and was not sent.
  bool SendAuth(Connection& connection, mqtt::ReasonCode reason, std::string_view method,
                std::string_view data, uint32_t packet_size_max);

  ShardContext& context_;
  const auth::AuthMethodRegistry& methods_;
  UserPlaces& users_;
  struct Opening {
    uint64_t connection = 0;
    bool fresh = true;
  };
  // The claim is answered, or nobody waits for that any more.
  void Forget(storage::Token claim);
  absl::flat_hash_map<storage::Token, Opening> opening_;  // Claims on their way.
  size_t fresh_claims_ = 0;
  struct Asked {
    storage::Token claim = 0;
    uint32_t at_tick = 0;
  };
  std::deque<Asked> asked_;  // Of the last second: the fresh ones, and what is answered.
  absl::flat_hash_map<uint64_t, std::string>
      methods_in_use_;  // Connection → the method of its CONNECT.
  absl::flat_hash_map<uint64_t, std::unique_ptr<auth::AuthMethod>> reauthentications_;
  // Connections that a proxy passed on, if their addresses are limited → their places there.
  absl::flat_hash_map<uint64_t, std::shared_ptr<const void>> source_places_;
  // Connections whose users are limited → their places among the user's.
  absl::flat_hash_map<uint64_t, UserPlaces::Place> user_places_;

 public:
  // Set by the shard: a durable session is back, with these subscriptions.
  std::function<void(Session&, const storage::SubscriptionRecord&)> add_subscription;
  // Set if there are hooks: CONNACK is in the output.
  std::function<void(Connection&, bool session_present)> on_connected;
  // Set if there is a hook that wants to see wills: OnWillDecided follows, now or later.
  std::function<void(Connection&, const mqtt::MessagePtr& will)> ask_will_hook;
};

}  // namespace broker
#endif  // BROKER_CONNECT_FLOW_H_
