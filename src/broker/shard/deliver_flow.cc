#include "broker/shard/deliver_flow.h"

#include <memory>
#include <utility>

#include "broker/shard/packet_output.h"

namespace broker {

using mqtt::PacketType;
using mqtt::ReasonCode;

void DeliverFlow::OnAck(Session& session, const mqtt::Ack& packet) {
  if (packet.type == PacketType::kPubRec) return OnPubRec(session, packet);
  OnDone(session, packet);
}

void DeliverFlow::OnDone(Session& session, const mqtt::Ack& packet) {
  const bool comp = packet.type == PacketType::kPubComp;
  const uint64_t sequence = session.durable ? session.outbound.SequenceOf(packet.packet_id) : 0;
  const OutboundFlow::AckResult result = comp ? session.outbound.OnPubComp(packet.packet_id)
                                              : session.outbound.OnPubAck(packet.packet_id);
  switch (result) {
    case OutboundFlow::AckResult::kDone:
      context_.metrics.inflight_messages.Add(-1);
      return OnRoom(session, sequence,
                    comp ? storage::AckKind::kPubComp : storage::AckKind::kPubAck);
    case OutboundFlow::AckResult::kWrongType:
      return context_.Violated(session.connection, {ReasonCode::kProtocolError,
                                                    comp ? "MQTT5-4.3.3-5" : "MQTT5-4.3.2-2"});
    default:
      return;  // A late answer to something that is over: nothing to be done.
  }
}

void DeliverFlow::OnPubRec(Session& session, const mqtt::Ack& packet) {
  const bool refused = mqtt::IsError(packet.reason);
  const uint64_t sequence = session.durable ? session.outbound.SequenceOf(packet.packet_id) : 0;
  switch (session.outbound.OnPubRec(packet.packet_id, refused, session.durable)) {
    case OutboundFlow::AckResult::kDone:  // PUBREC ≥ 0x80 ends the exchange [MQTT5-4.4.0-2].
      context_.metrics.inflight_messages.Add(-1);
      return OnRoom(session, sequence, storage::AckKind::kPubAck);
    case OutboundFlow::AckResult::kRelease:  // [MQTT5-4.3.3-4] [MQTT311-4.3.3-1]
      return SendAck(context_, session, PacketType::kPubRel, packet.packet_id,
                     ReasonCode::kSuccess);
    case OutboundFlow::AckResult::kCommitFirst:
      return NoteAcknowledged(session, sequence, storage::AckKind::kPubRec);
    case OutboundFlow::AckResult::kUnknown:
      if (!refused)
        SendAck(context_, session, PacketType::kPubRel, packet.packet_id,
                ReasonCode::kPacketIdentifierNotFound);
      return;
    case OutboundFlow::AckResult::kWrongType:
      return context_.Violated(session.connection, {ReasonCode::kProtocolError, "MQTT5-4.3.3-4"});
  }
}

// A message is done, and its place in the window free.
void DeliverFlow::OnRoom(Session& session, uint64_t sequence, storage::AckKind kind) {
  if (session.durable) return NoteAcknowledged(session, sequence, kind);  // Its partition goes on.
  if (!session.outbound.queue_empty()) deliverer_.Drain(session);
  subscribing_.ContinueReplays(session);
}

void DeliverFlow::NoteAcknowledged(Session& session, uint64_t sequence, storage::AckKind kind) {
  if (session.acknowledgements == nullptr)
    session.acknowledgements = std::make_unique<storage::Acknowledge>();
  session.acknowledgements->entries.push_back({sequence, kind});
  context_.MarkDirty(session.connection);  // Sent at the end of the round.
}

bool DeliverFlow::IsLive(const storage::ConnectionRef& ref, uint64_t epoch,
                         Connection*& connection) const {
  connection = context_.Find(ref.connection);
  return connection != nullptr && connection->session != nullptr &&
         connection->session->epoch == epoch;
}

void DeliverFlow::OnDeliver(storage::Deliver event) {
  Connection* connection = nullptr;
  if (!IsLive(event.connection, event.epoch, connection))
    return;  // The partition keeps what is not acknowledged.
  subscribing_.HoldBack(*connection, event.entries);
  deliverer_.Durable(*connection->session, std::move(event.entries));
  subscribing_.ContinueReplays(*connection->session);
}

void DeliverFlow::OnTooSlow(const storage::SessionTooSlow& event) {
  Connection* connection = nullptr;
  if (!IsLive(event.connection, event.epoch, connection)) return;
  context_.Close(*connection,
                 {.cause = CloseCause::kOutputFull, .say = ReasonCode::kQuotaExceeded});
}

void DeliverFlow::OnReleaseDue(const storage::ReleaseDue& event) {
  Connection* connection = nullptr;
  if (!IsLive(event.connection, event.epoch, connection)) return;
  for (const uint64_t sequence : event.sequences) {
    const mqtt::PacketId packet_id = OutboundFlow::IdOf(sequence);
    if (connection->session->outbound.OnPubRecCommitted(packet_id)) {
      SendAck(context_, *connection->session, PacketType::kPubRel, packet_id, ReasonCode::kSuccess);
    }
  }
}

}  // namespace broker
