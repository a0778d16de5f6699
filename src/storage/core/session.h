// A durable session (or a transient one with a will) as a partition has it in memory.
#ifndef STORAGE_CORE_SESSION_H_
#define STORAGE_CORE_SESSION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "mqtt/message.h"
#include "mqtt/types.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/core/pending_replays.h"
#include "storage/core/session_queue.h"
#include "storage/core/subscription_index.h"

namespace mqttd::storage::v1 {
class Owner;
}  // namespace mqttd::storage::v1

namespace storage {

struct Session;

// A subscription and its place in the index. Address stable while it exists.
struct SessionSubscription {
  Session* session = nullptr;
  SubscriptionRecord record;
  FilterEntry* entry = nullptr;  // Null for `$share/…`: its messages come as targets.
  uint32_t position = 0;         // In the entry's list.
};

// The will of a session. `due_at` is when it fires, once the connection is gone; 0 before.
struct SessionWill {
  mqtt::MessagePtr message;  // Null: no will.
  uint32_t delay_s = 0;
  int64_t due_at_unix_ms = 0;
};

// Changed by the partition only; the host reads.
struct Session {
  SessionSlot slot = kNoSlot;
  std::string client_id;
  std::string user_name;  // Whose it is; empty: nobody's, whoever comes next may have it.
  std::string listener;   // By which that user came in last; empty: not known.
  mqtt::Version version = mqtt::Version::kUnknown;
  uint64_t epoch = 0;
  uint32_t expiry_s = 0;
  uint32_t window_messages = 1;
  bool connected = false;
  bool resumed = false;  // When its last connection came it was there already.
  // While it is connected: by which connection. Number 0: an earlier release did not write it down.
  ConnectionRef owner;
  int64_t created_at_unix_ms = 0;
  int64_t disconnected_at_unix_ms = 0;
  int64_t ends_at_unix_ms = 0;  // 0: connected, or never.
  SessionWill will;
  // By filter; the key is a view of the value's record.
  absl::btree_map<std::string_view, std::unique_ptr<SessionSubscription>> subscriptions;
  PendingReplays replays;
  uint64_t last_replay = 0;
  bool had_shared = false;  // Some of the queue may have come through a `$share` group.
  bool had_bodies = false;  // Some of the queue may have bodies that others share.
  // Not replicated, not stored: for the operator, and for who asks for room.
  bool crowded = false;  // See QueueCrowded.
  uint64_t dropped = 0;  // Messages that its full queue cost, since the start.
  SessionQueue queue;

  // What is not in the store yet: the partition's own.
  struct Changes {
    bool record = false;
    bool cursor = false;
    bool replays = false;
    uint32_t touched = kNone;  // Index among the sessions that have changed.
    uint32_t append = kNone;   // Index of what is appended to the queue.
  };
  static constexpr uint32_t kNone = 0xFFFFFFFF;
  Changes changes;

  const SessionSubscription* FindSubscription(std::string_view filter) const;
};

// The connection that holds a session, as it is stored.
ConnectionRef ReadOwner(const ::mqttd::storage::v1::Owner& record);
void WriteOwner(const ConnectionRef& owner, ::mqttd::storage::v1::Owner& record);

// What becomes of a session's will when the Client Identifier is opened again at `now`.
enum class WillFate : uint8_t {
  kNone,    // There is none, or it is the living connection's: CloseSession comes first.
  kDelete,  // Reconnected before the delay was over [MQTT5-3.1.3-9].
  kFire,    // Due, or the session ends by the clean start: FireWill goes before OpenSession.
};
WillFate FateOfWill(const Session& session, bool clean_start, int64_t now_unix_ms);

}  // namespace storage

#endif  // STORAGE_CORE_SESSION_H_
