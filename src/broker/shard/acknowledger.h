// What a client asks for is acknowledged in the order in which it asked.
#ifndef BROKER_ACKNOWLEDGER_H_
#define BROKER_ACKNOWLEDGER_H_

#include <functional>

#include "broker/shard/packet_output.h"
#include "broker/shard/shard_context.h"

namespace broker {

// Part of one shard, used on its thread. As long as nothing waits (for a commit, for other shards)
// an acknowledgement is written at once; behind one that waits, it has its place in the session's
// InboundFlow.
class Acknowledger {
 public:
  using Ticket = InboundFlow::Ticket;

  explicit Acknowledger(ShardContext& context) : context_(context) {}

  // Set by the shard: writes the answer to the oldest SUBSCRIBE or UNSUBSCRIBE of the connection
  // that has none. They are larger than the others, and kept where they are made.
  std::function<void(Connection&)> write_answer;

  // Waits for nothing but what is before it.
  void Acknowledge(Session& session, mqtt::PacketType type, mqtt::PacketId id,
                   mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess) {
    if (session.inbound.in_order()) {
      session.inbound.AckedNow(type, id, reason);
      return Write(session, {type, id, reason, true});
    }
    session.inbound.Queue(type, id, reason, true);
    PauseIfFull(session);
  }

  // Waits: `Complete` is to be called once, as long as the session is there.
  Ticket Expect(Session& session, mqtt::PacketType type, mqtt::PacketId id) {
    const Ticket ticket =
        session.inbound.Queue(type, id, mqtt::ReasonCode::kSuccess, /*ready=*/false);
    PauseIfFull(session);
    return ticket;
  }
  void Complete(Session& session, Ticket ticket,
                mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess) {
    session.inbound.Complete(ticket, reason,
                             [&](const InboundFlow::Ack& ack) { Write(session, ack); });
    if (!session.inbound.full(session.version))
      context_.Resume(session.connection, kPauseReceiveMaximum);
  }

 private:
  void Write(Session& session, const InboundFlow::Ack& ack) {
    if (ack.type == mqtt::PacketType::kSubAck || ack.type == mqtt::PacketType::kUnsubAck)
      return write_answer(session.connection);
    SendAck(context_, session, ack.type, ack.id, ack.reason);
  }
  void PauseIfFull(const Session& session) {
    if (session.inbound.full(session.version))
      context_.Pause(session.connection, kPauseReceiveMaximum);
  }

  ShardContext& context_;
};

}  // namespace broker
#endif  // BROKER_ACKNOWLEDGER_H_
