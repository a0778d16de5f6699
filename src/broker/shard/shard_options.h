// What the configuration says to a shard. Plain values; every bound says what happens when it is
// reached.
#ifndef BROKER_SHARD_SHARD_OPTIONS_H_
#define BROKER_SHARD_SHARD_OPTIONS_H_

#include <cstdint>
#include <string>

#include "broker/core/limits.h"

namespace broker {

// How clients are sent away before the process ends.
struct DrainOptions {
  // After /readyz has begun to say no and before clients are told to go: seconds in which they are
  // still accepted, for load balancers to look elsewhere.
  uint32_t delay_s = 0;
  // Clients that are told to go per second, of all shards; more if they would not all be gone
  // within `timeout_s` otherwise.
  uint32_t rate = 1000;
  uint32_t timeout_s = 30;
  // Not empty: 5.0 clients are told where to go instead (§4.13, Server Reference).
  std::string server_reference;
  enum class Move { kForNow, kForGood } move = Move::kForNow;  // 0x9C, 0x9D
};

struct ShardOptions {
  // Over all listeners and shards; further connections are closed at once. 0: as many as there are
  // descriptors, but for those that the store needs.
  uint32_t connections_max = 0;
  // Resident memory of the process. Above, clients that connect are refused with 0x89, those that
  // publish are slowed down, and for slow readers less is kept. 0: three quarters of what the
  // process may use.
  uint64_t memory_high_bytes = 0;
  // Of all connections together: packets that have begun to arrive and are not complete. Above,
  // those are not read from any further, and who sends nothing for longest is closed (0x97). A
  // packet may be half as large at most. 0: a quarter of `memory_high_bytes`.
  uint64_t input_bytes_max = 0;
  // Of a packet, whatever listeners allow: see Limits::maximum_packet_size.
  uint32_t packet_size_max = mqtt::kPacketSizeMax;
  // Seconds from accepting to a complete CONNECT; then the connection is closed.
  uint32_t connect_timeout_s = 10;
  // Per shard: what new connections may take of its time before those that are connected have their
  // turn again, in microseconds; at least one of them goes on each time. Further ones wait, and
  // above `arrivals_max` nothing is accepted.
  uint32_t arrivals_us_max = 500;
  uint32_t arrivals_max = 1024;
  // CONNECTs that wait for the partition host; further ones wait their turn.
  uint32_t connects_pending_max = 256;
  // Seconds a closing connection may take to read its DISCONNECT.
  uint32_t linger_timeout_s = 2;
  ShareStrategy share_strategy = ShareStrategy::kRoundRobin;
  // Groups of one filter, over all sessions: each message to it is for a member of each. Above:
  // 0x97 in SUBACK.
  uint32_t share_groups_max = 10'000;
  // Memory of all sessions' subscriptions together, durable ones without a connection included.
  // Above: 0x97 in SUBACK. 0: half of `memory_high_bytes`.
  uint64_t subscriptions_bytes_max = 0;
  // Seconds between updates of the $SYS topics; 0: there are none.
  uint32_t sys_interval_s = 10;
  // Waiting for the group commit, per shard; above, reading from publishers pauses. Bytes: of the
  // message, and of whatever else its commit carries.
  uint32_t commits_pending_max = 20'000;
  uint64_t commits_pending_bytes_max = 64 * 1024 * 1024;
  // Not empty: clients that ask for Response Information (§3.2.2.3.14) get this, then their Client
  // Identifier.
  std::string response_information_prefix;
  // Topics whose matches are remembered, per shard.
  uint32_t match_cache_topics_max = 65'536;
  DrainOptions drain;
  // Seconds that the last clients have to take their DISCONNECT before the process ends.
  uint32_t shutdown_timeout_s = 10;
};

}  // namespace broker
#endif  // BROKER_SHARD_SHARD_OPTIONS_H_
