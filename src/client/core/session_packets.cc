// What a packet from the server means to the session.
#include <algorithm>
#include <utility>

#include "client/core/session.h"
#include "mqtt/decode.h"
#include "mqtt/property.h"

namespace mqttd::client {
namespace {

using mqtt::PacketId;
using mqtt::PacketType;
using mqtt::QoS;
using mqtt::ReasonCode;
using mqtt::Version;
using mqtt::Violation;

std::string Text(const std::optional<std::string_view>& view) {
  return std::string(view.value_or(std::string_view{}));
}

std::vector<UserProperty> Owned(const mqtt::UserProperties& properties) {
  std::vector<UserProperty> owned;
  owned.reserve(properties.size());
  for (const mqtt::UserProperty& property : properties) {
    owned.push_back({std::string(property.name), std::string(property.value)});
  }
  return owned;
}

ReceivedMessage MessageOf(const mqtt::Publish& packet, std::string topic) {
  ReceivedMessage message;
  message.topic = std::move(topic);
  message.payload = packet.payload;
  message.qos = packet.qos;
  message.retain = packet.retain;
  message.dup = packet.dup;
  message.packet_id = packet.packet_id;
  message.topic_alias = packet.topic_alias;
  message.message_expiry_s = packet.message_expiry_interval;
  message.subscription_ids = packet.subscription_ids;
  if (packet.raw_properties.empty()) return message;
  const mqtt::MessageProperties properties = mqtt::ParseMessageProperties(packet.raw_properties);
  message.payload_is_utf8 = properties.payload_format.value_or(0) == 1;
  message.content_type = Text(properties.content_type);
  message.response_topic = Text(properties.response_topic);
  message.correlation_data = Text(properties.correlation_data);
  message.user_properties = Owned(properties.user_properties);
  return message;
}

PublishResult ResultOf(const mqtt::Ack& ack) {
  return {ack.reason, Text(ack.reason_string), Owned(ack.user_properties)};
}

}  // namespace

std::optional<Violation> Session::OnFrame(const mqtt::FrameHeader& header, mqtt::Bytes body) {
  std::optional<Violation> violation = Dispatch(header, body);
  // [MQTT5-4.13.1-1]: the peer is told why, where it can be.
  if (violation.has_value() && connected_ && options_.version == Version::k5) {
    SendDisconnect({.reason = violation->reason});
  }
  if (!violation.has_value()) Pump();
  return violation;
}

std::optional<Violation> Session::Dispatch(const mqtt::FrameHeader& header, mqtt::Bytes body) {
  const Version version = options_.version;
  if (auto violation = mqtt::CheckDirection(header.type, version, mqtt::Sender::kServer)) {
    return violation;
  }
  if (!connected_ && header.type != PacketType::kConnAck && header.type != PacketType::kAuth) {
    return Violation{ReasonCode::kProtocolError, "MQTT-3.2.0-1"};
  }
  switch (header.type) {
    case PacketType::kConnAck:
      return OnConnAck(header.flags, body);
    case PacketType::kPublish:
      return OnPublish(header.flags, body);
    case PacketType::kPubAck:
    case PacketType::kPubRec:
    case PacketType::kPubRel:
    case PacketType::kPubComp:
      return OnAck(header.type, header.flags, body);
    case PacketType::kSubAck:
      return OnSubAck(header.flags, body);
    case PacketType::kUnsubAck:
      return OnUnsubAck(header.flags, body);
    case PacketType::kPingResp:
      if (auto violation = mqtt::DecodePingResp(header.flags, body, version)) return violation;
      events_.emplace_back(Pong{});
      return std::nullopt;
    case PacketType::kAuth:
      return OnAuth(header.flags, body);
    case PacketType::kDisconnect: {
      mqtt::Disconnect packet;
      if (auto violation =
              mqtt::DecodeDisconnect(header.flags, body, version, mqtt::Sender::kServer, packet)) {
        return violation;
      }
      events_.push_back(
          Disconnected{{packet.reason, Text(packet.reason_string), Text(packet.server_reference)}});
      return std::nullopt;
    }
    default:
      return Violation{ReasonCode::kProtocolError, "MQTT5-2.1.2"};
  }
}

// ---- CONNACK ---------------------------------------------------------------------------------

std::optional<Violation> Session::OnConnAck(uint8_t flags, mqtt::Bytes body) {
  if (connected_) return Violation{ReasonCode::kProtocolError, "MQTT5-3.2.0-2"};
  mqtt::ConnAck packet;
  if (auto violation = mqtt::DecodeConnAck(flags, body, options_.version, packet)) return violation;
  // A session that we asked to be discarded is not one of ours (3.1.1: §3.2.2.2).
  if (packet.session_present && asked_for_new_session_) {
    return Violation{ReasonCode::kProtocolError, "MQTT5-3.2.2-4"};
  }
  if (!options_.authentication_method.empty() && packet.authentication_method.has_value() &&
      *packet.authentication_method != options_.authentication_method) {
    return Violation{ReasonCode::kProtocolError, "MQTT5-4.12.0-5"};
  }
  ConnectResult result;
  result.reason = packet.reason;
  result.session_present = packet.session_present;
  result.reason_string = Text(packet.reason_string);
  result.server_reference = Text(packet.server_reference);
  result.response_information = Text(packet.response_information);
  result.session_expiry_s = packet.session_expiry_interval.value_or(options_.session_expiry_s);
  result.keep_alive_s = packet.server_keep_alive.value_or(options_.keep_alive_s);
  result.receive_maximum = packet.receive_maximum;
  result.maximum_qos = packet.maximum_qos;
  result.retain_available = packet.retain_available;
  result.maximum_packet_size = packet.maximum_packet_size;
  result.topic_alias_maximum = packet.topic_alias_maximum;
  result.user_properties = Owned(packet.user_properties);
  result.authentication_data = Text(packet.authentication_data);
  if (result.ok()) {
    connected_ = true;
    was_connected_ = true;
    if (packet.assigned_client_identifier.has_value()) {
      options_.client_id = *packet.assigned_client_identifier;
    }
    keep_alive_s_ = result.keep_alive_s;  // [MQTT5-3.1.2-21]
    window_ = std::min(options_.inflight_messages_max, packet.receive_maximum);
    server_packet_size_max_ = packet.maximum_packet_size.value_or(mqtt::kPacketSizeMax);
    server_qos_max_ = packet.maximum_qos;
    server_retains_ = packet.retain_available;
    aliases_out_max_ = std::min(options_.topic_aliases_max, packet.topic_alias_maximum);
  }
  result.client_id = options_.client_id;
  events_.push_back(Connected{std::move(result)});
  if (!connected_) return std::nullopt;
  if (packet.session_present && !session_lost_) {
    ResumeSession();
  } else {
    RestartSession();
  }
  return std::nullopt;
}

// The server has the session: everything unacknowledged goes out again, under its identifier and in
// its order, before anything new [MQTT-4.4.0-1] [MQTT-4.6.0-1], as far as this connection's window
// lets it [MQTT5-4.9.0-2].
void Session::ResumeSession() {
  std::vector<std::pair<uint64_t, uint16_t>> order;
  order.reserve(in_flight_.size());
  for (const auto& [id, flight] : in_flight_) order.emplace_back(flight.sequence, id);
  std::sort(order.begin(), order.end());
  for (const auto& [sequence, id] : order) to_resend_.push_back(id);
}

// The server has no session: what ours remembers of it is void [MQTT5-3.2.2-5]. Subscriptions are
// made again; what was in flight ends as the options say.
void Session::RestartSession() {
  const auto resent = [this](const InFlight& flight) {          // As a new message.
    if (flight.stage == Stage::kAwaitingPubComp) return false;  // The server had taken it.
    return (flight.stage == Stage::kAwaitingPubAck
                ? options_.qos1_on_session_loss
                : options_.qos2_on_session_loss) == OnSessionLoss::kPublishAgain;
  };
  if (store_ != nullptr && !(in_flight_.empty() && inbound_.empty())) {
    std::vector<uint64_t> over;
    for (const auto& [id, flight] : in_flight_) {
      if (!resent(flight)) over.push_back(flight.sequence);
    }
    session_lost_ = !Stored(store_->RestartSession(over));
    if (session_lost_) return;  // The next connection does it.
  }
  inbound_.clear();
  std::vector<InFlight> lost;
  for (auto& [id, flight] : in_flight_) lost.push_back(std::move(flight));
  in_flight_.clear();
  std::sort(lost.begin(), lost.end(),
            [](const InFlight& a, const InFlight& b) { return a.sequence > b.sequence; });
  for (InFlight& flight : lost) {  // From the last to the first: each goes before the others.
    if (flight.stage == Stage::kAwaitingPubComp) {
      ++statistics_.acknowledged;
      FinishPublish(flight.token, flight.message, absl::OkStatus());
    } else if (!resent(flight)) {
      FinishPublish(flight.token, flight.message,
                    absl::AbortedError("the server has lost the session: whether the message "
                                       "arrived is not known"));
    } else {
      queue_bytes_ += BytesOf(flight.message);
      queue_.push_front(
          {flight.token, flight.sequence, store_ != nullptr, std::move(flight.message)});
    }
  }
  // One SUBSCRIBE for all that share a Subscription Identifier.
  std::map<uint32_t, std::vector<Subscription>> by_identifier;
  for (const auto& [filter, active] : active_) {
    by_identifier[active.subscription_id].push_back({filter, active.options});
  }
  std::vector<Request> again;
  for (auto& [identifier, subscriptions] : by_identifier) {
    again.push_back({.subscriptions = std::move(subscriptions), .subscription_id = identifier});
  }
  waiting_requests_.insert(waiting_requests_.begin(), std::make_move_iterator(again.begin()),
                           std::make_move_iterator(again.end()));
}

// ---- Messages that come ----------------------------------------------------------------------

std::optional<Violation> Session::OnPublish(uint8_t flags, mqtt::Bytes body) {
  if (auto violation =
          mqtt::DecodePublish(flags, body, options_.version, mqtt::Sender::kServer, publish_)) {
    return violation;
  }
  std::string topic;
  if (auto violation = ResolveAlias(publish_, topic)) return violation;
  return Receive(publish_, std::move(topic));
}

std::optional<Violation> Session::ResolveAlias(const mqtt::Publish& packet, std::string& topic) {
  topic = packet.topic;
  if (packet.topic_alias == 0) return std::nullopt;
  if (packet.topic_alias > options_.topic_alias_maximum) {  // [MQTT5-3.1.2-26]
    return Violation{ReasonCode::kTopicAliasInvalid, "MQTT5-3.1.2-26"};
  }
  if (aliases_in_.size() < packet.topic_alias) aliases_in_.resize(packet.topic_alias);
  std::string& known = aliases_in_[packet.topic_alias - 1u];
  if (!topic.empty()) {
    known = topic;
    return std::nullopt;
  }
  if (known.empty()) return Violation{ReasonCode::kProtocolError, "MQTT5-3.3.2.3.4"};
  topic = known;
  return std::nullopt;
}

// Method "onward delivery at once" (§4.3.3, Figure 4.3): a QoS 2 message is the application's with
// its first PUBLISH; a repeat before PUBREL is only acknowledged.
std::optional<Violation> Session::Receive(const mqtt::Publish& packet, std::string topic) {
  const PacketId id = packet.packet_id;
  if (packet.qos == QoS::kExactlyOnce && inbound_.contains(id.value)) {
    ++statistics_.duplicates;
    WriteAck(PacketType::kPubRec, id, ReasonCode::kSuccess);  // [MQTT5-4.3.3-10]
    return std::nullopt;
  }
  if (packet.qos != QoS::kAtMostOnce && options_.version == Version::k5 &&
      awaiting_puback_.size() + inbound_.size() >= options_.receive_maximum) {
    return Violation{ReasonCode::kReceiveMaximumExceeded, "MQTT5-3.3.4-9"};
  }
  if (packet.qos == QoS::kExactlyOnce) {
    if (store_ != nullptr && !Stored(store_->PutInbound(id))) return std::nullopt;
    inbound_.insert(id.value);
  }
  ++statistics_.received;
  events_.push_back(Arrived{MessageOf(packet, std::move(topic))});
  if (packet.qos == QoS::kAtMostOnce) return std::nullopt;
  if (options_.manual_acknowledgement) {
    (packet.qos == QoS::kAtLeastOnce ? awaiting_puback_ : awaiting_pubrec_).push_back({id});
    return std::nullopt;
  }
  // The owner runs the events before it takes the output: the application has the message first.
  WriteAck(packet.qos == QoS::kAtLeastOnce ? PacketType::kPubAck : PacketType::kPubRec, id,
           ReasonCode::kSuccess);
  return std::nullopt;
}

// ---- Acknowledgements ------------------------------------------------------------------------

std::optional<Violation> Session::OnAck(PacketType type, uint8_t flags, mqtt::Bytes body) {
  mqtt::Ack ack;
  if (auto violation = mqtt::DecodeAck(type, flags, body, options_.version, ack)) return violation;
  switch (type) {
    case PacketType::kPubAck:
      OnPubAck(ack);
      break;
    case PacketType::kPubRec:
      OnPubRec(ack);
      break;
    case PacketType::kPubRel:
      OnPubRel(ack);
      break;
    default:
      OnPubComp(ack);
  }
  return std::nullopt;
}

void Session::OnPubAck(const mqtt::Ack& ack) {
  const auto found = in_flight_.find(ack.packet_id.value);
  if (found == in_flight_.end() || found->second.stage != Stage::kAwaitingPubAck) return;
  if (store_ != nullptr && !Stored(store_->RemoveOutbound(found->second.sequence))) return;
  ++statistics_.acknowledged;
  FinishPublish(found->second.token, found->second.message, absl::OkStatus(), ResultOf(ack));
  in_flight_.erase(found);
}

void Session::OnPubRec(const mqtt::Ack& ack) {
  const auto found = in_flight_.find(ack.packet_id.value);
  if (found == in_flight_.end()) {
    // Not one of ours [MQTT5-4.3.3]: the server is told, and may let go of it.
    WriteAck(PacketType::kPubRel, ack.packet_id, ReasonCode::kPacketIdentifierNotFound);
    return;
  }
  InFlight& flight = found->second;
  if (flight.stage == Stage::kAwaitingPubAck) return;
  if (mqtt::IsError(ack.reason)) {  // The exchange is over [MQTT5-4.3.3-4]; no PUBREL.
    if (store_ != nullptr && !Stored(store_->RemoveOutbound(flight.sequence))) return;
    ++statistics_.acknowledged;
    FinishPublish(flight.token, flight.message, absl::OkStatus(), ResultOf(ack));
    in_flight_.erase(found);
    return;
  }
  if (flight.stage == Stage::kAwaitingPubRec) {
    if (store_ != nullptr && !Stored(store_->MarkReleased(flight.sequence))) return;
    flight.stage = Stage::kAwaitingPubComp;
    flight.reason = ack.reason;
    // Never sent again from here on [MQTT5-4.3.3-6].
    if (flight.token != kFromStore) flight.message = {};
  }
  WriteAck(PacketType::kPubRel, ack.packet_id, ReasonCode::kSuccess);
}

void Session::OnPubRel(const mqtt::Ack& ack) {
  const bool known = inbound_.contains(ack.packet_id.value);
  if (known && store_ != nullptr && !Stored(store_->RemoveInbound(ack.packet_id))) return;
  inbound_.erase(ack.packet_id.value);
  WriteAck(PacketType::kPubComp, ack.packet_id,
           known ? ReasonCode::kSuccess : ReasonCode::kPacketIdentifierNotFound);
}

void Session::OnPubComp(const mqtt::Ack& ack) {
  const auto found = in_flight_.find(ack.packet_id.value);
  if (found == in_flight_.end() || found->second.stage != Stage::kAwaitingPubComp) return;
  if (store_ != nullptr && !Stored(store_->RemoveOutbound(found->second.sequence))) return;
  const InFlight& flight = found->second;
  ++statistics_.acknowledged;
  FinishPublish(flight.token, flight.message, absl::OkStatus(), {.reason = flight.reason});
  in_flight_.erase(found);
}

// ---- Answers to requests ---------------------------------------------------------------------

std::optional<Violation> Session::OnSubAck(uint8_t flags, mqtt::Bytes body) {
  mqtt::SubAck packet;
  if (auto violation = mqtt::DecodeSubAck(flags, body, options_.version, packet)) return violation;
  const auto found = requests_.find(packet.packet_id.value);
  if (found == requests_.end() || !found->second.subscribe) return std::nullopt;
  Request request = std::move(found->second);
  requests_.erase(found);
  if (packet.reasons.size() != request.subscriptions.size()) {  // [MQTT-3.8.4-5]
    return Violation{ReasonCode::kProtocolError, "MQTT-3.9.3-1"};
  }
  for (size_t i = 0; i < packet.reasons.size(); ++i) {
    const Subscription& subscription = request.subscriptions[i];
    if (mqtt::IsError(packet.reasons[i])) {
      active_.erase(subscription.filter);
    } else {
      active_[subscription.filter] = {subscription.options, request.subscription_id};
    }
  }
  if (request.token != 0) {
    events_.push_back(SubscribeDone{
        request.token,
        absl::OkStatus(),
        {std::move(packet.reasons), Text(packet.reason_string), Owned(packet.user_properties)}});
  }
  return std::nullopt;
}

std::optional<Violation> Session::OnUnsubAck(uint8_t flags, mqtt::Bytes body) {
  mqtt::UnsubAck packet;
  if (auto violation = mqtt::DecodeUnsubAck(flags, body, options_.version, packet)) {
    return violation;
  }
  const auto found = requests_.find(packet.packet_id.value);
  if (found == requests_.end() || found->second.subscribe) return std::nullopt;
  const Request request = std::move(found->second);
  requests_.erase(found);
  for (const std::string& filter : request.filters) active_.erase(filter);
  if (request.token != 0) {
    events_.push_back(UnsubscribeDone{
        request.token,
        absl::OkStatus(),
        {std::move(packet.reasons), Text(packet.reason_string), Owned(packet.user_properties)}});
  }
  return std::nullopt;
}

std::optional<Violation> Session::OnAuth(uint8_t flags, mqtt::Bytes body) {
  mqtt::Auth packet;
  if (auto violation =
          mqtt::DecodeAuth(flags, body, options_.version, mqtt::Sender::kServer, packet)) {
    return violation;
  }
  // Only the method that CONNECT named [MQTT5-4.12.0-5].
  if (options_.authentication_method.empty() ||
      packet.authentication_method.value_or("") != options_.authentication_method) {
    return Violation{ReasonCode::kProtocolError, "MQTT5-4.12.0-5"};
  }
  events_.push_back(AuthWanted{packet.reason, Text(packet.authentication_data)});
  return std::nullopt;
}

}  // namespace mqttd::client
