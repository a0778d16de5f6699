// What a shard counts.
#ifndef BROKER_SHARD_SHARD_METRICS_H_
#define BROKER_SHARD_SHARD_METRICS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/memory_account.h"
#include "base/metric.h"
#include "broker/core/throttle.h"
#include "mqtt/types.h"

namespace broker {

// Why a message was not delivered to a subscriber, or not accepted. Each is a documented policy.
enum class DropCause : uint8_t {
  kOutputFull,      // QoS 0, and the connection's output is at its limit: the peer is slow.
  kQueueFull,       // The session's queue is at its limit.
  kExpired,         // The Message Expiry Interval passed before it was sent.
  kPacketTooLarge,  // Larger than the receiver's Maximum Packet Size [MQTT5-3.1.2-24].
  kNotAuthorized,   // The rules do not let the publisher publish, or the subscriber read, it.
  kSessionEnded,    // Queued or in flight when its session ended.
  kNoShareMember,   // For a shared subscription none of whose members can take it.
  kStorageFailed,   // Durable, and the storage could not take it; refused to the publisher too.
  kHook,            // A hook of the embedding program refused it.
  kCount_,
};

// Why a connection ended.
enum class CloseCause : uint8_t {
  kDisconnect,        // The client sent DISCONNECT.
  kPeerClosed,        // End of stream or reset, without DISCONNECT.
  kTransportError,    // TLS, WebSocket or PROXY protocol: the bytes below MQTT were wrong.
  kConnectTimeout,    // No CONNECT in time.
  kConnectRefused,    // CONNACK with an error: its code is in `connacks_sent`.
  kKeepAliveTimeout,  // Nothing came for one and a half Keep Alive.
  kPacketTimeout,     // A packet had begun and was not complete in time.
  kTakenOver,         // The Client Identifier connected again.
  kViolation,         // Malformed or against the protocol: by rule in `violations`.
  kOutputFull,        // The peer does not read: the output reached its limit.
  kOverloaded,        // A limit on sessions or rate.
  kMemory,            // It held much memory when there was too little.
  kShutdown,          // The server stops.
  kAdministrative,    // An operator, or rules that no longer let the client in.
  kStorageFailed,     // The session's state could not be stored.
  kHook,              // A hook of the embedding program wanted it, failed, or took too long.
  kNoQuorum,          // Most nodes of the cluster could not be reached, and its session is kept.
  kAside,             // Its node has stepped aside: see StepAside.
  kCount_,
};

// Why a connection was closed before it had a session.
enum class RefuseCause : uint8_t {
  kConnectionsMax,   // The broker's own limit; a listener's is in its ListenerCounters.
  kMemory,           // Above the memory mark (CONNACK 0x89), or no memory for it.
  kUserConnections,  // As many clients of its user name are connected as may be.
  kOtherUser,        // The session of its Client Identifier is another user's.
  kSessionsMax,      // As many sessions are stored as may be, and none gives way.
  kUserSessionsMax,  // As many sessions of its user.
  kIdentifierFight,  // Too many connections wanted its Client Identifier at once.
  kStorage,          // Its session could not be stored or read.
  kConnectSize,      // Its CONNECT is larger than `connect_packet_size_max`.
  kDraining,         // The server is about to stop.
  kBanned,           // An operator keeps it away.
  kNoQuorum,         // Most nodes of the cluster cannot be reached, and its session would be kept.
  kAside,            // The node has stepped aside: see StepAside.
  kUndecided,        // Its login, or its partition's answer, took longer than `connect_timeout`.
  kCount_,
};

// Which bound a subscription would have gone beyond (SUBACK 0x97).
enum class SubscribeRefusal : uint8_t {
  kSubscriptionsMax,        // Of the session: their number,
  kSubscriptionsBytesMax,   // their memory,
  kSharedSubscriptionsMax,  // or those to `$share` groups.
  kShareGroupsMax,          // Groups of the filter.
  kAllSubscriptionsBytes,   // Memory of all sessions' subscriptions.
  kMemory,                  // Above the memory mark.
  kCount_,
};

// How often which rule was broken. One writer; rules are the static texts of mqtt::Violation, so
// their number is bounded; what does not fit is counted under "other".
class ViolationCounts {
 public:
  void Add(std::string_view rule);

  // Calls visit(rule, count) for every rule seen. Any thread.
  template <typename Visit>
  void ForEach(Visit&& visit) const {
    for (const Slot& slot : slots_) {
      const char* const text = slot.text.load(std::memory_order_acquire);
      if (text != nullptr) visit(std::string_view(text, slot.size), slot.count.value());
    }
    if (other_.value() != 0) visit(std::string_view("other"), other_.value());
  }

