// Packets that wait for what a hook says about them.
#ifndef BROKER_SHARD_HOOK_FLOW_H_
#define BROKER_SHARD_HOOK_FLOW_H_

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "broker/core/publish_right.h"
#include "broker/shard/connect_flow.h"
#include "broker/shard/hooks.h"
#include "broker/shard/publish_flow.h"
#include "broker/shard/shard_context.h"
#include "broker/shard/subscribe_flow.h"

namespace broker {

// Part of one shard, used on its thread; there only if there are hooks. A client waits with one
// packet at most: nothing more is read from it meanwhile.
class HookFlow {
 public:
  HookFlow(ShardContext& context, ConnectFlow& connecting, PublishFlow& publishing,
           SubscribeFlow& subscribing, const HookTerms& terms);

  void OnAccepted(const Connection& connection);
  void OnConnected(Connection& connection, bool session_present);
  void OnPublish(Connection& connection, const mqtt::Publish& packet, std::string_view topic,
                 PublishRight right);
  void OnWill(Connection& connection, const mqtt::MessagePtr& will);
  void OnSubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body,
                   const mqtt::Subscribe& packet);
  void OnUnsubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body,
                     const mqtt::Unsubscribe& packet);
  // False: it is not to have the message.
  bool MayHave(const Session& session, const mqtt::MessageParts& message);
  void OnAnswered(uint64_t connection, HookAnswer answer);
  void OnIdle(Connection& connection);
  void OnAwake(Connection& connection);
  void OnEnded(const Connection& connection, CloseCause cause);
  void OnGone(const Connection& connection);
  // Ends those who have waited too long.
  void OnTick();

  // Ticks without a packet from when on a connection is idle; 0: nobody wants to know.
  uint32_t idle_ticks() const { return idle_ticks_; }

 private:
  struct HeldPublish {
    mqtt::Publish packet;  // QoS, RETAIN and Packet Identifier; nothing that is a view.
    mqtt::MessagePtr message;
    PublishRight right = PublishRight::kPublish;
  };
  struct HeldRequest {
    bool subscribes = true;
    uint8_t flags = 0;
    std::string body;
  };
  struct HeldConnect {};
  struct HeldWill {};  // Of a connection that has no session yet.
  using Held = std::variant<HeldConnect, HeldWill, HeldPublish, HeldRequest>;
  struct Deadline {
    uint64_t connection = 0;
    uint32_t tick = 0;
  };
  struct Waiting {
    Held held;
    std::list<Deadline>::iterator deadline;
  };

  bool Concerns(const Connection& connection) const;
  void Wait(Connection& connection, Held held);
  void GoOn(Connection& connection, HeldConnect& held, HookAnswer& answer);
  void GoOn(Connection& connection, HeldWill& held, HookAnswer& answer);
  void GoOn(Connection& connection, HeldPublish& held, HookAnswer& answer);
  void Refuse(Connection& connection, const HeldPublish& held, mqtt::ReasonCode reason,
              std::string_view why);
  void GoOn(Connection& connection, HeldRequest& held, HookAnswer& answer);
  void End(Connection& connection, mqtt::ReasonCode reason);

  ShardContext& context_;
  ConnectFlow& connecting_;
  PublishFlow& publishing_;
  SubscribeFlow& subscribing_;
  const HookTerms terms_;
  const uint32_t idle_ticks_;
  absl::flat_hash_map<uint64_t, Waiting> waiting_;  // By connection.
  std::list<Deadline> deadlines_;                   // Of those who wait, the first one first.
};

}  // namespace broker
#endif  // BROKER_SHARD_HOOK_FLOW_H_
