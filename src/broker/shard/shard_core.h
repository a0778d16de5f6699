// One shard without its thread: connections as streams of bytes, time, and what the partition host
// and other shards tell it come in; bytes, requests and what other shards are told go out.
#ifndef BROKER_SHARD_SHARD_CORE_H_
#define BROKER_SHARD_SHARD_CORE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "auth/core/method.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/timeline.h"
#include "broker/core/arrivals.h"
#include "broker/core/lease_end.h"
#include "broker/core/ports.h"
#include "broker/core/throttle.h"
#include "broker/shard/acknowledger.h"
#include "broker/shard/connect_flow.h"
#include "broker/shard/deliver_flow.h"
#include "broker/shard/deliverer.h"
#include "broker/shard/drain.h"
#include "broker/shard/hook_flow.h"
#include "broker/shard/listener_terms.h"
#include "broker/shard/node_flow.h"
#include "broker/shard/publish_flow.h"
#include "broker/shard/shard_context.h"
#include "broker/shard/shard_memory.h"
#include "broker/shard/shard_ports.h"
#include "broker/shard/subscribe_flow.h"
#include "broker/shard/timer_wheel.h"

namespace broker {

// What all shards share. Outlives them.
struct ShardWorld {
  const ShardOptions* options = nullptr;
  base::Clock* clock = nullptr;
  const base::Timeline* timeline = nullptr;  // The partition host's. Null until the shards start.
  storage::NodeId node;                      // None, on a node alone.
  storage::Incarnation incarnation;          // Known when the shards start.
  PartitionClient* partitions = nullptr;
  uint32_t partition_count = 1;     // Of the store. Known when the shards start.
  Forwarder* forwarder = nullptr;   // Null on a node alone.
  const LeaseEnd* lease = nullptr;  // Likewise.
  const auth::AuthMethodRegistry* methods = nullptr;
  UserPlaces* user_places = nullptr;
  // What the access rules let somebody do, connected or not; null: nothing, there is no such
  // account any more. Any thread. Without: everything.
  std::function<std::shared_ptr<const auth::Permissions>(const storage::SessionUser&)>
      permissions_of;
  HookTerms hooks;
  // Of `subscriptions_bytes_max`, what no subscription takes. Any thread.
  std::function<uint64_t()> room_for_subscriptions;
  std::vector<std::shared_ptr<const ListenerTerms>> listeners;
  std::vector<const ShardMetrics*> metrics;  // Of all shards; filled before any of them starts.
  // Changed values of the $SYS topics, or null: there are none. Shard 0 asks every
  // `sys_interval_s`.
  std::function<std::shared_ptr<const std::vector<std::pair<std::string, std::string>>>()>
      sys_topics;
};

// Owns its connections. Used on one thread, but for `NoteRoutesCame`. Whoever drives it (Shard with
// a poller, a simulator with a heap of events) takes turns:
//
//   core.BeginTurn();
//   in each round, of which a turn has one or more:
//     core.OnReady(connection, …);  core.Accept(…);  core.OnTimer()     as it comes
//     core.ReadAgain();
//     core.OnTask(…)  for all that is in the mailbox;  core.OnMailTaken(how many)
//     core.FinishRound();                          what there is to say leaves, the dead are freed
//   core.HasWork(): another turn at once. Else at core.due_ns(), or when something comes.
//
// Nothing of it survives a crash: what must, is in the partitions.
class ShardCore final : public ShardContext {
 public:
  ShardCore(storage::ShardId id, uint32_t shards, ShardWorld& world, ShardMetrics& metrics,
            ShardPort& port, base::Rng rng);
  ~ShardCore() override;

  // ---- A turn.
  // Before anything is read in it: who may not be served any more is not read from.
  void BeginTurn();
  struct Readiness {
    bool readable = false;
    bool writable = false;
    bool gone = false;  // The peer has ended its direction, or the stream is broken: also readable.
  };
  void OnReady(Connection& connection, Readiness readiness);
  void ReadAgain();
  void OnTask(ShardTask task);
  void OnMailTaken(size_t count);
  // True: there is reason for another round at once.
  bool FinishRound();
  bool HasWork() const { return !again_.empty() || arrivals_.Ready(connecting_.opening()); }

  // What another shard posted changes its routes: to be taken before what clients send. Any thread.
  void NoteRoutesCame() { routes_came_.store(true, std::memory_order_release); }

  // ---- Time. The clocks are read in here.
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  // When OnTimer is wanted, on the monotonic clock. It may have changed with whatever was called.
  int64_t due_ns() const;
  // True: a tick has passed, not only a pause of some publisher's.
  bool OnTimer();