 private:
  struct Slot {
    std::atomic<const char*> text{nullptr};  // Set once, after `size`.
    size_t size = 0;
    base::Counter count;
  };
  static constexpr size_t kSlots = 256;  // A power of two.

  std::array<Slot, kSlots> slots_;
  base::Counter other_;
};

// Written by the shard's thread only, read by any. Kept until the process ends, so that nothing
// that was counted disappears.
struct ShardMetrics {
  // Connections.
  base::Gauge connections;            // Open now, before or after CONNECT.
  base::Gauge connections_tls;        // Those of them over TLS.
  base::Gauge connections_websocket;  // Those of them over WebSocket, with or without TLS.
  base::Counter connections_opened;
  base::CounterPer<RefuseCause> connections_refused;
  base::CounterPer<CloseCause> connections_closed;
  base::Gauge clients_connected;                     // CONNACK with success was sent.
  base::Gauge clients_connected_maximum;             // Of this shard: the highest value so far.
  std::array<base::Counter, 6> connects_by_version;  // Accepted; index: 3 (3.1), 4 (3.1.1), 5.
  base::Gauge arrivals_waiting;  // Before CONNECT, with something to be read: waiting their turn.
  base::Gauge drain_left;        // Connections that are yet to be told to go.
  base::Counter accept_holds;    // Times that nothing was accepted because too many of them waited.
  base::Counter takeovers;
  base::Counter auth_failures;  // Bad user name or password, not authorised, banned, bad method.

  // Packets, by mqtt::PacketType. Bytes are whole packets, without what carries them (TLS, frames).
  std::array<base::Counter, 16> packets_received;
  std::array<base::Counter, 16> packets_sent;
  std::array<base::Counter, 16> bytes_received;
  std::array<base::Counter, 16> bytes_sent;

  // Reason codes, by value.
  std::array<base::Counter, 256> connacks_sent;
  std::array<base::Counter, 256> disconnects_sent;
  std::array<base::Counter, 256> disconnects_received;
  ViolationCounts violations;

  // PUBLISH, by QoS.
  std::array<base::Counter, 3> publish_received;
  std::array<base::Counter, 3> publish_sent;
  base::Counter publish_bytes_received;  // Payloads.
  base::Counter publish_bytes_sent;      // Payloads.
  base::Counter publish_unmatched;       // Nobody subscribes.
  base::Counter publish_duplicates;      // QoS 2, repeated before PUBREL: acknowledged, not routed.
  base::CounterPer<DropCause> dropped;

  // State. Only transient sessions: durable ones are counted by the partition host.
  base::Gauge sessions_transient;
  base::CounterPer<SubscribeRefusal> subscriptions_refused;
  base::Gauge subscriptions;         // Of transient sessions, shared ones included.
  base::Gauge subscriptions_shared;  // Of transient sessions.
  base::Gauge inflight_messages;     // Sent and not yet acknowledged, all sessions connected here.
  base::Gauge queued_messages;       // Of transient sessions: waiting for their window.
  base::Gauge queued_bytes;
  base::Gauge queues_crowded;  // Of transient sessions: above four fifths of what they may hold.
  base::Gauge output_bytes;    // Waiting for sockets to take them.
  base::MemoryAccount memory;  // The shard's part of the account of memory.

  // The machine room.
  base::Counter turns;             // Of the event loop.
  base::Counter mailbox_batches;   // Received from other threads.
  base::Counter mailbox_messages;  // What was in them.
  base::Counter reads_paused;      // Publishers not read from because a limit was reached.
  base::CounterPer<ThrottleCause> throttled;  // PUBLISH after which its client had to wait, or go.
  base::Counter match_cache_hits;
  base::Counter match_cache_misses;
  base::Counter storage_requests;          // To the partition host.
  base::Counter events_of_former_leaders;  // Dropped, see IsOfLeader.
  base::Gauge requests_kept;               // Those whose partition has not said that they are done.

  // Times.
  base::LatencyHistogram commit_latency;    // A durable request: sent to the host until answered.
  base::LatencyHistogram delivery_latency;  // PUBLISH read until handed to the subscriber's socket.
};

std::string_view Name(DropCause cause);    // "output_full"
std::string_view Name(CloseCause cause);   // "keep_alive_timeout"
std::string_view Name(RefuseCause cause);  // "connections_max"
std::string_view Name(SubscribeRefusal cause);
std::string_view Name(ThrottleCause cause);  // "rate"

}  // namespace broker
#endif  // BROKER_SHARD_SHARD_METRICS_H_
