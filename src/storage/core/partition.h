// One partition: the state machine of a share of all durable sessions and retained messages.
//
// Applying an entry is a function of (state, entry): no clock, no chance, no input or output but
// the reader and the batch it is given. Two replicas that apply the same entries hold the same
// state. In memory: sessions, subscriptions and the moving part of queues. In the store only:
// retained messages, and queued ones but for the newest.
//
// What entries change of sessions and queues is written with the next Flush: a message that is
// acknowledged before is never written, and those that are not stand in chunks of many. Until then
// the log has it.
//
// How the host uses it:
//   Partition p(id);  p.Load(reader);               at start, then ApplyEntry for what the log has
//                                                   beyond applied_index (effects are thrown away)
//   propose: build an Entry (command_codec.h), append it to the log, sync
//   p.ApplyEntry(entry, messages, index, term, reader, batch, effects);  write the batch; act.
//   p.Flush(batch);                                when unflushed_bytes(), or the log, is too much
#ifndef STORAGE_CORE_PARTITION_H_
#define STORAGE_CORE_PARTITION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "mqtt/message.h"
#include "storage/core/apply_rules.h"
#include "storage/core/effects.h"
#include "storage/core/kv.h"
#include "storage/core/origins.h"
#include "storage/core/outbox.h"
#include "storage/core/partition_api.h"
#include "storage/core/session.h"

namespace mqttd::storage::v1 {
class Limits;
class Meta;
}  // namespace mqttd::storage::v1

namespace storage {

namespace pb = ::mqttd::storage::v1;

struct QueueReadLimits {
  size_t messages_max = 64;    // ≥ 1.
  size_t bytes_max = 1 << 20;  // One message always fits.
};

struct QueuePage {
  std::vector<Delivery> entries;  // Ascending. Release-only entries count for the window too.
  // Not to be sent: their expiry passed before they were sent a first time. Propose DropQueued.
  std::vector<uint64_t> expired;
  uint64_t next = 0;  // Where to go on reading.
  bool end = false;   // Nothing is queued at or behind `next`.
};

// What of a queue has expired before it was sent.
struct ExpiredPage {
  std::vector<uint64_t> sequences;             // Ascending. For DropQueued.
  int64_t next_unix_ms = 0x7FFFFFFF'FFFFFFFF;  // The first of the others to expire.
  uint64_t next = 0;                           // Where to go on reading.
  bool end = false;                            // Nothing is queued at or behind `next`.
  size_t read = 0;                             // Messages: what it cost.
};

class Partition {
 public:
  // `rules`: by apply level, all that this release knows. They outlive the partition.
  explicit Partition(PartitionId id, absl::Span<const ApplyRules> rules = kApplyRules);
  ~Partition();
  Partition(const Partition&) = delete;
  Partition& operator=(const Partition&) = delete;

  PartitionId id() const { return id_; }

  // Restores what is in memory. An empty store is an empty partition. Once, before anything else.
  // Cost: sessions, not messages. A state of a level that is not known is left alone: see stopped.
  absl::Status Load(const StateReader& reader);

  // For a partition that is made again while the host goes on: each session gets the slot that it
  // has in `before`, whatever the order in which it is loaded and its entries are applied. Before
  // Load; `before` must stay until StopKeepingSlots, when both have applied the same entries.
  void KeepSlotsOf(const Partition& before);
  void StopKeepingSlots();

  // Brings a store of an earlier release to what this one expects of it. After Load; then the batch
  // is to be written, if there is anything in it.
  absl::Status Upgrade(const StateReader& reader, StateBatch& batch);

  // Applies one log entry: the bytes of an Entry. `messages` is empty, or has for each command its
  // Message if the caller has it at hand (Enqueue, SetRetained), else null: a message that is
  // needed is decoded otherwise. The reader shows everything up to the entry before: write each
  // entry's batch before applying the next. It is empty if nothing has changed that cannot wait for
  // Flush; else all is flushed with it. An entry at or below applied_index() is skipped, with no
  // outcome. `effects` are added to. Errors: the store's, or an entry that contradicts it, or one
  // that cannot be read; then the partition must be loaded again, and the batch thrown away.
  absl::Status ApplyEntry(std::string_view entry, absl::Span<const mqtt::MessagePtr> messages,
                          uint64_t index, uint64_t term, const StateReader& reader,
                          StateBatch& batch, Effects& effects);
  // It is the entry that failed, not the store: a newer release wrote it, or it is damaged. None of
  // its commands may be skipped, or this replica would differ from those that can read it. So the
  // partition goes no further with this release, and the status says so in an operator's words.
  bool stopped() const;

  // What is applied becomes the place at which a log begins: kLogBegin, or a later one of its term.
  // Then Flush.
  void BeginLog();

