// The bounds towards clients, and what happens at each: plain values that the decisions in core/
// read.
#ifndef BROKER_CORE_LIMITS_H_
#define BROKER_CORE_LIMITS_H_

#include <algorithm>
#include <cstdint>

#include "mqtt/frame.h"

namespace broker {

// Who of a `$share` group gets a message. Connected members go before offline ones. By hash, who
// comes or goes changes the member for its own part of the publishers or topics only.
enum class ShareStrategy : uint8_t {
  kRoundRobin,     // round_robin: one after the other, per publishing shard.
  kRandom,         // random
  kLeastInFlight,  // least_in_flight: fewest unacknowledged messages, as far as this shard knows,
                   // of up to 16 members in turn.
  kSticky,         // sticky: the same one until it goes.
  kHashClient,     // hash_client: by the publisher's Client Identifier; keeps order per publisher.
  kHashTopic,      // hash_topic: by the Topic Name; keeps order per topic.
};

// What happens to a message of QoS 1 or 2 for a transient session whose queue is full.
enum class QueueFullPolicy : uint8_t {
  kDropNewest,  // drop_newest: this message, counted.
  kDropOldest,  // drop_oldest: the one that waited longest, counted.
  kDisconnect,  // disconnect: the slow client, with 0x97.
};

// What happens to a client that publishes faster than it may.
enum class PublishRatePolicy : uint8_t {
  kPause,       // pause: it is not read from until it is within the rate.
  kDisconnect,  // disconnect: with 0x96.
};

// Of a packet in a cluster. What it carries is an entry of a log, with what came just before it,
// and goes to the other nodes in one piece.
inline constexpr uint32_t kPacketSizeMaxInCluster = 56 << 20;

// Limits towards one client. A listener may override each.
struct Limits {
  // What CONNACK tells the client (§3.2.2.3). Breaking one is answered with the code MQTT gives for
  // it.
  uint8_t maximum_qos = 2;
  bool retain_available = true;
  bool wildcard_subscription_available = true;
  bool subscription_identifier_available = true;
  bool shared_subscription_available = true;
  // QoS 1 and 2 PUBLISH that a client may have unacknowledged: 5.0 clients that send more get 0x93,
  // from others reading pauses.
  // The protocol's own, which CONNACK need not name: not all clients keep to less.
  uint16_t receive_maximum = 65535;
  // Bytes of a packet with its fixed header: 0x95. The protocol's own; what is held of such packets
  // has a bound of its own, see BrokerOptions::input_bytes_max.
  uint32_t maximum_packet_size = mqtt::kPacketSizeMax;
  // Likewise, of CONNECT: of somebody whom nobody has let in yet.
  uint32_t connect_packet_size_max = 128 * 1024;
  // Seconds from the first byte of a packet to its last: 0x8D. While bytes of it arrive the Keep
  // Alive does not run out.
  uint32_t packet_timeout_s = 3600;
  // Topic aliases a client may use; above: 0x94.
  uint16_t topic_alias_maximum = 64;
  // Bytes of the Topic Names behind them: 0x97.
  uint32_t topic_alias_bytes_max = 128 * 1024;
  // Seconds; not 0: used instead of what the client asks for.
  uint16_t server_keep_alive = 0;
  // Seconds; not 0: a client that asks for more (or for none) is given this.
  uint16_t keep_alive_max = 0;
  // Seconds; a client that asks for more is given this. 0xFFFFFFFF: no bound. Also of 3.1.1
  // sessions.
  uint32_t session_expiry_interval_max = 0xFFFFFFFF;

  // Topic aliases that the broker uses towards a client (never more than the client's maximum).
  uint16_t topic_alias_maximum_out = 64;
  // In flight to a client: never more than its Receive Maximum. Further messages wait in its queue.
  uint16_t inflight_messages_max = 65535;  // To transient sessions.
  uint16_t inflight_messages_max_durable = 1024;
  uint64_t inflight_bytes_max_durable = 4 * 1024 * 1024;
  // Waiting for a transient session's window, above: `queue_full`.
  uint32_t queue_messages_max = 100'000;
  uint64_t queue_bytes_max = 64 * 1024 * 1024;
  QueueFullPolicy queue_full = QueueFullPolicy::kDropNewest;
  // Bytes written for a client that does not read; above, QoS 0 is dropped and QoS 1 and 2 wait in
  // the queue.
  uint64_t output_bytes_max = 1024 * 1024;

  // PUBLISH packets, and their bytes, that a client may send per second; 0: no limit. Above:
  // `publish_rate_policy`.
  uint32_t publish_rate_max = 0;
  uint64_t publish_bytes_rate_max = 0;
  PublishRatePolicy publish_rate_policy = PublishRatePolicy::kPause;

  // Clients of one user name that are connected at a time, over all listeners and shards; 0: no
  // limit. Above: CONNACK 0x97.
  uint32_t user_connections_max = 0;

  // Stored sessions of one user name; 0: no limit. Above: CONNACK 0x97.
  uint32_t user_sessions_max = 0;

  uint16_t client_id_bytes_max = 65535;  // Above: 0x85.
  uint16_t topic_bytes_max = 65535;      // Above: 0x90 (name), 0x8F (filter).
  uint16_t topic_levels_max = 128;       // Likewise.
  // Of a session; above each of these: 0x97 in SUBACK.
  uint32_t subscriptions_max = 100'000;
  uint64_t subscriptions_bytes_max = 128 * 1024 * 1024;  // Memory: see SubscriptionBytes.
  uint32_t shared_subscriptions_max = 10'000;            // Those of them to `$share` groups.

  friend bool operator==(const Limits&, const Limits&) = default;
};

// What is left, while memory is short, of a bound on what is kept for slow readers. Never nothing:
// a message that is the only one has its place.
constexpr uint64_t BoundWhileMemoryIsShort(uint64_t bound) {
  return std::max<uint64_t>(bound / 16, 1);
}

}  // namespace broker
#endif  // BROKER_CORE_LIMITS_H_
