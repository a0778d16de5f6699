// What a client must not forget while messages are in flight (§4.1.1, client side).
#ifndef CLIENT_CORE_STORE_H_
#define CLIENT_CORE_STORE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/core/message.h"
#include "mqtt/types.h"

namespace mqttd::client {

// Keeps unacknowledged messages beyond the life of the process. Without a store they live as long
// as the client object. Each call returns when the change is as safe as the store makes it; an
// error means that it did not happen, and the session then does not go on with that message.
// Used by one session at a time, on its thread.
class Store {
 public:
  struct Outbound {
    mqtt::PacketId id;
    uint64_t sequence = 0;  // Order in which they were first sent.
    bool released = false;  // PUBREC has come: PUBREL is what is to be sent again.
    Message message;        // Empty when released.
  };
  struct Contents {
    std::vector<Outbound> outbound;       // By ascending sequence.
    std::vector<mqtt::PacketId> inbound;  // QoS 2 identifiers whose PUBREL is still to come.
  };

  virtual ~Store() = default;

  virtual absl::StatusOr<Contents> Load() = 0;
  // Before PUBLISH of QoS 1 or 2 is sent for the first time.
  virtual absl::Status PutOutbound(mqtt::PacketId id, uint64_t sequence,
                                   const Message& message) = 0;
  // PUBREC came: before PUBREL is sent.
  virtual absl::Status MarkReleased(mqtt::PacketId id) = 0;
  // PUBACK, PUBCOMP, or a PUBREC that ends the exchange.
  virtual absl::Status RemoveOutbound(mqtt::PacketId id) = 0;
  // A QoS 2 message came: before PUBREC is sent.
  virtual absl::Status PutInbound(mqtt::PacketId id) = 0;
  // PUBREL came: before PUBCOMP is sent.
  virtual absl::Status RemoveInbound(mqtt::PacketId id) = 0;
  // The server has no session any more.
  virtual absl::Status Clear() = 0;
};

}  // namespace mqttd::client

#endif  // CLIENT_CORE_STORE_H_
