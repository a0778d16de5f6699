#include "tests/support/wire.h"

#include <array>
#include <cstdio>

namespace support {
namespace {

enum class Form { kUnknown, kByte, kTwo, kFour, kVar, kText, kPair };

Form FormOf(PropertyId id) {
  using enum PropertyId;
  switch (id) {
    case kPayloadFormatIndicator:
    case kRequestProblemInformation:
    case kRequestResponseInformation:
    case kMaximumQos:
    case kRetainAvailable:
    case kWildcardSubscriptionAvailable:
    case kSubscriptionIdentifierAvailable:
    case kSharedSubscriptionAvailable:
      return Form::kByte;
    case kServerKeepAlive:
    case kReceiveMaximum:
    case kTopicAliasMaximum:
    case kTopicAlias:
      return Form::kTwo;
    case kMessageExpiryInterval:
    case kSessionExpiryInterval:
    case kWillDelayInterval:
    case kMaximumPacketSize:
      return Form::kFour;
    case kSubscriptionIdentifier:
      return Form::kVar;
    case kContentType:
    case kResponseTopic:
    case kCorrelationData:
    case kAssignedClientIdentifier:
    case kAuthenticationMethod:
    case kAuthenticationData:
    case kResponseInformation:
    case kServerReference:
    case kReasonString:
      return Form::kText;
    case kUserProperty:
      return Form::kPair;
  }
  return Form::kUnknown;
}

// Reads from the front of a packet; sets `failed` instead of reading past its end.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  uint32_t Number(size_t bytes) {
    uint32_t value = 0;
    for (const char c : Bytes(bytes)) value = (value << 8) | static_cast<uint8_t>(c);
    return value;
  }
  uint8_t Byte() { return static_cast<uint8_t>(Number(1)); }
  uint16_t Two() { return static_cast<uint16_t>(Number(2)); }
  uint32_t Var() {
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
      const uint8_t byte = Byte();
      value |= static_cast<uint32_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) != 0) continue;
      failed_ |= byte == 0 && shift > 0;  // Not the shortest form.
      return value;
    }
    failed_ = true;
    return 0;
  }
  std::string Text() { return std::string(Bytes(Two())); }
  std::string_view Bytes(size_t count) {
    if (count > rest_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }
  std::string_view Rest() { return Bytes(rest_.size()); }
  bool empty() const { return rest_.empty(); }
  bool failed() const { return failed_; }
  void Fail() { failed_ = true; }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

std::vector<Property> ReadProperties(Reader& packet) {
  std::vector<Property> properties;
  Reader list(packet.Bytes(packet.Var()));
  while (!list.empty() && !list.failed()) {
    Property& p = properties.emplace_back();
    p.id = static_cast<PropertyId>(list.Byte());
    switch (FormOf(p.id)) {
      case Form::kByte:
        p.number = list.Byte();
        break;
      case Form::kTwo:
        p.number = list.Two();
        break;
      case Form::kFour:
        p.number = list.Number(4);
        break;
      case Form::kVar:
        p.number = list.Var();
        break;
      case Form::kText:
        p.text = list.Text();
        break;
      case Form::kPair:
        p.text = list.Text();
        p.value = list.Text();
        break;
      case Form::kUnknown:
        list.Fail();
        break;
    }
  }
  if (list.failed()) packet.Fail();
  return properties;
}

void ReadBody(Version version, Reader& body, Packet& p) {
  const bool v5 = version == Version::k5;
  switch (p.type) {
    case PacketType::kConnack:
      p.connack_flags = body.Byte();
      p.reason = body.Byte();
      if (v5) p.properties = ReadProperties(body);
      return;
    case PacketType::kPublish:
      p.topic = body.Text();
      if (p.qos() > 0) p.packet_id = body.Two();
      if (v5) p.properties = ReadProperties(body);
      p.payload = std::string(body.Rest());
      return;
    case PacketType::kPuback:
    case PacketType::kPubrec:
    case PacketType::kPubrel:
    case PacketType::kPubcomp:
      p.packet_id = body.Two();
      if (v5 && !body.empty()) p.reason = body.Byte();
      if (v5 && !body.empty()) p.properties = ReadProperties(body);
      return;
    case PacketType::kSuback:
    case PacketType::kUnsuback:
      p.packet_id = body.Two();
      if (v5) p.properties = ReadProperties(body);
      if (v5 || p.type == PacketType::kSuback) {
        while (!body.empty()) p.reasons.push_back(body.Byte());
      }
      return;
    case PacketType::kPingresp:
      return;
    case PacketType::kDisconnect:
    case PacketType::kAuth:
      if (!v5) body.Fail();  // The server sends neither before 5.0.
      if (!body.empty()) p.reason = body.Byte();
      if (!body.empty()) p.properties = ReadProperties(body);
      return;
    default:
      body.Fail();  // Nothing a server sends.
  }
}

}  // namespace

