// The sessions of a node's partitions as an operator sees them.
#ifndef STORAGE_LEADER_SESSION_VIEW_H_
#define STORAGE_LEADER_SESSION_VIEW_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mqtt/message.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"
#include "storage/leader/node.h"

namespace storage {

// What of a stored session can be seen. A copy.
struct SessionView {
  PartitionId partition = 0;
  std::string client_id;
  std::string user_name;
  std::string listener;
  mqtt::Version version = mqtt::Version::kUnknown;
  bool connected = false;
  uint32_t expiry_s = 0;
  int64_t created_at_unix_ms = 0;
  int64_t disconnected_at_unix_ms = 0;
  int64_t ends_at_unix_ms = 0;  // 0: connected, or never.
  uint64_t subscriptions = 0;
  uint64_t queued_messages = 0;
  uint64_t queued_bytes = 0;
  uint64_t dropped = 0;
  uint32_t window_messages = 0;
  std::vector<uint16_t> inbound_qos2;
  mqtt::MessagePtr will;
  uint32_t will_delay_s = 0;
  int64_t will_due_at_unix_ms = 0;
};

// Which sessions are meant; what is empty does not restrict.
struct SessionQuery {
  std::string client_id;  // Patterns: base::GlobMatches.
  std::string user_name;
  std::optional<bool> connected;
  uint64_t queued_messages_min = 0;
  int64_t away_ms_min = 0;
  // Only of partitions that this node leads; of a node alone these are all.
  bool led = false;
  bool one_partition = false;  // Only of the one at which the page begins.
};

// A place in the list of all sessions. Whole from one page to the next, whatever happens meanwhile.
struct SessionPlace {
  PartitionId partition = 0;
  uint32_t slot = 0;
};

struct SessionPage {
  std::vector<SessionView> sessions;
  std::optional<SessionPlace> next;  // Absent: that was all.
};
inline constexpr size_t kSessionsLookedMax = 512;
inline constexpr size_t kSessionsFoundMax = 128;

// All of these on the host's thread. A page has what one task may look at and copy, some hundred
// microseconds' worth, so it may be short, or empty, and not the last.
SessionPage LookAtSessions(const Node& node, const SessionQuery& query, const SessionPlace& from,
                           size_t sessions_max, size_t looked_max = kSessionsLookedMax);

// A Client Identifier as the host knows it.
struct IdentifierView {
  std::optional<ConnectionRef> connection;  // Whose it is now, if a client is connected here.
  std::optional<ConnectionRef> elsewhere;   // Likewise, if one is at another node.
  bool changing = false;                    // It is being opened or closed just now.
  // Its partition is led here, and whether a client is connected is known. If not, only `stored`
  // says anything, as far as it is applied here.
  bool led = false;
  std::optional<SessionView> stored;
};
IdentifierView LookAtIdentifier(const Node& node, std::string_view client_id);

// The subscriptions of stored sessions of partitions that are led here, some hundreds of sessions
// at a time and no more as soon as some thousands of subscriptions were visited. Absent: that was
// all.
std::optional<SessionPlace> VisitSubscriptions(
    const Node& node, const SessionPlace& from,
    absl::FunctionRef<void(PartitionId partition, std::string_view filter)> visit);

// Of a stored session; nothing if there is none. In the order of their filters, from behind
// `after`.
std::vector<SubscriptionRecord> LookAtSubscriptions(const Node& node, std::string_view client_id,
                                                    std::string_view after, size_t count_max);

// A page of a stored session's queue from `from` on (0: its head).
struct QueuedView {
  uint64_t sequence = 0;
  mqtt::MessagePtr message;  // Null: only the end of the exchange is owed.
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  bool sent = false;
  bool released = false;
  bool expired = false;
};
struct QueueView {
  std::vector<QueuedView> messages;
  uint64_t next = 0;
  bool end = false;
  uint64_t queued_messages = 0;
  uint64_t queued_bytes = 0;
  int64_t now_unix_ms = 0;
};
// Errors: kNotFound, or the store's.
absl::StatusOr<QueueView> LookAtQueue(Node& node, std::string_view client_id, uint64_t from,
                                      size_t messages_max);

// Ends a stored session whose client is away; its will fires first if it is to. `done` is called
// when that is committed, or refused: then the session is still there. False: it is not away, or
// there is none.
bool EndStoredSession(Node& node, std::string_view client_id, std::function<void()> done);

// `done` once all that is proposed so far about the identifier is applied; now, if nothing is.
void AfterPending(Node& node, std::string_view client_id, std::function<void()> done);

}  // namespace storage

#endif  // STORAGE_LEADER_SESSION_VIEW_H_
