// The broker as a whole: listeners, shards, and their life from binding to the last DISCONNECT.
#ifndef BROKER_SERVER_H_
#define BROKER_SERVER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "auth/authenticator.h"
#include "auth/core/method.h"
#include "auth/hash_pool.h"
#include "auth/run_time_access.h"
#include "auth/verified_logins.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/memory_account.h"
#include "broker/core/lease_end.h"
#include "broker/core/ports.h"
#include "broker/memory_monitor.h"
#include "broker/metrics.h"
#include "broker/options.h"
#include "broker/published.h"
#include "broker/pulse.h"
#include "broker/shard/hooks.h"
#include "broker/shard/listener_terms.h"
#include "broker/shard/shard_task.h"
#include "broker/sys_topics.h"
#include "broker/user_limits.h"
#include "storage/core/partition_api.h"
#include "storage/partition_host.h"

namespace broker {

class Shard;
class ShardCore;
struct ShardFleet;

// Embeddable: main makes one, gives it a partition host, starts it. Every function is for one
// controlling thread, but `metrics` and what storage::EventSink says.
//
//   Server::Create   binds the listeners and loads certificates, passwords, rules: all that can be
//   wrong is told here Start            threads run; connections are accepted once stored sessions'
//   routes are known (`on_ready`) Drain            clients are told to go, some at a time; sessions
//   are kept, wills stand         ShutDown         returns when the last connection is gone
class Server final : public storage::EventSink {
 public:
  struct Dependencies {
    base::Clock* clock = nullptr;
    const auth::AuthMethodRegistry* methods = nullptr;  // Null: no enhanced authentication.
    // What is compared with `memory_high_bytes`; on any thread. Null: the resident memory.
    std::function<uint64_t()> memory_used_bytes = nullptr;
    // Of the program that embeds the server; see there.
    HookTerms hooks = {};
    // What holds at all listeners beside their files. Null: nothing.
    std::shared_ptr<const auth::RunTimeAccess> run_time_access = nullptr;
    // Puts its own in front of a listener's gatekeeper. Null: nothing.
    std::function<std::shared_ptr<Gatekeeper>(std::shared_ptr<Gatekeeper>)> gatekeeper = nullptr;
    // To the other nodes of a cluster. Null: there are none.
    Forwarder* forwarder = nullptr;
    const LeaseEnd* lease = nullptr;  // Likewise.
  };

  // Errors: those of the listeners and of the authentication files, in words that name the
  // listener.
  static absl::StatusOr<std::unique_ptr<Server>> Create(BrokerOptions options,
                                                        Dependencies dependencies);
  ~Server() override;

  storage::ShardId shards() const;
  // The URLs in force, with real ports. Any thread.
  std::vector<std::string> urls() const;

  // `host` outlives the server's threads. `on_ready` is called once, on some thread, when
  // connections are accepted.
  void Start(storage::PartitionHost& host, std::function<void()> on_ready);
  // In a cluster, where `partitions` takes to other nodes what is led there. The host knows which
  // life of which node it is.
  void Start(storage::PartitionHost& host, PartitionClient& partitions,
             std::function<void()> on_ready);
  // See Fence. Any thread, once it has started.
  void Fence(Fenced fenced);
  // See broker::StepAside. Any thread, likewise; `done` is called on one when all shards have.
  void StepAside(bool aside, std::function<void()> done);
  // Into the shard's mailbox. Any thread, likewise.
  void PostTasks(storage::ShardId shard, std::unique_ptr<base::Batch<ShardTask>> tasks);

  // Certificates, passwords and access rules are read again, limits taken from `options`; connected
  // clients stay, but those whose account is gone, also those who came in at a listener that is
  // closed by now. Listeners are matched by name and address; new or removed ones need a restart.
  // All or nothing: if anything is wrong with any file, or `before_use`, called when all of them
  // are right, has an objection, nothing changes. The error has a line for each mistake.
  absl::Status Reload(const BrokerOptions& options,
                      const std::function<absl::Status()>& before_use);
  // What listeners had that are closed, or have other limits by now, and what connections have
  // still: what they go by lives as long as the last of them.
  size_t former_terms() const;

  // One listener more, from `Start` on. Returns its URL, with the real port. If one of this name
  // was closed, those who came in there are judged by this one's files and counted with its own.
  // Errors: as `Create`; kAlreadyExists: one of this name is open.
  absl::StatusOr<std::string> AddListener(ListenerSettings settings);
  // Closes the socket; nobody comes in there any more, and who is connected stays. By URL as `urls`
  // has it. kNotFound: there is none.
  absl::Status CloseListener(const std::string& url);

  // Nobody is accepted any more, and those who are connected are told to go, at the rate of
  // `DrainOptions` (see there). `on_drained` is called once, on some thread, when the last is gone.
  // Returns how long it takes to tell them all. Nothing but `ShutDown` follows.
  absl::Duration Drain(std::function<void()> on_drained);
  // Ends the threads. Whoever is still connected is told to go, and not waited for longer than
  // `timeout`: `shutdown_timeout_s`, unless another is given.
  void ShutDown(std::optional<absl::Duration> timeout = std::nullopt);

  // ---- For the program that embeds the server. Any thread, from `Start` on; not once `ShutDown`
  // has returned.
  // A connection of the process itself: no hook and no access rule concerns it.
  void AdoptInside(std::unique_ptr<Stream> stream);
  void Tell(const storage::ConnectionRef& connection, auth::Outcome outcome);
  void Tell(const storage::ConnectionRef& connection, HookAnswer answer);
  // DISCONNECT with `reason`, if it is still there.
  void Disconnect(const storage::ConnectionRef& connection, mqtt::ReasonCode reason);

