#include "tests/support/client_session.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace support {

void ClientSession::TakeBytes(std::string_view bytes) {
  input_ += bytes;
  for (;;) {
    const auto size = FrameSize(input_);
    if (!size.has_value() || *size > input_.size()) return;
    const auto parsed = Parse(protocol_, std::string_view(input_).substr(0, *size));
    if (!parsed.error.empty()) return OnUnreadable(parsed.error, parsed.packet);
    input_.erase(0, *size);
    OnPacket(parsed.packet);
    if (!has_connection()) return;
  }
}

void ClientSession::ForgetConnection() {
  input_.clear();
  asked_.clear();
  last_asked_.clear();
}

void ClientSession::ForgetExchanges() {
  outgoing_.clear();
  incoming_.clear();
}

void ClientSession::Ask(uint16_t packet_id, Asked asked) {
  last_asked_[asked.filter] = packet_id;
  asked_[packet_id] = std::move(asked);
}

void ClientSession::SendAgain() {
  std::vector<std::pair<uint64_t, uint16_t>> order;
  for (const auto& [id, outgoing] : outgoing_) order.emplace_back(outgoing.order, id);
  std::sort(order.begin(), order.end());
  for (const auto& [number, id] : order) {
    const Outgoing& outgoing = outgoing_[id];
    if (outgoing.received) {
      Send(Ack(PacketType::kPubrel, id));
    } else {
      SendPublish(id, outgoing.payload, true);
    }
  }
}

void ClientSession::OnPacket(const Packet& packet) {
  switch (packet.type) {
    case PacketType::kConnack:
      return OnConnack(packet);
    case PacketType::kPublish:
      return TakePublish(packet);
    case PacketType::kPuback:
    case PacketType::kPubrec:
    case PacketType::kPubcomp:
      return TakeAcknowledgement(packet);
    case PacketType::kPubrel:
      incoming_.erase(packet.packet_id);
      return Send(Ack(PacketType::kPubcomp, packet.packet_id));
    case PacketType::kSuback:
    case PacketType::kUnsuback:
      return TakeAnswer(packet);
    case PacketType::kPingresp:
      return;
    case PacketType::kDisconnect:
      return OnDisconnect(packet);
    default:
      return OnUnexpected(packet);
  }
}

void ClientSession::TakePublish(const Packet& packet) {
  const bool repeated = packet.qos() == 2 && !incoming_.insert(packet.packet_id).second;
  OnPublish(packet, repeated);
  if (packet.qos() == 1) Send(Ack(PacketType::kPuback, packet.packet_id));
  if (packet.qos() == 2) Send(Ack(PacketType::kPubrec, packet.packet_id));
}

void ClientSession::TakeAcknowledgement(const Packet& packet) {
  const auto found = outgoing_.find(packet.packet_id);
  if (found == outgoing_.end()) return OnUnexpected(packet);
  OnAcknowledged(packet, found->second);
  const bool refused = packet.reason >= 0x80;  // It is not sent again.
  if (packet.type != PacketType::kPubrec || refused) {
    outgoing_.erase(found);
    return;
  }
  found->second.received = true;
  Send(Ack(PacketType::kPubrel, packet.packet_id));
}

void ClientSession::TakeAnswer(const Packet& packet) {
  const auto found = asked_.find(packet.packet_id);
  if (found == asked_.end() || (packet.type == PacketType::kSuback) != found->second.subscribe)
    return OnUnexpected(packet);
  const Asked asked = std::move(found->second);
  asked_.erase(found);
  OnAnswered(packet, asked, last_asked_[asked.filter] == packet.packet_id);
}

}  // namespace support