  // ---- Connections.
  // A new one, of the listener of that number. It is owned and watched, or refused.
  void Accept(std::unique_ptr<Stream> stream, size_t listener);
  // New connections of the listener get these terms.
  void UseListener(std::shared_ptr<const ListenerTerms> terms);
  // For new connections: what open listeners have, by their index. Of one that is taken out nobody
  // is let in any more, and its connections keep what they go by.
  absl::flat_hash_map<size_t, std::shared_ptr<const ListenerTerms>> listeners;
  // The access rules were read again: connected clients get the new ones, or are sent away.
  void RefreshPermissions();
  // Memory is short, or enough again.
  void UseMemoryState(bool high) { memory_.UseMemoryState(high); }
  // Before `ShutDown`. Nobody is accepted once it has begun.
  Drain drain{*this};
  // Whoever is left is told to go at once. The last of them is gone after the timeout, whether it
  // has taken its DISCONNECT or not; `shutdown_timeout_s`, unless another is given.
  void ShutDown(std::optional<absl::Duration> timeout = std::nullopt);
  bool finished() const { return shutdown_deadline_tick_ != 0 && connections.empty(); }

  // ---- For its parts.
  uint64_t RoomForSubscriptions() const override { return world_.room_for_subscriptions(); }
  void Close(Connection& connection, const CloseOrder& order) override;
  void Violated(Connection& connection, const mqtt::Violation& violation) override;
  void Pause(Connection& connection, PauseReason reason) override;
  void Resume(Connection& connection, PauseReason reason) override;
  void PauseUntil(Connection& connection, int64_t until_ns) override;

 private:
  void ReadClocks();
  void OnTick();
  void ResumeThrottled();
  void OnDeadline(Connection& connection);
  void PublishSysTopics();
  uint32_t DeadlineOf(const Connection& connection) const;

  bool IsFull() const;
  void Arrive(Connection& connection);
  void ServeArrivals();
  void VisitAgain(Connection& connection);
  void Visit(Connection& connection);
  void Read(Connection& connection);
  void OnReadFailed(Connection& connection, IoState state);
  void OnGoneBeforeLogin(Connection& connection);
  void Discard(Connection& connection);
  void Consume(Connection& connection, const uint8_t* data, size_t size);
  size_t ConsumeStash(Connection& connection, const uint8_t* data, size_t size);
  static uint32_t PacketSizeMax(const Connection& connection);
  void BadFrame(Connection& connection, const mqtt::FrameResult& frame, mqtt::Bytes bytes);
  void OnFrame(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes body);
  void OnFrameBeforeConnAck(Connection& connection, const mqtt::FrameHeader& header,
                            mqtt::Bytes body);
  void OnFrameConnected(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes body);
  void OnAck(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes body);
  void OnDisconnect(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes body);
  void KeepHalfSent(Connection& connection, mqtt::Bytes bytes, size_t packet_bytes);

  void OnStorageEvent(storage::NodeId from, storage::Event event);
  void OnTakenOver(const storage::TakenOver& event);
  void OnSysTopics(const SysTopics& topics);

  void Flush(Connection& connection);
  void CountOutput(Connection& connection);
  void CountAnswers(Connection& connection);
  void CountLookups();
  void FlushAll();
  void CloseAll();
  void PostAll();
  void SendAll();
  void EndSession(Connection& connection, const CloseOrder& order);
  void Bury(Connection& connection);

  ShardWorld& world_;
  ShardPort& port_;
  std::atomic<bool> routes_came_{false};

  Deliverer deliverer_;
  Acknowledger acknowledger_;
  PublishFlow publishing_;
  SubscribeFlow subscribing_;
  DeliverFlow delivering_;
  ConnectFlow connecting_;
  std::unique_ptr<HookFlow> hooking_;  // Null: there are no hooks.
  std::unique_ptr<NodeFlow> nodes_;    // Null: the node is alone.
  uint32_t idle_ticks_ = 0;            // See HookFlow.
  TimerWheel wheel_;
  Arrivals arrivals_;
  Waiting throttled_;
  ShardMemory memory_;

  int64_t tick_due_ns_ = 0;
  uint32_t next_sys_tick_ = 0;
  int64_t turn_began_ns_ = 0;
  uint32_t rounds_ = 0;  // Of this turn.
  std::vector<char> read_buffer_;
  // Connections that have more to be read than one visit takes. Null: closed. Keeps its memory.
  std::vector<Connection*> again_;
  size_t again_listed_ = 0;            // Those of earlier rounds.
  std::vector<Connection*> flushing_;  // Was `dirty`. Empty but in `FlushAll`.
  std::vector<Connection*> dead_;      // To be freed at the end of the round.
  uint64_t last_connection_ = 0;
  uint64_t finds_counted_ = 0;
  uint64_t misses_counted_ = 0;
  uint32_t shutdown_deadline_tick_ = 0;  // 0: not shutting down.
};

}  // namespace broker
#endif  // BROKER_SHARD_SHARD_CORE_H_