  // Puts into the batch what the store does not have, and the applied index: of this partition, the
  // batch then is the only change to be written next.
  void Flush(StateBatch& batch);
  // What a start after a crash would go on from.
  uint64_t flushed_index() const;
  // Of messages that wait in memory for the next flush.
  size_t unflushed_bytes() const;

  uint64_t applied_index() const;
  uint64_t applied_term() const;
  uint32_t level() const;  // Of the rules by which it applies.
  // Equal for replicas that have applied the same entries, whatever they flushed and whatever their
  // release, as long as they decided alike.
  uint64_t digest() const;
  // The greatest order number applied: a host goes on above the greatest of its partitions.
  uint64_t last_order() const;
  // The latest time that a command bore: whoever proposes goes on from there.
  int64_t last_time_unix_ms() const;
  // How late it is here when whoever leads thinks that it is so late: the partition's time does not
  // go back. Until a clock that is behind has caught up it stands still, and intervals end late by
  // as much, never early.
  int64_t StampAt(int64_t unix_ms) const;
  const pb::Limits& limits() const;
  uint64_t retained_messages() const;
  uint64_t retained_bytes() const;
  // Memory that the sessions' subscriptions take, about.
  uint64_t subscriptions_bytes() const;
  // What it is to pass on, and the number of the last such record there was.
  const Outbox& outbox() const;
  uint64_t last_outbox() const;
  // Which requests of whom are applied.
  const Origins& origins() const;

  // Null if there is none. The pointer holds until the session ends.
  const Session* Find(std::string_view client_id) const;
  const Session& session(SessionSlot slot) const;   // The slot is in use.
  const Session* FindSlot(SessionSlot slot) const;  // Null: it is free.
  size_t session_count() const;
  SessionSlot slots() const;  // Those in use are below.
  void ForEachSession(absl::FunctionRef<void(const Session&)> visit) const;

  // Sessions whose queue is crowded: see QueueCrowded.
  uint64_t crowded() const;
  // Whether one more message of `size` bytes, beside `messages` and `bytes` that are on their way,
  // fits the session's queue.
  bool HasRoom(const Session& session, uint64_t messages, uint64_t bytes, uint64_t size) const;
  // The sessions whose queue a message of QoS 1 or 2 would go to, each once, and how many
  // Subscription Identifiers stand beside the message there.
  void ForEachReceiver(const mqtt::MessageParts& message,
                       absl::FunctionRef<void(const Session&, size_t)> visit) const;
  // How many different filters match: of no session do more subscriptions.
  size_t CountFilters(std::string_view topic) const;

  // The plain filters that sessions of this partition have, each once: what routes to it.
  void ForEachFilter(absl::FunctionRef<void(std::string_view)> visit) const;

  // The same a part at a time, and `$share` subscriptions between them: visits subscriptions from
  // `place` on, until visit returns false, and says where to go on; nothing if that was all. Of
  // those that have a plain filter in common it visits one. The partition must not change
  // meanwhile.
  struct SubscriptionPlace {
    SessionSlot slot = 0;
    std::string filter;  // Of the session's, the first that is still to come.
  };
  std::optional<SubscriptionPlace> VisitSubscriptions(
      const SubscriptionPlace& place,
      absl::FunctionRef<bool(const SessionSubscription&)> visit) const;

  // Queued messages of a session from sequence `from` on (at least the head), for sending. The
  // caller keeps the window: messages in flight ≤ Session::window_messages, and sequences in flight
  // within kSequenceSpan of the head. DUP is 1 on what was, or after a crash may have been, sent on
  // an earlier connection [MQTT-3.3.1-1]; so on one connection, read each sequence once. It may
  // send before an acknowledgement is committed, but not more than `window_messages` beyond what
  // is: see kRunAhead. `reader` shows all that was applied. Not const: it remembers the sizes of
  // what it reads.
  absl::StatusOr<QueuePage> ReadQueue(const StateReader& reader, SessionSlot slot, uint64_t from,
                                      const QueueReadLimits& limits, int64_t now_unix_ms);

  // Of a session's queue from sequence `from` on, or behind what may have been sent: that does not
  // expire any more.
  absl::StatusOr<ExpiredPage> FindExpired(const StateReader& reader, SessionSlot slot,
                                          uint64_t from, size_t messages_max, int64_t now_unix_ms);
  // Once all of the queue was read: see SessionQueue::next_expiry_ms.
  void SetNextExpiry(SessionSlot slot, int64_t at_unix_ms);

  // What is in memory, as text in a fixed order: equal for replicas that applied the same entries,
  // whenever they flushed.
  std::string Dump() const;

 private:
  class Impl;
  PartitionId id_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace storage

#endif  // STORAGE_CORE_PARTITION_H_
