// What becomes of a CONNECT, as far as its own bytes and the listener's limits decide.
#ifndef BROKER_CORE_CONNECT_RULES_H_
#define BROKER_CORE_CONNECT_RULES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "broker/core/limits.h"
#include "mqtt/packets.h"
#include "mqtt/types.h"

namespace broker {

// The terms on which a client is let in; `ConnAck` tells what differs from what it asked for.
struct ConnectTerms {
  uint16_t keep_alive_s = 0;      // In force; 0: none.
  bool keep_alive_ours = false;   // Server Keep Alive has to be told [MQTT5-3.1.2-21].
  uint32_t session_expiry_s = 0;  // In force; 0: a transient session.
  bool session_expiry_ours = false;
  uint16_t window = 0;  // In flight to the client at most, transient.
  uint16_t window_durable = 0;
  uint32_t packet_size_max = 0;  // What the client takes.
  uint16_t topic_alias_out = 0;  // Aliases we may use.
};

// The limits that only the server's own options impose: a Violation (the code for CONNACK) if one
// is broken.
//   [MQTT5-3.2.2-12] Will QoS above Maximum QoS       0x9B
//   [MQTT5-3.2.2-13] Will Retain without Retain       0x9A
//   Client Identifier, Will Topic longer than allowed 0x85, 0x90
std::optional<mqtt::Violation> CheckConnect(const mqtt::Connect& connect, const Limits& limits);

// The terms. Keep Alive: 5.0 clients are told another value, 3.1.1 clients cannot be and keep
// theirs. Session expiry: Clean Session 0 means "never" in 3.1.1, 1 means 0.
ConnectTerms TermsFor(const mqtt::Connect& connect, const Limits& limits);

// What CONNACK says of success. The views are the caller's.
mqtt::ConnAck AcceptanceFor(const ConnectTerms& terms, const Limits& limits, bool session_present);

// A Client Identifier for a client that sent none [MQTT5-3.1.3-6] [MQTT311-3.1.3-6]: unpredictable,
// so that nobody can take over a session by guessing. `random` are 128 random bits.
std::string AssignedClientId(uint64_t random_high, uint64_t random_low);

}  // namespace broker
#endif  // BROKER_CORE_CONNECT_RULES_H_
