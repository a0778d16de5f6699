// How much memory all Messages take, wherever they wait.
#ifndef MQTT_MESSAGE_MEMORY_H_
#define MQTT_MESSAGE_MEMORY_H_

#include <cstdint>

namespace mqtt {

// Bytes of all Messages that exist (`Message::bytes`), each counted once. Any thread.
// Cost: adds up one number for each thread that has made or freed one.
int64_t MessageMemoryBytes();

}  // namespace mqtt
#endif  // MQTT_MESSAGE_MEMORY_H_
