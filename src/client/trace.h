// Packets in words, as they pass a client: for people who look for what is wrong.
#ifndef CLIENT_TRACE_H_
#define CLIENT_TRACE_H_

#include <functional>
#include <string_view>

#include "mqtt/types.h"

namespace mqttd::client {

// `packet` in one line: `PUBLISH qos=1 id=7 topic="a/b" payload=12B`. No password is shown.
using Tracer = std::function<void(mqtt::Sender sender, std::string_view packet)>;

// Tells the tracer of each whole packet in `bytes`.
void Trace(const Tracer& tracer, mqtt::Bytes bytes, mqtt::Version version, mqtt::Sender sender);

}  // namespace mqttd::client

#endif  // CLIENT_TRACE_H_