std::string_view Name(PacketType type) {
  static constexpr std::array<std::string_view, 16> kNames = {
      "0",       "CONNECT",  "CONNACK",    "PUBLISH", "PUBACK",      "PUBREC",
      "PUBREL",  "PUBCOMP",  "SUBSCRIBE",  "SUBACK",  "UNSUBSCRIBE", "UNSUBACK",
      "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"};
  return kNames.at(static_cast<size_t>(type));
}

std::string U8(unsigned value) { return {static_cast<char>(value)}; }
std::string U16(unsigned value) { return U8(value >> 8) + U8(value); }
std::string U32(uint32_t value) { return U16(value >> 16) + U16(value); }

std::string VarInt(uint32_t value) {
  std::string bytes;
  do {
    bytes += U8((value & 0x7F) | (value > 0x7F ? 0x80U : 0U));
    value >>= 7;
  } while (value > 0);
  return bytes;
}

std::string Text(std::string_view text) {
  return U16(static_cast<unsigned>(text.size())).append(text);
}
std::string Pair(std::string_view name, std::string_view value) { return Text(name) + Text(value); }

std::string Frame(unsigned first_byte, std::string_view body) {
  return (U8(first_byte) + VarInt(static_cast<uint32_t>(body.size()))).append(body);
}

Properties& Properties::Number(PropertyId id, uint32_t value) {
  bytes_ += U8(static_cast<unsigned>(id));
  switch (FormOf(id)) {
    case Form::kTwo:
      bytes_ += U16(value);
      break;
    case Form::kFour:
      bytes_ += U32(value);
      break;
    case Form::kVar:
      bytes_ += VarInt(value);
      break;
    default:
      bytes_ += U8(value);
  }
  return *this;
}

Properties& Properties::Text(PropertyId id, std::string_view text) {
  bytes_ += U8(static_cast<unsigned>(id)) + support::Text(text);
  return *this;
}

Properties& Properties::User(std::string_view name, std::string_view value) {
  bytes_ += U8(static_cast<unsigned>(PropertyId::kUserProperty)) + Pair(name, value);
  return *this;
}

Properties& Properties::Raw(std::string_view bytes) {
  bytes_ += bytes;
  return *this;
}

Properties Number(PropertyId id, uint32_t value) { return Properties().Number(id, value); }

std::string RawConnect(Version version, unsigned flags, std::string_view payload) {
  std::string body = Text(version == Version::k31 ? "MQIsdp" : "MQTT") +
                     U8(static_cast<unsigned>(version)) + U8(flags) + U16(0);
  if (version == Version::k5) body += VarInt(0);
  return Frame(0x10, body.append(payload));
}

std::string ConnectPacket::Encode() const {
  const bool v5 = version == Version::k5;
  unsigned flags = clean ? 0x02 : 0;
  if (will) flags |= 0x04U | (will->qos << 3) | (will->retain ? 0x20U : 0U);
  if (password) flags |= 0x40;
  if (user_name) flags |= 0x80;
  std::string body = Text(version == Version::k31 ? "MQIsdp" : "MQTT") +
                     U8(static_cast<unsigned>(version)) + U8(flags) + U16(keep_alive_s);
  if (v5) body += properties.Encode();
  body += Text(client_id);
  if (will) {
    if (v5) body += will->properties.Encode();
    body += Text(will->topic) + Text(will->payload);
  }
  if (user_name) body += Text(*user_name);
  if (password) body += Text(*password);
  return Frame(0x10, body);
}

