// The 27 properties of MQTT 5.0 (§2.2.2): which there are, where each may stand, and how one is
// read.
//
// A property block is a Variable Byte Integer, the length in bytes of what follows, and then pairs
// of identifier and value in any order. 3.1 and 3.1.1 have no properties, not even the length.
#ifndef MQTT_PROPERTY_H_
#define MQTT_PROPERTY_H_

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mqtt/types.h"

namespace mqtt {

enum class PropertyId : uint8_t {
  kPayloadFormatIndicator = 0x01,
  kMessageExpiryInterval = 0x02,
  kContentType = 0x03,
  kResponseTopic = 0x08,
  kCorrelationData = 0x09,
  kSubscriptionIdentifier = 0x0B,
  kSessionExpiryInterval = 0x11,
  kAssignedClientIdentifier = 0x12,
  kServerKeepAlive = 0x13,
  kAuthenticationMethod = 0x15,
  kAuthenticationData = 0x16,
  kRequestProblemInformation = 0x17,
  kWillDelayInterval = 0x18,
  kRequestResponseInformation = 0x19,
  kResponseInformation = 0x1A,
  kServerReference = 0x1C,
  kReasonString = 0x1F,
  kReceiveMaximum = 0x21,
  kTopicAliasMaximum = 0x22,
  kTopicAlias = 0x23,
  kMaximumQoS = 0x24,
  kRetainAvailable = 0x25,
  kUserProperty = 0x26,
  kMaximumPacketSize = 0x27,
  kWildcardSubscriptionAvailable = 0x28,
  kSubscriptionIdentifierAvailable = 0x29,
  kSharedSubscriptionAvailable = 0x2A,
};

enum class PropertyType : uint8_t {
  kByte,
  kTwoByteInteger,
  kFourByteInteger,
  kVariableByteInteger,  // §1.5.5
  kUtf8String,           // §1.5.4
  kBinaryData,           // §1.5.6
  kUtf8StringPair,       // §1.5.7
};

// Where a property block stands: bit n of PropertyInfo::places for place n. A packet's own block
// has the packet type's number; the Will's block inside CONNECT has the free number 0.
enum class PropertyPlace : uint8_t { kWill = 0 };  // Otherwise static_cast of a PacketType.
constexpr PropertyPlace PlaceOf(PacketType type) { return static_cast<PropertyPlace>(type); }

struct PropertyInfo {
  PropertyId id;
  PropertyType type;
  std::string_view name;  // As in §2.2.2.2, Table 2-4.
  std::string_view rule;  // Section that forbids a second one, where may_repeat is false.
  uint16_t places;        // Table 2-4, last column.
  bool may_repeat;        // User Property everywhere; Subscription Identifier in PUBLISH.
  uint32_t value_min;     // Of integers, inclusive; elsewhere 0 and UINT32_MAX.
  uint32_t value_max;
  Violation out_of_range;  // 0x82, but for a Topic Alias of 0: 0x94 (§3.3.4).

  constexpr bool IsAllowedIn(PropertyPlace place) const {
    return (places >> static_cast<unsigned>(place) & 1) != 0;
  }
};

// Null for an identifier that §2.2.2.2 does not define. Cost: one table look-up.
const PropertyInfo* FindProperty(uint32_t id);

// A name and a value chosen by users (§3.1.2.11.8), both UTF-8 [MQTT5-1.5.7-1], either may be
// empty. The same name may appear more than once, and order counts [MQTT5-3.3.2-18].
struct UserProperty {
  std::string_view name;
  std::string_view value;

  friend bool operator==(const UserProperty&, const UserProperty&) = default;
};
using UserProperties = std::vector<UserProperty>;

// A property's value as read: one of the two members counts, by PropertyType.
struct PropertyValue {
  uint32_t number = 0;     // The four integer types.
  std::string_view text;   // String, binary data, name of a pair.
  std::string_view text2;  // Value of a pair.
};

// The properties of an Application Message, in PUBLISH and in a Will (§3.3.2.3, §3.1.3.2), that a
// Server passes on unaltered and in order. (Message Expiry Interval is passed on too, but counted
// down; Topic Alias, Subscription Identifier and Will Delay Interval belong to one hop.)
struct MessageProperties {
  // 0x01. 1: the payload is UTF-8 text, and a receiver may check that. 0 or absent: bytes.
  // [MQTT5-3.3.2-4]
  std::optional<uint8_t> payload_format;
  // 0x03. Like a MIME type; its meaning is between the applications. [MQTT5-3.3.2-20]
  std::optional<std::string_view> content_type;
  // 0x08. Topic Name for a response: its presence makes the message a request. No wildcards
  // [MQTT5-3.3.2-14]. [MQTT5-3.3.2-15]
  std::optional<std::string_view> response_topic;
  // 0x09. Bytes by which the requester knows its request again. [MQTT5-3.3.2-16]
  std::optional<std::string_view> correlation_data;
  // 0x26. [MQTT5-3.3.2-17]
  UserProperties user_properties;

  friend bool operator==(const MessageProperties&, const MessageProperties&) = default;
};

// `raw` is a property block's content without its length, as a decoder validated it.
MessageProperties ParseMessageProperties(std::string_view raw);
void AppendMessageProperties(const MessageProperties& properties, std::string& out);

// Of validated `raw` bytes, appends those that MessageProperties has, in their order.
void AppendForwardProperties(std::string_view raw, std::string& out);

std::ostream& operator<<(std::ostream& out, PropertyId id);
std::ostream& operator<<(std::ostream& out, const UserProperty& property);  // name=value
std::ostream& operator<<(std::ostream& out, const MessageProperties& properties);

}  // namespace mqtt

#endif  // MQTT_PROPERTY_H_
