// Inside src/mqtt: walks a property block and enforces what holds for every property (§2.2.2).
#ifndef MQTT_PROPERTY_READER_H_
#define MQTT_PROPERTY_READER_H_

#include <cstdint>
#include <string_view>

#include "mqtt/property.h"
#include "mqtt/reader.h"
#include "mqtt/topic.h"

namespace mqtt {

// As many filters, or properties that may be repeated, as one packet may list: of each a few bytes
// are sent, and whoever is told of it keeps many times that. No client needs a tenth of it.
inline constexpr uint32_t kListedMax = 65'536;
// MQTT leaves such bounds to the implementation (§4.13.2): 0x97, quota exceeded.
inline constexpr std::string_view kListedMaxRule = "MQTT5-4.13.2";

//   PropertyReader properties(in, PlaceOf(PacketType::kConnect));
//   while (properties.Next()) {
//     switch (properties.id()) { case PropertyId::kReceiveMaximum: … properties.number() …
//
// Checks, and reports through `in`:
//   the block is longer than the packet     0x81  MQTT5-2.2.2.1
//   unknown identifier, or not of this place  0x81  MQTT5-2.2.2.2
//   a value that runs over the block's end  0x81  MQTT5-2.2.2.2
//   a second one where one is allowed       0x82  the property's section
//   a value out of its range                0x82  the property's section (Topic Alias 0: 0x94)
//   a Response Topic that is no Topic Name  0x81  [MQTT5-3.3.2-14]
//   more than kListedMax User Properties    0x97  MQTT5-4.13.2
// Cost: no allocation; about ten nanoseconds for each property.
class PropertyReader {
 public:
  // Reads Property Length [MQTT5-2.2.2-1] from `in`, and takes the block off it.
  PropertyReader(Reader& in, PropertyPlace place)
      : in_(in), place_(place), block_({}, in.version(), kRunsOver) {
    const uint32_t length = in.VariableByteInteger();
    if (length > in.size()) {
      in.Fail(ReasonCode::kMalformedPacket, "MQTT5-2.2.2.1");
      return;
    }
    raw_ = in.Take(length);
    block_ = Reader(AsBytes(raw_), in.version(), kRunsOver);
  }

  bool Next() {
    if (block_.empty()) return false;
    const PropertyInfo* info = FindProperty(block_.VariableByteInteger());
    if (info == nullptr || !info->IsAllowedIn(place_)) {
      block_.Fail(ReasonCode::kMalformedPacket, "MQTT5-2.2.2.2");
    } else {
      ReadValue(*info);
    }
    if (block_.ok()) return true;
    in_.Fail(block_.fault());
    return false;
  }

  PropertyId id() const { return id_; }
  uint32_t number() const { return value_.number; }
  bool flag() const { return value_.number != 0; }
  std::string_view text() const { return value_.text; }
  UserProperty user_property() const { return {value_.text, value_.text2}; }

  // The whole block, without its length.
  std::string_view raw() const { return raw_; }

 private:
  static constexpr RuleNames kRunsOver{"MQTT5-2.2.2.2", "MQTT5-2.2.2.2"};

  void ReadValue(const PropertyInfo& info) {
    id_ = info.id;
    const uint64_t bit = uint64_t{1} << static_cast<unsigned>(info.id);
    if ((seen_ & bit) != 0 && !info.may_repeat) {
      return block_.Fail(ReasonCode::kProtocolError, info.rule);
    }
    if (info.may_repeat && ++repeatable_ > kListedMax) {
      return block_.Fail(ReasonCode::kQuotaExceeded, kListedMaxRule);
    }
    seen_ |= bit;
    value_.number = info.value_min;
    switch (info.type) {
      case PropertyType::kByte:
        value_.number = block_.Byte();
        break;
      case PropertyType::kTwoByteInteger:
        value_.number = block_.TwoBytes();
        break;
      case PropertyType::kFourByteInteger:
        value_.number = block_.FourBytes();
        break;
      case PropertyType::kVariableByteInteger:
        value_.number = block_.VariableByteInteger();
        break;
      case PropertyType::kUtf8String:
        value_.text = block_.Text();
        if (info.id == PropertyId::kResponseTopic) CheckResponseTopic();
        break;
      case PropertyType::kBinaryData:
        value_.text = block_.Binary();
        break;
      case PropertyType::kUtf8StringPair:
        value_.text = block_.Text();
        value_.text2 = block_.Text();
        break;
    }
    if (value_.number < info.value_min || value_.number > info.value_max) {
      block_.Fail(info.out_of_range.reason, info.out_of_range.rule);
    }
  }

  void CheckResponseTopic() {
    if (IsValidTopicName(value_.text)) return;
    block_.Fail(ReasonCode::kMalformedPacket,
                value_.text.empty() ? "MQTT-4.7.3-1" : "MQTT5-3.3.2-14");
  }

  Reader& in_;
  PropertyPlace place_;
  Reader block_;
  std::string_view raw_;
  PropertyId id_{};
  PropertyValue value_;
  uint64_t seen_ = 0;        // By identifier: the highest is 42.
  uint32_t repeatable_ = 0;  // How many there were of those that may be repeated.
};

}  // namespace mqtt

#endif  // MQTT_PROPERTY_READER_H_
