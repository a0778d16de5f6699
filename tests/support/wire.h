// MQTT packets as the tests write and read them. Shares no code with src/: a mistake made twice, in
// the broker's encoder and in its decoder, would not show otherwise. Builders send what they are
// told, allowed or not.
#ifndef TESTS_SUPPORT_WIRE_H_
#define TESTS_SUPPORT_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

enum class Version : uint8_t { k31 = 3, k311 = 4, k5 = 5 };

enum class PacketType : uint8_t {
  kConnect = 1,
  kConnack,
  kPublish,
  kPuback,
  kPubrec,
  kPubrel,
  kPubcomp,
  kSubscribe,
  kSuback,
  kUnsubscribe,
  kUnsuback,
  kPingreq,
  kPingresp,
  kDisconnect,
  kAuth,
};

std::string_view Name(PacketType type);

// §2.2.2.2. The value's form follows from the identifier.
enum class PropertyId : uint8_t {
  kPayloadFormatIndicator = 1,
  kMessageExpiryInterval = 2,
  kContentType = 3,
  kResponseTopic = 8,
  kCorrelationData = 9,
  kSubscriptionIdentifier = 11,
  kSessionExpiryInterval = 17,
  kAssignedClientIdentifier = 18,
  kServerKeepAlive = 19,
  kAuthenticationMethod = 21,
  kAuthenticationData = 22,
  kRequestProblemInformation = 23,
  kWillDelayInterval = 24,
  kRequestResponseInformation = 25,
  kResponseInformation = 26,
  kServerReference = 28,
  kReasonString = 31,
  kReceiveMaximum = 33,
  kTopicAliasMaximum = 34,
  kTopicAlias = 35,
  kMaximumQos = 36,
  kRetainAvailable = 37,
  kUserProperty = 38,
  kMaximumPacketSize = 39,
  kWildcardSubscriptionAvailable = 40,
  kSubscriptionIdentifierAvailable = 41,
  kSharedSubscriptionAvailable = 42,
};

// §1.5: the data representations.
std::string U8(unsigned value);
std::string U16(unsigned value);
std::string U32(uint32_t value);
std::string VarInt(uint32_t value);
std::string Text(std::string_view text);  // Also Binary Data: two bytes of length, then the bytes.
std::string Pair(std::string_view name, std::string_view value);

// The first byte, Remaining Length, body.
std::string Frame(unsigned first_byte, std::string_view body);

// A property list without its length.
class Properties {
 public:
  Properties& Number(PropertyId id, uint32_t value);
  Properties& Text(PropertyId id, std::string_view text);
  Properties& User(std::string_view name, std::string_view value);
  Properties& Raw(std::string_view bytes);

  const std::string& bytes() const { return bytes_; }
  std::string Encode() const { return VarInt(static_cast<uint32_t>(bytes_.size())) + bytes_; }

 private:
  std::string bytes_;
};

Properties Number(PropertyId id, uint32_t value);

struct Will {
  std::string topic = {};
  std::string payload = {};
  unsigned qos = 0;
  bool retain = false;
  Properties properties = {};
};

struct ConnectPacket {
  Version version = Version::k5;
  std::string client_id = {};
  bool clean = true;
  uint16_t keep_alive_s = 0;
  Properties properties = {};
  std::optional<Will> will = {};
  std::optional<std::string> user_name = {};
  std::optional<std::string> password = {};

  std::string Encode() const;
};

// CONNECT with the given flags and payload, consistent or not.
std::string RawConnect(Version version, unsigned flags, std::string_view payload);

struct PublishPacket {
  std::string topic = {};
  std::string payload = {};
  unsigned qos = 0;
  uint16_t packet_id = 0;
  bool retain = false;
  bool dup = false;
  Properties properties = {};

  std::string Encode(Version version) const;
};

// Bits of the Subscription Options (§3.8.3.1); in 3.1.1 only the QoS.
inline constexpr unsigned kNoLocal = 0x04;
inline constexpr unsigned kRetainAsPublished = 0x08;
inline constexpr unsigned kRetainIfNew = 0x10;
inline constexpr unsigned kRetainNever = 0x20;

struct Filter {
  std::string filter = {};
  unsigned options = 0;
};

std::string Subscribe(Version version, uint16_t packet_id, const std::vector<Filter>& filters,
                      const Properties& properties = {});
std::string Unsubscribe(Version version, uint16_t packet_id,
                        const std::vector<std::string>& filters, const Properties& properties = {});
// PUBACK, PUBREC, PUBREL or PUBCOMP; short when the reason is 0x00.
std::string Ack(PacketType type, uint16_t packet_id, unsigned reason = 0);
std::string Disconnect(Version version, unsigned reason = 0, const Properties& properties = {});
std::string Auth(unsigned reason, const Properties& properties = {});
inline constexpr std::string_view kPingreq{"\xC0\x00", 2};

struct Property {
  PropertyId id{};
  uint32_t number = 0;
  std::string text;   // Text, binary data, or the name of a pair.
  std::string value;  // Of a pair.
};

// A packet the broker sent. Fields that its type does not have are empty.
struct Packet {
  PacketType type{};
  uint8_t flags = 0;
  size_t bytes = 0;  // Of the whole packet.
  uint8_t connack_flags = 0;
  uint8_t reason = 0;
  std::vector<uint8_t> reasons;  // SUBACK, UNSUBACK.
  uint16_t packet_id = 0;
  std::string topic;
  std::string payload;
  std::vector<Property> properties;

  bool dup() const { return (flags & 0x08) != 0; }
  bool retain() const { return (flags & 0x01) != 0; }
  unsigned qos() const { return (flags >> 1) & 0x03U; }
  bool session_present() const { return (connack_flags & 0x01) != 0; }

  bool Has(PropertyId id) const;
  std::optional<uint32_t> Number(PropertyId id) const;
  std::vector<uint32_t> Numbers(PropertyId id) const;
  std::optional<std::string> Text(PropertyId id) const;
  std::vector<std::pair<std::string, std::string>> UserProperties() const;
  std::string ToString() const;
};

// Size of the packet that `bytes` begins with, nullopt when its header is not complete.
std::optional<size_t> FrameSize(std::string_view bytes);

// Reads one whole packet as strictly as a client may. Returns why it is malformed, or the packet.
struct Parsed {
  Packet packet;
  std::string error;  // Empty: none.
};
Parsed Parse(Version version, std::string_view bytes);

}  // namespace support
#endif  // TESTS_SUPPORT_WIRE_H_
