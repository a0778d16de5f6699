// Small packets on their way out: appended to the connection's output, counted by type.
#ifndef BROKER_PACKET_OUTPUT_H_
#define BROKER_PACKET_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "broker/shard/shard_context.h"
#include "mqtt/encode.h"

namespace broker {

inline void CountSent(ShardContext& context, Connection& connection, mqtt::PacketType type,
                      size_t bytes) {
  context.metrics.packets_sent[static_cast<size_t>(type)].Add();
  context.metrics.bytes_sent[static_cast<size_t>(type)].Add(bytes);
  context.MarkDirty(connection);
}

// Answers (acknowledgements, PINGRESP) that wait for a client to read them; above, nothing more is
// read from it. At most twice as much is kept.
inline constexpr uint64_t kAnswerBytesMax = 256 * 1024;

inline void CountAnswer(ShardContext& context, Connection& connection, mqtt::PacketType type,
                        size_t bytes) {
  CountSent(context, connection, type, bytes);
  if (context.observer != nullptr) context.observer->OnSent(connection, type, bytes);
  connection.answer_bytes += static_cast<uint32_t>(bytes);
  if (connection.answer_bytes >= kAnswerBytesMax) context.Pause(connection, kPauseAnswers);
}

// A whole packet of `type`, encoded already.
inline void SendPacket(ShardContext& context, Connection& connection, mqtt::PacketType type,
                       std::string_view bytes) {
  connection.output.Append(context.buffers, bytes);
  CountAnswer(context, connection, type, bytes.size());
}

// A packet that has to be sent is larger than the client takes [MQTT5-3.1.2-24], and it cannot go
// on without. That concerns the answers that grow with the question: a client that was sent a
// CONNACK takes every other packet that is not a PUBLISH.
inline void CloseTooLarge(ShardContext& context, Connection& connection) {
  context.CloseLater(
      connection, {.cause = CloseCause::kAdministrative, .say = mqtt::ReasonCode::kPacketTooLarge});
}

// PUBACK, PUBREC, PUBREL or PUBCOMP, written in place.
inline void SendAck(ShardContext& context, Session& session, mqtt::PacketType type,
                    mqtt::PacketId id, mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess) {
  OutputQueue& output = session.connection.output;
  uint8_t* const begin = output.Reserve(context.buffers, mqtt::kAckSizeMax);
  const uint8_t* const end = mqtt::WriteAck(begin, type, session.version, id, reason);
  const auto bytes = static_cast<size_t>(end - begin);
  output.Commit(bytes);
  CountAnswer(context, session.connection, type, bytes);
}

}  // namespace broker
#endif  // BROKER_PACKET_OUTPUT_H_
