// One Network Connection: its bytes, its place in the protocol, and the Session it carries.
#ifndef BROKER_CONNECTION_H_
#define BROKER_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "broker/core/session.h"
#include "broker/core/stream.h"
#include "broker/shard/input_buffer.h"
#include "broker/shard/output_queue.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"

namespace broker {

struct ListenerTerms;
struct PendingConnect;

// Where a connection stands.
enum class Phase : uint8_t {
  kAwaitingConnect,
  kAuthenticating,  // A password is being verified: nothing is read.
  kExchangingAuth,  // Enhanced authentication: only AUTH and DISCONNECT may come [MQTT5-4.12.0-7
                    // and §4.12].
  kOpening,         // The Client Identifier is being claimed: nothing is read.
  kConnected,
  kLingering,  // We have said goodbye; what still comes is thrown away until the peer closes too.
  kClosed,     // To be freed at the end of the round.
};

// Why reading is paused; any bit set means nothing is read and TCP pushes back.
enum PauseReason : uint8_t {
  kPauseDeciding = 1,        // Who it is, or what a hook says of its packet, is being decided.
  kPauseReceiveMaximum = 2,  // A 3.1.1 client has as much unacknowledged as a 5.0 client may.
  kPauseCommits = 4,         // Too much waits for the group commit.
  kPauseRequests = 8,        // Too many of its SUBSCRIBE, UNSUBSCRIBE, PUBREL wait for an answer.
  kPauseForwards = 16,       // Another shard is behind with what this client sends it.
  kPauseAnswers = 32,        // It does not read our answers to what it sends.
  kPauseThrottle = 64,       // It publishes too fast, see `Throttle`.
  kPauseMemory = 128,        // There is no room for the rest of its packet.
};

// Owned by its shard, used on its thread. Nothing of it survives a crash: what must, is in the
// partition.
class Connection final {
 public:
  Connection(storage::ConnectionRef r, std::unique_ptr<Stream> s, const ListenerTerms& l);
  ~Connection();

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // In an order that leaves no gaps: there are many of these.
  static constexpr uint32_t kNotListed = UINT32_MAX;
  uint32_t again_place = kNotListed;  // In the shard's list of those to be read from again.
  uint16_t requests_waiting = 0;      // SUBSCRIBE, UNSUBSCRIBE, PUBREL not yet answered.
  uint16_t keep_alive_s = 0;          // In force; 0: none.

  const storage::ConnectionRef ref;
  const std::unique_ptr<Stream> stream;
  const ListenerTerms& listener;

  Phase phase = Phase::kAwaitingConnect;
  mqtt::Version version = mqtt::Version::kUnknown;
  uint8_t pauses = 0;           // PauseReason bits.
  bool resumed = false;         // Reading goes on after a pause: the stash comes first.
  bool peer_closed = false;     // The peer has ended its direction: read to the end.
  bool dirty = false;           // On the shard's list of connections with output.
  bool output_blocked = false;  // The stream takes no more: wait until there is room again.
  bool counted : 1 = false;     // In `clients_connected`.
  bool arriving : 1 = false;    // In the shard's `Arrivals`.
  bool idle : 1 = false;        // See ConnectionState; only where a hook wants to know.
  size_t bytes_counted = 0;     // In `output_bytes`.
  // Answers put into the output since it was at `answers_mark` (of `appended`); counted anew when
  // all before the mark is written.
  uint64_t answers_mark = 0;
  uint32_t answer_bytes = 0;
  uint32_t last_packet_tick = 0;  // The shard's tick at the last packet, or piece of one.
  // Before CONNACK: when CONNECT must be here. While lingering: the end of patience. Between the
  // two: when the client was let in.
  uint32_t phase_tick = 0;
  uint32_t filed_tick = 0;  // Where the timer wheel holds it; 0: nowhere.

  OutputQueue output;
  InputBuffer stash;  // The beginning of a packet whose rest is to come, or what came while paused.
  std::unique_ptr<PendingConnect> connecting;  // From CONNECT to CONNACK.
  std::unique_ptr<Session> session;            // From CONNACK on.
};

// A budget: docs/performance.md counts what an idle connection costs.
static_assert(sizeof(Connection) <= 120);

}  // namespace broker
#endif  // BROKER_CONNECTION_H_
