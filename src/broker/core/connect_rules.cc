#include "broker/core/connect_rules.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "mqtt/frame.h"
#include "mqtt/topic.h"

namespace broker {

std::optional<mqtt::Violation> CheckConnect(const mqtt::Connect& connect, const Limits& limits) {
  using mqtt::ReasonCode;
  if (connect.client_id.size() > limits.client_id_bytes_max) {
    return mqtt::Violation{ReasonCode::kClientIdentifierNotValid, "MQTT-3.1.3-5"};
  }
  if (!connect.will.has_value()) return std::nullopt;
  const mqtt::Will& will = *connect.will;
  if (static_cast<uint8_t>(will.qos) > limits.maximum_qos) {
    return mqtt::Violation{ReasonCode::kQosNotSupported, "MQTT5-3.2.2-12"};
  }
  if (will.retain && !limits.retain_available) {
    return mqtt::Violation{ReasonCode::kRetainNotSupported, "MQTT5-3.2.2-13"};
  }
  if (!mqtt::IsWithin({limits.topic_bytes_max, limits.topic_levels_max}, will.topic)) {
    return mqtt::Violation{ReasonCode::kTopicNameInvalid, "MQTT5-3.1.3.3"};
  }
  return std::nullopt;
}

ConnectTerms TermsFor(const mqtt::Connect& connect, const Limits& limits) {
  const bool v5 = connect.version == mqtt::Version::k5;
  ConnectTerms terms;
  terms.keep_alive_s = connect.keep_alive;
  if (v5) {
    if (limits.server_keep_alive != 0) {
      terms.keep_alive_s = limits.server_keep_alive;
    } else if (limits.keep_alive_max != 0 &&
               (connect.keep_alive == 0 || connect.keep_alive > limits.keep_alive_max)) {
      terms.keep_alive_s = limits.keep_alive_max;
    }
    terms.keep_alive_ours = terms.keep_alive_s != connect.keep_alive;
  }
  const uint32_t asked = v5                    ? connect.session_expiry_interval
                         : connect.clean_start ? 0
                                               : 0xFFFFFFFF;
  terms.session_expiry_s = std::min(asked, limits.session_expiry_interval_max);
  terms.session_expiry_ours = v5 && terms.session_expiry_s != asked;
  terms.window = std::min(connect.receive_maximum, limits.inflight_messages_max);
  terms.window_durable = std::min(connect.receive_maximum, limits.inflight_messages_max_durable);
  terms.packet_size_max = connect.maximum_packet_size.value_or(mqtt::kPacketSizeMax);
  terms.topic_alias_out = std::min(connect.topic_alias_maximum, limits.topic_alias_maximum_out);
  return terms;
}

mqtt::ConnAck AcceptanceFor(const ConnectTerms& terms, const Limits& limits, bool session_present) {
  mqtt::ConnAck ack;
  ack.session_present = session_present;
  if (terms.session_expiry_ours) ack.session_expiry_interval = terms.session_expiry_s;
  ack.receive_maximum = limits.receive_maximum;
  ack.maximum_qos = static_cast<mqtt::QoS>(limits.maximum_qos);
  ack.retain_available = limits.retain_available;
  if (limits.maximum_packet_size < mqtt::kPacketSizeMax)
    ack.maximum_packet_size = limits.maximum_packet_size;
  ack.topic_alias_maximum = limits.topic_alias_maximum;
  ack.wildcard_subscription_available = limits.wildcard_subscription_available;
  ack.subscription_identifier_available = limits.subscription_identifier_available;
  ack.shared_subscription_available = limits.shared_subscription_available;
  if (terms.keep_alive_ours) ack.server_keep_alive = terms.keep_alive_s;
  return ack;
}

std::string AssignedClientId(uint64_t random_high, uint64_t random_low) {
  return absl::StrCat("auto-", absl::Hex(random_high, absl::kZeroPad16),
                      absl::Hex(random_low, absl::kZeroPad16));
}

}  // namespace broker
