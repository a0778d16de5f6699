#include "tests/mqtt/random_packet.h"

#include <utility>

#include "mqtt/writer.h"

namespace mqtt {

std::string_view RandomPackets::Own(std::string text) {
  if (owned_.size() > 10'000) owned_.erase(owned_.begin(), owned_.begin() + 5'000);
  return owned_.emplace_back(std::move(text));
}

std::string_view RandomPackets::Text(size_t size_max) {
  constexpr std::string_view kCharacters[] = {"a", "B", "7", " ", "\x7F", "é", "字", "😀", "\uFEFF"};
  std::string text;
  const size_t size = rng_.Below(size_max + 1);
  while (text.size() < size) text.append(kCharacters[rng_.Below(std::size(kCharacters))]);
  return Own(std::move(text));
}

std::string_view RandomPackets::Data(size_t size_max) {
  std::string data(rng_.Below(size_max + 1), '\0');
  for (char& c : data) c = static_cast<char>(rng_.Below(256));
  return Own(std::move(data));
}

std::string_view RandomPackets::TopicName() {
  const std::string_view text = Text();
  return Own(text.empty() ? std::string("/") : "t/" + std::string(text));
}

std::string_view RandomPackets::TopicFilter() {
  std::string filter(TopicName());
  if (Coin()) filter.append("/+");
  if (Coin()) filter.append("/#");
  return Own(std::move(filter));
}

std::optional<std::string_view> RandomPackets::MaybeText() {
  return Coin() ? std::optional(Text()) : std::nullopt;
}

std::optional<std::string_view> RandomPackets::MaybeData() {
  return Coin() ? std::optional(Data()) : std::nullopt;
}

std::optional<uint32_t> RandomPackets::MaybeNumber() {
  if (Coin()) return std::nullopt;
  return static_cast<uint32_t>(rng_() >> (32 + rng_.Below(32)));
}

UserProperties RandomPackets::Users() {
  UserProperties out;
  while (rng_.Chance(0.4)) {
    const std::string_view name = Text();
    out.push_back({name, Text()});
  }
  return out;
}

MessageProperties RandomPackets::ForMessage() {
  MessageProperties out;
  if (Coin()) out.payload_format = static_cast<uint8_t>(rng_.Below(2));
  out.content_type = MaybeText();
  if (Coin()) out.response_topic = TopicName();
  out.correlation_data = MaybeData();
  out.user_properties = Users();
  return out;
}

ReasonCode RandomPackets::Reason(PacketType type) {
  while (true) {
    const auto reason = static_cast<ReasonCode>(rng_.Below(256));
    if (IsAllowed(reason, type)) return reason;
  }
}

Will RandomPackets::MakeWill(Version version) {
  Will will{.qos = AnyQos(), .retain = Coin(), .topic = TopicName(), .payload = Data()};
  if (version != Version::k5) return will;
  std::string raw;
  if (Coin()) {
    will.delay_interval = static_cast<uint32_t>(1 + rng_.Below(UINT32_MAX));
    AppendFourByteProperty(raw, PropertyId::kWillDelayInterval, will.delay_interval);
  }
  will.message_expiry_interval = MaybeNumber();
  AppendFourByteProperty(raw, PropertyId::kMessageExpiryInterval, will.message_expiry_interval);
  will.properties_need_filter = !raw.empty();
  AppendMessageProperties(ForMessage(), raw);
  will.raw_properties = Own(std::move(raw));
  return will;
}

Connect RandomPackets::MakeConnect(Version version) {
  Connect packet{.version = version,
                 .clean_start = Coin(),
                 .keep_alive = static_cast<uint16_t>(rng_.Below(65'536)),
                 .client_id = Text()};
  if (packet.client_id.empty() && version != Version::k5) packet.client_id = "c";
  if (Coin()) packet.will = MakeWill(version);
  packet.user_name = MaybeText();
  if (version == Version::k5 || packet.user_name.has_value()) packet.password = MaybeData();
  if (version != Version::k5) return packet;
  packet.session_expiry_interval = MaybeNumber().value_or(0);
  packet.receive_maximum = static_cast<uint16_t>(1 + rng_.Below(65'535));
  if (Coin()) packet.maximum_packet_size = static_cast<uint32_t>(1 + rng_.Below(UINT32_MAX));
  packet.topic_alias_maximum = static_cast<uint16_t>(rng_.Below(65'536));
  packet.request_response_information = Coin();
  packet.request_problem_information = Coin();
  packet.user_properties = Users();
  packet.authentication_method = MaybeText();
  if (packet.authentication_method.has_value()) packet.authentication_data = MaybeData();
  return packet;
}

ConnAck RandomPackets::MakeConnAck(Version version) {
  ConnAck packet;
  if (version != Version::k5) {
    packet.reason = *FromConnectReturnCode(static_cast<uint8_t>(rng_.Below(6)));
    packet.session_present =
        version == Version::k311 && packet.reason == ReasonCode::kSuccess && Coin();
    return packet;
  }
  packet.reason = Coin() ? ReasonCode::kSuccess : Reason(PacketType::kConnAck);
  packet.session_present = packet.reason == ReasonCode::kSuccess && Coin();
  packet.session_expiry_interval = MaybeNumber();
  packet.receive_maximum = static_cast<uint16_t>(1 + rng_.Below(65'535));
  packet.maximum_qos = AnyQos();
  packet.retain_available = Coin();
  if (Coin()) packet.maximum_packet_size = static_cast<uint32_t>(1 + rng_.Below(UINT32_MAX));
  packet.assigned_client_identifier = MaybeText();
  packet.topic_alias_maximum = static_cast<uint16_t>(rng_.Below(65'536));
  packet.reason_string = MaybeText();
  packet.user_properties = Users();
  packet.wildcard_subscription_available = Coin();
  packet.subscription_identifier_available = Coin();
  packet.shared_subscription_available = Coin();
  if (Coin()) packet.server_keep_alive = static_cast<uint16_t>(rng_.Below(65'536));
  packet.response_information = MaybeText();
  packet.server_reference = MaybeText();
  packet.authentication_method = MaybeText();
  packet.authentication_data = MaybeData();
  return packet;
}

Publish RandomPackets::MakePublish(Version version, Sender sender) {
  Publish packet{.qos = AnyQos(), .retain = Coin(), .topic = TopicName(), .payload = Data(300)};
  if (packet.qos != QoS::kAtMostOnce) {
    packet.packet_id = Id();
    packet.dup = Coin();
  }
  if (version != Version::k5) return packet;
  std::string raw;
  if (Coin()) {
    packet.topic_alias = static_cast<uint16_t>(1 + rng_.Below(65'535));
    AppendTwoByteProperty(raw, PropertyId::kTopicAlias, packet.topic_alias);
    if (Coin()) packet.topic = {};
  }
  packet.message_expiry_interval = MaybeNumber();
  AppendFourByteProperty(raw, PropertyId::kMessageExpiryInterval, packet.message_expiry_interval);
  while (sender == Sender::kServer && rng_.Chance(0.4)) {
    const auto id = static_cast<uint32_t>(1 + rng_.Below(kRemainingLengthMax));
    packet.subscription_ids.push_back(id);
    AppendPropertyId(raw, PropertyId::kSubscriptionIdentifier);
    AppendVariableByteInteger(raw, id);
  }
  packet.properties_need_filter = !raw.empty();
  AppendMessageProperties(ForMessage(), raw);
  packet.raw_properties = Own(std::move(raw));
  return packet;
}

Ack RandomPackets::MakeAck(Version version) {
  Ack packet{.type = static_cast<PacketType>(4 + rng_.Below(4)), .packet_id = Id()};
  if (version != Version::k5) return packet;
  if (Coin()) packet.reason = Reason(packet.type);
  packet.reason_string = MaybeText();
  packet.user_properties = Users();
  return packet;
}

Subscribe RandomPackets::MakeSubscribe(Version version) {
  Subscribe packet{.packet_id = Id()};
  const bool v5 = version == Version::k5;
  if (v5) {
    if (Coin()) packet.subscription_id = static_cast<uint32_t>(1 + rng_.Below(kRemainingLengthMax));
    packet.user_properties = Users();
  }
  do {
    Subscription subscription{.filter = TopicFilter(), .options = {.qos = AnyQos()}};
    if (v5) {
      subscription.options.no_local = Coin();
      subscription.options.retain_as_published = Coin();
      subscription.options.retain_handling = static_cast<RetainHandling>(rng_.Below(3));
    }
    packet.subscriptions.push_back(subscription);
  } while (Coin());
  return packet;
}

SubAck RandomPackets::MakeSubAck(Version version) {
  SubAck packet{.packet_id = Id()};
  if (version == Version::k5) {
    packet.reason_string = MaybeText();
    packet.user_properties = Users();
  }
  do {
    packet.reasons.push_back(version == Version::k5 ? Reason(PacketType::kSubAck)
                             : Coin()               ? ReasonCode::kUnspecifiedError
                                                    : static_cast<ReasonCode>(rng_.Below(3)));
  } while (Coin());
  return packet;
}

Unsubscribe RandomPackets::MakeUnsubscribe(Version version) {
  Unsubscribe packet{.packet_id = Id()};
  if (version == Version::k5) packet.user_properties = Users();
  do {
    packet.filters.push_back(TopicFilter());
  } while (Coin());
  return packet;
}

UnsubAck RandomPackets::MakeUnsubAck(Version version) {
  UnsubAck packet{.packet_id = Id()};
  if (version != Version::k5) return packet;
  packet.reason_string = MaybeText();
  packet.user_properties = Users();
  do {
    packet.reasons.push_back(Reason(PacketType::kUnsubAck));
  } while (Coin());
  return packet;
}

Disconnect RandomPackets::MakeDisconnect(Version version, Sender sender) {
  Disconnect packet;
  if (version != Version::k5) return packet;
  packet.reason_string = MaybeText();
  packet.user_properties = Users();
  if (sender == Sender::kClient) {
    packet.reason = Coin() ? ReasonCode::kNormalDisconnection : ReasonCode::kDisconnectWithWill;
    packet.session_expiry_interval = MaybeNumber();
  } else {
    do {
      packet.reason = Reason(PacketType::kDisconnect);
    } while (packet.reason == ReasonCode::kDisconnectWithWill);
    packet.server_reference = MaybeText();
  }
  return packet;
}

Auth RandomPackets::MakeAuth(Sender sender) {
  Auth packet{.reason = ReasonCode::kContinueAuthentication, .authentication_method = Text()};
  if (Coin()) {
    packet.reason = sender == Sender::kClient ? ReasonCode::kReauthenticate : ReasonCode::kSuccess;
  }
  packet.authentication_data = MaybeData();
  packet.reason_string = MaybeText();
  packet.user_properties = Users();
  return packet;
}

AnyPacket RandomPackets::Next(Version version, Sender sender) {
  const bool client = sender == Sender::kClient;
  switch (rng_.Below(version == Version::k5 ? 8 : 7)) {
    case 0:
      if (client) return MakeConnect(version);
      return MakeConnAck(version);
    case 1:
      return MakePublish(version, sender);
    case 2:
      return MakeAck(version);
    case 3:
      if (client) return MakeSubscribe(version);
      return MakeSubAck(version);
    case 4:
      if (client) return MakeUnsubscribe(version);
      return MakeUnsubAck(version);
    case 5:
      if (client) return PingReq();
      return PingResp();
    case 6:
      if (!client && version != Version::k5) return PingResp();
      return MakeDisconnect(version, sender);
    default:
      return MakeAuth(sender);
  }
}

}  // namespace mqtt
