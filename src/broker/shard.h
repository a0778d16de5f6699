// One thread that serves connections: the event loop, the bytes in, and the ways out at the end of
// each round.
#ifndef BROKER_SHARD_H_
#define BROKER_SHARD_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "auth/method.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/timeline.h"
#include "broker/acknowledger.h"
#include "broker/connect_flow.h"
#include "broker/core/arrivals.h"
#include "broker/core/memory_relief.h"
#include "broker/deliverer.h"
#include "broker/input_buffer.h"
#include "broker/publish_flow.h"
#include "broker/shard_context.h"
#include "broker/subscribe_flow.h"
#include "broker/timer_wheel.h"
#include "broker/transport/poller.h"
#include "broker/user_limits.h"

namespace broker {

// What all shards of a server share. Outlives them.
struct ShardWorld {
  const BrokerOptions* options = nullptr;
  base::Clock* clock = nullptr;
  const base::Timeline* timeline = nullptr;  // The partition host's. Null until the shards start.
  PartitionClient* partitions = nullptr;
  Forwarder* forwarder = nullptr;  // Null on a node alone.
  const auth::AuthMethodRegistry* methods = nullptr;
  UserLimits user_limits;
  // Of `subscriptions_bytes_max`, what no subscription takes. Any thread.
  std::function<uint64_t()> room_for_subscriptions;
  std::vector<std::shared_ptr<ListenerRuntime>> listeners;
  std::vector<class Shard*> shards;  // By number; filled before any of them starts.
  // Changed values of the $SYS topics, or null: there are none. Shard 0 asks every
  // `sys_interval_s`.
  std::function<std::shared_ptr<const std::vector<std::pair<std::string, std::string>>>()>
      sys_topics;
};

// Owns its connections. All but the constructor, `Start`, `mailbox` and `Join` on its own thread.
class Shard final : public ShardContext, private Poller::Handler {
 public:
  static absl::StatusOr<std::unique_ptr<Shard>> Create(storage::ShardId id, uint32_t shards,
                                                       ShardWorld& world, ShardMetrics& metrics);
  ~Shard() override;

  // Starts the thread. Nothing is accepted before `StartAccepting`.
  void Start();
  void Join();
  base::Mailbox<ShardTask>& mailbox() override { return mailbox_; }
  uint64_t RoomForSubscriptions() const override { return world_.room_for_subscriptions(); }

  // On the shard's thread, by a Control task.
  void StartAccepting();
  void StopAccepting();
  // New connections of the listener get these settings.
  void UseListener(std::shared_ptr<ListenerRuntime> runtime);
  // The access rules were read again: connected clients get the new ones, or are sent away.
  void RefreshPermissions();
  // Memory is short, or enough again.
  void UseMemoryState(bool high);
  // DISCONNECT 0x8B for everyone, wills by the rules, sessions kept; then the thread ends, at the
  // latest after the timeout.
  void ShutDown();

  void Close(Connection& connection, const CloseOrder& order) override;
  void Violated(Connection& connection, const mqtt::Violation& violation) override;
  void Pause(Connection& connection, PauseReason reason) override;
  void Resume(Connection& connection, PauseReason reason) override;
  void PauseUntil(Connection& connection, int64_t until_ns) override;

 private:
  struct Loop;

  Shard(storage::ShardId id, uint32_t shards, ShardWorld& world, ShardMetrics& metrics);

  // Poller::Handler
  void OnEvents(Pollable& target, uint32_t events) override;
  void OnEndOfRound() override;
  void OnTurn() override;
  bool OnSleep() override;

  void ReadClocks();
  void OnTick();
  void TickSoon();
  void OnDeadline(Connection& connection);
  void AwaitThrottled();
  void PublishSysTopics();
  uint32_t DeadlineOf(const Connection& connection) const;

  void AddConnection(std::unique_ptr<Transport> transport, size_t listener);
  bool IsFull() const;
  void Arrive(Connection& connection);
  void ServeArrivals();
  void Read(Connection& connection);
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
  void OnOutboundAck(Session& session, const mqtt::Ack& packet);
  void OnPubRec(Session& session, const mqtt::Ack& packet);
  void OnDisconnect(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes body);
  void OnRoom(Session& session, uint64_t sequence, storage::AckKind kind);
  void NoteAcknowledged(Session& session, uint64_t sequence, storage::AckKind kind);

  // Memory: shard_memory.cc
  void KeepUnread(Connection& connection, mqtt::Bytes bytes);
  void KeepHalfSent(Connection& connection, mqtt::Bytes bytes, size_t packet_bytes);
  int64_t InputBytesMax() const;
  int64_t InputBytesHeld() const;
  void RelieveInput();
  void CloseHalfSent();
  void RelieveMemory();
  void CloseHolders(std::vector<MemoryHolder>& holders, int64_t bytes, const char* what_happened);
  static uint64_t HeldBytes(const Connection& connection);

  void TakeMail();
  void OnTask(ShardTask task);
  void OnStorageEvent(storage::Event event);
  void OnTakenOver(const storage::TakenOver& event);
  void OnDeliver(storage::Deliver event);
  void OnTooSlow(const storage::SessionTooSlow& event);
  void OnReleaseDue(const storage::ReleaseDue& event);

  void Flush(Connection& connection);
  void CountOutput(Connection& connection);
  void CountAnswers(Connection& connection);
  void CountLookups();
  void FlushAll();
  void CloseAll();
  void PostAll();
  void FinishRound();
  void EndSession(Connection& connection, const CloseOrder& order);
  void Bury(Connection& connection);
  bool IsLive(const storage::ConnectionRef& ref, uint64_t epoch, Connection*& connection) const;

  ShardWorld& world_;
  base::Mailbox<ShardTask> mailbox_;
  // Another shard's routes lie in the mailbox: to be taken before what a client sends.
  std::atomic<bool> routes_came_{false};
  std::unique_ptr<Poller> poller_;
  std::unique_ptr<Loop> loop_;
  std::thread thread_;

  Deliverer deliverer_;
  Acknowledger acknowledger_;
  PublishFlow publishing_;
  SubscribeFlow subscribing_;
  ConnectFlow connecting_;
  TimerWheel wheel_;
  Arrivals arrivals_;
  Waiting throttled_;
  InputBuffers input_;
  SharedBudget input_budget_;
  std::vector<uint64_t> starved_;  // Connections that wait for room in it.

  std::vector<std::shared_ptr<ListenerRuntime>> listeners_;  // As of the last reload.
  uint32_t next_sys_tick_ = 0;
  std::vector<char> read_buffer_;
  std::vector<Connection*> flushing_;  // Was `dirty`. Empty but in `FlushAll`.
  std::vector<Connection*> dead_;      // To be freed at the end of the round.
  uint64_t last_connection_ = 0;
  uint64_t finds_counted_ = 0;
  uint64_t misses_counted_ = 0;
  uint32_t shutdown_deadline_tick_ = 0;  // 0: not shutting down.
  uint32_t relief_tick_ = 0;             // While memory is short: when to look who holds it.
  // Closed to have memory back since the log last said so.
  uint64_t relief_closed_ = 0;
  uint64_t relief_bytes_ = 0;
  std::string relief_example_;
  uint32_t relief_log_tick_ = 0;
};

}  // namespace broker
#endif  // BROKER_SHARD_H_
