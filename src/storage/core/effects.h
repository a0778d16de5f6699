// What applying an entry means for the world outside the partition.
//
// On replay after a start nobody acts on them: what still matters (timers, connected sessions,
// pending replays, the outbox) is asked from the loaded partition.
#ifndef STORAGE_CORE_EFFECTS_H_
#define STORAGE_CORE_EFFECTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "mqtt/message.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"

namespace storage {

// A session's number within its partition: dense, stable while the session lives, then reused. For
// a table of the host's own beside the partition. Not replicated, not stored.
using SessionSlot = uint32_t;
inline constexpr SessionSlot kNoSlot = 0xFFFFFFFF;

// How one command went. Anything but kOk left the state unchanged, on every replica alike: each can
// follow from a command that is right. One that cannot be read has no outcome: see
// Partition::stopped.
enum class OutcomeCode : uint8_t {
  kOk,
  kNoSession,   // Nothing is stored under the Client Identifier.
  kStaleEpoch,  // The session was opened again since: this command comes from an old connection.
  kLimit,       // Retained messages: over the count or the bytes.
  kNotDue,      // ExpireSession before its time, or with a will still to fire.
  kNothing,     // FireWill without a will; a replay that is over; unknown identifiers, or numbers
                // of the outbox, only.
  kRepeat,      // Of a request that is applied already.
};

struct Outcome {
  OutcomeCode code = OutcomeCode::kOk;
  SessionSlot slot = kNoSlot;  // Of the session, if there is one after the command.
  uint64_t epoch = 0;          // OpenSession: of the new connection, also if nothing is kept.
  bool session_present =
      false;               // OpenSession. Subscriptions and inbound: Partition::session(slot).
  bool durable = false;    // OpenSession: a record is kept (see OpenSession in command.proto).
  bool duplicate = false;  // AcceptInbound: the identifier was known.
  uint64_t outbox = 0;     // AcceptInbound: number of the record.
  absl::InlinedVector<bool, 2> existed;  // Subscribe, Unsubscribe: by filter.
};

// A message was appended to the queue of a connected session, or (sequence 0) is to be sent to it
// now and forgotten. For a session that is behind, drop it: ReadQueue brings it when its time
// comes.
struct Enqueued {
  SessionSlot slot = kNoSlot;
  Delivery delivery;
};

// PUBREC is committed for these, now or before: PUBREL may leave.
struct Released {
  SessionSlot slot = kNoSlot;
  absl::InlinedVector<uint64_t, 4> sequences;
};

// There is room in the window again.
struct Acknowledged {
  SessionSlot slot = kNoSlot;
  uint32_t done = 0;     // Acknowledged, and out of the queue.
  uint32_t dropped = 0;  // DropQueued named so many, whatever had become of them meanwhile.
};

// The record is gone. `slot` may be given to another session by the next command.
struct SessionEnded {
  SessionSlot slot = kNoSlot;
  std::string client_id;
  std::string user_name;
  uint64_t epoch = 0;
};

// The first session of the partition took the (plain) filter, or the last one let it go.
struct RouteChanged {
  bool add = true;
  std::string filter;
};

// A session's membership in a `$share` group. Like `storage::ShareMemberChange`.
struct ShareMemberChanged {
  ShareMemberChange::State state = ShareMemberChange::State::kGone;
  SessionSlot slot = kNoSlot;
  std::string client_id;
  SubscriptionRecord subscription;
};

// The session was closed and something is to happen later: FireWill at `will_due_at`, ExpireSession
// at `ends_at`; 0: nothing. When a timer goes off compare with the session: it may be open again.
struct TimersSet {
  SessionSlot slot = kNoSlot;
  uint64_t epoch = 0;
  int64_t will_due_at_unix_ms = 0;
  int64_t ends_at_unix_ms = 0;
};

// The first message in the session's queue to expire does so then.
struct QueueExpires {
  std::string client_id;
  int64_t at_unix_ms = 0;
};

// Retained messages are to be appended to the session's queue: see Session::replays.
struct ReplayPending {
  SessionSlot slot = kNoSlot;
};

// There is a record more in the outbox. The effect does not have it: a session may leave many, so
// they are read a page at a time (Outbox::Read).
struct OutboxGrew {};

// A queue holds more than four fifths of what it may; or, after that, less than three fifths.
struct QueueCrowded {
  SessionSlot slot = kNoSlot;
  bool crowded = false;
};

// A message was dropped because the queue is full: the new one, or an older one for it.
struct QueueOverflowed {
  SessionSlot slot = kNoSlot;
};

using Effect =
    std::variant<Enqueued, Released, Acknowledged, SessionEnded, RouteChanged, ShareMemberChanged,
                 TimersSet, QueueExpires, ReplayPending, OutboxGrew, QueueCrowded, QueueOverflowed>;

// Why a message that a session should have had was dropped.
enum class DropCause : uint8_t {
  kQueueMessages,  // Limits.queue_messages_max
  kQueueBytes,     // Limits.queue_bytes_max
  kExpired,        // Message Expiry Interval, before the first delivery [MQTT5-3.3.2-5].
  kOffline,        // QoS 0 while there is no connection.
  kOutbox,         // Limits.outbox_messages_max or outbox_bytes_max.
};
inline constexpr size_t kDropCauses = 5;

// The caller keeps one and clears it: what it holds is reused.
struct Effects {
  std::vector<Outcome> outcomes;  // One per command.
  std::vector<Effect> list;       // In order.
  std::array<uint64_t, kDropCauses> dropped{};
  // Not OK: what a session left behind could not be read to its end. It ended all the same.
  absl::Status damage;
  uint64_t queued = 0;  // Messages appended to queues, of sessions without a connection too.
  // Not: Enqueued is left out, which is most of the work. For who sends nothing to anybody: a
  // replica that is led elsewhere, or that is made again from the log. Not cleared.
  bool wants_deliveries = true;

  void Clear() {
    damage = absl::OkStatus();
    queued = 0;
    outcomes.clear();
    list.clear();
    dropped.fill(0);
  }
};

}  // namespace storage

#endif  // STORAGE_CORE_EFFECTS_H_
