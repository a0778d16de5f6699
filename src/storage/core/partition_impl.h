// The inside of Partition, for its own files only:
//   partition.cc                load, dispatch, write back
//   partition_sessions.cc       open, close, expire, wills
//   partition_subscriptions.cc  subscribe, unsubscribe, replay of retained messages
//   partition_queue.cc          enqueue, acknowledge, read
//   partition_outbox.cc         what the partition is to pass on
//   partition_expiry.cc         what of a queue has expired
//   partition_bodies.cc         messages that several queues share
//   partition_retained.cc       set and drop retained messages
#ifndef STORAGE_CORE_PARTITION_IMPL_H_
#define STORAGE_CORE_PARTITION_IMPL_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/chunk.h"
#include "storage/core/command_codec.h"
#include "storage/core/digest.h"
#include "storage/core/origins.h"
#include "storage/core/outbox.h"
#include "storage/core/partition.h"
#include "storage/core/subscription_index.h"

namespace storage {

class Partition::Impl {
 public:
  Impl(PartitionId id, absl::Span<const ApplyRules> rules) : id_(id), rules_(rules) {}

  // What one command is applied with.
  struct Context {
    // For what is not kept in memory until the next flush.
    StateBatch& Batch() {
      writes = true;
      return batch;
    }

    // A command of a release that is newer than this one.
    void StopAtUnknown();
    // It cannot be read, or what it bears cannot.
    void StopAtUnreadable(std::string_view what);
    // Other replicas have made something else of the entries before.
    void StopAsDifferent();

    const PartitionId partition;
    const uint64_t index;
    const StateReader& reader;
    StateBatch& batch;
    Effects& effects;
    int64_t now_unix_ms = 0;
    uint64_t order = 0;
    // The request whose commands are being applied, if they are.
    uint64_t origin = 0;
    uint64_t sequence = 0;
    // Nothing more may be applied: the store failed, or contradicts the entry, or `stops`.
    absl::Status status;
    bool stops = false;  // Because of the entry itself: it fails again whenever it is tried.
    bool writes = false;
  };

  // A message on its way into queues: bytes from the command, parsed once, made a Message if some
  // connected session needs one.
  struct Incoming {
    std::string_view bytes;
    mqtt::MessageParts parts;
    mqtt::MessagePtr message;
    bool shares = false;  // It is large and for several queues: they have one body.
    uint64_t body = 0;    // Once one has it.
    const mqtt::MessagePtr& Get();
  };

  // partition.cc
  absl::Status Load(const StateReader& reader);
  absl::Status ApplyEntry(std::string_view entry, absl::Span<const mqtt::MessagePtr> messages,
                          uint64_t index, uint64_t term, const StateReader& reader,
                          StateBatch& batch, Effects& effects);
  void Flush(StateBatch& batch);
  absl::Status IndexRetained(const StateReader& reader, StateBatch& batch);
  std::string Dump() const;
  const Session* Find(std::string_view client_id) const;
  void StopKeepingSlots();

  // partition_queue.cc
  absl::StatusOr<QueuePage> ReadQueue(const StateReader& reader, SessionSlot slot, uint64_t from,
                                      const QueueReadLimits& limits, int64_t now_unix_ms);

  // partition_expiry.cc
  absl::StatusOr<ExpiredPage> FindExpired(const StateReader& reader, Session& session,
                                          uint64_t from, size_t messages_max, int64_t now_unix_ms);

  // Of the level at which the partition is.
  const ApplyRules& rules() const { return rules_[meta_.level()]; }

  int64_t StampAt(int64_t unix_ms) const { return std::max(meta_.last_time_unix_ms(), unix_ms); }

  const PartitionId id_;
  const absl::Span<const ApplyRules> rules_;
  pb::Meta meta_;
  Digest digest_;
  Origins origins_;  // Of `meta_`.
  uint64_t flushed_index_ = 0;
  bool stopped_ = false;
  size_t unflushed_bytes_ = 0;  // Of `appends_` and of `bodies_`.
  SubscriptionIndex index_;
  uint64_t subscriptions_bytes_ = 0;             // As SubscriptionBytes says.
  std::vector<std::unique_ptr<Session>> slots_;  // Null: free.
  std::vector<SessionSlot> free_slots_;
  const Impl* slots_of_ = nullptr;                            // See KeepSlotsOf.
  absl::flat_hash_map<std::string_view, Session*> sessions_;  // Keys are views of client_id.
  Outbox outbox_;
  uint64_t crowded_ = 0;  // Sessions.

  bool HasRoom(const Session& session, uint64_t messages, uint64_t bytes, uint64_t size) const;
  void ForEachReceiver(const mqtt::MessageParts& message,
                       absl::FunctionRef<void(const Session&)> visit) const;

