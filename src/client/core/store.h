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

// Keeps messages of QoS 1 and 2 beyond the life of the process, from when the client accepts them
// until the server has acknowledged them. Without a store they live as long as the client object.
// Each call returns when the change is as safe as the store makes it; an error means that it did
// not happen, and the session then does not go on with that message. Messages are known by their
// sequence, which is never used twice. Used by one session at a time, on its thread.
class Store {
 public:
  struct Outbound {
    uint64_t sequence = 0;  // Order in which they were accepted.
    mqtt::PacketId id;      // 0: it was not sent yet.
    bool released = false;  // PUBREC has come: PUBREL is what is to be sent again.
    Message message;
  };
  struct Contents {
    std::vector<Outbound> outbound;       // By ascending sequence.
    std::vector<mqtt::PacketId> inbound;  // QoS 2 identifiers whose PUBREL is still to come.
  };

  virtual ~Store() = default;

  virtual absl::StatusOr<Contents> Load() = 0;
  // The message is accepted. `id`: it is about to be sent; 0: it waits.
  virtual absl::Status PutOutbound(uint64_t sequence, mqtt::PacketId id,
                                   const Message& message) = 0;
  // A message that waited: before PUBLISH is sent.
  virtual absl::Status MarkSent(uint64_t sequence, mqtt::PacketId id) = 0;
  // PUBREC came: before PUBREL is sent.
  virtual absl::Status MarkReleased(uint64_t sequence) = 0;
  // PUBACK, PUBCOMP, or a PUBREC that ends the exchange; or it is not to be sent after all.
  virtual absl::Status RemoveOutbound(uint64_t sequence) = 0;
  // A QoS 2 message came: before PUBREC is sent.
  virtual absl::Status PutInbound(mqtt::PacketId id) = 0;
  // PUBREL came: before PUBCOMP is sent.
  virtual absl::Status RemoveInbound(mqtt::PacketId id) = 0;
  // The server has no session any more. The messages of `over` are removed; all others wait again
  // to be sent, without identifiers; and nothing is inbound. In one step: after a crash all of it
  // has happened, or nothing.
  virtual absl::Status RestartSession(const std::vector<uint64_t>& over) = 0;
};

}  // namespace mqttd::client

#endif  // CLIENT_CORE_STORE_H_
