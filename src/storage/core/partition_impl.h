// The inside of Partition, for its own files only:
//   partition.cc                load, dispatch, write back
//   partition_sessions.cc       open, close, expire, wills
//   partition_subscriptions.cc  subscribe, unsubscribe, replay of retained messages
//   partition_queue.cc          enqueue, acknowledge, expire, and what an ended session leaves
//   partition_inbound.cc        QoS 2 messages that come in
// Parts that stand for themselves: session_table.h (who is there, what has changed),
// session_records.h (how sessions are stored), queue_entries.h (what is in queues, wherever it
// stands), partition_outbox.h (what is to be passed on), retained_messages.h.
#ifndef STORAGE_CORE_PARTITION_IMPL_H_
#define STORAGE_CORE_PARTITION_IMPL_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/apply_context.h"
#include "storage/core/chunk.h"
#include "storage/core/command_codec.h"
#include "storage/core/digest.h"
#include "storage/core/origins.h"
#include "storage/core/partition.h"
#include "storage/core/partition_outbox.h"
#include "storage/core/queue_entries.h"
#include "storage/core/retained_messages.h"
#include "storage/core/session_table.h"
#include "storage/core/subscription_index.h"

namespace storage {

class Partition::Impl {
 public:
  Impl(PartitionId id, absl::Span<const ApplyRules> rules)
      : id_(id),
        rules_(rules),
        entries_(id, meta_),
        outbox_(id, meta_, digest_),
        retained_(id, meta_, digest_) {}

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
  std::string Dump() const;

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
  SubscriptionIndex index_;
  uint64_t subscriptions_bytes_ = 0;  // As SubscriptionBytes says.
  SessionTable sessions_;
  QueueEntries entries_;
  PartitionOutbox outbox_;
  RetainedMessages retained_;
  uint64_t crowded_ = 0;  // Sessions.

  bool HasRoom(const Session& session, uint64_t messages, uint64_t bytes, uint64_t size) const;
  void ForEachReceiver(const mqtt::MessageParts& message,
                       absl::FunctionRef<void(const Session&, size_t)> visit) const;

 private:
  // partition.cc
  void ApplyCommands(std::string_view entry, absl::Span<const mqtt::MessagePtr> messages,
                     ApplyContext& ctx);
  bool IsRepeat(const CommandStamp& stamp, ApplyContext& ctx);
  Outcome ApplyCommand(const CommandView& view, const mqtt::MessagePtr& message, ApplyContext& ctx);
  Outcome ApplyRare(const pb::Command& command, const mqtt::MessagePtr& message, ApplyContext& ctx);
  Outcome Apply(const pb::RaiseLevel& command, ApplyContext& ctx);
  Outcome Apply(const pb::Checksum& command, ApplyContext& ctx);
  void NoteOutcome(const Outcome& outcome, size_t place, const ApplyContext& ctx);
  Session* FindCurrent(std::string_view client_id, uint64_t epoch, Outcome& outcome);

  // partition_sessions.cc
  Outcome Apply(const pb::OpenSession& command, ApplyContext& ctx);
  Outcome Apply(const pb::CloseSession& command, ApplyContext& ctx);
  Outcome Apply(const pb::CloseNode& command, ApplyContext& ctx);
  Outcome Apply(const pb::ExpireSession& command, ApplyContext& ctx);
  Outcome Apply(const pb::FireWill& command, ApplyContext& ctx);
  struct Ending {
    pb::CloseSession::Cause cause = pb::CloseSession::WITH_WILL;
    std::optional<uint32_t> expiry_s;
    std::optional<uint64_t> sent_through;
  };
  // False: the session has ended with its connection.
  bool Close(Session& session, const Ending& ending, ApplyContext& ctx);
  static void ReportTimers(const Session& session, ApplyContext& ctx);
  void End(Session& session, ApplyContext& ctx);
  void ReportMembership(const Session& session, ShareMemberChange::State state, ApplyContext& ctx);

  // partition_subscriptions.cc
  Outcome Apply(const pb::Subscribe& command, ApplyContext& ctx);
  Outcome Apply(const pb::Unsubscribe& command, ApplyContext& ctx);
  Outcome Apply(const pb::EnqueueRetainedPage& command, ApplyContext& ctx);
  bool Subscribe(Session& session, const pb::Subscription& wanted, ApplyContext& ctx);
  bool Unsubscribe(Session& session, std::string_view filter, ApplyContext& ctx);
  void RemoveFromIndex(SessionSubscription& subscription, ApplyContext& ctx);

  // partition_queue.cc
  Outcome Apply(const EnqueueView& command, const mqtt::MessagePtr& message, ApplyContext& ctx);
  Outcome Apply(const AcknowledgeView& command, ApplyContext& ctx);
  Outcome Apply(const pb::DropQueued& command, ApplyContext& ctx);
  void EnqueueMatching(Incoming& incoming, ApplyContext& ctx);
  void EnqueueOverlapping(const SubscriptionIndex::Matches& matches, Incoming& incoming,
                          ApplyContext& ctx);
  void EnqueueFor(const EnqueueTarget& target, Incoming& incoming, ApplyContext& ctx);
  enum class Source : uint8_t { kLive, kReplay };
  void AppendOrSend(Session& session, ChunkEntry& how, Incoming& incoming, ApplyContext& ctx);
  void AppendMessage(Session& session, ChunkEntry& how, Incoming& incoming, ApplyContext& ctx);
  void SendNow(Session& session, const ChunkEntry& how, Incoming& incoming, ApplyContext& ctx,
               Source source);
  bool MakeRoom(Session& session, uint32_t size, ApplyContext& ctx);
  void NoteExpiry(Session& session, int64_t expires_at_unix_ms, ApplyContext& ctx);
  bool DropExpired(Session& session, ApplyContext& ctx);
  void WatchQueue(Session& session, Effects* effects);
  uint64_t MaybeSentThrough(const Session& session) const;
  bool Finish(Session& session, uint64_t sequence, ApplyContext& ctx);
  void LeaveQueue(Session& session, ApplyContext& ctx);
  void LeaveEntryToGroup(const Session& session, uint64_t sequence, uint64_t sent_through,
                         const ChunkEntry& entry, ApplyContext& ctx);

  // partition_inbound.cc
  Outcome Apply(const pb::AcceptInbound& command, const mqtt::MessagePtr& message,
                ApplyContext& ctx);
  Outcome Apply(const pb::RememberInbound& command, ApplyContext& ctx);
  Outcome Apply(const pb::ReleaseInbound& command, ApplyContext& ctx);
  template <typename Command>
  bool AddInbound(const Command& command, Outcome& outcome);

  // Of the entry that is being applied.
  std::vector<const SessionSubscription*> matched_;
};

}  // namespace storage

#endif  // STORAGE_CORE_PARTITION_IMPL_H_
