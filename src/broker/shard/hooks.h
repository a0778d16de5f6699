// What a program that embeds the broker wants to hear of, and to decide.
#ifndef BROKER_SHARD_HOOKS_H_
#define BROKER_SHARD_HOOKS_H_

#include <cstdint>
#include <optional>

#include "broker/core/session.h"
#include "broker/shard/connection.h"
#include "broker/shard/hook_answer.h"
#include "broker/shard/shard_metrics.h"
#include "mqtt/message.h"
#include "mqtt/packets.h"

namespace broker {

enum class ConnectionState : uint8_t {
  kNew,     // Accepted, nothing said yet.
  kActive,  // Connected, and heard from lately.
  kIdle,    // Connected, and not heard from for `HookTerms::idle_s`.
  kClosed,
};

// Called on the connection's shard: none of it blocks. Connections of the process itself
// (ListenerTerms::inside) are not asked about.
class Hooks {
 public:
  virtual ~Hooks() = default;

  // Each decides now, or returns nullopt: then HookAnswered comes to the connection's shard, once,
  // and nothing is read from the client until then. A wait that takes `timeout_s` ends the client.
  virtual std::optional<HookAnswer> OnConnected(const Connection& connection,
                                                bool session_present) = 0;
  virtual std::optional<HookAnswer> OnPublish(const Connection& connection,
                                              const mqtt::MessagePtr& message) = 0;
  // Of a CONNECT that is allowed (`connection.connecting`), before its session is opened: kRefuse
  // and kClose refuse the connection.
  virtual std::optional<HookAnswer> OnWill(const Connection& connection,
                                           const mqtt::MessagePtr& message) = 0;
  virtual std::optional<HookAnswer> OnSubscribe(const Connection& connection,
                                                const mqtt::Subscribe& packet) = 0;
  virtual std::optional<HookAnswer> OnUnsubscribe(const Connection& connection,
                                                  const mqtt::Unsubscribe& packet) = 0;

  enum class Delivery : uint8_t { kDeliver, kDrop, kClose };
  virtual Delivery OnDeliver(const Session& session, const mqtt::MessageParts& message) = 0;

  // After CONNACK, and once.
  virtual void OnDisconnected(const Connection& connection, CloseCause cause) = 0;
  virtual void OnState(const Connection& connection, ConnectionState state) = 0;
  // The connection was not answered about in time.
  virtual void OnTimeout(const Connection& connection) = 0;
  // The last that is heard of a connection.
  virtual void OnGone(const Connection& connection) = 0;
};

// Which hooks there are. Null: what it would be asked goes on as if there were none.
struct HookTerms {
  Hooks* any = nullptr;  // Not null if one of the others is not.
  Hooks* connected = nullptr;
  Hooks* publish = nullptr;
  Hooks* deliver = nullptr;
  Hooks* subscribe = nullptr;
  Hooks* unsubscribe = nullptr;
  Hooks* disconnected = nullptr;
  Hooks* state = nullptr;
  uint32_t idle_s = 60;     // At least 1.
  uint32_t timeout_s = 10;  // At least 1.
};

}  // namespace broker
#endif  // BROKER_SHARD_HOOKS_H_
