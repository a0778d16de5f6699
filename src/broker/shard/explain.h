// What a shard would make of a message, for those who ask why.
#ifndef BROKER_SHARD_EXPLAIN_H_
#define BROKER_SHARD_EXPLAIN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "broker/shard/shard_core.h"
#include "mqtt/types.h"

namespace broker {

// A message that is not published, only talked about.
struct SupposedMessage {
  std::string topic;
  uint64_t payload_bytes = 0;
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  bool retain = false;
  bool expires = false;   // It has an expiry, which takes its place in the packet.
  std::string publisher;  // A Client Identifier; empty: nobody's.
};

// What a connected client's session makes of it.
struct ConnectedAnswer {
  std::string client_id;
  bool durable = false;
  std::vector<std::string> filters;  // Those that match, shared ones included.
  bool plain = false;                // At least one of them is not shared.
  bool shared = false;               // At least one is.
  bool no_local = false;             // It is its own, and every plain one of them has No Local.
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;  // At which it would be sent.
  bool may_read = true;
  uint64_t packet_bytes = 0;  // As a PUBLISH to this client.
  uint64_t packet_bytes_max = 0;
  bool output_full = false;  // Its peer does not take what was sent.
  bool waits = false;        // Of a transient session: something waits for its window already.
  bool queue_full = false;   // Likewise: and there is no room for more.
  uint64_t queued_messages = 0;
  uint64_t output_bytes = 0;
};

// All on the shard's thread. Nothing: it is not connected any more.
std::optional<ConnectedAnswer> ExplainConnected(ShardCore& shard, uint64_t connection,
                                                const SupposedMessage& message);

// Of transient sessions with at least one subscription that matches.
struct ConnectedAnswers {
  std::vector<ConnectedAnswer> answers;
  uint64_t next = 0;
  bool end = false;
};
ConnectedAnswers ExplainAllConnected(ShardCore& shard, uint64_t after,
                                     const SupposedMessage& message, size_t answers_max);

// What its publisher may do, of the one connected: whether the rules let it publish this.
bool MayPublishHere(const ShardCore& shard, uint64_t connection, const SupposedMessage& message);

}  // namespace broker

#endif  // BROKER_SHARD_EXPLAIN_H_
