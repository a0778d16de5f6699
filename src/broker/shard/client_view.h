// The clients of a shard as an operator sees them.
#ifndef BROKER_SHARD_CLIENT_VIEW_H_
#define BROKER_SHARD_CLIENT_VIEW_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "broker/shard/shard_core.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"

namespace broker {

// What of a connected client can be seen. A copy.
struct ClientView {
  storage::ConnectionRef ref;
  std::string client_id;
  std::string user_name;
  std::string listener;
  PeerInfo peer;
  mqtt::Version version = mqtt::Version::kUnknown;
  bool tls = false;
  bool websocket = false;
  absl::Duration connected;  // For so long.
  absl::Duration idle;       // Since its last packet.
  uint16_t keep_alive_s = 0;
  bool durable = false;
  uint32_t session_expiry_s = 0;
  uint64_t subscriptions = 0;
  uint64_t inflight_out = 0;
  uint64_t inflight_in = 0;
  uint64_t queued_messages = 0;  // Of a transient session: wait for the window.
  uint64_t queued_bytes = 0;
  uint64_t output_bytes = 0;
  uint32_t window = 0;
  uint32_t packet_size_max = 0;
  bool bridge = false;
  bool will = false;
  uint8_t pauses = 0;  // PauseReason bits.
};

// Which clients are meant; what is empty does not restrict.
struct ClientQuery {
  std::string client_id;  // Patterns: base::GlobMatches.
  std::string user_name;
  bool anonymous = false;
  std::string listener;
  mqtt::Version version = mqtt::Version::kUnknown;
  bool transient_only = false;
  absl::Duration connected_min;                             // For at least so long.
  absl::Duration connected_max = absl::InfiniteDuration();  // For less than so long.
  std::function<bool(const std::string& address)> address;  // Null: any.
  // Null: any. On the shard's thread, of one whose session is open.
  std::function<bool(const Connection&)> who;
};

// Clients that match, of connections numbered above `after`, in the order of their numbers: as
// many as one task may look at and copy, so a page may be short, or empty, and not the last.
struct ClientPage {
  std::vector<ClientView> clients;
  uint64_t next = 0;       // Where to go on.
  bool end = false;        // There is none above.
  uint64_t sent_away = 0;  // By RefreshClients.
};
inline constexpr size_t kClientsLookedMax = 512;
inline constexpr size_t kClientsFoundMax = 64;

// The lowest numbers of connections above `after`, in order. Cost: a step for each.
std::vector<uint64_t> NextConnections(const ShardCore& shard, uint64_t after, size_t count);

// On the shard's thread. Cost: what it looks at and copies, whatever the shard has: some hundred
// microseconds at most.
ClientPage LookAtClients(const ShardCore& shard, const ClientQuery& query, uint64_t after,
                         size_t clients_max, size_t looked_max = kClientsLookedMax);

// Null: no client is connected by that number.
std::optional<ClientView> LookAtClient(const ShardCore& shard, uint64_t connection);

// One of the session's, as it was made.
storage::SubscriptionRecord SubscriptionOf(ShardCore& shard, const Session& session,
                                           std::string_view filter);

struct InFlightView {
  uint16_t packet_id = 0;
  InFlightTable::State state = InFlightTable::State::kFree;
};
struct SessionView {
  std::vector<storage::SubscriptionRecord> subscriptions;  // In the order of their filters.
  std::vector<InFlightView> out;                           // By identifier.
  std::vector<uint16_t> in;
  uint32_t window = 0;
};
std::optional<SessionView> LookAtSession(ShardCore& shard, uint64_t connection);

// Access has changed: those who match get what is in force now, or are sent away. Of connections
// numbered above `after`; in the page's `clients` is nobody. Cost: as LookAtClients.
ClientPage RefreshClients(ShardCore& shard, const ClientQuery& query, uint64_t after,
                          size_t looked_max = kClientsFoundMax);

// Ends a connection by an operator's order. False: it is not there any more.
struct KickOrder {
  mqtt::ReasonCode reason = mqtt::ReasonCode::kAdministrativeAction;
  bool end_session = false;
  bool suppress_will = false;
};
bool Kick(ShardCore& shard, uint64_t connection, const KickOrder& order);

}  // namespace broker

#endif  // BROKER_SHARD_CLIENT_VIEW_H_
