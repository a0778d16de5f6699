// The packets of a shard's connections, and what the partition host and other threads tell it.
#include <utility>

#include "base/check.h"
#include "broker/shard/claims.h"
#include "broker/shard/packet_output.h"
#include "broker/shard/shard_core.h"
#include "mqtt/decode.h"
#include "mqtt/encode.h"

namespace broker {
namespace {

using mqtt::PacketType;
using mqtt::ReasonCode;

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;  // clang 14 does not deduce it by itself.

}  // namespace

void ShardCore::Consume(Connection& connection, const uint8_t* data, size_t size) {
  size_t at = connection.stash.empty() ? 0 : ConsumeStash(connection, data, size);
  const uint32_t packet_size_max = PacketSizeMax(connection);
  size_t begun_bytes = 0;  // Of the packet that is not complete, if that is known.
  while (at < size && connection.pauses == 0) {
    if (connection.phase == Phase::kLingering || connection.phase == Phase::kClosed) return;
    const mqtt::Bytes rest(data + at, size - at);
    const mqtt::FrameResult frame = mqtt::PeekFrame(rest, packet_size_max, connection.version);
    if (frame.kind == mqtt::FrameResult::Kind::kViolation) return BadFrame(connection, frame, rest);
    if (frame.kind == mqtt::FrameResult::Kind::kNeedMore) {
      begun_bytes = frame.header.header_size > 0 ? frame.bytes_needed : 0;
      break;
    }
    const mqtt::Bytes body = mqtt::FrameBody(frame.header, rest);
    if (observer != nullptr) observer->OnReceived(connection, frame.header, body);
    OnFrame(connection, frame.header, body);
    at += frame.header.frame_size();
  }
  if (connection.phase == Phase::kLingering || connection.phase == Phase::kClosed) return;
  if (at == size) return;
  const mqtt::Bytes rest(data + at, size - at);
  if (connection.pauses != 0) return memory_.KeepUnread(connection, rest);
  KeepHalfSent(connection, rest, begun_bytes);
}

// Who has not been let in yet may send nothing but a CONNECT of moderate size. (The phase changes
// only while nothing is read.)
uint32_t ShardCore::PacketSizeMax(const Connection& connection) {
  const Limits& limits = connection.listener.limits;
  return connection.phase == Phase::kConnected
             ? limits.maximum_packet_size
             : std::min(limits.maximum_packet_size, limits.connect_packet_size_max);
}

void ShardCore::BadFrame(Connection& connection, const mqtt::FrameResult& frame,
                         mqtt::Bytes bytes) {
  const bool too_large = frame.violation.reason == ReasonCode::kPacketTooLarge;
  if (too_large && connection.phase == Phase::kAwaitingConnect &&
      frame.header.type == PacketType::kConnect) {
    metrics.violations.Add(frame.violation.rule);
    return connecting_.RefuseTooLarge(connection, frame.header, bytes);
  }
  Violated(connection, frame.violation);
}

// Completes the one packet that began in an earlier read; returns how much of `data` that took.
size_t ShardCore::ConsumeStash(Connection& connection, const uint8_t* data, size_t size) {
  size_t at = 0;
  for (;;) {
    const mqtt::FrameResult frame =
        mqtt::PeekFrame(connection.stash.bytes(), PacketSizeMax(connection), connection.version);
    if (frame.kind == mqtt::FrameResult::Kind::kViolation) {
      BadFrame(connection, frame, connection.stash.bytes());
      return size;
    }
    if (frame.kind == mqtt::FrameResult::Kind::kComplete) {
      const InputBuffer packet = memory_.input().Take(connection.stash);
      DCHECK(packet.size() == frame.header.frame_size())
          << "the stash holds one packet while reading goes on";
      const mqtt::Bytes body = mqtt::FrameBody(frame.header, packet.bytes());
      if (observer != nullptr) observer->OnReceived(connection, frame.header, body);
      OnFrame(connection, frame.header, body);
      return at;
    }
    const size_t take = std::min(frame.bytes_needed - connection.stash.size(), size - at);
    if (take == 0) return at;
    KeepHalfSent(connection, mqtt::Bytes(data + at, take),
                 frame.header.header_size > 0 ? frame.bytes_needed : 0);
    at += take;
  }
}

void ShardCore::OnFrame(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes body) {
  metrics.packets_received[static_cast<size_t>(header.type)].Add();
  metrics.bytes_received[static_cast<size_t>(header.type)].Add(header.frame_size());
  connection.last_packet_tick = now_tick;
  if (connection.phase == Phase::kConnected) return OnFrameConnected(connection, header, body);
  OnFrameBeforeConnAck(connection, header, body);
}

void ShardCore::OnFrameBeforeConnAck(Connection& connection, const mqtt::FrameHeader& header,
                                     mqtt::Bytes body) {
  if (connection.phase == Phase::kAwaitingConnect) {
    if (header.type == PacketType::kConnect) return connecting_.OnConnect(connection, header, body);
    return Violated(connection, {ReasonCode::kProtocolError, "MQTT-3.1.0-1"});
  }
  // An exchange of AUTH packets is going on: nothing else may come before CONNACK but DISCONNECT
  // (§4.12).
  if (header.type == PacketType::kAuth) {
    mqtt::Auth packet;
    if (const auto violation = mqtt::DecodeAuth(header.flags, body, connection.version,
                                                mqtt::Sender::kClient, packet)) {
      return Violated(connection, *violation);
    }
    return connecting_.OnAuth(connection, packet);
  }
  if (header.type == PacketType::kDisconnect)
    return Close(connection, {.cause = CloseCause::kDisconnect});
  const bool again = header.type == PacketType::kConnect;
  Violated(connection, {ReasonCode::kProtocolError, again ? "MQTT-3.1.0-2" : "MQTT5-3.1.2-30"});
}

void ShardCore::OnFrameConnected(Connection& connection, const mqtt::FrameHeader& header,
                                 mqtt::Bytes body) {
  switch (header.type) {
    case PacketType::kPublish:
      return publishing_.OnPublish(connection, header.flags, body);
    case PacketType::kPubAck:
    case PacketType::kPubRec:
    case PacketType::kPubRel:
    case PacketType::kPubComp:
      return OnAck(connection, header, body);
    case PacketType::kSubscribe:
      return subscribing_.OnSubscribe(connection, header.flags, body);
    case PacketType::kUnsubscribe:
      return subscribing_.OnUnsubscribe(connection, header.flags, body);
    case PacketType::kPingReq:
      if (const auto violation = mqtt::DecodePingReq(header.flags, body, connection.version)) {
        return Violated(connection, *violation);
      }
      return SendPacket(*this, connection, PacketType::kPingResp,  // [MQTT-3.12.4-1]
                        mqtt::AsText(mqtt::kPingRespFrame));
    case PacketType::kDisconnect:
      return OnDisconnect(connection, header, body);
    case PacketType::kConnect:
      return Violated(connection, {ReasonCode::kProtocolError, "MQTT-3.1.0-2"});
    case PacketType::kAuth: {
      if (const auto violation =
              mqtt::CheckDirection(header.type, connection.version, mqtt::Sender::kClient)) {
        return Violated(connection, *violation);
      }
      mqtt::Auth packet;
      if (const auto violation = mqtt::DecodeAuth(header.flags, body, connection.version,
                                                  mqtt::Sender::kClient, packet)) {
        return Violated(connection, *violation);
      }
      return connecting_.OnAuth(connection, packet);
    }
    default: {
      const auto violation =
          mqtt::CheckDirection(header.type, connection.version, mqtt::Sender::kClient);
      return Violated(connection, violation.value_or(
                                      mqtt::Violation{ReasonCode::kProtocolError, "MQTT5-2.1.2"}));
    }
  }
}

void ShardCore::OnAck(Connection& connection, const mqtt::FrameHeader& header, mqtt::Bytes body) {
  mqtt::Ack packet;
  if (const auto violation =
          mqtt::DecodeAck(header.type, header.flags, body, connection.version, packet)) {
    return Violated(connection, *violation);
  }
  if (header.type == PacketType::kPubRel) return publishing_.OnPubRel(connection, packet);
  delivering_.OnAck(*connection.session, packet);
}

void ShardCore::OnDisconnect(Connection& connection, const mqtt::FrameHeader& header,
                             mqtt::Bytes body) {
  mqtt::Disconnect packet;
  if (const auto violation = mqtt::DecodeDisconnect(header.flags, body, connection.version,
                                                    mqtt::Sender::kClient, packet)) {
    return Violated(connection, *violation);
  }
  CloseOrder order;
  order.cause = CloseCause::kDisconnect;
  // 0x00 deletes the will [MQTT5-3.14.4-3] [MQTT311-3.14.4-3]; any other code leaves it.
  order.session = packet.reason == ReasonCode::kNormalDisconnection
                      ? storage::CloseCause::kNormal
                      : storage::CloseCause::kWithWill;
  if (packet.session_expiry_interval.has_value()) {
    // A session that was to end with the connection cannot be kept after all (§3.14.2.2.2).
    if (connection.session->session_expiry_s == 0 && *packet.session_expiry_interval != 0) {
      return Violated(connection, {ReasonCode::kProtocolError, "MQTT5-3.14.2.2.2"});
    }
    order.expiry_s = std::min(*packet.session_expiry_interval,
                              connection.session->limits.session_expiry_interval_max);
  }
  metrics.disconnects_received[static_cast<size_t>(packet.reason)].Add();
  Close(connection, order);
}

void ShardCore::Violated(Connection& connection, const mqtt::Violation& violation) {
  metrics.violations.Add(violation.rule);
  if (connection.phase == Phase::kConnected) {
    return Close(
        connection,
        {.cause = CloseCause::kViolation, .say = violation.reason, .rule = violation.rule});
  }
  // Before CONNACK the answer is CONNACK, if it is known in which form; nothing before CONNECT.
  if (connection.connecting != nullptr)
    return connecting_.Refuse(connection, violation.reason, "it broke a rule of MQTT", {},
                              violation.rule);
  Close(connection, {.cause = CloseCause::kViolation, .rule = violation.rule});
}

void ShardCore::OnTask(ShardTask task) {
  std::visit(
      Overloaded{
          [this](ForwardedPublish& it) { publishing_.OnForwarded(std::move(it)); },
          [this](storage::Event& it) { OnStorageEvent(world_.node, std::move(it)); },
          [this](SharedAssignment& it) { publishing_.OnForwardedAssignment(std::move(it)); },
          [this](ForwardsTaken& it) { publishing_.OnForwardsTaken(it); },
          [this](ShardRouteChange& it) { subscribing_.OnShardRoute(it); },
          [this](ShardMemberChange& it) { subscribing_.OnShardMember(std::move(it)); },
          [this](MemberRoomChange& it) { publishing_.OnMemberRoom(it.client_id, it.has_room); },
          [this](PartitionRoutesHeld& it) { subscribing_.OnPartitionRoutes(it); },
          [this](ShareMemberHeld& it) { subscribing_.OnShareMemberHeld(std::move(it)); },
          [this](RoutesConfirmed& it) { subscribing_.OnConfirmed(it); },
          [this](NodeRoutes& it) { nodes_->OnRoutes(it); },
          [this](NodesConfirmed& it) { subscribing_.OnNodesConfirmed(it); },
          [this](NodePublish& it) { nodes_->OnPublish(std::move(it)); },
          [this](NodeEvent& it) { OnStorageEvent(it.from, std::move(*it.event)); },
          [this](HandedBack& it) {
            publishing_.OnHandedBack(std::move(it.message), std::move(*it.member));
          },
          [this](NodeHas& it) { nodes_->OnHas(it.node, it.receipt); },
          [this](NodeCaughtUp& it) { nodes_->OnCaughtUp(it.node); },
          [this](AdoptConnection& it) { port_.Adopt(std::move(it.stream), it.listener); },
          [this](PasswordVerified& it) {
            if (Connection* const connection = Find(it.connection)) {
              connecting_.OnPasswordVerified(*connection, std::move(*it.outcome));
            }
          },
          [this](HookAnswered& it) {
            if (hooking_ != nullptr) hooking_->OnAnswered(it.connection, std::move(*it.answer));
          },
          [this](SysTopics& it) { OnSysTopics(it); },
          [this](InputRelief&) { memory_.CloseHalfSent(); },
          [](Control& it) { it.run(); }},
      task);
}

void ShardCore::OnSysTopics(const SysTopics& topics) {
  subscribing_.OnSysTopics(topics);
  for (const auto& [topic, value] : *topics.values) {
    mqtt::MessageParts parts;
    parts.topic = topic;
    parts.payload = value;
    parts.created_at_unix_ms = now_unix_ms;
    parts.retain = true;
    publishing_.RouteHere(mqtt::Message::Create(parts));
  }
}

void ShardCore::OnStorageEvent(storage::NodeId from, storage::Event event) {
  if (nodes_ != nullptr && !IsOfLeader(*this, publishing_, world_.node, from, event)) {
    return metrics.events_of_former_leaders.Add();
  }
  std::visit(
      Overloaded{
          [this](storage::SessionOpened& it) {
            streams.OnAnswer(it.token);
            connecting_.OnSessionOpened(std::move(it));
          },
          [this](storage::TakenOver& it) { OnTakenOver(it); },
          [this](storage::SubscribeDone& it) {
            streams.OnAnswer(it.token);
            subscribing_.OnSubscribeDone(it);
          },
          [this](storage::UnsubscribeDone& it) {
            streams.OnAnswer(it.token);
            subscribing_.OnUnsubscribeDone(std::move(it));
          },
          [this](storage::Published& it) {
            publishing_.OnPublished(std::move(it));
            if (nodes_ != nullptr) nodes_->ConfirmRoutes();
          },
          [this](storage::Deliver& it) { delivering_.OnDeliver(std::move(it)); },
          [this](storage::ReleaseDue& it) { delivering_.OnReleaseDue(it); },
          [this](storage::InboundReleased& it) { publishing_.OnInboundReleased(it); },
          [this](storage::RetainedPage& it) { subscribing_.OnRetainedPage(std::move(it)); },
          [this](storage::RouteChange& it) { subscribing_.OnRouteChange(it); },
          [this](storage::RouteBlock& it) { subscribing_.OnRouteBlock(it); },
          [this](storage::ShareMemberChange& it) {
            subscribing_.OnShareMemberChange(std::move(it));
          },
          [this](storage::ShareMemberRoom& it) {
            publishing_.OnMemberRoom(it.client_id, it.has_room);
          },
          [this](storage::SessionTooSlow& it) { delivering_.OnTooSlow(it); },
          [this](storage::RouteMessage& it) { publishing_.OnRouteMessage(std::move(it)); },
          [this](storage::StreamAck& it) {
            streams.OnAck(it);
            metrics.requests_kept.Set(static_cast<int64_t>(streams.kept()));
            publishing_.OnCommitted();
          },
          [this](storage::ClaimsWanted& it) { TellClaims(*this, subscribing_, publishing_, it); },
          // Requests are answered one by one with the reason; nothing else changes here.
          [](storage::StorageState&) {}},
      event);
}

void ShardCore::OnTakenOver(const storage::TakenOver& event) {
  Connection* const connection = Find(event.connection.connection);
  if (connection == nullptr) return;  // Closed on its own; its CloseSession is on the way.
  metrics.takeovers.Add();
  Close(*connection, {.cause = CloseCause::kTakenOver,
                      .say = ReasonCode::kSessionTakenOver,  // [MQTT5-3.1.4-3]
                      .session = storage::CloseCause::kTakenOver});
}

}  // namespace broker
