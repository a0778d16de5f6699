// What a hook of the embedding program says.
#ifndef BROKER_SHARD_HOOK_ANSWER_H_
#define BROKER_SHARD_HOOK_ANSWER_H_

#include <cstdint>
#include <vector>

#include "mqtt/message.h"
#include "mqtt/reason_code.h"

namespace broker {

// What was decided about one packet.
struct HookAnswer {
  enum class Kind : uint8_t {
    kGoOn,
    kRefuse,  // A PUBLISH, with `reason` in its acknowledgement.
    kClose,   // The client, with `reason` in DISCONNECT.
  };
  Kind kind = Kind::kGoOn;
  mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess;
  mqtt::MessagePtr message{};               // To be routed instead of the one asked about.
  std::vector<mqtt::ReasonCode> reasons{};  // Of a SUBSCRIBE, by filter; an error refuses it.
};

}  // namespace broker
#endif  // BROKER_SHARD_HOOK_ANSWER_H_