 private:
  // The end of one session's queue that is not in the store: it becomes chunks with the next flush,
  // as far as it is not done by then.
  struct PendingAppend {
    struct Item {
      size_t start = 0;  // In `entries`.
      uint32_t length = 0;
      uint32_t size = 0;  // What it counts for.
      uint64_t body = 0;
    };
    uint64_t first = 0;
    uint32_t open = 0;  // Of the items, how many are not done. None: it is not needed any more.
    std::vector<Item> items;
    std::string entries;

    bool Holds(uint64_t sequence) const { return sequence - first < items.size(); }
    std::string_view Entry(uint64_t sequence) const {  // For ParseChunkEntry.
      const Item& item = items[sequence - first];
      return std::string_view(entries).substr(item.start, item.length);
    }
    size_t bytes() const { return entries.size() + items.size() * sizeof(Item); }
  };

  // A message that several queues have. What only its count knows is kept in memory.
  struct Body {
    uint64_t count = 0;  // Of queue entries. 0: it is to be deleted.
    bool stored = false;
    bool changed = false;
    std::string bytes;  // Until it is stored.
  };

  // Of a retained message that this entry set (or removed: none).
  struct RetainedState {
    uint64_t bytes = 0;
    uint64_t order = 0;
    int64_t expires_at_unix_ms = 0;
  };

  // partition.cc
  void ApplyCommands(std::string_view entry, absl::Span<const mqtt::MessagePtr> messages,
                     Context& ctx);
  bool IsRepeat(const CommandStamp& stamp, Context& ctx);
  Outcome ApplyCommand(const CommandView& view, const mqtt::MessagePtr& message, Context& ctx);
  Outcome ApplyRare(const pb::Command& command, const mqtt::MessagePtr& message, Context& ctx);
  Outcome Apply(const pb::RaiseLevel& command, Context& ctx);
  Outcome Apply(const pb::Checksum& command, Context& ctx);
  void NoteOutcome(const Outcome& outcome, size_t place, const Context& ctx);
  Session* FindCurrent(std::string_view client_id, uint64_t epoch, Outcome& outcome);
  Session& AddSession(std::string client_id);
  void RemoveSession(Session& session);
  void Touch(Session& session, bool Session::Changes::*what);
  void WriteSession(const Session& session, StateBatch& batch);
  void WriteReplays(Session& session, StateBatch& batch);
  void WriteAppend(Session& session, StateBatch& batch);
  absl::Status LoadSessions(const StateReader& reader);
  absl::Status LoadCursors(const StateReader& reader);
  absl::Status LoadSubscriptions(const StateReader& reader);
  absl::Status LoadReplays(const StateReader& reader);
  absl::Status LoadBodies(const StateReader& reader);

  // partition_sessions.cc
  Outcome Apply(const pb::OpenSession& command, Context& ctx);
  Outcome Apply(const pb::CloseSession& command, Context& ctx);
  Outcome Apply(const pb::CloseNode& command, Context& ctx);
  Outcome Apply(const pb::ExpireSession& command, Context& ctx);
  Outcome Apply(const pb::FireWill& command, Context& ctx);
  struct Ending {
    pb::CloseSession::Cause cause = pb::CloseSession::WITH_WILL;
    std::optional<uint32_t> expiry_s;
    std::optional<uint64_t> sent_through;
  };
  SessionSlot TakeSlot(std::string_view client_id);
  // False: the session has ended with its connection.
  bool Close(Session& session, const Ending& ending, Context& ctx);
  static void ReportTimers(const Session& session, Context& ctx);
  void End(Session& session, Context& ctx);
  void DeleteQueue(const Session& session, Context& ctx);
  void ReportMembership(const Session& session, ShareMemberChange::State state, Context& ctx);

  // partition_subscriptions.cc
  Outcome Apply(const pb::Subscribe& command, Context& ctx);
  Outcome Apply(const pb::Unsubscribe& command, Context& ctx);
  Outcome Apply(const pb::EnqueueRetainedPage& command, Context& ctx);
  bool Subscribe(Session& session, const pb::Subscription& wanted, Context& ctx);
  bool Unsubscribe(Session& session, std::string_view filter, Context& ctx);
  void RemoveFromIndex(SessionSubscription& subscription, Context& ctx);

  // partition_expiry.cc
  void NoteExpiry(Session& session, int64_t expires_at_unix_ms, Context& ctx);
  bool DropExpired(Session& session, Context& ctx);