std::string PublishPacket::Encode(Version version) const {
  std::string body = Text(topic);
  if (qos > 0) body += U16(packet_id);
  if (version == Version::k5) body += properties.Encode();
  return Frame(0x30U | (dup ? 8U : 0U) | (qos << 1) | (retain ? 1U : 0U), body + payload);
}

std::string Subscribe(Version version, uint16_t packet_id, const std::vector<Filter>& filters,
                      const Properties& properties) {
  std::string body = U16(packet_id);
  if (version == Version::k5) body += properties.Encode();
  for (const Filter& f : filters) body += Text(f.filter) + U8(f.options);
  return Frame(0x82, body);
}

std::string Unsubscribe(Version version, uint16_t packet_id,
                        const std::vector<std::string>& filters, const Properties& properties) {
  std::string body = U16(packet_id);
  if (version == Version::k5) body += properties.Encode();
  for (const std::string& f : filters) body += Text(f);
  return Frame(0xA2, body);
}

std::string Ack(PacketType type, uint16_t packet_id, unsigned reason) {
  const unsigned flags = type == PacketType::kPubrel ? 2 : 0;
  return Frame((static_cast<unsigned>(type) << 4) | flags,
               U16(packet_id) + (reason == 0 ? "" : U8(reason)));
}

std::string Disconnect(Version version, unsigned reason, const Properties& properties) {
  if (version != Version::k5 || (reason == 0 && properties.bytes().empty())) return Frame(0xE0, "");
  return Frame(0xE0, U8(reason) + properties.Encode());
}

std::string Auth(unsigned reason, const Properties& properties) {
  return Frame(0xF0, U8(reason) + properties.Encode());
}

bool Packet::Has(PropertyId id) const {
  for (const Property& p : properties) {
    if (p.id == id) return true;
  }
  return false;
}

std::optional<uint32_t> Packet::Number(PropertyId id) const {
  for (const Property& p : properties) {
    if (p.id == id) return p.number;
  }
  return std::nullopt;
}

std::vector<uint32_t> Packet::Numbers(PropertyId id) const {
  std::vector<uint32_t> numbers;
  for (const Property& p : properties) {
    if (p.id == id) numbers.push_back(p.number);
  }
  return numbers;
}

std::optional<std::string> Packet::Text(PropertyId id) const {
  for (const Property& p : properties) {
    if (p.id == id) return p.text;
  }
  return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> Packet::UserProperties() const {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const Property& p : properties) {
    if (p.id == PropertyId::kUserProperty) pairs.emplace_back(p.text, p.value);
  }
  return pairs;
}

std::string Packet::ToString() const {
  std::string text(Name(type));
  char number[64];
  std::snprintf(number, sizeof(number), " flags=%X reason=0x%02X id=%u", flags, reason, packet_id);
  text += number;
  if (type == PacketType::kPublish) text += " topic=" + topic + " payload=" + payload.substr(0, 80);
  for (const uint8_t r : reasons) {
    std::snprintf(number, sizeof(number), " 0x%02X", r);
    text += number;
  }
  if (const auto why = Text(PropertyId::kReasonString)) text += " (" + *why + ")";
  return text;
}

std::optional<size_t> FrameSize(std::string_view bytes) {
  size_t length = 0;
  for (size_t i = 1; i < bytes.size() && i <= 4; ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    length |= static_cast<size_t>(byte & 0x7F) << (7 * (i - 1));
    if ((byte & 0x80) == 0) return 1 + i + length;
  }
  return std::nullopt;
}

Parsed Parse(Version version, std::string_view bytes) {
  Parsed parsed;
  Packet& p = parsed.packet;
  Reader reader(bytes);
  const uint8_t first = reader.Byte();
  p.type = static_cast<PacketType>(first >> 4);
  p.flags = first & 0x0F;
  p.bytes = bytes.size();
  reader.Var();
  const unsigned flags_wanted = p.type == PacketType::kPubrel ? 2 : 0;
  if (p.type != PacketType::kPublish && p.flags != flags_wanted)
    parsed.error = "fixed header flags";
  if (p.type == PacketType::kPublish && p.qos() == 3) parsed.error = "QoS 3";
  ReadBody(version, reader, p);
  if (reader.failed() || !reader.empty()) parsed.error = "body";
  return parsed;
}

}  // namespace support
