// One thread that serves connections: a ShardCore with a poller, sockets and a mailbox.
#ifndef BROKER_SHARD_H_
#define BROKER_SHARD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mailbox.h"
#include "broker/shard/shard_core.h"
#include "broker/shard/shard_ports.h"
#include "broker/shard/shard_task.h"
#include "broker/transport/listener.h"
#include "broker/transport/poller.h"

namespace broker {

class Shard;

// All shards of a server, and what they share. Outlives them.
struct ShardFleet {
  ShardWorld world;
  // In the order of the world's; until they are opened.
  std::vector<std::shared_ptr<Listener>> listeners;
  std::vector<Shard*> shards;  // Likewise by number.
};

// All but the constructor, `Start`, `mailbox` and `Join` on its own thread: by a Control task.
class Shard final : private Poller::Handler, private ShardPort {
 public:
  static absl::StatusOr<std::unique_ptr<Shard>> Create(storage::ShardId id, uint32_t shards,
                                                       ShardFleet& fleet, ShardMetrics& metrics);
  ~Shard();

  // Starts the thread. Nothing is accepted before `StartAccepting`.
  void Start();
  void Join();
  base::Mailbox<ShardTask>& mailbox() { return mailbox_; }

  ShardCore& core() { return core_; }
  // By their index. One that was closed meanwhile is passed over.
  void StartAccepting(const std::vector<std::shared_ptr<Listener>>& listeners);
  // One listener alone; `index`: its ListenerTerms'.
  void StartAccepting(const std::shared_ptr<Listener>& listener, size_t index);
  // For good: nothing is kept of it but what its connections go by.
  void CloseListener(size_t index);
  // See Drain. `on_drained` is called once, when the last connection is gone.
  void BeginDrain(uint32_t ticks, std::function<void()> on_drained);
  // See ShardCore::ShutDown. The thread ends when the last connection is gone.
  void ShutDown(std::optional<absl::Duration> timeout);

 private:
  struct Loop;

  Shard(storage::ShardId id, uint32_t shards, ShardFleet& fleet, ShardMetrics& metrics);

  // Poller::Handler
  void OnTurn() override;
  void OnEvents(void* target, uint32_t events) override;
  bool OnEndOfRound() override;
  bool OnSleep() override;

  // ShardPort
  void Post(storage::ShardId to, std::unique_ptr<base::Batch<ShardTask>> batch) override;
  void Hurry(storage::ShardId to) override;
  void TakeMail() override;
  absl::Status Watch(Connection& connection) override;
  void Unwatch(Connection& connection) override;
  void Adopt(std::unique_ptr<Stream> stream, size_t listener) override;
  void HoldAcceptors(bool hold) override;

  void StopAccepting();
  void OnTimer();
  void SetTimer();

  ShardFleet& fleet_;
  base::Mailbox<ShardTask> mailbox_;
  std::unique_ptr<Poller> poller_;
  ShardCore core_;
  std::unique_ptr<Loop> loop_;
  std::function<void()> on_drained_;
  std::thread thread_;
};

}  // namespace broker
#endif  // BROKER_SHARD_H_