  // For who looks at a shard from outside, or steers it: rare and short. Runs on the shard's
  // thread, between two of its turns; never, if the shard has ended. Any thread.
  void RunOnShard(storage::ShardId shard, std::function<void(ShardCore&)> task);

  // Who the files of each listener let in, for people.
  struct AccessFiles {
    std::string listener;  // Its name.
    std::string password_file;
    size_t users = 0;
    std::string acl_file;
    bool allow_anonymous = false;
    bool knows_user = false;  // The user that was asked for.
  };
  std::vector<AccessFiles> access_files(std::string_view user_name = {}) const;
  // What somebody may do who comes in there. Null: there is no such account. Errors: kNotFound,
  // there is no listener of that name.
  absl::StatusOr<std::shared_ptr<const auth::Permissions>> RightsAt(
      std::string_view listener, const storage::SessionUser& user) const;
  // For passwords; from `Create` on. It stops with `ShutDown`.
  const std::shared_ptr<auth::HashPool>& hash_pool() const { return hash_pool_; }

  MetricsSnapshot metrics() const;

  // Once a second, between `Start` and `ShutDown`: asks each shard for a sign of life.
  void WatchShards();
  // As of the last `WatchShards`. Any thread.
  StallView stall() const;

  // storage::EventSink, for the shards of this node. Called on the partition host's thread.
  void Post(const storage::ShardAddress& to, std::vector<storage::Event> events) override;
  bool MayPublish(const storage::SessionUser& author, std::string_view topic) const override;
  bool MayRead(const storage::SessionUser& reader, std::string_view topic) const override;

 private:
  struct ListenerRuntime;
  struct ReadFiles;
  class InsideGate;
  // What there is under a listener's name, whether it is open or not: whoever came in before it was
  // closed is judged by the same files as those who come in once it is open again, and counted
  // with them.
  struct NamedListener {
    std::string name;
    std::string url;  // With the real port.
    std::shared_ptr<auth::Authenticator> authenticator;
    std::shared_ptr<ListenerCount> count;
    std::shared_ptr<const Listener> open;  // Null: it is closed.
  };

  explicit Server(BrokerOptions options, Dependencies dependencies);
  absl::Status Bind();
  std::shared_ptr<const ListenerTerms> MakeInside() const;
  absl::StatusOr<std::shared_ptr<const ListenerRuntime>> MakeListener(
      const ListenerSettings& settings, size_t index);
  // Null: there is none of that name.
  static const NamedListener* Find(const std::vector<NamedListener>& all, std::string_view name);
  // What a reload under `options` is to use; nothing is used yet.
  ReadFiles Read(const BrokerOptions& options) const;
  // Of everybody who is connected: the accounts or rules are others than before.
  void RefreshPermissions();
  // New connections get them.
  void UseLimits(std::shared_ptr<const ListenerRuntime>& current, const Limits& limits);
  void NoteFormer(const std::shared_ptr<const ListenerTerms>& terms);
  // What other threads see of `listeners_`.
  void PublishListeners();

  // What all threads hold in memory for clients.
  base::MemorySums AccountMemory() const;
  uint64_t RoomForSubscriptions() const;
  // Null: there is no such account any more.
  std::shared_ptr<const auth::Permissions> PermissionsOfAbsent(
      const NamedListener& listener, const storage::SessionUser& user) const;
  std::shared_ptr<const auth::Permissions> PermissionsOf(const storage::SessionUser& user) const;
  // What is compared with the mark: the greater of what the account says and what the system says.
  uint64_t MemoryUsedBytes() const;
  void TellMemoryState(bool high);

  class LocalPartitions;

  const BrokerOptions options_;
  const Dependencies dependencies_;
  const auth::AuthMethodRegistry no_methods_;
  const std::shared_ptr<const auth::RunTimeAccess> run_time_access_;
  const absl::Time started_;
  const absl::Duration started_monotonic_;
  MemoryMonitor memory_;
  std::vector<std::unique_ptr<ShardMetrics>> metrics_;
  UserLimits user_limits_;
  std::unique_ptr<ShardFleet> fleet_;
  uint32_t watched_s_ = 0;                      // Calls of `WatchShards`.
  std::vector<std::unique_ptr<Pulse>> pulses_;  // By shard.
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<LocalPartitions> partitions_;
  std::vector<std::shared_ptr<const ListenerRuntime>> listeners_;
  size_t next_listener_ = 0;                                // The number that no listener had yet.
  std::vector<std::weak_ptr<const ListenerTerms>> former_;  // See `former_terms`.
  std::unique_ptr<SysTopicSource> sys_topics_;
  // Of open listeners, and of those that were closed last or have connections still. Other threads
  // ask them, the host's above all: for sessions that were made there.
  Published<std::vector<NamedListener>> named_;
  std::shared_ptr<auth::HashPool> hash_pool_;              // One for all listeners.
  std::shared_ptr<auth::VerifiedLogins> verified_logins_;  // Likewise.
  storage::PartitionHost* host_ = nullptr;
  std::atomic<uint32_t> adopted_{0};  // By `AdoptInside`: shards take turns.
  std::atomic<bool> running_{false};
  std::atomic<uint32_t> shards_draining_{0};
};

}  // namespace broker
#endif  // BROKER_SERVER_H_
