// What the parts of one shard share: the world as this thread sees it, and the ways out of it.
#ifndef BROKER_SHARD_CONTEXT_H_
#define BROKER_SHARD_CONTEXT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "base/mailbox.h"
#include "base/rng.h"
#include "broker/core/ports.h"
#include "broker/core/retained_gate.h"
#include "broker/core/router.h"
#include "broker/shard/connection.h"
#include "broker/shard/listener_terms.h"
#include "broker/shard/observer.h"
#include "broker/shard/output_queue.h"
#include "broker/shard/shard_metrics.h"
#include "broker/shard/shard_options.h"
#include "broker/shard/shard_task.h"
#include "storage/core/request_streams.h"

namespace broker {

// How a connection is to end.
struct CloseOrder {
  CloseCause cause = CloseCause::kPeerClosed;
  // 5.0, after CONNACK: DISCONNECT with this code goes first. None: nothing is said.
  std::optional<mqtt::ReasonCode> say = std::nullopt;
  storage::CloseCause session = storage::CloseCause::kWithWill;
  std::optional<uint32_t> expiry_s = std::nullopt;  // From the client's DISCONNECT.
  std::string_view rule = {};                       // That was broken: static text, for the log.
  std::string_view server_reference = {};           // Beside `say`: where to go. Of the options.
};

// Used on the shard's thread only.
class ShardContext {
 public:
  ShardContext(storage::ShardId shard, uint32_t count, const ShardOptions& o,
               const uint32_t& partition_count, ShardMetrics& m, base::Rng chance,
               Forwarder* other_nodes)
      : id(shard),
        shards(count),
        options(o),
        partitions(partition_count),
        metrics(m),
        streams(partition_count),
        router(o.match_cache_topics_max, other_nodes != nullptr),
        rng(std::move(chance)),
        forwarder(other_nodes),
        outboxes_(count),
        announcements_(count) {}
  virtual ~ShardContext() = default;
  ShardContext(const ShardContext&) = delete;
  ShardContext& operator=(const ShardContext&) = delete;

  const storage::ShardId id;
  const uint32_t shards;
  const ShardOptions& options;
  const uint32_t& partitions;  // How many the store has. Known when the shard starts.
  ShardMetrics& metrics;
  storage::RequestStreams streams;
  Router router;
  BufferPool buffers;
  base::Rng rng;
  Forwarder* const forwarder;             // Null on a node alone.
  RetainedGate* retained_gate = nullptr;  // Likewise.
  // Asks a hook whether the session is to have a message. Empty: there is none.
  std::function<bool(const Session&, const mqtt::MessageParts&)> ask_deliver_hook;

  // Read once a turn: the time of messages (base::Timeline), and the monotonic clock.
  int64_t now_unix_ms = 0;
  uint32_t now_tick = 0;  // The same in tenths of a second, for what is filed in the TimerWheel.
  int64_t now_ns = 0;
  // Null: nobody looks. Beside the time, which every packet looks at.
  std::shared_ptr<Observer> observer;

  static constexpr uint32_t kTicksPerSecond = 10;
  static constexpr int64_t kTickNs = 1'000'000'000 / kTicksPerSecond;
  uint32_t InTicks(uint32_t seconds) const { return now_tick + seconds * kTicksPerSecond; }

  // Memory is short, see MemoryMonitor. Then only a sixteenth is kept for those who read slowly.
  bool memory_high = false;
  uint64_t InMemory(uint64_t bound) const {
    return memory_high ? BoundWhileMemoryIsShort(bound) : bound;
  }

  // This node has no lease in its cluster: see Fence. As it was told, or found out by itself.
  Fenced fenced = Fenced::kNobody;
  Fenced fence_told = Fenced::kNobody;
  Fenced fence_found = Fenced::kNobody;
  bool aside = false;  // See StepAside.

  // Of the memory that all sessions' subscriptions may take, what is left now.
  virtual uint64_t RoomForSubscriptions() const = 0;
  // What the access rules of this moment let whoever it is have. Null: everything.
  std::shared_ptr<const ShareReader> ReaderOf(const storage::SessionUser& user) const {
    if (!permissions_of) return nullptr;
    return std::make_shared<const ShareReader>(ShareReader{user, permissions_of(user)});
  }
  std::function<std::shared_ptr<const auth::Permissions>(const storage::SessionUser&)>
      permissions_of;

