// QoS 2 messages that a partition's own sessions publish: taken in once, until they are released.
#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"
#include "storage/core/wire.h"

namespace storage {
namespace {

// The StoredMessage in a record. None if it is not one.
std::optional<mqtt::MessageParts> MessageIn(std::string_view record) {
  wire::Reader reader(record);
  std::string_view message;
  while (reader.Next()) {
    if (reader.field() == pb::OutboxRecord::kMessageFieldNumber) message = reader.bytes();
  }
  return reader.ok() ? ParseStoredMessage(message) : std::nullopt;
}

}  // namespace

// True: the session took the Packet Identifier in.
template <typename Command>
bool Partition::Impl::AddInbound(const Command& command, Outcome& outcome) {
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return false;
  outcome.duplicate = !session->queue.AddInbound(static_cast<uint16_t>(command.packet_id()));
  if (outcome.duplicate) return false;
  digest_.Add(Change::kInbound, session->epoch, command.packet_id());
  sessions_.Touch(*session, &Session::Changes::cursor);
  return true;
}

// There is room: whoever proposed it has seen to that. (A publisher that was refused now might use
// the identifier for its next message, and that would be taken for a repeat.)
Outcome Partition::Impl::Apply(const pb::AcceptInbound& command, const mqtt::MessagePtr& message,
                               ApplyContext& ctx) {
  Outcome outcome;
  const std::optional<mqtt::MessageParts> parts =
      message ? message->parts() : MessageIn(command.record());
  if (!parts.has_value() || command.packet_id() == 0 || command.packet_id() > 0xFFFF) {
    ctx.StopAtUnreadable("a QoS 2 message");
    return outcome;
  }
  if (AddInbound(command, outcome))
    outcome.outbox = outbox_.Add(command.record(), message, parts->expires_at_unix_ms, ctx);
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::RememberInbound& command, ApplyContext& ctx) {
  Outcome outcome;
  if (command.packet_id() == 0 || command.packet_id() > 0xFFFF) {
    ctx.StopAtUnreadable("a Packet Identifier");
    return outcome;
  }
  (void)AddInbound(command, outcome);
  return outcome;
}

Outcome Partition::Impl::Apply(const pb::ReleaseInbound& command, ApplyContext& ctx) {
  Outcome outcome;
  Session* const session = FindCurrent(command.client_id(), command.epoch(), outcome);
  if (session == nullptr) return outcome;
  for (const uint32_t packet_id : command.packet_ids()) {
    if (packet_id > 0xFFFF) {
      ctx.StopAtUnreadable("a Packet Identifier");
      return outcome;
    }
    if (!session->queue.RemoveInbound(static_cast<uint16_t>(packet_id))) continue;
    digest_.Add(Change::kInboundReleased, session->epoch, packet_id);
    sessions_.Touch(*session, &Session::Changes::cursor);
  }
  return outcome;
}

}  // namespace storage
