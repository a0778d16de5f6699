#include "mqtt/property.h"

#include <array>
#include <ostream>

#include "base/check.h"
#include "mqtt/property_reader.h"
#include "mqtt/writer.h"

namespace mqtt {
namespace {

constexpr uint16_t In(PacketType type) {
  return static_cast<uint16_t>(1u << static_cast<unsigned>(type));
}
constexpr uint16_t kInWill = 1u << static_cast<unsigned>(PropertyPlace::kWill);
constexpr uint16_t kInMessage = In(PacketType::kPublish) | kInWill;
constexpr uint16_t kInConnect = In(PacketType::kConnect);
constexpr uint16_t kInConnAck = In(PacketType::kConnAck);
constexpr uint16_t kInAuth = In(PacketType::kAuth);
constexpr uint16_t kInDisconnect = In(PacketType::kDisconnect);
constexpr uint16_t kWithReasonString = kInConnAck | In(PacketType::kPubAck) |
                                       In(PacketType::kPubRec) | In(PacketType::kPubRel) |
                                       In(PacketType::kPubComp) | In(PacketType::kSubAck) |
                                       In(PacketType::kUnsubAck) | kInDisconnect | kInAuth;
constexpr uint16_t kWithUserProperty = kWithReasonString | kInConnect | kInMessage |
                                       In(PacketType::kSubscribe) | In(PacketType::kUnsubscribe);

constexpr uint32_t kNoMax = UINT32_MAX;

// A property that may stand once in `places`, with any value its type can hold.
constexpr PropertyInfo Once(PropertyId id, PropertyType type, std::string_view name,
                            std::string_view rule, uint16_t places, uint32_t value_min = 0,
                            uint32_t value_max = kNoMax) {
  return {id,        type,      name,
          rule,      places,    false,
          value_min, value_max, {ReasonCode::kProtocolError, rule}};
}

using enum PropertyType;
constexpr PropertyInfo kProperties[] = {
    Once(PropertyId::kPayloadFormatIndicator, kByte, "Payload Format Indicator", "MQTT5-3.3.2.3.2",
         kInMessage, 0, 1),
    Once(PropertyId::kMessageExpiryInterval, kFourByteInteger, "Message Expiry Interval",
         "MQTT5-3.3.2.3.3", kInMessage),
    Once(PropertyId::kContentType, kUtf8String, "Content Type", "MQTT5-3.3.2.3.9", kInMessage),
    Once(PropertyId::kResponseTopic, kUtf8String, "Response Topic", "MQTT5-3.3.2.3.5", kInMessage),
    Once(PropertyId::kCorrelationData, kBinaryData, "Correlation Data", "MQTT5-3.3.2.3.6",
         kInMessage),
    // Once in SUBSCRIBE, which its decoder checks: in PUBLISH there is one for each subscription.
    {PropertyId::kSubscriptionIdentifier,
     kVariableByteInteger,
     "Subscription Identifier",
     "MQTT5-3.3.2.3.8",
     In(PacketType::kPublish) | In(PacketType::kSubscribe),
     true,
     1,
     kNoMax,
     {ReasonCode::kProtocolError, "MQTT5-3.3.2.3.8"}},
    Once(PropertyId::kSessionExpiryInterval, kFourByteInteger, "Session Expiry Interval",
         "MQTT5-3.1.2.11.2", kInConnect | kInConnAck | kInDisconnect),
    Once(PropertyId::kAssignedClientIdentifier, kUtf8String, "Assigned Client Identifier",
         "MQTT5-3.2.2.3.7", kInConnAck),
    Once(PropertyId::kServerKeepAlive, kTwoByteInteger, "Server Keep Alive", "MQTT5-3.2.2.3.14",
         kInConnAck),
    Once(PropertyId::kAuthenticationMethod, kUtf8String, "Authentication Method",
         "MQTT5-3.1.2.11.9", kInConnect | kInConnAck | kInAuth),
    Once(PropertyId::kAuthenticationData, kBinaryData, "Authentication Data", "MQTT5-3.1.2.11.10",
         kInConnect | kInConnAck | kInAuth),
    Once(PropertyId::kRequestProblemInformation, kByte, "Request Problem Information",
         "MQTT5-3.1.2.11.7", kInConnect, 0, 1),
    Once(PropertyId::kWillDelayInterval, kFourByteInteger, "Will Delay Interval", "MQTT5-3.1.3.2.2",
         kInWill),
    Once(PropertyId::kRequestResponseInformation, kByte, "Request Response Information",
         "MQTT5-3.1.2.11.6", kInConnect, 0, 1),
    Once(PropertyId::kResponseInformation, kUtf8String, "Response Information", "MQTT5-3.2.2.3.15",
         kInConnAck),
    Once(PropertyId::kServerReference, kUtf8String, "Server Reference", "MQTT5-3.2.2.3.16",
         kInConnAck | kInDisconnect),
    Once(PropertyId::kReasonString, kUtf8String, "Reason String", "MQTT5-3.2.2.3.9",
         kWithReasonString),
    Once(PropertyId::kReceiveMaximum, kTwoByteInteger, "Receive Maximum", "MQTT5-3.1.2.11.3",
         kInConnect | kInConnAck, 1),
    Once(PropertyId::kTopicAliasMaximum, kTwoByteInteger, "Topic Alias Maximum", "MQTT5-3.1.2.11.5",
         kInConnect | kInConnAck),
    // Written out for its own reason code; a second one is 0x82 as everywhere.
    {PropertyId::kTopicAlias,
     kTwoByteInteger,
     "Topic Alias",
     "MQTT5-3.3.2.3.4",
     In(PacketType::kPublish),
     false,
     1,
     kNoMax,
     {ReasonCode::kTopicAliasInvalid, "MQTT5-3.3.2-8"}},
    Once(PropertyId::kMaximumQoS, kByte, "Maximum QoS", "MQTT5-3.2.2.3.4", kInConnAck, 0, 1),
    Once(PropertyId::kRetainAvailable, kByte, "Retain Available", "MQTT5-3.2.2.3.5", kInConnAck, 0,
         1),
    {PropertyId::kUserProperty,
     kUtf8StringPair,
     "User Property",
     "MQTT5-3.1.2.11.8",
     kWithUserProperty,
     true,
     0,
     kNoMax,
     {}},
    Once(PropertyId::kMaximumPacketSize, kFourByteInteger, "Maximum Packet Size",
         "MQTT5-3.1.2.11.4", kInConnect | kInConnAck, 1),
    Once(PropertyId::kWildcardSubscriptionAvailable, kByte, "Wildcard Subscription Available",
         "MQTT5-3.2.2.3.11", kInConnAck, 0, 1),
    Once(PropertyId::kSubscriptionIdentifierAvailable, kByte, "Subscription Identifier Available",
         "MQTT5-3.2.2.3.12", kInConnAck, 0, 1),
    Once(PropertyId::kSharedSubscriptionAvailable, kByte, "Shared Subscription Available",
         "MQTT5-3.2.2.3.13", kInConnAck, 0, 1),
};
static_assert(std::size(kProperties) == 27);

constexpr size_t kIdEnd = static_cast<size_t>(PropertyId::kSharedSubscriptionAvailable) + 1;

// Identifier to index in kProperties plus one; 0 for identifiers that nothing has.
constexpr std::array<uint8_t, kIdEnd> kIndex = [] {
  std::array<uint8_t, kIdEnd> index{};
  for (size_t i = 0; i < std::size(kProperties); ++i) {
    index[static_cast<size_t>(kProperties[i].id)] = static_cast<uint8_t>(i + 1);
  }
  return index;
}();

// Whether a property of an Application Message goes on to the next hop as it is (§3.3.2.3).
constexpr bool IsForwarded(PropertyId id) {
  switch (id) {
    case PropertyId::kPayloadFormatIndicator:  // [MQTT5-3.3.2-4]
    case PropertyId::kContentType:             // [MQTT5-3.3.2-20]
    case PropertyId::kResponseTopic:           // [MQTT5-3.3.2-15]
    case PropertyId::kCorrelationData:         // [MQTT5-3.3.2-16]
    case PropertyId::kUserProperty:            // [MQTT5-3.3.2-17]
      return true;
    default:
      return false;
  }
}

// Steps over one property of a validated block: how many bytes it takes at the front of `raw`.
size_t PropertySize(std::string_view raw) {
  const auto at = [raw](size_t i) -> size_t {
    CHECK(i < raw.size()) << "not a validated property block";
    return static_cast<uint8_t>(raw[i]);
  };
  const auto string_end = [at](size_t i) { return i + 2 + (at(i) << 8 | at(i + 1)); };
  const PropertyInfo* info = FindProperty(static_cast<uint32_t>(at(0)));
  CHECK(info != nullptr) << "not a validated property block: identifier " << at(0);
  size_t end = 1;
  switch (info->type) {
    case PropertyType::kByte:
      end += 1;
      break;
    case PropertyType::kTwoByteInteger:
      end += 2;
      break;
    case PropertyType::kFourByteInteger:
      end += 4;
      break;
    case PropertyType::kVariableByteInteger:
      while ((at(end) & 0x80) != 0) ++end;
      ++end;
      break;
    case PropertyType::kUtf8String:
    case PropertyType::kBinaryData:
      end = string_end(end);
      break;
    case PropertyType::kUtf8StringPair:
      end = string_end(string_end(end));
      break;
  }
  CHECK(end <= raw.size()) << "not a validated property block";
  return end;
}

std::string_view StringAt(std::string_view raw, size_t at) {
  const size_t size =
      static_cast<size_t>(static_cast<uint8_t>(raw[at])) << 8 | static_cast<uint8_t>(raw[at + 1]);
  return raw.substr(at + 2, size);
}

}  // namespace

const PropertyInfo* FindProperty(uint32_t id) {
  if (id >= kIdEnd || kIndex[id] == 0) return nullptr;
  return &kProperties[kIndex[id] - 1];
}

MessageProperties ParseMessageProperties(std::string_view raw) {
  MessageProperties out;
  while (!raw.empty()) {
    const size_t size = PropertySize(raw);
    switch (static_cast<PropertyId>(raw[0])) {
      case PropertyId::kPayloadFormatIndicator:
        out.payload_format = static_cast<uint8_t>(raw[1]);
        break;
      case PropertyId::kContentType:
        out.content_type = StringAt(raw, 1);
        break;
      case PropertyId::kResponseTopic:
        out.response_topic = StringAt(raw, 1);
        break;
      case PropertyId::kCorrelationData:
        out.correlation_data = StringAt(raw, 1);
        break;
      case PropertyId::kUserProperty: {
        const std::string_view name = StringAt(raw, 1);
        out.user_properties.push_back({name, StringAt(raw, 3 + name.size())});
        break;
      }
      default:
        break;
    }
    raw.remove_prefix(size);
  }
  return out;
}

void AppendMessageProperties(const MessageProperties& properties, std::string& out) {
  if (properties.payload_format.has_value()) {
    AppendByteProperty(out, PropertyId::kPayloadFormatIndicator, *properties.payload_format);
  }
  AppendTextProperty(out, PropertyId::kContentType, properties.content_type);
  AppendTextProperty(out, PropertyId::kResponseTopic, properties.response_topic);
  AppendTextProperty(out, PropertyId::kCorrelationData, properties.correlation_data);
  AppendUserProperties(out, properties.user_properties);
}

void AppendForwardProperties(std::string_view raw, std::string& out) {
  while (!raw.empty()) {
    const size_t size = PropertySize(raw);
    if (IsForwarded(static_cast<PropertyId>(raw[0]))) out.append(raw.substr(0, size));
    raw.remove_prefix(size);
  }
}

std::ostream& operator<<(std::ostream& out, PropertyId id) {
  const PropertyInfo* info = FindProperty(static_cast<uint32_t>(id));
  if (info == nullptr) return out << "property " << static_cast<unsigned>(id);
  return out << info->name;
}

}  // namespace mqtt