  Connection* Find(uint64_t connection) const {
    const auto it = connections.find(connection);
    return it == connections.end() ? nullptr : it->second.get();
  }
  // What open connections go by, whatever their listeners have by now. Outlives them.
  struct TermsInUse {
    std::shared_ptr<const ListenerTerms> terms;
    size_t connections = 0;
  };
  absl::flat_hash_map<const ListenerTerms*, TermsInUse> terms_in_use;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Connection>> connections;
  absl::btree_set<uint64_t> connection_numbers;  // Of the same, for who goes through them in parts.

  // The connection has output: it is written at the end of the round.
  void MarkDirty(Connection& connection) {
    if (connection.dirty) return;
    connection.dirty = true;
    dirty.push_back(&connection);
  }
  std::vector<Connection*> dirty;

  // Leaves at the end of the round, in order.
  template <typename Kind>
  void Ask(Kind&& request) {
    streams.Number(requests.emplace_back(std::forward<Kind>(request)));
  }
  // Of no use to a leader that comes later: not asked again.
  template <typename Kind>
  void AskThisLeader(Kind&& request) {
    streams.NumberForThisLeader(requests.emplace_back(std::forward<Kind>(request)));
  }
  // What the session's client has acknowledged since the last time. Before a request of its whose
  // answer says that everything before it is stored, too.
  void AskAcknowledged(Session& session) {
    if (session.acknowledgements != nullptr) TakeAcknowledged(session);
  }
  ABSL_ATTRIBUTE_NOINLINE void TakeAcknowledged(Session& session) {
    session.acknowledgements->client_id = session.client_id.view();
    session.acknowledgements->epoch = session.epoch;
    Ask(std::move(*session.acknowledgements));
    session.acknowledgements.reset();
  }
  std::vector<storage::Addressed> requests;

  void Send(storage::ShardId shard, ShardTask task) {
    auto& batch = outboxes_[shard];
    if (batch == nullptr) batch = std::make_unique<base::Batch<ShardTask>>();
    batch->items.push_back(std::move(task));
  }
  std::unique_ptr<base::Batch<ShardTask>> TakeOutbox(storage::ShardId shard) {
    return std::move(outboxes_[shard]);
  }

  // A change of this shard's routes. Leaves before the requests: when another shard is granted a
  // Client Identifier that a session here gave up, all have heard that it is gone from here.
  void Announce(storage::ShardId shard, ShardTask task) {
    auto& batch = announcements_[shard];
    if (batch == nullptr) batch = std::make_unique<base::Batch<ShardTask>>();
    batch->items.push_back(std::move(task));
  }
  std::unique_ptr<base::Batch<ShardTask>> TakeAnnouncements(storage::ShardId shard) {
    return std::move(announcements_[shard]);
  }

  // Who subscribes to what is not as before: the host and the other shards hear of it before any
  // client hears from this shard again.
  bool routes_changed = false;

  storage::Token NextToken() { return ++last_token_; }

  // What this shard holds in memory for clients.
  base::MemoryAccount& memory() { return metrics.memory; }

  // Ends a connection. `Close` at once: not while a Match is being walked; `CloseLater` at the end
  // of the round.
  virtual void Close(Connection& connection, const CloseOrder& order) = 0;
  void CloseLater(Connection& connection, const CloseOrder& order) {
    closing.emplace_back(connection.ref.connection, order);
  }
  std::vector<std::pair<uint64_t, CloseOrder>> closing;

  // The peer broke a rule: the answer the version knows, then close.
  virtual void Violated(Connection& connection, const mqtt::Violation& violation) = 0;

  virtual void Pause(Connection& connection, PauseReason reason) = 0;
  virtual void Resume(Connection& connection, PauseReason reason) = 0;
  // Until the clock says so.
  virtual void PauseUntil(Connection& connection, int64_t until_ns) = 0;

  // A SUBSCRIBE, UNSUBSCRIBE or PUBREL that other threads have to agree to came, or is answered. At
  // the limit the client is not read from until half of them are.
  static constexpr uint32_t kRequestsWaitingMax = 1024;
  void RequestCame(Connection& connection) {
    if (++connection.requests_waiting >= kRequestsWaitingMax) Pause(connection, kPauseRequests);
  }
  void RequestAnswered(Connection& connection) {
    if (--connection.requests_waiting <= kRequestsWaitingMax / 2) {
      Resume(connection, kPauseRequests);
    }
  }

 private:
  std::vector<std::unique_ptr<base::Batch<ShardTask>>> outboxes_;
  std::vector<std::unique_ptr<base::Batch<ShardTask>>> announcements_;
  storage::Token last_token_ = 0;
};

}  // namespace broker
#endif  // BROKER_SHARD_CONTEXT_H_
