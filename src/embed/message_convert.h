// Between the broker's messages and those of the public interface.
#ifndef EMBED_MESSAGE_CONVERT_H_
#define EMBED_MESSAGE_CONVERT_H_

#include "auth/core/auth_code.h"
#include "broker/shard/hook_answer.h"
#include "embed/hooks.h"
#include "mqtt/message.h"

namespace mqttd {

Message ToMessage(const mqtt::Message& message);

// `original`: what the decision is about. A changed message that no PUBLISH can hold ends the
// client, as a hook that failed does.
broker::HookAnswer ToAnswer(PublishDecision decision, const mqtt::Message& original);

// Not authorised, if CONNACK has no such code for a login.
auth::AuthCode ToAuthCode(mqtt::ReasonCode reason);

}  // namespace mqttd

#endif  // EMBED_MESSAGE_CONVERT_H_
