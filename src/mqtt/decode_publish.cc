// PUBLISH (§3.3): the fast path.
#include <string>

#include "mqtt/ascii_scan.h"
#include "mqtt/decode.h"
#include "mqtt/property_reader.h"
#include "mqtt/reader.h"
#include "mqtt/topic.h"

namespace mqtt {
namespace {

constexpr uint8_t kDupFlag = 0x08;
constexpr uint8_t kRetainFlag = 0x01;

// Field by field: assigning a fresh Publish builds one beside it and copies that in pieces of
// another size than it was written in, for which the processor waits (a tenth of the fast path).
void Clear(Publish& out) {
  out.dup = false;
  out.qos = QoS::kAtMostOnce;
  out.retain = false;
  out.packet_id = PacketId();
  out.topic = {};
  out.payload = {};
  out.topic_alias = 0;
  out.message_expiry_interval.reset();
  out.raw_properties = {};
  out.properties_need_filter = false;
  out.subscription_ids.clear();  // Keeps its memory for the next one.
}

void DecodeFlags(uint8_t flags, Reader& in, Publish& out) {
  const unsigned qos = flags >> 1 & 0x03;
  if (qos == 3) return in.FailMalformed({"MQTT-3.3.1-4", "MQTT-3.3.1-4"});
  out.qos = static_cast<QoS>(qos);
  out.retain = (flags & kRetainFlag) != 0;
  out.dup = (flags & kDupFlag) != 0;
  if (out.dup && qos == 0) in.FailMalformed({"MQTT-3.3.1-2", "MQTT-3.3.1-2"});
}

void CheckTopic(Reader& in, std::string_view topic) {
  in.CheckText(topic);
  if (HasWildcard(topic)) in.FailMalformed({"MQTT-3.3.2-2", "MQTT-3.3.2-2"});
}

void DecodeTopic(Reader& in, Publish& out) {
  out.topic = in.Binary();
  if (!IsPlainName(out.topic)) CheckTopic(in, out.topic);  // Seldom: it takes two more passes.
  if (out.topic.empty() && !in.v5()) in.FailMalformed({"MQTT-4.7.3-1", "MQTT-4.7.3-1"});
}

void DecodeProperties(Sender sender, Reader& in, Publish& out) {
  PropertyReader properties(in, PlaceOf(PacketType::kPublish));
  while (properties.Next()) {
    switch (properties.id()) {
      case PropertyId::kTopicAlias:
        out.topic_alias = static_cast<uint16_t>(properties.number());
        out.properties_need_filter = true;
        break;
      case PropertyId::kMessageExpiryInterval:
        out.message_expiry_interval = properties.number();
        out.properties_need_filter = true;
        break;
      case PropertyId::kSubscriptionIdentifier:
        if (sender == Sender::kClient) {
          return in.Fail(ReasonCode::kProtocolError, "MQTT5-3.3.4-6");
        }
        out.subscription_ids.push_back(properties.number());
        out.properties_need_filter = true;
        break;
      default:  // Goes on with the message, as it stands in raw_properties.
        break;
    }
  }
  out.raw_properties = properties.raw();
}

}  // namespace

std::optional<Violation> DecodePublish(uint8_t flags, Bytes body, Version version, Sender sender,
                                       Publish& out) {
  Clear(out);
  Reader in(body, version, {"MQTT5-3.3.2", "MQTT311-3.3.2"});
  DecodeFlags(flags, in, out);
  DecodeTopic(in, out);
  if (out.qos != QoS::kAtMostOnce) {
    out.packet_id = in.NonZeroId({"MQTT5-2.2.1-3", "MQTT311-2.3.1-1"});
  }
  if (in.v5()) {
    DecodeProperties(sender, in, out);
    if (out.topic.empty() && out.topic_alias == 0) {
      in.Fail(ReasonCode::kProtocolError, "MQTT5-3.3.2.1");
    }
  }
  out.payload = in.Rest();
  return in.fault();
}

namespace {

std::string_view Forward(std::string_view raw, bool need_filter, std::string& scratch) {
  if (!need_filter) return raw;
  scratch.clear();
  AppendForwardProperties(raw, scratch);
  return scratch;
}

}  // namespace

std::string_view ForwardProperties(const Publish& publish, std::string& scratch) {
  return Forward(publish.raw_properties, publish.properties_need_filter, scratch);
}

std::string_view ForwardProperties(const Will& will, std::string& scratch) {
  return Forward(will.raw_properties, will.properties_need_filter, scratch);
}

}  // namespace mqtt
