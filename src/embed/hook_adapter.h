// Between the shards and the embedding program's hooks: calls them where they may run, catches what
// they throw, measures them.
#ifndef EMBED_HOOK_ADAPTER_H_
#define EMBED_HOOK_ADAPTER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "auth/core/method.h"
#include "base/mutex.h"
#include "broker/server.h"
#include "broker/shard/hooks.h"
#include "embed/hooks.h"
#include "embed/server.h"

namespace mqttd {

class CallPlace;
class LiveConnection;

// Made before the server, outlives its shards and every call that is under way.
class HookAdapter final : public broker::Hooks, public std::enable_shared_from_this<HookAdapter> {
 public:
  HookAdapter(mqttd::Hooks hooks, Executor executor);
  ~HookAdapter() override;

  // For broker::Server::Dependencies.
  broker::HookTerms terms();
  std::shared_ptr<broker::Gatekeeper> Wrap(std::shared_ptr<broker::Gatekeeper> gatekeeper);

  // Filled with `Hooks::authentication_methods`.
  const auth::AuthMethodRegistry& methods() const { return methods_; }

  // Answers go to this server from here on; null: nowhere any more.
  void UseServer(broker::Server* server);

  void AddTo(Statistics& statistics) const;

  std::optional<broker::HookAnswer> OnConnected(const broker::Connection& connection,
                                                bool session_present) override;
  std::optional<broker::HookAnswer> OnPublish(const broker::Connection& connection,
                                              const mqtt::MessagePtr& message) override;
  std::optional<broker::HookAnswer> OnWill(const broker::Connection& connection,
                                           const mqtt::MessagePtr& message) override;
  std::optional<broker::HookAnswer> OnSubscribe(const broker::Connection& connection,
                                                const mqtt::Subscribe& packet) override;
  std::optional<broker::HookAnswer> OnUnsubscribe(const broker::Connection& connection,
                                                  const mqtt::Unsubscribe& packet) override;
  Delivery OnDeliver(const broker::Session& session, const mqtt::MessageParts& message) override;
  void OnDisconnected(const broker::Connection& connection, broker::CloseCause cause) override;
  void OnState(const broker::Connection& connection, broker::ConnectionState state) override;
  void OnTimeout(const broker::Connection& connection) override;
  void OnGone(const broker::Connection& connection) override;

 private:
  friend class LiveConnection;
  friend class CallPlace;
  class Gate;
  class Method;
  // Connections that are open, of one shard; used on its thread only.
  using Live = absl::flat_hash_map<uint64_t, std::shared_ptr<LiveConnection>>;

  std::shared_ptr<LiveConnection> Find(const storage::ConnectionRef& ref);
  bool crowded() const;
  std::optional<broker::HookAnswer> AskAbout(const std::shared_ptr<LiveConnection>& live,
                                             const mqtt::MessagePtr& message);
  // Runs `call`, which hands on what the hook says, on the executor. Until there is an answer the
  // client waits.
  template <typename Call>
  std::optional<broker::HookAnswer> Ask(std::string_view hook,
                                        const std::shared_ptr<LiveConnection>& live, Call call);
  // On the executor, whose own errors must not come to the shard. False: it did not take the task.
  bool Execute(std::string_view hook, std::function<void()> task);
  // False: it threw.
  template <typename Function>
  bool Guard(std::string_view hook, Function&& function);
  void RegisterMethods();
  template <typename Function>
  bool Measure(std::string_view hook, Function&& function);
  template <typename Decision>
  void AnswerTo(const storage::ConnectionRef& ref, Decision decision) ABSL_LOCKS_EXCLUDED(mutex_);
  void Disconnect(const storage::ConnectionRef& ref, mqtt::ReasonCode reason)
      ABSL_LOCKS_EXCLUDED(mutex_);

  const mqttd::Hooks hooks_;
  const Executor executor_;
  auth::AuthMethodRegistry methods_;
  std::array<Live, broker::kShardsMax> live_;
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> failures_{0};
  std::atomic<uint64_t> timeouts_{0};
  std::atomic<uint64_t> slow_{0};
  std::atomic<int64_t> longest_ns_{0};
  std::atomic<uint64_t> waiting_{0};
  base::Mutex mutex_;
  broker::Server* server_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace mqttd

#endif  // EMBED_HOOK_ADAPTER_H_