  // partition_queue.cc
  using AddEntry = absl::FunctionRef<absl::StatusOr<bool>(std::string_view)>;
  absl::StatusOr<bool> ReadEntries(const StateReader& reader, Session& session,
                                   const uint64_t& next, AddEntry add);
  absl::StatusOr<std::optional<mqtt::MessageParts>> PartsOf(const ChunkEntry& entry,
                                                            const StateReader& reader,
                                                            mqtt::MessagePtr& shared);
  absl::StatusOr<bool> ReadStored(const StateReader& reader, Session& session, uint64_t through,
                                  const uint64_t& next, AddEntry add);
  Outcome Apply(const EnqueueView& command, const mqtt::MessagePtr& message, Context& ctx);
  Outcome Apply(const AcknowledgeView& command, Context& ctx);
  Outcome Apply(const pb::DropQueued& command, Context& ctx);
  Outcome Apply(const pb::RememberInbound& command, Context& ctx);
  Outcome Apply(const pb::ReleaseInbound& command, Context& ctx);
  void EnqueueMatching(Incoming& incoming, Context& ctx);
  void EnqueueOverlapping(const SubscriptionIndex::Matches& matches, Incoming& incoming,
                          Context& ctx);
  void EnqueueFor(const EnqueueTarget& target, Incoming& incoming, Context& ctx);
  enum class Source : uint8_t { kLive, kReplay };
  void AppendOrSend(Session& session, ChunkEntry& how, Incoming& incoming, Context& ctx);
  void AppendMessage(Session& session, ChunkEntry& how, Incoming& incoming, Context& ctx);
  void SendNow(Session& session, const ChunkEntry& how, Incoming& incoming, Context& ctx,
               Source source);
  bool MakeRoom(Session& session, uint32_t size, Context& ctx);
  void WatchQueue(Session& session, Effects* effects);
  PendingAppend& AppendOf(Session& session);
  PendingAppend* FindAppend(const Session& session);
  void ForgetAppend(Session& session);
  void DoneInAppend(Session& session, uint64_t sequence);
  void TrimAppend(const Session& session, PendingAppend& append);
  uint64_t MaybeSentThrough(const Session& session) const;
  bool Finish(Session& session, uint64_t sequence, Context& ctx);
  std::optional<uint32_t> SizeOf(Session& session, uint64_t sequence, Context& ctx);
  absl::Status LearnChunks(Session& session, uint64_t through, const StateReader& reader);
  void TrimQueue(Session& session, StateBatch& batch);
  uint64_t BodyOf(const Session& session, uint64_t sequence);
  void ShareBody(Session& session, ChunkEntry& how, Incoming& incoming, uint32_t size);
  void TouchBody(uint64_t number, Body& body);
  void ReleaseBody(uint64_t number);
  void FlushBodies(StateBatch& batch);
  absl::StatusOr<mqtt::MessagePtr> ReadBody(uint64_t number, const StateReader& reader);
  void LeaveQueue(Session& session, Context& ctx);
  void LeaveEntry(const Session& session, uint64_t sequence, uint64_t sent_through,
                  std::string_view bytes, Context& ctx);
  void LeaveEntryToGroup(const Session& session, uint64_t sequence, uint64_t sent_through,
                         const ChunkEntry& entry, Context& ctx);

  // partition_outbox.cc
  Outcome Apply(const pb::AcceptInbound& command, const mqtt::MessagePtr& message, Context& ctx);
  Outcome Apply(const pb::OutboxDone& command, Context& ctx);
  Outcome Apply(const pb::OutboxAssign& command, Context& ctx);
  void LeaveToGroup(std::string_view share_filter, std::string_view message_bytes, Context& ctx);
  void LeaveWill(const Session& session, int64_t at_unix_ms, Context& ctx);
  bool AddLeft(const pb::OutboxRecord& record, int64_t expires_at_unix_ms, Context& ctx);
  void AddToOutbox(std::string bytes, mqtt::MessagePtr message, int64_t expires_at_unix_ms,
                   Context& ctx);
  bool RemoveFromOutbox(uint64_t number);

  // partition_retained.cc
  Outcome Apply(const pb::SetRetained& command, const mqtt::MessagePtr& message, Context& ctx);
  Outcome Apply(const pb::DropRetained& command, Context& ctx);
  std::optional<RetainedState> RetainedNow(const std::string& topic, Context& ctx);
  void RemoveRetained(const std::string& topic, const RetainedState& state, Context& ctx);
  void ForgetExpiry(const std::string& topic, const RetainedState& state, Context& ctx);
  void ForgetExpiry(const pb::DropRetained::Item& item, const std::optional<RetainedState>& now,
                    Context& ctx);

  // While it is loaded: replays that stood in their sessions' records.
  std::vector<std::pair<Session*, pb::Replay>> replays_of_records_;

  // Since the last flush.
  std::vector<Session*> touched_;  // Null: it has ended.
  std::vector<PendingAppend> appends_;
  std::vector<uint32_t> free_appends_;  // They keep some of their room.
  std::vector<uint64_t> changed_bodies_;

  absl::flat_hash_map<uint64_t, Body> bodies_;
  // The one that was read last, until the next entry: queues with the same message are often read
  // together.
  uint64_t last_read_ = 0;
  mqtt::MessagePtr last_read_message_;

  // Of the entry that is being applied.
  std::vector<const SessionSubscription*> matched_;
  absl::flat_hash_map<std::string, std::optional<RetainedState>> retained_now_;
};

}  // namespace storage

#endif  // STORAGE_CORE_PARTITION_IMPL_H_
